//! The change that every document starts from.
//!
//! It is a pure function of the document's [`Header`]: any peer makes the same bytes, so peers that create a document
//! apart from each other still merge cleanly, and a document certifies by itself which database and partition it is.

use crate::id::{BUCKETS, DatabaseId, DocumentId, Partition};
use automerge::transaction::{CommitOptions, Transactable as _};
use automerge::{
    ActorId, Automerge, AutomergeError, Change, ObjId, ObjType, ROOT, ReadDoc as _, hydrate,
};
use std::collections::HashMap;
use std::num::NonZeroU64;

/// The version of the layout on disk and on the wire that this code reads and writes.
pub const FORMAT: u64 = 1;

/// The genesis change's actor; no replica has it.
const GENESIS_ACTOR: [u8; 16] = [0; 16];
/// The op counters that the genesis gives to the bucket maps: after the header map with its six fields, and `records`.
const FIRST_BUCKET_OP: u64 = 9;

/// What a document is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Header {
    /// The root document of a database, with its catalog.
    Catalog(DatabaseId),
    /// One partition of a collection.
    Partition(DatabaseId, Partition),
}

impl Header {
    /// The id under which this document is stored and synced.
    pub fn document(&self) -> DocumentId {
        match self {
            Self::Catalog(database) => database.root(),
            Self::Partition(database, partition) => partition.document(database),
        }
    }

    /// The genesis change, the same bytes for everyone.
    pub fn genesis(&self) -> Result<Change, AutomergeError> {
        self.create().map(|(genesis, _)| genesis)
    }

    /// The genesis change, and a document that holds nothing else.
    pub(crate) fn create(&self) -> Result<(Change, Automerge), AutomergeError> {
        let mut doc = Automerge::new().with_actor(ActorId::from(&GENESIS_ACTOR));
        let mut tx = doc.transaction();
        let (kind, database, collection, count, index) = match self {
            Self::Catalog(database) => ("catalog", database, "", 0, 0),
            Self::Partition(database, p) => (
                "partition",
                database,
                p.collection.as_str(),
                p.count,
                p.index,
            ),
        };
        let header = tx.put_object(ROOT, "headwater", ObjType::Map)?;
        tx.put(&header, "collection", collection)?;
        tx.put(&header, "count", u64::from(count))?;
        tx.put(&header, "database", database.as_bytes().to_vec())?;
        tx.put(&header, "format", FORMAT)?;
        tx.put(&header, "index", u64::from(index))?;
        tx.put(&header, "kind", kind)?;
        // Made at once, in the order of their names: one by one takes five times as long.
        let map = |map: HashMap<String, hydrate::Value>| hydrate::Value::Map(map.into());
        let buckets: HashMap<String, hydrate::Value> = (0..BUCKETS)
            .map(|bucket| (format!("{bucket:02x}"), map(HashMap::new())))
            .collect();
        let buckets = map(buckets);
        tx.batch_create_object(ROOT, "records", &buckets, false)?;
        tx.commit_with(CommitOptions::default().with_time(0));
        let genesis = doc.get_last_local_change().ok_or(AutomergeError::Fail)?;
        Ok((genesis, doc))
    }

    /// Reads the header out of a genesis change that came from outside; `None` if it is not one, to the byte.
    pub fn read(genesis: &Change) -> Option<Self> {
        if genesis.actor_id().to_bytes() != GENESIS_ACTOR || !genesis.deps().is_empty() {
            return None;
        }
        let mut doc = Automerge::new();
        doc.apply_changes([genesis.clone()]).ok()?;
        let (_, header) = doc.get(ROOT, "headwater").ok()??;
        let int = |name: &str| match doc.get(&header, name) {
            Ok(Some((value, _))) => value.as_u64(),
            _ => None,
        };
        let (database, _) = doc.get(&header, "database").ok()??;
        let database = DatabaseId::from_bytes(database.as_bytes()?.try_into().ok()?);
        let (kind, _) = doc.get(&header, "kind").ok()??;
        let found = match kind.as_str()? {
            "catalog" => Self::Catalog(database),
            "partition" => {
                let (collection, _) = doc.get(&header, "collection").ok()??;
                let partition = Partition {
                    collection: collection.as_str()?.to_owned(),
                    count: int("count")?.try_into().ok()?,
                    index: int("index")?.try_into().ok()?,
                };
                let fits = partition.index < partition.count;
                fits.then_some(Self::Partition(database, partition))?
            }
            _ => return None,
        };
        (found.genesis().ok()?.hash() == genesis.hash()).then_some(found)
    }
}

/// The map that holds the records of `bucket`. It is addressed by the op that made it, so that nothing written to the
/// names above it can hide the records.
pub(crate) fn bucket_object(bucket: u8) -> ObjId {
    ObjId::Id(
        FIRST_BUCKET_OP + u64::from(bucket),
        ActorId::from(&GENESIS_ACTOR),
        0,
    )
}

/// The bucket that the op `counter` of `actor` made, if it is one.
pub(crate) fn bucket_of_object(counter: u64, actor: &ActorId) -> Option<u8> {
    let bucket = counter.checked_sub(FIRST_BUCKET_OP)?;
    (bucket < u64::from(BUCKETS) && actor.to_bytes() == GENESIS_ACTOR).then_some(bucket as u8)
}

/// Whether `change` is the first of its document: without dependencies.
pub fn is_first(change: &Change) -> bool {
    change.deps().is_empty() && change.start_op() == NonZeroU64::MIN
}
