//! Field names as automerge map keys.
//!
//! Names that begin with `$` belong to Headwater: a user's `$x` is stored as `$$x`, and the empty name, which automerge
//! cannot hold, as `$`.

use crate::json;
use crate::value::Value;
use sha2::{Digest as _, Sha256};
use std::borrow::Cow;
use std::fmt::Write as _;

/// Marks a record as deleted by whoever wrote it.
pub(crate) const DELETED: &str = "$deleted";
/// Begins the entries of a counter; the rest is the actor that created the entry, in hexadecimal.
pub(crate) const COUNTER: &str = "$counter:";

/// Marks a map as a set, also when it is empty. It sorts before the elements.
pub(crate) const SET: &str = "$set";
/// Begins the elements of a set; the rest is a digest of the element.
pub(crate) const ITEM: &str = "$set:";

/// The name under which a set keeps an element.
pub(crate) fn item(value: &Value) -> String {
    let digest = Sha256::digest(json::value_to_json(value));
    let mut name = String::from(ITEM);
    for byte in digest.iter().take(16) {
        let _ = write!(name, "{byte:02x}");
    }
    name
}

/// A user's field name as it is stored.
pub(crate) fn stored(name: &str) -> Cow<'_, str> {
    if name.is_empty() {
        Cow::Borrowed("$")
    } else if name.starts_with('$') {
        Cow::Owned(format!("${name}"))
    } else {
        Cow::Borrowed(name)
    }
}

/// The user's field name of a stored one; `None` for Headwater's own.
pub(crate) fn shown(stored: &str) -> Option<&str> {
    match stored.strip_prefix('$') {
        None => Some(stored),
        Some("") => Some(""),
        Some(rest) if rest.starts_with('$') => Some(rest),
        Some(_) => None,
    }
}
