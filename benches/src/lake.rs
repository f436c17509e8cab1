//! What the lake costs: each row of its table of floors and goals, measured with a server that is a process of its own.

pub mod baseline;
pub mod browser;
pub mod chart;
pub mod drill;
pub mod edits;
pub mod fixture;
pub mod host;
pub mod rebuild;
pub mod table;

use crate::records::key;
use headwater_core::{Record, Value};

/// The `n`th record with another number in it.
pub fn edited(n: usize, value: i64) -> (String, Record) {
    let mut record = crate::records::record(n);
    record.insert("best".to_owned(), Value::Int(value));
    (key(n), record)
}

/// The median; nothing if there are none.
pub fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied()
}

/// Numbers that look random and are the same in every run (SplitMix64).
pub struct Random(pub u64);

impl Random {
    /// A number below `end`, which must not be 0.
    pub fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % end as u64) as usize
    }
}
