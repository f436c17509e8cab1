//! `cargo xtask bench lake`: what the lake costs, against its floors and goals.

use anyhow::{Context as _, Result};
use clap::{Parser, ValueEnum};
use headwater_bench::lake::edits::{self, Keys, OneRecord, Sustained};
use headwater_bench::lake::fixture::{Fixture, Layout, grouped};
use headwater_bench::lake::table::{Bounds, Report, Row, figure};
use headwater_bench::lake::{baseline, drill, median, rebuild};
use headwater_bench::machine::Machine;
use headwater_bench::server::Programs;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

/// Measures the lake of a real server, with a real Drillbit where Drill answers.
///
/// Every case starts a fresh server. The table goes to standard output and, with a chart, into the report's folder; progress
/// goes to standard error. It ends with 1 if a floor is missed.
#[derive(Parser)]
#[command(name = "cargo xtask bench lake")]
struct Arguments {
    /// What to measure.
    #[arg(long = "case", value_enum, value_delimiter = ',', default_values = ["record", "edits", "rebuild", "drill", "fresh"])]
    cases: Vec<Case>,
    /// Edits a second to try, one after the other, until one is too many.
    #[arg(long, value_delimiter = ',', default_values_t = [500, 1000, 2000, 3500, 5000, 7000])]
    rates: Vec<usize>,
    /// Tables of a hundredth of the size, and short runs: to see that it works.
    #[arg(long)]
    quick: bool,
    /// The `headwater` program [default: next to this one].
    #[arg(long)]
    headwater: Option<PathBuf>,
    /// Where the servers get their temporary folders [default: the system's folder for temporary files].
    #[arg(long)]
    data: Option<PathBuf>,
    /// Where the report goes.
    #[arg(long, default_value = "target/bench")]
    report: PathBuf,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Case {
    /// One changed record: time and bytes.
    Record,
    /// Many edits, sustained.
    Edits,
    /// A rebuild: time and memory.
    Rebuild,
    /// Drill's queries.
    Drill,
    /// From a browser's edit to Drill's answer.
    Fresh,
}

const MIB: f64 = 1_048_576.0;

/// What is measured, and how far it got.
struct Bench {
    programs: Programs,
    quick: bool,
    rates: Vec<usize>,
    rows: Vec<Row>,
}

#[tokio::main]
async fn main() -> Result<ExitCode> {
    let arguments = Arguments::parse();
    let own = std::env::current_exe()?;
    let mut bench = Bench {
        programs: Programs {
            headwater: arguments
                .headwater
                .unwrap_or_else(|| own.with_file_name("headwater")),
            samod: own.with_file_name("samod-server"),
            data: arguments.data.unwrap_or_else(std::env::temp_dir),
        },
        quick: arguments.quick,
        rates: arguments.rates,
        rows: Vec::new(),
    };
    let machine = Machine::describe(&bench.programs.data)?;
    let many = bench.fixture(100, 10_000)?;
    for case in arguments.cases {
        match case {
            Case::Record => bench.record(&many).await?,
            Case::Edits => bench.edits(&many).await?,
            Case::Rebuild => bench.rebuild(&many).await?,
            Case::Drill => bench.drill(&many).await?,
            Case::Fresh => bench.fresh().await?,
        }
    }
    let report = Report {
        machine,
        quick: bench.quick,
        rows: bench.rows,
    };
    report.write(&arguments.report)?;
    print!("{}", report.markdown());
    Ok(match report.floors_hold() {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    })
}

impl Bench {
    fn fixture(&self, databases: usize, each: usize) -> Result<Fixture> {
        let each = if self.quick { each / 100 } else { each };
        let layout = Layout { databases, each };
        eprintln!("making {}", layout.name());
        Fixture::make(layout)
    }

    fn add(&mut self, row: Row) {
        eprintln!(
            "{}: {} {} {}",
            row.name,
            figure(row.measured),
            row.unit,
            row.verdict()
        );
        self.rows.push(row);
    }

    async fn record(&mut self, many: &Fixture) -> Result<()> {
        let samples = if self.quick { 10 } else { 50 };
        let few = self.fixture(1, 10_000)?;
        let mut medians = Vec::new();
        for fixture in [many, &few] {
            let found = edits::one_record(fixture, &self.programs, samples).await?;
            medians.push(self.one_record(fixture, &found)?);
        }
        let ratio = medians[0] / medians[1];
        let name = format!(
            "the former to the latter ({} to {} rows)",
            grouped(many.layout.rows()),
            grouped(few.layout.rows())
        );
        let note = "the goal asks for at most 2; no floor";
        let row = Row::new(name, "×", ratio)
            .bounds(Bounds(f64::INFINITY, 2.0))
            .note(note);
        self.add(Row { floor: None, ..row });
        Ok(())
    }

    fn one_record(&mut self, fixture: &Fixture, found: &OneRecord) -> Result<f64> {
        let middle = |values: &[f64]| median(values).context("no samples");
        let visible = middle(&found.visible_ms)?;
        let rows = grouped(fixture.layout.rows());
        let files = middle(&found.files_bytes)?;
        let worst = found.visible_ms.iter().copied().fold(0.0, f64::max);
        let plain = baseline::file_ms(&self.programs.data, files as usize)?;
        self.add(
            Row::new(
                format!("one record of {rows}: acknowledged to visible"),
                "ms",
                visible,
            )
            .bounds(Bounds(200.0, 50.0))
            .plain(plain)
            .note(format!(
                "{} samples, at most {} ms",
                found.visible_ms.len(),
                figure(worst)
            )),
        );
        let note = format!(
            "all that the process had written, also the document's change, the state and folders; files of rows alone: {} KiB; \
             serde_json: the row",
            figure(files / 1024.0)
        );
        self.add(
            Row::new(
                format!("one record of {rows}: bytes written"),
                "MiB",
                middle(&found.process_bytes)? / MIB,
            )
            .bounds(Bounds(1.0, 0.25))
            .plain(baseline::row_bytes()? as f64 / MIB)
            .note(note),
        );
        Ok(visible)
    }

    async fn edits(&mut self, many: &Fixture) -> Result<()> {
        let (small, middle) = (self.fixture(1, 10_000)?, self.fixture(10, 10_000)?);
        let cases = [
            (&small, Keys::Uniform, "any key"),
            (&middle, Keys::Uniform, "any key"),
            (many, Keys::Uniform, "any key"),
            (many, Keys::Hot, "90 % in 1 % of keys"),
        ];
        let plain = baseline::appended_per_second(&self.programs.data)?;
        for (fixture, keys, which) in cases {
            let (rate, notes) = self.highest_rate(fixture, keys).await?;
            let name = format!(
                "sustained edits, {} rows, {which}",
                grouped(fixture.layout.rows())
            );
            self.add(
                Row::new(name, "edits/s", rate)
                    .more()
                    .bounds(Bounds(2000.0, 5000.0))
                    .plain(plain)
                    .note(notes.join("; ")),
            );
        }
        Ok(())
    }

    /// The highest of some rates with which the lake keeps up, and what came of each.
    async fn highest_rate(&self, fixture: &Fixture, keys: Keys) -> Result<(f64, Vec<String>)> {
        let seconds = if self.quick { 4 } else { 15 };
        let (mut highest, mut notes) = (0.0, Vec::new());
        for &rate in &self.rates {
            let duration = Duration::from_secs(seconds);
            let found: Sustained =
                edits::sustained(fixture, &self.programs, keys, rate, duration).await?;
            let note = format!(
                "{rate}/s: {}/s written, lag {:.1} s, rest {:.1} s, {} KiB an edit",
                figure(found.written),
                found.lag,
                found.rest,
                figure(found.bytes / 1024.0)
            );
            eprintln!("  {note}");
            notes.push(note);
            if !found.keeps_up(rate) {
                break;
            }
            highest = found.written;
        }
        Ok((highest, notes))
    }

    async fn rebuild(&mut self, many: &Fixture) -> Result<()> {
        let one = self.fixture(1, 1_000_000)?;
        for fixture in [many, &one] {
            let found = rebuild::run(fixture, &self.programs).await?;
            let rows = fixture.layout.rows() as f64;
            let name = fixture.layout.name();
            let (all, rebuilt) = (found.seconds(), found.rebuilt);
            let share = |seconds: f64| format!("{:.1} s ({:.0} %)", seconds, 100.0 * seconds / all);
            let rest = all - found.loading - rebuilt.resolving_seconds - rebuilt.writing_seconds;
            let note = format!(
                "loading {}, resolving {}, writing {}, the rest {}; without loading {} rows/s; then verified in {:.1} s",
                share(found.loading),
                share(rebuilt.resolving_seconds),
                share(rebuilt.writing_seconds),
                share(rest),
                figure(rows / (all - found.loading)),
                rebuilt.verifying_seconds
            );
            let plain = baseline::rows_per_second(&self.programs.data, fixture.layout.rows())?;
            self.add(
                Row::new(format!("rebuild on one core, {name}"), "rows/s", rows / all)
                    .more()
                    .bounds(Bounds(20_000.0, 50_000.0))
                    .plain(plain)
                    .note(note),
            );
            let note = format!(
                "of the whole server, which has {} MB with its databases open; the rebuild alone: {} MB",
                figure(found.idle_mb),
                figure((found.peak_mb - found.idle_mb).max(0.0))
            );
            self.add(
                Row::new(
                    format!("peak memory of a rebuild, {name}"),
                    "MB",
                    found.peak_mb,
                )
                .bounds(Bounds(600.0, 300.0))
                .note(note),
            );
        }
        Ok(())
    }

    async fn drill(&mut self, many: &Fixture) -> Result<()> {
        let rounds = if self.quick { 3 } else { 7 };
        for query in drill::queries(many, &self.programs, rounds).await? {
            let name = format!(
                "Drill: {}, {} rows, to 64 files by hand",
                query.name,
                grouped(many.layout.rows())
            );
            self.add(
                Row::new(name, "×", query.lake_ms / query.hand_ms)
                    .bounds(Bounds(1.5, 1.1))
                    .note(format!(
                        "{} ms and {} ms",
                        figure(query.lake_ms),
                        figure(query.hand_ms)
                    )),
            );
        }
        Ok(())
    }

    async fn fresh(&mut self) -> Result<()> {
        let fixture = self.fixture(1, 10_000)?;
        let rounds = if self.quick { 5 } else { 21 };
        let found = drill::freshness(&fixture, &self.programs, rounds).await?;
        let edit = median(&found.edit_ms).context("no rounds")?;
        let query = median(&found.query_ms).context("no rounds")?;
        let note = format!(
            "{} ms, less {} ms for the query; published after 100 ms at the earliest",
            figure(edit),
            figure(query)
        );
        let name = format!(
            "a browser's edit to Drill's answer, {} rows",
            grouped(fixture.layout.rows())
        );
        self.add(
            Row::new(name, "ms", edit - query)
                .bounds(Bounds(500.0, 150.0))
                .note(note),
        );
        Ok(())
    }
}
