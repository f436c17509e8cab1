//! Results as tables and as JSON.

use crate::fanout::Outcome;
use crate::machine::Machine;
use crate::server::Target;
use comfy_table::{CellAlignment, Table, presets};
use serde::Serialize;

/// All that a run of the harness found.
#[derive(Debug, Serialize)]
pub struct Report {
    /// On what it was measured.
    pub machine: Machine,
    /// The runs with one writer and several readers, in the order in which they were made.
    pub fanout: Vec<FanoutRun>,
    /// The runs of the other cases.
    pub other: Vec<OtherRun>,
}

/// One run with one writer and several readers.
#[derive(Debug, Serialize)]
pub struct FanoutRun {
    /// The server.
    pub target: Target,
    /// How many readers.
    pub readers: usize,
    /// How many edits in flight.
    pub window: usize,
    /// What came of it.
    #[serde(flatten)]
    pub outcome: Outcome,
}

/// One run of another case.
#[derive(Debug, Serialize)]
pub struct OtherRun {
    /// The server.
    pub target: Target,
    /// The case.
    pub case: String,
    /// What was measured.
    pub measures: Vec<Measure>,
    /// What was wrong, in words; empty if every check held.
    pub problems: Vec<String>,
}

/// One figure.
#[derive(Debug, Clone, Serialize)]
pub struct Measure {
    /// What it is, with its unit.
    pub name: &'static str,
    /// How much. Nothing if the server did not get so far.
    pub value: Option<f64>,
}

impl Report {
    /// Everything that was wrong with `target`.
    pub fn problems(&self, target: Target) -> impl Iterator<Item = String> {
        let fanout = self
            .fanout
            .iter()
            .filter(move |run| run.target == target)
            .flat_map(|run| {
                let case = format!("{} readers, {} in flight", run.readers, run.window);
                run.outcome
                    .problems
                    .iter()
                    .map(move |problem| format!("{case}: {problem}"))
            });
        let other = self.other.iter().filter(move |run| run.target == target);
        let other = other.flat_map(|run| {
            run.problems
                .iter()
                .map(|problem| format!("{}: {problem}", run.case))
        });
        fanout.chain(other)
    }

    /// The tables, with what was wrong below them.
    pub fn render(&self, targets: &[Target]) -> String {
        let machine = &self.machine;
        let mut text = format!(
            "{}, {} cores shared with the load generator, Linux {}, {}, fdatasync {:.2} ms, load {}\n",
            machine.processor,
            machine.cores,
            machine.kernel,
            machine.disk,
            machine.fdatasync_ms,
            machine.load
        );
        if !self.fanout.is_empty() {
            text.push_str(&format!(
                "\nOne writer; latencies in ms\n{}\n",
                self.fanout_table(targets)
            ));
        }
        if !self.other.is_empty() {
            text.push_str(&format!("\n{}\n", self.other_table(targets)));
        }
        for &target in targets {
            for problem in self.problems(target) {
                text.push_str(&format!("{}: {problem}\n", target.name()));
            }
        }
        text
    }

    fn fanout_table(&self, targets: &[Target]) -> Table {
        let mut table = new_table(&[
            "readers",
            "in flight",
            "server",
            "edits",
            "edits/s",
            "to all p50",
            "p99",
            "acknowledged p50",
            "p99",
            "CPU s/1,000",
            "peak MB",
            "missing",
            "edits/s ratio",
            "p50 ratio",
            "CPU ratio",
        ]);
        let mut cases: Vec<_> = self
            .fanout
            .iter()
            .map(|run| (run.readers, run.window))
            .collect();
        cases.sort_unstable_by_key(|&(readers, window)| (window, readers));
        cases.dedup();
        for (readers, window) in cases {
            let peer = self.median(Target::Samod, readers, window);
            for &target in targets {
                let Some(found) = self.median(target, readers, window) else {
                    continue;
                };
                let ratio = |value: fn(&Outcome) -> Option<f64>| match peer {
                    Some(peer) if target != Target::Samod => ratio(value(found), value(peer)),
                    _ => String::new(),
                };
                table.add_row(vec![
                    readers.to_string(),
                    window.to_string(),
                    target.name().to_owned(),
                    found.sent.to_string(),
                    figure(Some(found.edits_per_second)),
                    figure(found.all_p50),
                    figure(found.all_p99),
                    figure(found.acknowledged_p50),
                    figure(found.acknowledged_p99),
                    figure(found.cpu_per_thousand),
                    figure(found.peak_mb),
                    match (found.problems.is_empty(), found.late) {
                        (true, _) => "none".to_owned(),
                        (false, true) => format!("{} late", found.missing),
                        (false, false) => format!("{} (below)", found.missing),
                    },
                    ratio(|outcome| Some(outcome.edits_per_second)),
                    ratio(|outcome| outcome.all_p50),
                    ratio(|outcome| outcome.cpu_per_thousand),
                ]);
            }
        }
        table
    }

    /// Of several rounds the one with the median rate.
    fn median(&self, target: Target, readers: usize, window: usize) -> Option<&Outcome> {
        let same =
            |run: &&FanoutRun| (run.target, run.readers, run.window) == (target, readers, window);
        let mut rounds: Vec<_> = self
            .fanout
            .iter()
            .filter(same)
            .map(|run| &run.outcome)
            .collect();
        rounds.sort_by(|a, b| a.edits_per_second.total_cmp(&b.edits_per_second));
        rounds.get(rounds.len() / 2).copied()
    }

    fn other_table(&self, targets: &[Target]) -> Table {
        let mut heading = vec!["case", "measure"];
        heading.extend(targets.iter().map(|target| target.name()));
        heading.push("ratio");
        let mut table = new_table(&heading);
        let mut rows: Vec<(&str, &str)> = Vec::new();
        for run in &self.other {
            for measure in &run.measures {
                if !rows.contains(&(&run.case, measure.name)) {
                    rows.push((&run.case, measure.name));
                }
            }
        }
        for (case, name) in rows {
            let values: Vec<_> = targets
                .iter()
                .map(|&target| self.measure(target, case, name))
                .collect();
            let mut row = vec![case.to_owned(), name.to_owned()];
            row.extend(values.iter().map(|&value| figure(value)));
            row.push(match values[..] {
                [ours, peer] => ratio(ours, peer),
                _ => String::new(),
            });
            table.add_row(row);
        }
        table
    }

    /// The median over the rounds.
    fn measure(&self, target: Target, case: &str, name: &str) -> Option<f64> {
        let runs = self
            .other
            .iter()
            .filter(|run| run.target == target && run.case == case);
        let measures = runs
            .flat_map(|run| &run.measures)
            .filter(|measure| measure.name == name);
        let mut values: Vec<_> = measures.filter_map(|measure| measure.value).collect();
        values.sort_by(f64::total_cmp);
        values.get(values.len() / 2).copied()
    }
}

fn new_table(heading: &[&str]) -> Table {
    let mut table = Table::new();
    table
        .load_preset(presets::ASCII_MARKDOWN)
        .set_header(heading);
    for (number, column) in table.column_iter_mut().enumerate() {
        column.set_cell_alignment(if number < 3 {
            CellAlignment::Left
        } else {
            CellAlignment::Right
        });
    }
    table
}

/// About three significant digits.
fn figure(value: Option<f64>) -> String {
    match value {
        None => "-".to_owned(),
        Some(value) if value.abs() >= 100.0 => format!("{value:.0}"),
        Some(value) if value.abs() >= 10.0 => format!("{value:.1}"),
        Some(value) if value.abs() >= 0.1 || value == 0.0 => format!("{value:.2}"),
        Some(value) => format!("{value:.4}"),
    }
}

fn ratio(ours: Option<f64>, peer: Option<f64>) -> String {
    match ours.zip(peer).filter(|(_, peer)| *peer > 0.0) {
        Some((ours, peer)) => format!("{} x", figure(Some(ours / peer))),
        None => "-".to_owned(),
    }
}
