//! Field names as automerge map keys.
//!
//! Names that begin with `$` belong to Headwater: a user's `$x` is stored as `$$x`, and the empty name, which automerge
//! cannot hold, as `$`.

use std::borrow::Cow;

/// Marks a record as deleted by whoever wrote it.
pub(crate) const DELETED: &str = "$deleted";
/// Begins the entries of a counter; the rest is the actor that created the entry, in hexadecimal.
pub(crate) const COUNTER: &str = "$counter:";

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
