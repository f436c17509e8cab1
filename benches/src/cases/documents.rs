//! Many documents at once, each with a writer and a reader of its own.

use super::Findings;
use crate::client::{self, Client};
use crate::edits::Edits;
use crate::fanout::{document_id, within};
use crate::intake::{Decoder, Receipt};
use crate::ledger::{Latencies, Ledger};
use crate::server::Server;
use anyhow::Result;
use automerge::Automerge;
use automerge::sync::{self, MessageVersion, State};
use headwater_core::DocumentId;
use headwater_sync::frame::Frame;
use headwater_sync::message::SyncMessage;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::sync::Barrier;
use tokio::task::JoinSet;

/// One document's edits on their way from its writer to its reader, one at a time.
#[derive(Clone)]
struct Line {
    document: DocumentId,
    ledger: Arc<Ledger>,
    receipt: Arc<Mutex<Receipt>>,
}

impl Line {
    fn new(document: DocumentId, edits: &Edits) -> Self {
        Self {
            document,
            ledger: Arc::new(Ledger::new(edits.len(), 1, 1)),
            receipt: Arc::new(Mutex::new(Receipt::new(edits, false))),
        }
    }

    /// What is wrong with the document at its reader, if anything is.
    fn complaint(&self) -> Option<String> {
        let receipt = self.receipt.lock().expect("tasks have ended");
        let missing = receipt.missing(self.ledger.sent_count());
        let wrong = missing > 0 || receipt.foreign > 0 || receipt.failure.is_some();
        let reader = receipt.failure.as_deref().unwrap_or("still connected");
        wrong.then(|| {
            format!(
                "{}: {missing} edits did not arrive; its reader: {reader}",
                self.document
            )
        })
    }
}

/// What one connection does.
struct Part {
    name: String,
    own: Line,
    followed: Line,
    edits: Arc<Edits>,
    decoder: Arc<Decoder>,
    /// All wait for each other after pushing their own documents, and again after fetching those that they follow.
    ready: Arc<Barrier>,
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
    let lines: Vec<_> = ids
        .into_iter()
        .map(|document| Line::new(document, &edits))
        .collect();
    let ready = Arc::new(Barrier::new(documents + 1));
    let decoder = Arc::new(Decoder::new(edits.clone()));
    let start = Instant::now();
    let mut tasks = JoinSet::new();
    for (number, own) in lines.iter().enumerate() {
        let part = Part {
            name: format!("bench-{number}"),
            own: own.clone(),
            followed: lines[(number + 1) % documents].clone(),
            edits: edits.clone(),
            decoder: decoder.clone(),
            ready: ready.clone(),
        };
        tasks.spawn(part.run(server.url()));
    }

    let mut findings = Findings::default();
    let set_up = within(limit, async {
        Ok((ready.wait().await, ready.wait().await))
    })
    .await;
    findings.add(
        "set-up, s",
        set_up.is_ok().then(|| start.elapsed().as_secs_f64()),
    );
    match set_up {
        Ok(_) => {
            let start = Instant::now();
            tokio::time::sleep(duration).await;
            for line in &lines {
                line.ledger.window.close();
            }
            for line in &lines {
                line.ledger
                    .settle(Duration::from_secs(5), start + duration + limit)
                    .await;
            }
            tasks.shutdown().await;
            summarise(&lines, start, &mut findings);
        }
        Err(error) => {
            let failed = lines
                .iter()
                .find_map(|line| line.receipt.lock().ok()?.failure.clone());
            let failed = failed.unwrap_or_else(|| "no client failed".to_owned());
            findings
                .problems
                .push(format!("the documents' set-up: {error:#}; {failed}"));
        }
    }
    findings.add("peak memory, MB", server.usage().map(|usage| usage.peak_mb));
    Ok(findings)
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
    let wrong: Vec<_> = lines.iter().filter_map(Line::complaint).collect();
    if let Some(first) = wrong.first() {
        findings
            .problems
            .push(format!("{} documents, the first is {first}", wrong.len()));
    }
}

impl Part {
    async fn run(self, url: String) {
        if let Err(error) = self.take_part(&url).await {
            self.followed
                .receipt
                .lock()
                .expect("no task panics")
                .failure = Some(format!("{error:#}"));
        }
    }

    async fn take_part(&self, url: &str) -> Result<()> {
        let mut client = Client::connect(url, &self.name).await?;
        let mut content = self.edits.base().clone();
        client
            .synchronise(self.own.document, &mut content, &mut State::new())
            .await?;
        self.wait(&mut client).await?;
        let (mut content, mut state) = (Automerge::new(), State::new());
        client
            .synchronise(self.followed.document, &mut content, &mut state)
            .await?;
        self.wait(&mut client).await?;
        self.edit(client).await
    }

    /// Waits for the others and goes on answering the server.
    async fn wait(&self, client: &mut Client) -> Result<()> {
        let mut others = std::pin::pin!(self.ready.wait());
        loop {
            tokio::select! {
                _ = &mut others => return Ok(()),
                frame = client.next() => client.decline(&frame?, self.own.document).await?,
            }
        }
    }

    async fn edit(&self, mut client: Client) -> Result<()> {
        let mut number = 0;
        loop {
            tokio::select! {
                frame = client.next() => match frame? {
                    Frame::Sync(frame) if frame.document == self.own.document => {
                        let heads = sync::Message::decode(&frame.data)?.heads;
                        if let Some(edit) = heads.iter().filter_map(|hash| self.edits.number(hash)).max() {
                            self.own.ledger.acknowledged(edit);
                        }
                    }
                    frame => self.follow(&mut client, frame).await?,
                },
                Ok(permit) = self.own.ledger.window.acquire(), if number < self.edits.len() => {
                    permit.forget();
                    let chunk = vec![self.edits.chunk(number)];
                    let message = SyncMessage::new(MessageVersion::V1, self.edits.heads(number + 1), chunk);
                    self.own.ledger.sent(number);
                    client.send_sync(self.own.document, message.encode()).await?;
                    number += 1;
                }
            }
        }
    }

    async fn follow(&self, client: &mut Client, frame: Frame) -> Result<()> {
        client.decline(&frame, self.followed.document).await?;
        let Some(data) = client::about(frame, self.followed.document)? else {
            return Ok(());
        };
        let received = self.decoder.decode(data)?;
        let answer = {
            let mut receipt = self.followed.receipt.lock().expect("no task panics");
            self.followed.ledger.read(receipt.take(&received));
            receipt.answer(&self.edits, &received)
        };
        match answer {
            Some(answer) => client.send_sync(self.followed.document, answer).await,
            None => Ok(()),
        }
    }
}
