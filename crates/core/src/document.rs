//! One automerge document of a database: taking in changes from outside, and making changes.

use crate::bounds::{BoundsError, Checker, Content, Guard, Limits};
use crate::edit::WriteContext;
use crate::genesis::{Header, is_first};
use crate::step::Step;
use automerge::transaction::CommitOptions;
use automerge::{ActorId, Automerge, AutomergeError, Change, ChangeHash, PatchLog, ReadDoc as _};
use serde::{Deserialize, Serialize};
use std::collections::HashSet;

/// Why bytes from outside were refused. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum DocumentError {
    /// The bytes break a bound or are malformed; their sender is at fault.
    #[error("the sender's bytes were refused: {0}")]
    Bounds(#[from] BoundsError),
    /// automerge refused the bytes; their sender is at fault.
    #[error("the sender's changes cannot be read: {0}")]
    Malformed(String),
    /// The document does not begin with the genesis change that its id demands.
    #[error(
        "the document {document} cannot be placed in database {database}: {reason}. Create documents through Headwater, or \
         connect to a server that was started with --allow-plain"
    )]
    Unplaceable {
        /// Which document.
        document: crate::DocumentId,
        /// Where it was offered.
        database: crate::DatabaseId,
        /// What is wrong with it.
        reason: &'static str,
    },
}

/// What a change says of its making, in its message. Claims of the writer, not facts.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Provenance {
    /// Which application or job wrote.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<String>,
    /// Which person wrote.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// The writer's clock, milliseconds since 1970.
    #[serde(default)]
    pub at: i64,
}

impl Provenance {
    /// Of a change; whatever else its message holds, there is at least its time.
    pub fn of(change: &Change) -> Self {
        Self::read(change.message(), change.timestamp())
    }

    /// Of a change's message and its time in seconds.
    pub(crate) fn read(message: Option<&str>, seconds: i64) -> Self {
        message
            .and_then(|message| serde_json::from_str(message).ok())
            .unwrap_or_else(|| Self {
                at: seconds.saturating_mul(1000),
                ..Self::default()
            })
    }
}

/// What a change's message holds: its provenance, and whatever else it has to say. Older readers leave out what they do not know.
#[derive(Serialize, Deserialize)]
struct Message {
    #[serde(flatten)]
    provenance: Provenance,
    /// The change of the same document that this one takes back, in hexadecimal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    undoes: Option<String>,
    /// The request that it was made for, by which that is found again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    request: Option<String>,
}

/// The request that a change with this message was made for, as it claims.
pub(crate) fn made_for(message: Option<&str>) -> Option<String> {
    let message = message.filter(|message| message.contains("\"request\""))?;
    let message: Message = serde_json::from_str(message).ok()?;
    message.request
}

/// How steps become a change, beside what they do.
#[derive(Clone, Copy)]
pub(crate) struct Making<'a> {
    pub actor: &'a ActorId,
    pub context: &'a WriteContext,
    /// The change that they take back.
    pub undoes: Option<ChangeHash>,
    /// The request that they are made for.
    pub request: Option<&'a str>,
    /// What their writer had seen, if not all that there is. The actor must be a fresh one then.
    pub seen: Option<&'a [ChangeHash]>,
}

/// The change that a change with this message takes back, as it claims.
pub(crate) fn undone_by(message: Option<&str>) -> Option<ChangeHash> {
    let message = message.filter(|message| message.contains("\"undoes\""))?;
    let message: Message = serde_json::from_str(message).ok()?;
    message.undoes?.parse().ok()
}

/// The chunks of bytes from outside, read.
#[derive(Default)]
pub(crate) struct Parsed {
    /// The longest whole document among the chunks.
    pub whole: Option<Whole>,
    /// The changes of all others.
    pub changes: Vec<Change>,
}

impl Parsed {
    /// The changes that follow no other: a document has one.
    pub fn first(&self) -> impl Iterator<Item = &Change> {
        let of_whole = self.whole.iter().flat_map(|whole| &whole.first);
        of_whole.chain(&self.changes).filter(|it| is_first(it))
    }
}

/// A document that came as one chunk. Making the changes of a long history takes as long as loading it, and more memory.
pub(crate) struct Whole {
    pub doc: Automerge,
    /// The changes that follow no other.
    pub first: Vec<Change>,
    /// How many changes it has.
    pub len: usize,
    /// Which of the chunks it is.
    pub chunk: usize,
}

impl Whole {
    fn load(bytes: &[u8], chunk: usize) -> Result<Self, AutomergeError> {
        let doc = Automerge::load(bytes)?;
        let changes = doc.get_changes_meta(&[]);
        let len = changes.len();
        let first = changes.into_iter().filter(|change| change.deps.is_empty());
        let first: Vec<ChangeHash> = first.map(|change| change.hash).collect();
        let first = first.iter().filter_map(|it| doc.get_change_by_hash(it));
        Ok(Self {
            first: first.collect(),
            doc,
            len,
            chunk,
        })
    }
}

/// Reads checked change and document chunks. Costs nothing before the bounds are checked.
pub(crate) fn parse(chunks: &[&[u8]], limits: &Limits) -> Result<Parsed, DocumentError> {
    let mut parsed = Parsed::default();
    let mut checker = Checker::new(limits);
    for chunk in chunks {
        checker.check(chunk)?;
    }
    for (index, chunk) in checker.finish().chunks.into_iter().enumerate() {
        match chunk.content {
            Content::Change(_) => parsed.changes.push(
                Change::try_from(chunk.bytes)
                    .map_err(|error| DocumentError::Malformed(error.to_string()))?,
            ),
            Content::Document { .. } => {
                let loaded = Whole::load(chunk.bytes, index)
                    .map_err(|error| DocumentError::Malformed(error.to_string()))?;
                let shorter = match &mut parsed.whole {
                    Some(longest) if longest.len >= loaded.len => Some(loaded),
                    longest => longest.replace(loaded),
                };
                let changes = shorter.map(|whole| whole.doc.get_changes(&[]));
                parsed.changes.extend(changes.into_iter().flatten());
            }
        }
    }
    Ok(parsed)
}

/// A document with its genesis and the changes since.
#[derive(Debug, Clone)]
pub(crate) struct Document {
    pub genesis: Change,
    pub doc: Automerge,
    guard: Guard,
}

impl Document {
    pub fn new(header: &Header) -> Result<Self, AutomergeError> {
        header.create().map(Self::created)
    }

    /// One that holds nothing but this genesis.
    pub fn created((genesis, doc): (Change, Automerge)) -> Self {
        Self {
            genesis,
            doc,
            guard: Guard::default(),
        }
    }

    /// Those of `changes` that the document does not have, if they may all belong to it.
    pub fn unknown(&self, changes: Vec<Change>) -> Result<Vec<Change>, &'static str> {
        let mut seen = HashSet::new();
        let mut unknown = Vec::new();
        for change in changes {
            if change.deps().is_empty() && change.hash() != self.genesis.hash() {
                return Err("it holds a change that does not descend from its genesis");
            }
            if seen.insert(change.hash())
                && self.doc.get_change_meta_by_hash(&change.hash()).is_none()
            {
                unknown.push(change);
            }
        }
        Ok(unknown)
    }

    /// Applies changes that fit the document. Those whose dependencies are missing wait inside automerge. Returns those that
    /// are in it now and were not before, each after those that it depends on.
    pub fn apply(&mut self, changes: Vec<Change>) -> Result<Vec<Change>, DocumentError> {
        self.guard
            .apply(&mut self.doc, changes)
            .map_err(|error| DocumentError::Malformed(error.to_string()))
    }

    /// Applies changes from storage, which were checked when they came in.
    pub fn restore(&mut self, changes: Vec<Change>) -> Result<(), DocumentError> {
        self.doc
            .apply_changes(changes)
            .map_err(|error| DocumentError::Malformed(error.to_string()))
    }

    /// Checks that [`apply`](Self::apply) will take all of `changes`, if they are given to it in causal order.
    pub fn check(&mut self, changes: &[Change]) -> Result<(), DocumentError> {
        match self.guard.check(&mut self.doc, changes) {
            Ok(_) => Ok(()),
            Err(error) => Err(DocumentError::Malformed(error.to_string())),
        }
    }

    /// Whether a document holds everything that this one has.
    pub fn is_in(&self, whole: &Automerge) -> bool {
        let ours = self.doc.get_heads();
        ours.iter()
            .all(|head| whole.get_change_meta_by_hash(head).is_some())
    }

    /// Takes over a whole document that holds everything that this one has, which is much faster than applying its changes.
    pub fn swap(&mut self, whole: Automerge) {
        self.doc = whole;
        self.guard.replaced(&mut self.doc);
    }

    /// Goes back to `heads`, where it was before some of the changes that came together were applied. That reads the
    /// history anew, and what waited for others is dropped; only a peer that sends broken changes makes it necessary.
    pub fn rewind(&mut self, heads: &[ChangeHash]) {
        if self.doc.get_heads() != heads
            && let Ok(doc) = self.doc.fork_at(heads)
        {
            self.doc = doc;
            self.guard = Guard::default();
        }
    }

    /// Carries out `steps` as one change; `None` if there are none.
    pub fn commit(
        &mut self,
        steps: Vec<Step>,
        making: Making<'_>,
    ) -> Result<Option<Change>, AutomergeError> {
        if steps.is_empty() {
            return Ok(None);
        }
        let context = making.context;
        self.doc.set_actor(making.actor.clone());
        let provenance = Provenance {
            origin: context.origin.clone(),
            user: context.user.clone(),
            at: context.at,
        };
        let message = Message {
            provenance,
            undoes: making.undoes.map(|hash| hash.to_string()),
            request: making.request.map(str::to_owned),
        };
        // A struct of strings and integers always has a JSON form.
        let message = serde_json::to_string(&message).unwrap_or_default();
        let options = CommitOptions::default()
            .with_message(message)
            .with_time(context.at.div_euclid(1000));
        let mut tx = match making.seen {
            None => self.doc.transaction(),
            Some(heads) => self
                .doc
                .transaction_at(PatchLog::null(), heads)
                .map_err(|error| AutomergeError::InvalidActorId(error.to_string()))?,
        };
        for step in steps {
            // Leaving early drops the transaction, which rolls it back.
            step.run(&mut tx)?;
        }
        let (hash, _) = tx.commit_with(options);
        Ok(hash.and_then(|hash| self.doc.get_change_by_hash(&hash)))
    }

    pub fn heads(&self) -> Vec<ChangeHash> {
        self.doc.get_heads()
    }
}
