//! Many documents at once, each with a writer and a reader of its own.

use super::Findings;
use crate::client::{self, Client};
use crate::edits::Edits;
use crate::fanout::{document_id, within};
use crate::intake::{Decoder, Receipt};
use crate::ledger::{Latencies, Ledger};
use crate::server::Server;
use anyhow::{Context, Result};
use automerge::Automerge;
use automerge::sync::{self, MessageVersion, State};
use futures::{StreamExt, TryStreamExt, stream};
use headwater_core::DocumentId;
use headwater_sync::frame::Frame;
use headwater_sync::message::SyncMessage;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

/// One document's edits on their way from its writer to its reader, one at a time.
#[derive(Clone)]
struct Line {
    document: DocumentId,
    ledger: Arc<Ledger>,
    receipt: Arc<Mutex<Receipt>>,
}

/// As many connections as documents: connection i writes document i and reads document i + 1, for `duration`.
///
/// The documents differ in their ids alone, so the generator makes the edits once.
pub async fn run(
    server: &Server,
    documents: usize,
    duration: Duration,
    limit: Duration,
) -> Result<Findings> {
    let edits = Arc::new(Edits::generate(1000)?);
    let ids = (0..documents)
        .map(|_| document_id())
        .collect::<Result<Vec<_>>>()?;
    let mut findings = Findings::default();
    let start = Instant::now();
    let clients = within(limit, set_up(&server.url(), &ids, &edits)).await;
    findings.add(
        "set-up, s",
        clients.is_ok().then(|| start.elapsed().as_secs_f64()),
    );
    match clients {
        Ok(clients) => edit(clients, &ids, &edits, duration, limit, &mut findings).await,
        Err(error) => findings
            .problems
            .push(format!("set-up of {documents} documents: {error:#}")),
    }
    findings.add("peak memory, MB", server.usage().map(|usage| usage.peak_mb));
    Ok(findings)
}

async fn set_up(url: &str, ids: &[DocumentId], edits: &Edits) -> Result<Vec<Client>> {
    let writers = stream::iter(ids.iter().enumerate()).map(|(number, &document)| async move {
        let mut client = Client::connect(url, &format!("bench-{number}")).await?;
        let mut content = edits.base().clone();
        client
            .synchronise(document, &mut content, &mut State::new())
            .await?;
        anyhow::Ok(client)
    });
    let writers: Vec<_> = writers.buffered(16).try_collect().await?;
    let readers =
        stream::iter(writers.into_iter().enumerate()).map(|(number, mut client)| async move {
            let document = ids[(number + 1) % ids.len()];
            client
                .synchronise(document, &mut Automerge::new(), &mut State::new())
                .await?;
            anyhow::Ok(client)
        });
    readers.buffered(16).try_collect().await
}

async fn edit(
    clients: Vec<Client>,
    ids: &[DocumentId],
    edits: &Arc<Edits>,
    duration: Duration,
    limit: Duration,
    findings: &mut Findings,
) {
    let line = |&document: &DocumentId| Line {
        document,
        ledger: Arc::new(Ledger::new(edits.len(), 1, 1)),
        receipt: Arc::new(Mutex::new(Receipt::new(edits, false))),
    };
    let lines: Vec<_> = ids.iter().map(line).collect();
    let decoder = Arc::new(Decoder::new(edits.clone()));
    let start = Instant::now();
    let deadline = start + duration;
    let mut tasks = JoinSet::new();
    for (number, client) in clients.into_iter().enumerate() {
        let (own, followed) = (
            lines[number].clone(),
            lines[(number + 1) % lines.len()].clone(),
        );
        let (edits, decoder) = (edits.clone(), decoder.clone());
        tasks.spawn(async move {
            if let Err(error) = take_part(client, &own, &followed, &edits, &decoder, deadline).await
            {
                followed.receipt.lock().expect("no task panics").failure =
                    Some(format!("{error:#}"));
            }
        });
    }
    tokio::time::sleep_until(deadline.into()).await;
    for line in &lines {
        line.ledger
            .settle(Duration::from_secs(5), deadline + limit)
            .await;
    }
    tasks.shutdown().await;
    summarise(&lines, start, findings);
}

fn summarise(lines: &[Line], start: Instant, findings: &mut Findings) {
    let complete: usize = lines.iter().map(|line| line.ledger.complete()).sum();
    let last = lines
        .iter()
        .map(|line| line.ledger.finished())
        .max()
        .unwrap_or(start);
    let latencies = Latencies::merge(lines.iter().map(|line| line.ledger.to_all()));
    findings.add(
        "edits/s",
        Some(complete as f64 / (last - start).as_secs_f64().max(1e-9)),
    );
    findings.add("to the reader p50, ms", latencies.quantile(0.5));
    findings.add("to the reader p99, ms", latencies.quantile(0.99));
    for line in lines {
        let receipt = line.receipt.lock().expect("tasks have ended");
        let missing = receipt.missing(line.ledger.sent_count());
        if missing > 0 || receipt.foreign > 0 || receipt.failure.is_some() {
            let failure = receipt.failure.as_deref().unwrap_or("connected");
            findings.problems.push(format!(
                "{}: {missing} edits never arrived; its reader: {failure}",
                line.document
            ));
        }
    }
}

async fn take_part(
    mut client: Client,
    own: &Line,
    followed: &Line,
    edits: &Edits,
    decoder: &Decoder,
    deadline: Instant,
) -> Result<()> {
    let mut number = 0;
    loop {
        tokio::select! {
            frame = client.next() => match frame? {
                Frame::Sync(frame) if frame.document == own.document => {
                    let heads = sync::Message::decode(&frame.data)?.heads;
                    if let Some(edit) = heads.iter().filter_map(|hash| edits.number(hash)).max() {
                        own.ledger.acknowledged(edit);
                    }
                }
                frame => follow(&mut client, frame, followed, edits, decoder).await?,
            },
            permit = own.ledger.window.acquire(), if number < edits.len() && Instant::now() < deadline => {
                permit.context("the window is never closed")?.forget();
                let message = SyncMessage::new(MessageVersion::V1, edits.heads(number + 1), vec![edits.chunk(number)]);
                own.ledger.sent(number);
                client.send_sync(own.document, message.encode()).await?;
                number += 1;
            }
        }
    }
}

async fn follow(
    client: &mut Client,
    frame: Frame,
    line: &Line,
    edits: &Edits,
    decoder: &Decoder,
) -> Result<()> {
    let Some(data) = client::about(frame, line.document)? else {
        return Ok(());
    };
    let received = decoder.decode(data)?;
    let answer = {
        let mut receipt = line.receipt.lock().expect("no task panics");
        line.ledger.read(receipt.take(&received));
        receipt.answer(edits, &received)
    };
    match answer {
        Some(answer) => client.send_sync(line.document, answer).await,
        None => Ok(()),
    }
}
