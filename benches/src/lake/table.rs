//! The figures beside their floors and goals.

use super::chart;
use crate::machine::Machine;
use anyhow::{Context as _, Result};
use serde::Serialize;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

/// Which figures are better.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Better {
    /// Times, bytes and ratios.
    Less,
    /// Rates.
    More,
}

/// A figure.
#[derive(Debug, Clone, Serialize)]
pub struct Row {
    /// What was measured.
    pub name: String,
    /// Its unit.
    pub unit: &'static str,
    /// How much it is.
    pub measured: f64,
    /// Which way it is better.
    pub better: Better,
    /// What must hold.
    pub floor: Option<f64>,
    /// What is aimed at.
    pub goal: Option<f64>,
    /// The same bytes written by serde_json and fsynced, in the same unit.
    pub plain: Option<f64>,
    /// How it came about.
    pub note: String,
    /// Running and waiting processes over the last minute when it was done.
    pub load: String,
}

/// What is required of a figure.
#[derive(Debug, Clone, Copy)]
pub struct Bounds(pub f64, pub f64);

impl Row {
    /// A figure without bounds, of which less is better.
    pub fn new(name: impl Into<String>, unit: &'static str, measured: f64) -> Self {
        let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
        Self {
            name: name.into(),
            unit,
            measured,
            better: Better::Less,
            floor: None,
            goal: None,
            plain: None,
            note: String::new(),
            load: load.split(' ').next().unwrap_or_default().to_owned(),
        }
    }

    /// More of it is better.
    pub fn more(self) -> Self {
        Self {
            better: Better::More,
            ..self
        }
    }

    /// The floor must hold.
    pub fn bounds(self, Bounds(floor, goal): Bounds) -> Self {
        Self {
            floor: Some(floor),
            goal: Some(goal),
            ..self
        }
    }

    /// What it is with serde_json.
    pub fn plain(self, plain: f64) -> Self {
        Self {
            plain: Some(plain),
            ..self
        }
    }

    /// How it came about.
    pub fn note(self, note: impl Into<String>) -> Self {
        Self {
            note: note.into(),
            ..self
        }
    }

    fn holds(&self, bound: Option<f64>) -> bool {
        bound.is_none_or(|bound| match self.better {
            Better::Less => self.measured <= bound,
            Better::More => self.measured >= bound,
        })
    }

    /// How it stands to its bounds, in a word.
    pub fn verdict(&self) -> &'static str {
        match (self.floor, self.holds(self.floor), self.holds(self.goal)) {
            (None, ..) => "",
            (_, false, _) => "below the floor",
            (_, true, false) => "floor holds",
            (_, true, true) => "goal met",
        }
    }
}

/// All that was measured.
#[derive(Debug, Serialize)]
pub struct Report {
    /// On what.
    pub machine: Machine,
    /// Whether sizes were those of the goals.
    pub quick: bool,
    /// The figures.
    pub rows: Vec<Row>,
}

impl Report {
    /// Whether every floor holds.
    pub fn floors_hold(&self) -> bool {
        self.rows.iter().all(|row| row.holds(row.floor))
    }

    /// The machine in a line.
    pub fn machine_line(&self) -> String {
        let machine = &self.machine;
        let small = if self.quick {
            "; small sizes, for which the bounds were not made"
        } else {
            ""
        };
        format!(
            "{}, {} cores shared with the load generator, Linux {}, {}, fdatasync {:.2} ms, load {} at first{small}",
            machine.processor,
            machine.cores,
            machine.kernel,
            machine.disk,
            machine.fdatasync_ms,
            machine.load
        )
    }

    /// The table, in Markdown.
    pub fn markdown(&self) -> String {
        let mut text = format!("# What the lake costs\n\n{}\n\n", self.machine_line());
        text.push_str(
            "| | measured | floor | goal | | serde_json + fsync | ratio to it | load | |\n",
        );
        text.push_str("| --- | ---: | ---: | ---: | --- | ---: | ---: | ---: | --- |\n");
        for row in &self.rows {
            let with_unit = |value: Option<f64>| {
                value.map_or_else(String::new, |value| {
                    format!("{} {}", figure(value), row.unit)
                })
            };
            let ratio = row.plain.map_or_else(String::new, |plain| {
                format!("{}×", figure(row.measured / plain))
            });
            let _ = writeln!(
                text,
                "| {} | {} | {} | {} | {} | {} | {ratio} | {} | {} |",
                row.name,
                with_unit(Some(row.measured)),
                with_unit(row.floor),
                with_unit(row.goal),
                row.verdict(),
                with_unit(row.plain),
                row.load,
                row.note
            );
        }
        text
    }

    /// Writes `lake.json`, `lake.md` and `lake.svg`.
    pub fn write(&self, folder: &Path) -> Result<()> {
        let failed = || format!("cannot write the report into {}", folder.display());
        fs::create_dir_all(folder).with_context(failed)?;
        fs::write(folder.join("lake.json"), serde_json::to_vec_pretty(self)?)
            .with_context(failed)?;
        fs::write(folder.join("lake.md"), self.markdown()).with_context(failed)?;
        fs::write(folder.join("lake.svg"), chart::svg(self)).with_context(failed)
    }
}

/// About three significant digits, with commas.
pub fn figure(value: f64) -> String {
    match value.abs() {
        1000.0.. => super::fixture::grouped(value.round() as usize),
        100.0.. => format!("{value:.0}"),
        10.0.. => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}
