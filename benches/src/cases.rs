//! The cases beside the fan-out: a cold document, much offline work, many documents, many idle connections.

pub mod cold;
pub mod documents;
pub mod idle;
pub mod offline;

use crate::report::Measure;
use std::time::Duration;

/// What a case found.
#[derive(Debug, Default)]
pub struct Findings {
    /// The figures, in the order in which they are shown.
    pub measures: Vec<Measure>,
    /// What was wrong, in words.
    pub problems: Vec<String>,
}

impl Findings {
    fn add(&mut self, name: &'static str, value: Option<f64>) {
        self.measures.push(Measure { name, value });
    }
}

fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}
