//! What a writer asks for, and why it can be refused.

use crate::value::{MAX_DEPTH, Record, Value};
use automerge::ActorId;
use std::collections::BTreeMap;
use std::fmt;

/// The longest record key, in bytes of UTF-8.
pub const MAX_KEY_BYTES: usize = 1024;
/// The largest record, counted as its canonical JSON would be, in bytes. A change must fit into one message.
pub const MAX_RECORD_BYTES: usize = 4 << 20;
/// What records that are put in one change may cost together, as [`put_cost`] counts.
pub const MAX_PUT_COST: usize = 8 << 20;

/// Edits by field name.
pub type Patch = BTreeMap<String, Edit>;

/// An edit of one field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Edit {
    /// Sets the field. A string set on a text is an edit of the text, an integer set on a counter an increment by the
    /// difference, a map set on a map replaces it field by field and a list set on a list changes what differs.
    Set(Value),
    /// Sets the field whatever its policy says of the value: how the value of a max or min field is taken back. What its
    /// writer has not seen still counts.
    Reset(Value),
    /// Removes the field.
    Remove,
    /// Adds elements to a set, which starts empty where there is none. One that is there already is added anew, so that it
    /// outlives a removal elsewhere.
    Add(Vec<Value>),
    /// Removes elements from a set.
    Discard(Vec<Value>),
    /// Adds to a counter, which starts at 0 where there is none.
    Increment(i64),
    /// Replaces `delete` characters of a text, from character `at`, with `insert`.
    Splice {
        /// The first character, from 0.
        at: usize,
        /// How many characters to remove.
        delete: usize,
        /// What to put there.
        insert: String,
    },
    /// Edits fields of a nested map, which starts empty where there is none.
    Merge(Patch),
    /// Replaces `delete` elements of a list, from element `at`, with `insert`.
    SpliceList {
        /// The first element, from 0.
        at: usize,
        /// How many elements to remove.
        delete: usize,
        /// What to put there.
        insert: Vec<Value>,
    },
}

/// Who writes, and when: claims that travel with the change and are shown to others.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WriteContext {
    /// Which application or job wrote, such as `import`.
    pub origin: Option<String>,
    /// Which person wrote.
    pub user: Option<String>,
    /// The writer's clock, milliseconds since 1970.
    pub at: i64,
}

/// Who made a change: the user it claims or, if it claims none, the store that it comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Author {
    /// This user, on whatever device.
    User(String),
    /// Whoever wrote into this store: the first 8 bytes of the change's actor, fewer if it has fewer.
    Store(Vec<u8>),
}

impl Author {
    pub(crate) fn of(user: Option<&str>, actor: &ActorId) -> Self {
        match user {
            Some(user) => Self::User(user.to_owned()),
            None => Self::store(actor),
        }
    }

    fn store(actor: &ActorId) -> Self {
        Self::Store(actor.to_bytes().iter().take(8).copied().collect())
    }

    /// Whether a writer, by the user they claim and their actor, is this author.
    pub(crate) fn is(&self, user: Option<&str>, actor: &ActorId) -> bool {
        match self {
            Self::User(author) => user == Some(author),
            Self::Store(_) => *self == Self::store(actor),
        }
    }
}

impl fmt::Display for Author {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::User(user) => write!(f, "the user {user:?}"),
            Self::Store(store) => {
                f.write_str("the store ")?;
                store.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
        }
    }
}

/// Why a write was refused. Nothing was changed.
#[derive(Debug, Clone, thiserror::Error)]
pub enum WriteError {
    /// The key is empty or too long.
    #[error("the key {key:?} has {bytes} bytes; a key has 1 to {MAX_KEY_BYTES}")]
    Key {
        /// The beginning of the key.
        key: String,
        /// Its length.
        bytes: usize,
    },
    /// The collection's name cannot be used.
    #[error("{name:?} cannot name a collection: use 1 to 200 bytes without control characters")]
    CollectionName {
        /// The name.
        name: String,
    },
    /// A declaration that makes no sense.
    #[error("a collection has 1 to {max} partitions, not {found}", max = crate::catalog::MAX_PARTITIONS)]
    Partitions {
        /// The count that was asked for.
        found: u32,
    },
    /// A patch or delete of a record that is not there.
    #[error("{collection} has no record {key:?}; use put to create it")]
    NotFound {
        /// The collection.
        collection: String,
        /// The key.
        key: String,
    },
    /// A value does not fit the field's declared type.
    #[error("field {field:?} is declared {declared}, and {found} does not fit it without loss")]
    TypeMismatch {
        /// The field.
        field: String,
        /// Its declared type.
        declared: String,
        /// The kind of the value.
        found: &'static str,
    },
    /// An edit that the field's present value does not have.
    #[error(
        "field {field:?} holds {found}, which cannot {edit}; set the field, or declare its type"
    )]
    WrongKind {
        /// The field.
        field: String,
        /// What it holds.
        found: &'static str,
        /// What was asked of it.
        edit: &'static str,
    },
    /// What was to be settled is not open, or not any more.
    #[error(
        "{key:?} has no open conflict of that kind in {field:?}; look again at what is open: someone may have settled it"
    )]
    NothingToSettle {
        /// The record.
        key: String,
        /// The field, with dots; empty for the record itself.
        field: String,
    },
    /// A change that is not in the collection.
    #[error("the change {change} is none of this collection's, or is not here yet")]
    NothingToUndo {
        /// Its hash.
        change: String,
    },
    /// A change that someone else made.
    #[error(
        "the change {change} was made by {author}, who alone can undo it; write what should stand instead"
    )]
    NotTheAuthor {
        /// Its hash.
        change: String,
        /// Who made it, as it claims.
        author: Author,
    },
    /// A record was to become something else.
    #[error("the record {key:?} can only be settled with a record, not with a {found}")]
    NotARecord {
        /// The record.
        key: String,
        /// The kind of the value.
        found: &'static str,
    },
    /// A splice beyond the end.
    #[error(
        "field {field:?} has {length} elements or characters; {at} + {delete} is beyond its end"
    )]
    OutOfRange {
        /// The field.
        field: String,
        /// How long it is.
        length: usize,
        /// Where the splice begins.
        at: usize,
        /// How much it removes.
        delete: usize,
    },
    /// A counter would leave 64 bits.
    #[error("the counter {field:?} would leave the range of 64-bit integers")]
    CounterOverflow {
        /// The field.
        field: String,
    },
    /// Nested too deep.
    #[error("field {field:?} nests deeper than {MAX_DEPTH} levels; flatten the record")]
    TooDeep {
        /// The field.
        field: String,
    },
    /// Too large for one change.
    #[error("the record {key:?} has {bytes} bytes; the most is {MAX_RECORD_BYTES}. Split it")]
    TooLarge {
        /// The key.
        key: String,
        /// Its size.
        bytes: usize,
    },
    /// More operations than other peers take in one change.
    #[error(
        "the write to {collection} is {ops} operations in one change, and {max} is the most; a character of a text, an \
         element of a list and a field are one each. Split it, or keep long texts as strings"
    )]
    TooManyOperations {
        /// The collection.
        collection: String,
        /// How many operations it is.
        ops: u64,
        /// The most.
        max: u64,
    },
    /// The record is not as it was at the version that the writer gave.
    #[error(
        "{collection} {key:?} has changed since the version that this write gives; read it again, or write with if_changed=merge"
    )]
    Changed {
        /// The collection.
        collection: String,
        /// The key.
        key: String,
    },
    /// A version that this database did not give for the record.
    #[error(
        "{collection} {key:?} never had the version that this write gives; read the record again"
    )]
    UnknownVersion {
        /// The collection.
        collection: String,
        /// The key.
        key: String,
    },
    /// Several writes of one record in one transaction.
    #[error("{collection} {key:?} is written twice; write each record once")]
    Repeated {
        /// The collection.
        collection: String,
        /// The key.
        key: String,
    },
    /// One of several writes that are made together or not at all.
    #[error("write {index} (from 0) cannot be done, so none was: {source}")]
    OneOf {
        /// Which one, from 0.
        index: usize,
        /// Why.
        source: Box<WriteError>,
    },
    /// The document could not take the change: a defect of ours.
    #[error("internal error while writing {key:?}: {source}")]
    Internal {
        /// The key.
        key: String,
        /// What automerge said.
        source: std::sync::Arc<automerge::AutomergeError>,
    },
}

/// Whether `record` can be stored under `key`: what a put would refuse for their own sake, whatever the database holds.
pub fn check_put(key: &str, record: &Record) -> Result<(), WriteError> {
    check_key(key)?;
    check_record(key, record)
}

pub(crate) fn check_key(key: &str) -> Result<(), WriteError> {
    if key.is_empty() || key.len() > MAX_KEY_BYTES {
        return Err(WriteError::Key {
            key: key.chars().take(40).collect(),
            bytes: key.len(),
        });
    }
    Ok(())
}

pub(crate) fn check_collection(name: &str) -> Result<(), WriteError> {
    if name.is_empty() || name.len() > 200 || name.chars().any(char::is_control) {
        let name = name.chars().take(40).collect();
        return Err(WriteError::CollectionName { name });
    }
    Ok(())
}

pub(crate) fn check_record(key: &str, record: &Record) -> Result<(), WriteError> {
    for (field, value) in record {
        check_value(field, value, 0)?;
    }
    check_size(key, record_bytes(record))
}

fn record_bytes(record: &Record) -> usize {
    record.iter().map(|(n, v)| n.len() + 4 + weight(v)).sum()
}

/// How much room a record takes in the change that puts it: its bytes, and 8 for each operation. Records of together at
/// most [`MAX_PUT_COST`] fit into one change.
pub fn put_cost(record: &Record) -> usize {
    fn ops(value: &Value) -> usize {
        1 + match value {
            Value::Text(text) => text.chars().count(),
            Value::List(items) => items.iter().map(ops).sum(),
            Value::Map(map) => map.values().map(ops).sum(),
            _ => 1,
        }
    }
    record_bytes(record) + 8 * record.values().map(ops).sum::<usize>()
}

/// Checks a patch; gives its size in bytes.
pub(crate) fn check_patch(key: &str, patch: &Patch) -> Result<usize, WriteError> {
    fn size(patch: &Patch, depth: usize) -> Result<usize, WriteError> {
        let mut bytes = 0;
        for (field, edit) in patch {
            bytes += field.len() + 4;
            bytes += match edit {
                Edit::Set(value) | Edit::Reset(value) => {
                    check_value(field, value, depth)?;
                    weight(value)
                }
                Edit::Splice { insert, .. } => insert.len(),
                Edit::SpliceList { insert, .. } | Edit::Add(insert) | Edit::Discard(insert) => {
                    insert
                        .iter()
                        .try_for_each(|v| check_value(field, v, depth + 1))?;
                    insert.iter().map(weight).sum()
                }
                Edit::Merge(_) if depth >= MAX_DEPTH => {
                    let field = field.clone();
                    return Err(WriteError::TooDeep { field });
                }
                Edit::Merge(patch) => size(patch, depth + 1)?,
                Edit::Remove | Edit::Increment(_) => 8,
            };
        }
        Ok(bytes)
    }
    let bytes = size(patch, 0)?;
    check_size(key, bytes)?;
    Ok(bytes)
}

fn check_size(key: &str, bytes: usize) -> Result<(), WriteError> {
    if bytes > MAX_RECORD_BYTES {
        let key = key.to_owned();
        return Err(WriteError::TooLarge { key, bytes });
    }
    Ok(())
}

/// Checks a value that stands `depth` levels below the record's fields.
fn check_value(field: &str, value: &Value, depth: usize) -> Result<(), WriteError> {
    if depth + value.depth() > MAX_DEPTH {
        let field = field.to_owned();
        return Err(WriteError::TooDeep { field });
    }
    Ok(())
}

fn weight(value: &Value) -> usize {
    match value {
        Value::Null | Value::Bool(_) => 5,
        Value::Int(_) | Value::Uint(_) | Value::Float(_) | Value::Counter(_) => 12,
        Value::Timestamp(_) => 24,
        Value::String(s) | Value::Text(s) => s.len() + 2,
        Value::Bytes(b) => b.len() * 4 / 3 + 16,
        Value::List(items) => items.iter().map(|item| 1 + weight(item)).sum(),
        Value::Map(map) => map.iter().map(|(n, v)| n.len() + 4 + weight(v)).sum(),
    }
}
