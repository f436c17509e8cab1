//! One writer, many readers, one document.

use crate::client::{Address, Client, Incoming};
use crate::edits::Edits;
use crate::intake::{Decoder, Receipt};
use crate::ledger::Ledger;
use crate::server::Usage;
use anyhow::{Context, Result};
use automerge::sync::{MessageVersion, State};
use automerge::{Automerge, sync};
use futures::{Sink, SinkExt, future::try_join_all};
use headwater_core::DocumentId;
use headwater_sync::message::SyncMessage;
use serde::Serialize;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::task::JoinSet;
use tokio_tungstenite::tungstenite::{self, Message};

/// What to run.
#[derive(Debug, Clone)]
pub struct Fanout {
    /// How many readers, each with its own connection.
    pub readers: usize,
    /// How many edits may be on their way to all readers at a time.
    pub window: usize,
    /// How long the writer writes, unless it runs out of edits.
    pub duration: Duration,
    /// How long nothing may move after that before what is missing counts as missing.
    pub stall: Duration,
    /// How long all readers may need in all to catch up after that.
    pub limit: Duration,
}

/// What came of it.
#[derive(Debug, Clone, Serialize)]
pub struct Outcome {
    /// Edits that the writer sent.
    pub sent: usize,
    /// Edits that every reader has, for each second until the last of them was everywhere.
    pub edits_per_second: f64,
    /// Median time from sending an edit until every reader had it, milliseconds.
    pub all_p50: Option<f64>,
    /// The 99th percentile of the same.
    pub all_p99: Option<f64>,
    /// Median time from sending an edit until the server returned it in its heads, milliseconds.
    pub acknowledged_p50: Option<f64>,
    /// The 99th percentile of the same.
    pub acknowledged_p99: Option<f64>,
    /// CPU time that the server used for each 1,000 edits that every reader has, seconds.
    pub cpu_per_thousand: Option<f64>,
    /// The server's peak resident memory, MB.
    pub peak_mb: Option<f64>,
    /// Edits that some reader did not receive, summed over readers.
    pub missing: usize,
    /// Whether the limit was up while edits were still arriving: then missing ones are late, as far as one can tell.
    pub late: bool,
    /// Edits that a reader received before one that they depend on.
    pub unordered: u64,
    /// Edits that a reader received again.
    pub repeated: u64,
    /// What was wrong, in words; empty if every check held.
    pub problems: Vec<String>,
}

/// How many readers keep all that they receive and build a real document of it at the end.
const VERIFIED: usize = 3;

struct Reader {
    receipt: Arc<Mutex<Receipt>>,
    client: Client,
}

/// Runs the workload against the server at `url`. `usage` reads the server's use of the machine.
pub async fn run(
    url: &str,
    edits: &Arc<Edits>,
    case: &Fanout,
    usage: impl Fn() -> Option<Usage>,
) -> Result<Outcome> {
    let document = document_id()?;
    let (writer, readers) = set_up(url, document, edits, case).await?;

    let before = usage();
    let ledger = Arc::new(Ledger::new(edits.len(), case.readers, case.window));
    let decoder = Arc::new(Decoder::new(edits.clone()));
    let mut tasks = JoinSet::new();
    let mut receipts = Vec::new();
    for Reader { receipt, client } in readers {
        receipts.push(receipt.clone());
        tasks.spawn(read(
            client,
            document,
            edits.clone(),
            decoder.clone(),
            ledger.clone(),
            receipt,
        ));
    }
    let address = writer.address().clone();
    let (sink, incoming) = writer.split();
    tasks.spawn(follow_heads(
        incoming,
        document,
        edits.clone(),
        ledger.clone(),
    ));
    let deadline = Instant::now() + case.duration;
    let written = write(sink, &address, document, edits, &ledger, deadline).await;
    let in_time = ledger.settle(case.stall, Instant::now() + case.limit).await;
    let after = usage();
    tasks.shutdown().await;

    let mut outcome = outcome(&ledger, before, after);
    outcome.late = !in_time;
    if let Err(error) = written {
        outcome
            .problems
            .push(format!("the writer stopped: {error:#}"));
    }
    check(&mut outcome, &receipts, edits);
    if outcome.late {
        return Ok(outcome);
    }
    let unacknowledged = outcome.sent - ledger.acknowledged_count();
    if unacknowledged > 0 {
        outcome
            .problems
            .push(format!("{unacknowledged} edits were never acknowledged"));
    }
    if let Err(error) = check_server(url, document, edits, outcome.sent, case.stall).await {
        outcome
            .problems
            .push(format!("a client that joined at the end: {error:#}"));
    }
    Ok(outcome)
}

/// Connects the writer, which brings the document, and the readers, which fetch it.
async fn set_up(
    url: &str,
    document: DocumentId,
    edits: &Edits,
    case: &Fanout,
) -> Result<(Client, Vec<Reader>)> {
    let mut writer = Client::connect(url, "bench-writer").await?;
    let mut content = edits.base().clone();
    let mut state = State::new();
    let pushed = writer.synchronise(document, &mut content, &mut state);
    within(case.limit, pushed)
        .await
        .context("the server did not take the document")?;
    let connected =
        try_join_all((0..case.readers).map(|number| connect_reader(url, document, edits, number)));
    let readers = within(case.limit, connected)
        .await
        .context("the readers did not get the document")?;
    Ok((writer, readers))
}

/// A fresh document id.
pub fn document_id() -> Result<DocumentId> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes)?;
    Ok(DocumentId::from_bytes(bytes))
}

/// Bounds `work` by `limit`.
pub async fn within<T>(limit: Duration, work: impl Future<Output = Result<T>>) -> Result<T> {
    tokio::time::timeout(limit, work)
        .await
        .with_context(|| format!("not done in {} s", limit.as_secs_f64()))?
}

async fn connect_reader(
    url: &str,
    document: DocumentId,
    edits: &Edits,
    number: usize,
) -> Result<Reader> {
    let mut client = Client::connect(url, &format!("bench-reader-{number}")).await?;
    let mut content = Automerge::new();
    client
        .synchronise(document, &mut content, &mut State::new())
        .await?;
    let receipt = Arc::new(Mutex::new(Receipt::new(edits, number < VERIFIED)));
    Ok(Reader { receipt, client })
}

async fn write(
    mut sink: impl Sink<Message, Error = tungstenite::Error> + Unpin,
    address: &Address,
    document: DocumentId,
    edits: &Edits,
    ledger: &Ledger,
    deadline: Instant,
) -> Result<()> {
    for number in 0..edits.len() {
        let permit = match ledger.window.try_acquire() {
            Ok(permit) => permit,
            Err(_) => {
                sink.flush().await?;
                match tokio::time::timeout_at(deadline.into(), ledger.window.acquire()).await {
                    Ok(permit) => permit?,
                    Err(_) => break,
                }
            }
        };
        permit.forget();
        if Instant::now() >= deadline {
            break;
        }
        let chunk = vec![edits.chunk(number)];
        let message = SyncMessage::new(MessageVersion::V1, edits.heads(number + 1), chunk);
        let message = address.sync(false, document, message.encode());
        ledger.sent(number);
        sink.feed(message).await?;
    }
    Ok(sink.flush().await?)
}

/// Notes which edits the server returns in its heads. A stock client answers none of these: it has nothing newer to
/// say than its last edit.
async fn follow_heads(
    mut incoming: Incoming,
    document: DocumentId,
    edits: Arc<Edits>,
    ledger: Arc<Ledger>,
) {
    while let Ok(data) = incoming.next_sync(document).await {
        let Ok(message) = sync::Message::decode(&data) else {
            return;
        };
        if let Some(number) = message
            .heads
            .iter()
            .filter_map(|hash| edits.number(hash))
            .max()
        {
            ledger.acknowledged(number);
        }
    }
}

async fn read(
    mut client: Client,
    document: DocumentId,
    edits: Arc<Edits>,
    decoder: Arc<Decoder>,
    ledger: Arc<Ledger>,
    receipt: Arc<Mutex<Receipt>>,
) {
    loop {
        if let Err(error) =
            read_one(&mut client, document, &edits, &decoder, &ledger, &receipt).await
        {
            receipt.lock().expect("no reader panics").failure = Some(format!("{error:#}"));
            return;
        }
    }
}

/// Reads what has arrived and acknowledges it once, as a client does that debounces its answers.
async fn read_one(
    client: &mut Client,
    document: DocumentId,
    edits: &Edits,
    decoder: &Decoder,
    ledger: &Ledger,
    receipt: &Mutex<Receipt>,
) -> Result<()> {
    let mut next = Some(client.next().await?);
    let mut answer = None;
    while let Some(frame) = next {
        if let Some(data) = crate::client::about(frame, document)? {
            let received = decoder.decode(data)?;
            let mut receipt = receipt.lock().expect("no reader panics");
            ledger.read(receipt.take(&received));
            answer = receipt.answer(edits, &received).or(answer);
        }
        next = client.next_ready().await?;
    }
    match answer {
        Some(answer) => client.send_sync(document, answer).await,
        None => Ok(()),
    }
}

fn outcome(ledger: &Ledger, before: Option<Usage>, after: Option<Usage>) -> Outcome {
    let complete = ledger.complete();
    let (all, acknowledged) = (ledger.to_all(), ledger.to_writer());
    let cpu = before
        .zip(after)
        .map(|(before, after)| after.cpu.saturating_sub(before.cpu).as_secs_f64());
    Outcome {
        sent: ledger.sent_count(),
        edits_per_second: complete as f64 / ledger.elapsed().as_secs_f64().max(1e-9),
        all_p50: all.quantile(0.5),
        all_p99: all.quantile(0.99),
        acknowledged_p50: acknowledged.quantile(0.5),
        acknowledged_p99: acknowledged.quantile(0.99),
        cpu_per_thousand: cpu
            .filter(|_| complete > 0)
            .map(|cpu| cpu * 1000.0 / complete as f64),
        peak_mb: after.map(|usage| usage.peak_mb),
        missing: 0,
        late: false,
        unordered: 0,
        repeated: 0,
        problems: Vec::new(),
    }
}

/// Adds what the readers' receipts show to the outcome. Readers with the same complaint share a line.
fn check(outcome: &mut Outcome, receipts: &[Arc<Mutex<Receipt>>], edits: &Edits) {
    let mut complaints: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    for (number, receipt) in receipts.iter().enumerate() {
        let receipt = receipt.lock().expect("readers have ended");
        outcome.missing += receipt.missing(outcome.sent);
        outcome.unordered += receipt.unordered;
        outcome.repeated += receipt.repeated;
        for complaint in complain(&receipt, edits, outcome) {
            complaints.entry(complaint).or_default().push(number);
        }
    }
    for (complaint, readers) in complaints {
        outcome.problems.push(match readers[..] {
            [reader] => format!("reader {reader}: {complaint}"),
            _ => format!("{} readers: {complaint}", readers.len()),
        });
    }
}

fn complain(receipt: &Receipt, edits: &Edits, outcome: &Outcome) -> Vec<String> {
    let mut complaints = Vec::new();
    let missing = receipt.missing(outcome.sent);
    if missing > 0 && outcome.late {
        complaints.push(format!(
            "{missing} edits had not arrived when the time was up"
        ));
    } else if missing > 0 {
        complaints.push(format!("{missing} edits never arrived"));
    }
    if receipt.unordered > 0 {
        complaints.push(format!(
            "{} edits arrived before one that they depend on",
            receipt.unordered
        ));
    }
    if receipt.foreign > 0 {
        complaints.push(format!(
            "{} changes arrived that nobody sent",
            receipt.foreign
        ));
    }
    complaints.extend(receipt.failure.clone());
    if missing == 0
        && let Err(error) = receipt.verify(edits, outcome.sent)
    {
        complaints.push(format!("{error:#}"));
    }
    complaints
}

/// Whether the server itself holds every edit: a new client syncs the document by automerge's own protocol.
async fn check_server(
    url: &str,
    document: DocumentId,
    edits: &Edits,
    sent: usize,
    limit: Duration,
) -> Result<()> {
    let mut client = Client::connect(url, "bench-late").await?;
    let mut content = Automerge::new();
    within(
        limit,
        client.synchronise(document, &mut content, &mut State::new()),
    )
    .await?;
    match edits.difference(&content, sent) {
        Some(difference) => anyhow::bail!("its document differs: {difference}"),
        None => Ok(()),
    }
}
