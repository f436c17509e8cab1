//! Requests that may come again, and are done once.
//!
//! Before the writes are made it is on the disk that the request came and what the documents were then; the changes
//! carry the request's name. So whenever the server is killed, the next time the request comes it is known what it wrote: if its
//! changes are there, they are found by their name, and the answer follows from them; if not, nothing was written.

use super::super::problem::Problem;
use super::Answer;
use super::state::{REQUEST_AGES, REQUESTS, State};
use axum::http::StatusCode;
use headwater::{Database, DocumentId, KeyWrite, Transaction, Version};
use redb::{Database as Store, ReadableTable as _, ReadableTableMetadata as _};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;

/// How long a request is known, in milliseconds.
const KEPT_MS: i64 = 24 * 3600 * 1000;
/// How many are; above it the oldest are forgotten.
const KEPT: u64 = 100_000;
/// How many are forgotten at once, so that no request waits long for it.
const FORGOTTEN: usize = 100;

type Heads = BTreeMap<DocumentId, Vec<automerge::ChangeHash>>;

/// A request that carries a key.
#[derive(Debug, Clone)]
pub(super) struct Keyed {
    /// Under which it is kept.
    name: String,
    /// SHA-256 of its body.
    body: String,
}

impl Keyed {
    pub fn new(database: &Database, token: Option<&str>, key: &str, body: &[u8]) -> Self {
        let token = hex(&Sha256::digest(token.unwrap_or_default()));
        Self {
            name: format!("{}\0{token}\0{key}", database.id()),
            body: hex(&Sha256::digest(body)),
        }
    }

    /// What its changes carry: nothing that could be known elsewhere as the sender's key.
    fn request(&self) -> String {
        let mut hash = Sha256::new_with_prefix(b"headwater/request/1\0");
        hash.update(&self.name);
        hash.update(&self.body);
        hex(&hash.finalize()[..16])
    }
}

/// What is kept of a request.
#[derive(Debug, Serialize, Deserialize)]
struct Kept {
    body: String,
    /// When it came, in milliseconds since 1970.
    at: i64,
    /// The heads of its database then.
    before: BTreeMap<String, Vec<String>>,
    /// The latest changes that it made, once that is known.
    made: Option<BTreeMap<String, Vec<String>>>,
}

/// What became of a request.
pub(super) struct Outcome {
    pub writes: Vec<KeyWrite>,
    pub versions: Vec<Version>,
    pub replayed: bool,
}

impl State {
    /// Makes the writes of a request, unless that was done before; then says what came of it.
    pub(super) async fn once(
        &self,
        keyed: Keyed,
        writer: &Database,
        mut transaction: Transaction,
    ) -> Answer<Outcome> {
        let _alone = self.lock(&keyed.name).await;
        let request = keyed.request();
        let now = transaction.context.at;
        if let Some(kept) = self.kept(&keyed, now).await? {
            let before = heads_of(&kept.before);
            let made = match &kept.made {
                Some(made) => Some(heads_of(made)),
                None => {
                    let (request, before) = (request.clone(), before.clone());
                    let find =
                        move |core: &headwater_core::Database| core.made_for(&request, &before);
                    let found = writer.inspect_durable(find).await?;
                    (!found.is_empty()).then_some(found)
                }
            };
            if let Some(made) = made {
                return Ok(outcome(writer, transaction, &before, &made));
            }
        }
        let before = writer.inspect_durable(|core| core.heads()).await?;
        let mut kept = Kept {
            body: keyed.body.clone(),
            at: now,
            before: text_of(&before),
            made: None,
        };
        self.keep(&keyed, &kept, redb::Durability::Immediate)
            .await?;
        transaction.request = Some(request.clone());
        let writes = transaction.writes.clone();
        let (_, versions) = match writer.transact(transaction).await {
            Ok(done) => done,
            Err(error) => {
                if let headwater::Error::Write(_) = error {
                    // It was refused and changed nothing, so it may come again with another body.
                    self.forget(&keyed, now).await?;
                }
                return Err(error.into());
            }
        };
        let since = before.clone();
        let made = writer.inspect(|core| core.made_for(&request, &since));
        kept.made = Some(text_of(&made));
        // Were it lost, it would be found again by the changes, if there are any.
        let lazily = match made.is_empty() {
            true => redb::Durability::Immediate,
            false => redb::Durability::None,
        };
        if self.keep(&keyed, &kept, lazily).await.is_err() {
            tracing::warn!("what a request wrote is not noted; it is found by its changes");
        }
        Ok(Outcome {
            writes,
            versions,
            replayed: false,
        })
    }

    async fn kept(&self, keyed: &Keyed, now: i64) -> Answer<Option<Kept>> {
        let found = self.get(REQUESTS, keyed.name.clone()).await?;
        let kept: Option<Kept> = found.and_then(|bytes| serde_json::from_slice(&bytes).ok());
        let kept = kept.filter(|kept| now - kept.at < KEPT_MS);
        match kept {
            Some(kept) if kept.body != keyed.body => {
                let message = "this Idempotency-Key came before with another body; choose a new key for each request";
                let status = StatusCode::UNPROCESSABLE_ENTITY;
                Err(Problem::new(status, "idempotency-mismatch", message))
            }
            kept => Ok(kept),
        }
    }

    async fn keep(&self, keyed: &Keyed, kept: &Kept, durability: redb::Durability) -> Answer<()> {
        let (name, at) = (keyed.name.clone(), kept.at);
        let bytes = serde_json::to_vec(kept).map_err(Problem::internal)?;
        let write = move |store: &Store| {
            let mut transaction = store.begin_write()?;
            transaction.set_durability(durability)?;
            {
                let mut requests = transaction.open_table(REQUESTS)?;
                let mut ages = transaction.open_table(REQUEST_AGES)?;
                requests.insert(&*name, &*bytes)?;
                ages.insert((at, &*name), ())?;
                let excess = requests.len()?.saturating_sub(KEPT) as usize;
                let mut old = Vec::new();
                for (number, one) in ages.iter()?.take(FORGOTTEN).enumerate() {
                    let (came, name) = {
                        let key = one?.0;
                        let (came, name) = key.value();
                        (came, name.to_owned())
                    };
                    if number < excess || at - came >= KEPT_MS {
                        old.push((came, name));
                    }
                }
                for (came, name) in old {
                    ages.remove((came, &*name))?;
                    let last = requests
                        .get(&*name)?
                        .and_then(|kept| serde_json::from_slice::<Kept>(kept.value()).ok());
                    // It may have come again since.
                    if last.is_none_or(|last| last.at == came) {
                        requests.remove(&*name)?;
                    }
                }
            }
            transaction.commit()?;
            Ok(())
        };
        self.with(write).await
    }

    async fn forget(&self, keyed: &Keyed, at: i64) -> Answer<()> {
        let name = keyed.name.clone();
        let write = move |store: &Store| {
            let transaction = store.begin_write()?;
            transaction.open_table(REQUESTS)?.remove(&*name)?;
            transaction.open_table(REQUEST_AGES)?.remove((at, &*name))?;
            transaction.commit()?;
            Ok(())
        };
        self.with(write).await
    }
}

fn outcome(writer: &Database, transaction: Transaction, before: &Heads, made: &Heads) -> Outcome {
    let writes = transaction.writes;
    let versions = writer.inspect(|core| {
        let versions = writes
            .iter()
            .map(|write| core.version_after(write, before, made));
        versions.collect()
    });
    Outcome {
        writes,
        versions,
        replayed: true,
    }
}

fn text_of(heads: &Heads) -> BTreeMap<String, Vec<String>> {
    let text = |(id, heads): (&DocumentId, &Vec<automerge::ChangeHash>)| {
        (
            id.to_string(),
            heads.iter().map(ToString::to_string).collect(),
        )
    };
    heads.iter().map(text).collect()
}

fn heads_of(text: &BTreeMap<String, Vec<String>>) -> Heads {
    let heads = |(id, heads): (&String, &Vec<String>)| {
        let heads = heads.iter().filter_map(|head| head.parse().ok());
        Some((id.parse().ok()?, heads.collect()))
    };
    text.iter().filter_map(heads).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
