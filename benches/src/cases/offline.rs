//! How soon much offline work is safe at the server, and at another client.

use super::Findings;
use crate::client::Client;
use crate::edits::{self, Edits};
use crate::fanout::{document_id, within};
use anyhow::Result;
use automerge::sync::{self, MessageVersion, State, SyncDoc};
use automerge::{Automerge, ChangeHash};
use headwater_core::DocumentId;
use headwater_sync::message::SyncMessage;
use std::time::{Duration, Instant};

/// One client makes `changes` changes offline and pushes them; another one is connected and waits for them.
pub async fn run(url: &str, changes: usize, limit: Duration) -> Result<Findings> {
    let document = document_id()?;
    let mut content = Edits::generate(0)?.base().clone();
    let mut writer = Client::connect(url, "bench-writer").await?;
    within(
        limit,
        writer.synchronise(document, &mut content, &mut State::new()),
    )
    .await?;
    drop(writer);
    let mut reader = Client::connect(url, "bench-reader").await?;
    let (mut copy, mut state) = (Automerge::new(), State::new());
    within(limit, reader.synchronise(document, &mut copy, &mut state)).await?;

    let common = content.get_heads();
    edits::work_offline(&mut content, changes)?;
    let heads = content.get_heads();
    let start = Instant::now();
    let push = within(limit, push(url, document, &content, common));
    let wait = within(
        limit,
        reader.await_changes(document, &mut copy, &mut state, &heads),
    );
    let (pushed, received) = tokio::join!(push, wait);
    let mut findings = Findings::default();
    findings.add(
        "acknowledged, s",
        pushed.as_ref().ok().map(|at| (*at - start).as_secs_f64()),
    );
    let arrived = received
        .as_ref()
        .ok()
        .map(|(at, _)| (*at - start).as_secs_f64());
    findings.add("another client has it, s", arrived);
    match received {
        Ok((_, message)) => {
            copy.receive_sync_message(&mut state, message)?;
            if copy.get_heads() != heads {
                findings
                    .problems
                    .push("the other client's document differs from the writer's".to_owned());
            }
        }
        Err(error) => findings
            .problems
            .push(format!("the other client: {error:#}")),
    }
    if let Err(error) = pushed {
        findings.problems.push(format!("the writer: {error:#}"));
    }
    Ok(findings)
}

/// Reconnects as a client that remembers what it shares with the server, and returns when the server had everything.
///
/// What automerge would generate is made before it is needed, so that the client's work does not count.
async fn push(
    url: &str,
    document: DocumentId,
    content: &Automerge,
    common: Vec<ChangeHash>,
) -> Result<Instant> {
    let heads = content.get_heads();
    let mut state = State {
        shared_heads: common,
        ..State::new()
    };
    let offer = content.generate_sync_message(&mut state);
    let saved = content.save();
    let all = SyncMessage::new(MessageVersion::V2, heads.clone(), vec![&saved]).encode();
    let mut client = Client::connect(url, "bench-writer").await?;
    if let Some(offer) = offer {
        client.send_sync(document, offer.encode()).await?;
    }
    // The server's answer to the offer says what it lacks.
    client.next_sync(document).await?;
    client.send_sync(document, all).await?;
    loop {
        let data = client.next_sync(document).await?;
        let arrived = Instant::now();
        if sync::Message::decode(&data)?.heads == heads {
            return Ok(arrived);
        }
    }
}
