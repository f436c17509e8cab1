//! Names that Drill can hold and tell apart.
//!
//! A name is taken over as it is where Drill can use it. A name that Drill reserves gets a `_` at its end. Any other becomes
//! what is left of it with `_` in place of what cannot stay, then `__` and the first 8 hexadecimal digits of the SHA-256 of
//! the original, or of the field that the catalog calls so (more if that is taken). Names that differ only by case count as one: the first recorded keeps it (of several
//! new ones the first in byte order), the others get the hash. No name that looks as if it had such a hash is taken over.

use sha2::{Digest, Sha256};
use std::collections::HashSet;
use std::fmt::Write as _;

/// What is named, which decides what is allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// A table, whose name is also that of a file.
    Table,
    /// A column.
    Column,
    /// A struct's member.
    Member,
}

/// The column of the record's key.
pub const KEY: &str = "_key";
/// The column of the database's id.
pub const DATABASE: &str = "_database";
/// The column of the fields beyond [`crate::MAX_COLUMNS`].
pub const MORE: &str = "_more";
/// How the columns begin that stand in the places of hidden ones.
pub(crate) const HIDDEN: &str = "_hidden";

/// The longest name, in bytes. A view's file is named after its table, and file systems stop at 255.
const MAX_BYTES: usize = 200;

/// Column names for which Drill gives something else than the column, even in backquotes: niladic functions, and the
/// implicit columns of a file (with `dir0`, `dir1`, …).
const NOT_COLUMNS: [&str; 22] = [
    "user",
    "current_user",
    "session_user",
    "system_user",
    "session_id",
    "current_role",
    "current_schema",
    "current_catalog",
    "current_path",
    "current_date",
    "current_time",
    "current_timestamp",
    "localtime",
    "localtimestamp",
    "pi",
    "filename",
    "filepath",
    "fqn",
    "suffix",
    "lmt",
    "$project_metadata$",
    "current_default_transform_group",
];

/// Endings of tables that belong to a collection beside its current rows.
const COMPANIONS: [&str; 5] = [
    "_changes",
    "_conflicts",
    "_debezium",
    "_history",
    "_rejected",
];

/// The table of `what` (an ending of [`COMPANIONS`] without its `_`) beside the table `table`. No collection has this name, since
/// none may end so.
pub(crate) fn companion(table: &str, what: &str) -> String {
    format!("{table}_{what}")
}

/// The names in use in one place, as Drill compares them.
#[derive(Debug, Default)]
pub(crate) struct Taken(HashSet<String>);

impl Taken {
    /// Marks `name` as in use; whether it was not before.
    pub(crate) fn insert(&mut self, name: &str) -> bool {
        self.0.insert(fold(name))
    }

    /// A name for what is to be called `original` and is known as `identity` (the field's or the collection's name, which is
    /// most often the same) that nothing else has, now in use.
    pub(crate) fn assign(&mut self, original: &str, identity: &str, place: Place) -> String {
        let reserved = format!("{original}_");
        if is_plain(original, place) {
            if !is_reserved(original, place) && self.0.insert(fold(original)) {
                return original.to_owned();
            }
            if is_reserved(original, place)
                && !is_reserved(&reserved, place)
                && self.0.insert(fold(&reserved))
            {
                return reserved;
            }
        }
        let stem = stem(original, place);
        let mut hash = String::new();
        for byte in Sha256::digest(identity.as_bytes()) {
            let _ = write!(hash, "{byte:02x}");
        }
        // The whole hash is as good as the identity itself, so the last try is free.
        for digits in [8, 16, 32, 64] {
            let name = format!("{stem}__{}", &hash[..digits]);
            if self.0.insert(fold(&name)) {
                return name;
            }
        }
        format!("{stem}__{hash}")
    }
}

/// What Drill compares: each character's upper case in lower case. One character of each mapping is enough, and coarser than
/// Java's comparison, never finer.
fn fold(name: &str) -> String {
    name.chars()
        .map(|c| c.to_uppercase().next().unwrap_or(c))
        .map(|c| c.to_lowercase().next().unwrap_or(c))
        .collect()
}

fn is_allowed(c: char, place: Place) -> bool {
    match place {
        // A Drillbit in a C locale cannot open a file whose name is not ASCII, and `:`, `[` or `{` break its listing.
        Place::Table => c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | ' '),
        Place::Column | Place::Member => {
            c == ' '
                || !(c.is_whitespace()
                    || c.is_control()
                    || matches!(c, '.' | '`' | '\'' | '"' | '\\' | '[' | ']' | '*'))
        }
    }
}

fn is_plain(name: &str, place: Place) -> bool {
    let fits = (1..=MAX_BYTES).contains(&name.len()) && name.chars().all(|c| is_allowed(c, place));
    // Drill drops blanks at the ends, and ignores files whose name begins with `_`.
    let trimmed = name.starts_with(' ') || name.ends_with(' ');
    let hidden = place == Place::Table && name.starts_with('_');
    fits && !trimmed && !hidden && !looks_hashed(name)
}

fn is_reserved(name: &str, place: Place) -> bool {
    let name = fold(name);
    match place {
        Place::Table => name == "default" || COMPANIONS.iter().any(|ending| name.ends_with(ending)),
        Place::Column => {
            [KEY, DATABASE, MORE].contains(&name.as_str())
                || NOT_COLUMNS.contains(&name.as_str())
                || name.strip_prefix("dir").is_some_and(|digits| {
                    !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit())
                })
        }
        Place::Member => false,
    }
}

fn looks_hashed(name: &str) -> bool {
    name.rsplit_once("__")
        .is_some_and(|(_, end)| end.len() >= 8 && end.bytes().all(|b| b.is_ascii_hexdigit()))
}

fn stem(name: &str, place: Place) -> String {
    let stem: String = name
        .chars()
        .take(40)
        .map(|c| if is_allowed(c, place) { c } else { '_' })
        .collect();
    let stem = stem.trim_matches([' ', '_']);
    match (stem.is_empty(), place) {
        (false, _) => stem.to_owned(),
        (true, Place::Table) => "table".to_owned(),
        (true, Place::Column | Place::Member) => "field".to_owned(),
    }
}
