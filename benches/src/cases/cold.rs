//! How soon a new client has a large document.

use super::{Findings, milliseconds};
use crate::client::Client;
use crate::edits;
use crate::fanout::{document_id, within};
use anyhow::{Result, ensure};
use automerge::sync::{Message, State, SyncDoc};
use automerge::{Automerge, ChangeHash};
use futures::future::try_join_all;
use headwater_core::DocumentId;
use std::time::{Duration, Instant};

/// How many clients come one after the other once the document is warm.
const LATER: usize = 5;
/// How many come at once.
const AT_ONCE: usize = 10;

/// Pushes a document of `records` records, then measures from opening a connection until the document's bytes are here.
pub async fn run(url: &str, records: usize, limit: Duration) -> Result<Findings> {
    let document = document_id()?;
    let mut content = edits::large_document(records)?;
    let heads = content.get_heads();
    let mut writer = Client::connect(url, "bench-writer").await?;
    let mut state = State::new();
    within(
        limit,
        writer.synchronise(document, &mut content, &mut state),
    )
    .await?;

    let mut findings = Findings::default();
    let (first, message) = within(limit, fetch(url, document, &heads, 0)).await?;
    findings.add(
        "first new client has the bytes, ms",
        Some(milliseconds(first)),
    );
    let mut messages = vec![message];
    let mut times = Vec::new();
    for number in 1..=LATER {
        let (time, message) = within(limit, fetch(url, document, &heads, number)).await?;
        times.push(milliseconds(time));
        messages.push(message);
    }
    times.sort_by(f64::total_cmp);
    findings.add("a later one, median, ms", Some(times[LATER / 2]));
    let together = (0..AT_ONCE).map(|number| fetch(url, document, &heads, 100 + number));
    let together = within(limit, try_join_all(together)).await?;
    let slowest = together
        .iter()
        .map(|(time, _)| milliseconds(*time))
        .max_by(f64::total_cmp);
    findings.add("ten at once, the slowest, ms", slowest);
    messages.extend(together.into_iter().map(|(_, message)| message));
    for (number, message) in messages.into_iter().enumerate() {
        if let Err(error) = verify(message, &heads) {
            findings
                .problems
                .push(format!("client {number}: {error:#}"));
        }
    }
    Ok(findings)
}

async fn fetch(
    url: &str,
    document: DocumentId,
    heads: &[ChangeHash],
    number: usize,
) -> Result<(Duration, Message)> {
    let start = Instant::now();
    let mut client = Client::connect(url, &format!("bench-cold-{number}")).await?;
    let (mut content, mut state) = (Automerge::new(), State::new());
    let (arrived, message) = client
        .await_changes(document, &mut content, &mut state, heads)
        .await?;
    Ok((arrived - start, message))
}

fn verify(message: Message, heads: &[ChangeHash]) -> Result<()> {
    let mut content = Automerge::new();
    content.receive_sync_message(&mut State::new(), message)?;
    ensure!(
        content.get_heads() == heads,
        "the message claims the document's heads and does not lead to them"
    );
    Ok(())
}
