//! The change that every document starts from.
//!
//! It is a pure function of the document's [`Header`]: any peer makes the same bytes, so peers that create a document
//! apart from each other still merge cleanly, and a document certifies by itself which database and partition it is.

use crate::id::{BUCKETS, DatabaseId, DocumentId, Partition};
use automerge::legacy::{Key, OpType};
use automerge::transaction::{CommitOptions, Transactable as _};
use automerge::{
    ActorId, Automerge, AutomergeError, Change, ObjId, ObjType, ROOT, ScalarValue, hydrate,
};
use std::cell::RefCell;
use std::collections::HashMap;
use std::num::NonZeroU64;

/// The version of the layout on disk and on the wire that this code reads and writes.
pub const FORMAT: u64 = 1;

/// The genesis change's actor; no replica has it.
const GENESIS_ACTOR: [u8; 16] = [0; 16];
/// The header map and its six fields.
const HEADER_OPS: usize = 7;
/// The op counters that the genesis gives to the bucket maps: after the header map with its six fields, and `records`.
const FIRST_BUCKET_OP: u64 = 9;

/// How many documents that hold nothing but a genesis are kept.
const MADE_KEPT: usize = 8;

thread_local! {
    /// The last ones that were made: a peer that is opened makes the same again and again, and copying takes a fraction.
    static MADE: RefCell<Vec<(Header, Change, Automerge)>> = const { RefCell::new(Vec::new()) };
}

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
        let known = MADE.with_borrow(|made| made.iter().find(|(it, ..)| it == self).cloned());
        if let Some((_, genesis, doc)) = known {
            return Ok((genesis, doc));
        }
        let (genesis, doc) = self.make()?;
        MADE.with_borrow_mut(|made| {
            made.truncate(MADE_KEPT - 1);
            made.insert(0, (self.clone(), genesis.clone(), doc.clone()));
        });
        Ok((genesis, doc))
    }

    fn make(&self) -> Result<(Change, Automerge), AutomergeError> {
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
        Self::recreate(genesis).map(|(header, _, _)| header)
    }

    /// As [`Self::read`], with the genesis change and a document that holds nothing else.
    pub(crate) fn recreate(genesis: &Change) -> Option<(Self, Change, Automerge)> {
        if genesis.actor_id().to_bytes() != GENESIS_ACTOR || !genesis.deps().is_empty() {
            return None;
        }
        // Only the header's own operations are looked at: the hash tells of the rest.
        let decoded = genesis.decode();
        let operations = decoded.operations.iter().take(HEADER_OPS);
        let fields: HashMap<&str, &ScalarValue> = operations
            .filter_map(|op| match (&op.key, &op.action) {
                (Key::Map(name), OpType::Put(value)) => Some((name.as_str(), value)),
                _ => None,
            })
            .collect();
        let int = |name: &str| fields.get(name)?.as_u64()?.try_into().ok();
        let text = |name: &str| match fields.get(name)? {
            ScalarValue::Str(text) => Some(text.as_str()),
            _ => None,
        };
        let ScalarValue::Bytes(database) = fields.get("database")? else {
            return None;
        };
        let database = DatabaseId::from_bytes(database.as_slice().try_into().ok()?);
        let found = match text("kind")? {
            "catalog" => Self::Catalog(database),
            "partition" => {
                let partition = Partition {
                    collection: text("collection")?.to_owned(),
                    count: int("count")?,
                    index: int("index")?,
                };
                let fits = partition.index < partition.count;
                fits.then_some(Self::Partition(database, partition))?
            }
            _ => return None,
        };
        let (ours, doc) = found.create().ok()?;
        (ours.hash() == genesis.hash()).then_some((found, ours, doc))
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
