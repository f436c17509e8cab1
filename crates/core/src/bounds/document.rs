//! Document chunks.

use automerge::ChangeHash;

use super::chunk::Budget;
use super::{BoundsError, Reader, change};

/// Checks the content of a document chunk and returns the heads that it claims.
pub(super) fn check(body: &[u8], budget: &mut Budget<'_>) -> Result<Vec<ChangeHash>, BoundsError> {
    let limits = budget.limits;
    let mut reader = Reader::new(body);
    for _ in 0..reader.count(1)? {
        change::actor(&mut reader, limits)?;
    }
    change::hashes(&mut reader, limits)
}
