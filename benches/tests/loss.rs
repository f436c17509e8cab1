//! The benchmark must notice a server that loses edits: a fast server that drops some would win otherwise.

use anyhow::{Context, Result};
use automerge::sync::{ChunkList, Message as SyncMessage, State, SyncDoc};
use automerge::{Automerge, Change};
use bytes::Bytes;
use futures::{SinkExt, StreamExt};
use headwater_bench::edits::Edits;
use headwater_bench::fanout::{self, Fanout, Outcome};
use headwater_core::DocumentId;
use headwater_sync::frame::{Frame, PROTOCOL_VERSION, PeerId, PeerMetadata, SyncFrame};
use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_tungstenite::tungstenite::Message;

/// What the server does wrong.
#[derive(Clone, Copy, PartialEq)]
enum Fault {
    None,
    /// The last reader gets no change whose sequence number is a multiple of seven.
    LosesForOne,
    /// It forgets to answer the writer.
    NeverAcknowledges,
    /// The last reader gets every other edit after the one that follows it.
    Disorders,
}

/// Syncs one document between all connections by automerge's own sync.
struct Server {
    fault: Fault,
    document: Automerge,
    connections: HashMap<PeerId, Connection>,
}

struct Connection {
    state: State,
    document: Option<DocumentId>,
    outgoing: mpsc::UnboundedSender<Bytes>,
    held: Option<Bytes>,
}

impl Server {
    fn receive(&mut self, frame: &SyncFrame) -> Result<()> {
        let connection = self
            .connections
            .get_mut(&frame.sender)
            .context("it has joined")?;
        connection.document = Some(frame.document);
        self.document
            .receive_sync_message(&mut connection.state, SyncMessage::decode(&frame.data)?)?;
        for (peer, connection) in &mut self.connections {
            let silent = self.fault == Fault::NeverAcknowledges
                && peer.as_str() == "bench-writer"
                && self.document.get_changes(&[]).len() > 64;
            let Some(document) = connection.document.filter(|_| !silent) else {
                continue;
            };
            let Some(mut message) = self.document.generate_sync_message(&mut connection.state)
            else {
                continue;
            };
            let delayed = delays(self.fault, peer, &message);
            spoil(self.fault, peer, &mut message);
            let frame = Frame::Sync(SyncFrame {
                request: false,
                sender: PeerId::new("server"),
                target: peer.clone(),
                document,
                database: None,
                data: message.encode().into(),
            });
            let frame = frame.encode();
            if delayed {
                connection.held = Some(frame);
                continue;
            }
            for frame in std::iter::once(frame).chain(connection.held.take()) {
                // It fails only if the client has gone.
                let _ = connection.outgoing.send(frame);
            }
        }
        Ok(())
    }
}

fn delays(fault: Fault, peer: &PeerId, message: &SyncMessage) -> bool {
    let first = message
        .changes
        .iter()
        .next()
        .and_then(|chunk| Change::from_bytes(chunk.to_vec()).ok());
    fault == Fault::Disorders
        && peer.as_str() == "bench-reader-2"
        && first.is_some_and(|change| change.seq() % 2 == 1)
}

fn spoil(fault: Fault, peer: &PeerId, message: &mut SyncMessage) {
    if fault == Fault::LosesForOne && peer.as_str() == "bench-reader-2" {
        let chunks = message.changes.iter().map(<[u8]>::to_vec);
        let kept = chunks.filter(|chunk| {
            !Change::from_bytes(chunk.clone()).is_ok_and(|change| is_lost(&change))
        });
        message.changes = ChunkList::from(kept.collect::<Vec<_>>());
    }
}

/// The first 64 changes are the document before the edits.
fn is_lost(change: &Change) -> bool {
    change.seq() > 64 && change.seq().is_multiple_of(7)
}

async fn serve(stream: TcpStream, server: Arc<Mutex<Server>>) -> Result<()> {
    let mut socket = tokio_tungstenite::accept_async(stream).await?;
    let (outgoing, mut queue) = mpsc::unbounded_channel::<Bytes>();
    loop {
        let message = tokio::select! {
            frame = queue.recv() => {
                socket.send(Message::Binary(frame.context("the server ended")?)).await?;
                continue;
            }
            message = socket.next() => message.context("the client went")??,
        };
        match Frame::decode(&message.into_data(), 1 << 20)? {
            Frame::Join { sender, .. } => {
                let connection = Connection {
                    state: State::new(),
                    document: None,
                    outgoing: outgoing.clone(),
                    held: None,
                };
                server
                    .lock()
                    .expect("not poisoned")
                    .connections
                    .insert(sender.clone(), connection);
                let answer = Frame::Peer {
                    sender: PeerId::new("server"),
                    target: sender,
                    metadata: PeerMetadata::default(),
                    version: PROTOCOL_VERSION.to_owned(),
                };
                socket.send(Message::Binary(answer.encode())).await?;
            }
            Frame::Sync(frame) => server.lock().expect("not poisoned").receive(&frame)?,
            _ => {}
        }
    }
}

async fn measure(fault: Fault, window: usize) -> Result<Outcome> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("ws://{}/", listener.local_addr()?);
    let server = Server {
        fault,
        document: Automerge::new(),
        connections: HashMap::new(),
    };
    let server = Arc::new(Mutex::new(server));
    let accepting = tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(stream, server.clone()));
        }
    });
    let case = Fanout {
        readers: 3,
        window,
        duration: Duration::from_secs(1),
        stall: Duration::from_millis(500),
        limit: Duration::from_secs(10),
    };
    let outcome = fanout::run(&url, &Arc::new(Edits::generate(200)?), &case, || None).await;
    accepting.abort();
    outcome
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sound_server_is_measured_without_complaint() -> Result<()> {
    let outcome = measure(Fault::None, 16).await?;
    assert_eq!(outcome.problems, Vec::<String>::new());
    assert_eq!((outcome.missing, outcome.sent), (0, 200));
    assert!(
        outcome.edits_per_second > 0.0
            && outcome.all_p99 > Some(0.0)
            && outcome.acknowledged_p50 > Some(0.0)
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn edits_lost_for_one_reader_are_reported() -> Result<()> {
    let outcome = measure(Fault::LosesForOne, 16).await?;
    // The writer stops when its window of 16 is full: of those the multiples of seven are missing.
    assert!(outcome.sent >= 16, "{outcome:?}");
    assert!(outcome.missing >= 2, "{outcome:?}");
    assert!(
        outcome
            .problems
            .iter()
            .any(|problem| problem.starts_with("reader 2: ") && problem.contains("never arrived")),
        "{outcome:?}"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_does_not_acknowledge_is_reported() -> Result<()> {
    let outcome = measure(Fault::NeverAcknowledges, 16).await?;
    assert_eq!(outcome.missing, 0, "{outcome:?}");
    assert!(
        outcome
            .problems
            .iter()
            .any(|problem| problem.contains("never acknowledged")),
        "{outcome:?}"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn edits_out_of_order_are_reported() -> Result<()> {
    let outcome = measure(Fault::Disorders, 64).await?;
    assert!(outcome.unordered > 0, "{outcome:?}");
    assert!(
        outcome
            .problems
            .iter()
            .any(|problem| problem.contains("before one that they depend on")),
        "{outcome:?}"
    );
    Ok(())
}
