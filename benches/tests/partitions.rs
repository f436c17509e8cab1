//! Partitions that grow in number lose nothing.

use anyhow::Result;
use headwater_bench::partitions;

#[test]
fn partitions_that_two_offline_peers_let_grow_lose_no_edit_and_no_record() -> Result<()> {
    let found = partitions::run(2_000, 40)?;
    // Every tenth turn of both creates a record, the same one.
    assert_eq!((found.edits, found.records), (1_800, 40 + 100));
    Ok(())
}
