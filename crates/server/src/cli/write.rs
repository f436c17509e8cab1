//! Writing many records, with a bar that shows how far it is.

use super::output;
use anyhow::Context as _;
use headwater::{Collection, Record, Written};

/// How many records are handed over at once.
const BATCH: usize = 1000;

/// How records are written.
pub(super) struct Writer<'a> {
    /// Where to.
    pub target: Collection,
    /// How many there are.
    pub records: u64,
    /// Whether to find out only what would be written.
    pub dry_run: bool,
    /// What to do again if not all could be written.
    pub again: &'a str,
}

impl Writer<'_> {
    pub async fn write<E>(
        &self,
        mut records: impl Iterator<Item = Result<(String, Record), E>>,
    ) -> anyhow::Result<Written>
    where
        E: std::error::Error + Send + Sync + 'static,
    {
        let bar = output::record_bar("writing", self.records);
        let mut written = Written::default();
        loop {
            let batch: Vec<_> = records.by_ref().take(BATCH).collect::<Result<_, _>>()?;
            if batch.is_empty() {
                break;
            }
            let read = batch.len() as u64;
            let one = match self.dry_run {
                true => self.target.preview_put(batch),
                false => self.target.put_many(batch).await,
            };
            written += one.with_context(|| {
                let before = written.inserted + written.updated + written.unchanged;
                format!(
                    "{before} records are written; {} again to go on from there",
                    self.again
                )
            })?;
            bar.inc(read);
        }
        bar.finish_and_clear();
        Ok(written)
    }
}
