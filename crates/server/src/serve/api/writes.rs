//! Many writes at once, all or nothing, and once only if they carry a key.

use super::super::access::Access;
use super::super::endpoints::Shared;
use super::super::problem::Problem;
use super::Answer;
use super::extract::{At, Body, short_header};
use super::lookup::{self, Action};
use super::requests::{Keyed, Outcome};
use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::response::Json;
use headwater::json::{record_from_str, value_from_str};
use headwater::{Database, Edit, KeyChange, KeyWrite, Patch, Record, Transaction, Value, Version};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::sync::Arc;

/// How many writes a request has at most.
const MAX_WRITES: usize = 10_000;
/// By which a request is known when it is sent again.
const KEY: &str = "idempotency-key";
/// Says that an answer was given before.
const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");

/// What a write does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum Op {
    /// Makes the record equal to the value, creating it if needed.
    Put,
    /// Edits a record that is there, by a JSON merge patch.
    Patch,
    /// Deletes the record.
    Delete,
}

/// What becomes of a write if the record is not as it was at the version that it gives.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum IfChanged {
    /// It is concurrent with what came since, and the policies decide between the two.
    #[default]
    Merge,
    /// It fails. Without a version it fails if there is a record at all.
    Fail,
}

/// What becomes of a patch if the record is not there.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum IfMissing {
    /// It fails, and with it all writes of the request.
    #[default]
    Fail,
    /// Nothing: a record that was deleted meanwhile stays deleted.
    Skip,
}

/// One write.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct OneWrite {
    op: Op,
    collection: String,
    key: String,
    /// The record's fields, or the merge patch; none for a delete.
    #[schema(value_type = Option<Object>)]
    value: Option<Box<RawValue>>,
    /// The version that the writer had read.
    version: Option<String>,
    #[serde(default)]
    if_changed: IfChanged,
    /// For a patch only: a put creates the record, and a delete of none does nothing.
    if_missing: Option<IfMissing>,
}

/// What to write.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Writes {
    /// 1 to 10,000; each record can be written once.
    #[schema(min_items = 1, max_items = 10000)]
    writes: Vec<OneWrite>,
}

/// A record that was written.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct Written {
    pub collection: String,
    pub key: String,
    /// What its writer has seen of it now.
    pub version: String,
}

/// All records of a request, in its order.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct WrittenList {
    results: Vec<Written>,
}

/// Makes many writes together or not at all; they are durable when this answers.
///
/// With an `Idempotency-Key` the same request may be sent again for 24 hours, whatever became of the first: what it writes is
/// written once, and its answer comes again, with the header `Idempotency-Replayed: true`.
#[utoipa::path(post, path = "/v1/databases/{db}/writes", tag = "records",
    params(("db" = String, Path, description = "The database's id, or its name on this server"),
        ("Idempotency-Key" = Option<String>, Header, description = "Chosen by the sender for this request alone", min_length = 1, max_length = 128),
        ("Headwater-Origin" = Option<String>, Header, description = "The job or application that writes; `http` unless given", min_length = 1, max_length = 128)),
    request_body = Writes, responses((status = 200, body = WrittenList)))]
pub(super) async fn write(
    State(shared): State<Arc<Shared>>,
    access: Access,
    At(db): At<String>,
    headers: HeaderMap,
    body: Body,
) -> Answer<(HeaderMap, Json<WrittenList>)> {
    let database = lookup::database(&shared, &access, &db, Action::Write).await?;
    let writer = lookup::written_by(&database, &access, &headers)?;
    let sent: Writes = body.json()?;
    if sent.writes.is_empty() || sent.writes.len() > MAX_WRITES {
        let message = format!(
            "a request has 1 to {MAX_WRITES} writes, not {}; send others in another",
            sent.writes.len()
        );
        return Err(Problem::bad("bad-request", message));
    }
    let writes = sent.writes.iter().enumerate().map(|(index, one)| {
        let write = one.to_write();
        write.map_err(|problem| problem.with(serde_json::json!({ "index": index })))
    });
    let writes: Vec<KeyWrite> = writes.collect::<Result<_, _>>()?;
    let key = short_header(&headers, KEY)?;
    let keyed = key.map(|key| Keyed::new(&database, access.name(), &key, &body.0));
    // What has begun is done to its end, also if the sender goes away: else it could be done twice.
    let doing = tokio::spawn(async move { carry_out(&shared, &writer, writes, keyed).await });
    let (results, replayed) = doing.await.map_err(Problem::internal)??;
    let mut headers = HeaderMap::new();
    if replayed {
        headers.insert(REPLAYED, HeaderValue::from_static("true"));
    }
    Ok((headers, Json(WrittenList { results })))
}

async fn carry_out(
    shared: &Shared,
    writer: &Database,
    writes: Vec<KeyWrite>,
    keyed: Option<Keyed>,
) -> Answer<(Vec<Written>, bool)> {
    let transaction = Transaction {
        writes,
        context: writer.context(),
        request: None,
    };
    let (writes, versions, replayed) = match keyed {
        None => {
            let writes = transaction.writes.clone();
            let (_, versions) = writer.transact(transaction).await?;
            (writes, versions, false)
        }
        Some(keyed) => {
            let Outcome {
                writes,
                versions,
                replayed,
            } = shared.api.once(keyed, writer, transaction).await?;
            (writes, versions, replayed)
        }
    };
    let results = writes.into_iter().zip(versions);
    let written = |(write, version): (KeyWrite, Version)| Written {
        collection: write.collection,
        key: write.key,
        version: version.to_string(),
    };
    Ok((results.map(written).collect(), replayed))
}

impl OneWrite {
    fn to_write(&self) -> Answer<KeyWrite> {
        let value = self.value.as_deref().map(RawValue::get);
        let change = match (key_change(self.op, value)?, self.if_missing) {
            (KeyChange::Patch(patch), Some(IfMissing::Skip)) => KeyChange::PatchIfThere(patch),
            (change @ KeyChange::Patch(_), _) | (change, None) => change,
            (_, Some(_)) => {
                let message = "if_missing is for a patch: a put creates the record, and a delete of none does nothing";
                return Err(Problem::bad("bad-request", message));
            }
        };
        let version = self.version.as_deref();
        key_write(
            &self.collection,
            &self.key,
            change,
            version,
            self.if_changed,
        )
    }
}

/// What an operation does with its value.
pub(super) fn key_change(op: Op, value: Option<&str>) -> Answer<KeyChange> {
    let missing = || {
        Problem::bad(
            "bad-request",
            "a put or patch needs a value: an object with the record's fields",
        )
    };
    let bad = |error: &dyn std::fmt::Display| {
        Problem::bad("bad-record", format!("the value is not a record: {error}"))
    };
    Ok(match op {
        Op::Put => KeyChange::Put(
            record_from_str(value.ok_or_else(missing)?).map_err(|error| bad(&error))?,
        ),
        Op::Patch => {
            match value_from_str(value.ok_or_else(missing)?).map_err(|error| bad(&error))? {
                Value::Map(fields) => KeyChange::Patch(merge_patch(fields)),
                _ => return Err(missing()),
            }
        }
        Op::Delete if value.is_some() => {
            return Err(Problem::bad("bad-request", "a delete has no value"));
        }
        Op::Delete => KeyChange::Delete,
    })
}

/// A write as the core makes it.
pub(super) fn key_write(
    collection: &str,
    key: &str,
    change: KeyChange,
    version: Option<&str>,
    if_changed: IfChanged,
) -> Answer<KeyWrite> {
    let version: Option<Version> = match version {
        None => None,
        Some(text) => Some(
            text.parse()
                .map_err(|error: headwater_core::ParseVersionError| {
                    Problem::bad("bad-version", error.to_string())
                })?,
        ),
    };
    let creates = matches!(change, KeyChange::Put(_));
    if if_changed == IfChanged::Fail && version.is_none() && !creates {
        let message = "if_changed=fail needs the version that was read";
        return Err(Problem::bad("bad-request", message));
    }
    Ok(KeyWrite {
        collection: collection.to_owned(),
        key: key.to_owned(),
        change,
        version,
        unchanged: if_changed == IfChanged::Fail,
    })
}

/// Makes one write, which is durable then.
pub(super) async fn write_one(writer: &Database, write: KeyWrite) -> Answer<Written> {
    let transaction = Transaction {
        writes: vec![write.clone()],
        context: writer.context(),
        request: None,
    };
    let done = writer.transact(transaction).await;
    let (_, versions) = done.map_err(Problem::of_one)?;
    let version = versions.first().map(ToString::to_string);
    Ok(Written {
        collection: write.collection,
        key: write.key,
        version: version.unwrap_or_default(),
    })
}

fn merge_patch(fields: Record) -> Patch {
    let edit = |value| match value {
        Value::Null => Edit::Remove,
        Value::Map(fields) => Edit::Merge(merge_patch(fields)),
        value => Edit::Set(value),
    };
    fields
        .into_iter()
        .map(|(name, value)| (name, edit(value)))
        .collect()
}
