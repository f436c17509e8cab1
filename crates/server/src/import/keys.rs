//! The keys of the records.

use super::Key;
use headwater_core::json::record_to_json;
use headwater_core::{Record, Value, check_put};
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::fmt::Write as _;

/// The beginning of a SHA-256: enough that no two of a file's rows share it by chance.
pub(super) type Fingerprint = [u8; 16];

pub(super) fn fingerprint(text: &str) -> Fingerprint {
    let digest: [u8; 32] = Sha256::digest(text.as_bytes()).into();
    let mut short = [0; 16];
    short.copy_from_slice(&digest[..16]);
    short
}

/// A row with its key.
#[derive(Debug)]
pub(super) enum Admitted {
    /// A record to write.
    New(String, Record),
    /// A row equal to an earlier one, key and all.
    Repeated,
}

/// Gives each row its key and keeps the keys apart.
#[derive(Debug)]
pub(super) enum Keys<'a> {
    Field {
        name: &'a str,
        /// By key: the line that has it and its record.
        seen: HashMap<Fingerprint, (u64, Fingerprint)>,
    },
    /// How often each record came.
    Hash(HashMap<Fingerprint, u64>),
}

impl<'a> Keys<'a> {
    pub(super) fn new(key: &'a Key) -> Self {
        match key {
            Key::Field(name) => Self::Field {
                name,
                seen: HashMap::new(),
            },
            Key::Hash => Self::Hash(HashMap::new()),
        }
    }

    /// The row with its key, or why it has none.
    pub(super) fn admit(&mut self, line: u64, record: Record) -> Result<Admitted, String> {
        let print = fingerprint(&record_to_json(&record));
        let (key, earlier) = match self {
            Self::Hash(seen) => {
                let count = seen.entry(print).or_default();
                *count += 1;
                (hash_key(print, *count), None)
            }
            Self::Field { name, seen } => {
                let key = field_key(&record, name)?;
                check_put(&key, &record).map_err(|error| error.to_string())?;
                let first = *seen.entry(fingerprint(&key)).or_insert((line, print));
                (key, (first.0 != line).then_some(first))
            }
        };
        match earlier {
            None => {
                check_put(&key, &record).map_err(|error| error.to_string())?;
                Ok(Admitted::New(key, record))
            }
            Some((_, earlier)) if earlier == print => Ok(Admitted::Repeated),
            Some((first, _)) => Err(format!(
                "the key {key:?} is also on line {first}, with other fields; choose a field that is different in every \
                 row, or --key hash"
            )),
        }
    }
}

fn hash_key(print: Fingerprint, count: u64) -> String {
    let mut key = String::with_capacity(32);
    for byte in print {
        let _ = write!(key, "{byte:02x}");
    }
    if count > 1 {
        let _ = write!(key, "-{count}");
    }
    key
}

fn field_key(record: &Record, name: &str) -> Result<String, String> {
    let key = match record.get(name) {
        None => return Err(format!("no field {name:?} for the key")),
        Some(Value::String(text) | Value::Text(text)) => text.clone(),
        Some(Value::Int(n) | Value::Counter(n)) => n.to_string(),
        Some(Value::Uint(n)) => n.to_string(),
        Some(other) => {
            let found = other.kind();
            return Err(format!(
                "the key field {name:?} holds a {found}; a key is a string or an integer"
            ));
        }
    };
    match key.is_empty() {
        true => Err(format!("the key field {name:?} is empty")),
        false => Ok(key),
    }
}
