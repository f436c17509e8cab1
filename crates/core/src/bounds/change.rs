//! Change chunks.

use automerge::{ActorId, ChangeHash};

use super::chunk::{Budget, at_most};
use super::{BoundsError, ChangeHeader, Limits, Reader};

/// Checks the content of a change chunk.
pub(super) fn check(
    body: &[u8],
    hash: ChangeHash,
    budget: &mut Budget<'_>,
) -> Result<ChangeHeader, BoundsError> {
    let limits = budget.limits;
    let mut reader = Reader::new(body);
    let deps = hashes(&mut reader, limits)?;
    let actor = actor(&mut reader, limits)?;
    let seq = reader.unsigned()?;
    let start_op = reader.unsigned()?;
    reader.signed()?;
    let ops = 0;
    budget.spend(1, ops)?;
    Ok(ChangeHeader {
        hash,
        actor,
        seq,
        start_op,
        ops,
        deps,
    })
}

/// A list of hashes.
pub(super) fn hashes(
    reader: &mut Reader<'_>,
    limits: &Limits,
) -> Result<Vec<ChangeHash>, BoundsError> {
    let count = reader.count(32)?;
    at_most("hashes", count as u64, limits.hashes as u64)?;
    (0..count)
        .map(|_| Ok(ChangeHash(reader.array()?)))
        .collect()
}

/// An actor id.
pub(super) fn actor(reader: &mut Reader<'_>, limits: &Limits) -> Result<ActorId, BoundsError> {
    let bytes = reader.prefixed()?;
    at_most(
        "bytes of an actor id",
        bytes.len() as u64,
        limits.actor_bytes as u64,
    )?;
    Ok(ActorId::from(bytes))
}
