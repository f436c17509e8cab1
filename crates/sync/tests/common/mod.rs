//! A network in one thread: engines, the links between them and their storage, driven step by step.
//!
//! Links are ordered streams, as WebSockets are: a link loses frames only by breaking, and frames of different links
//! overtake each other. Storage completes when it is told to, and may fail.

#![allow(dead_code, reason = "each test program uses its own part")]

pub mod replica;
pub mod stock;

use automerge::ChangeHash;
use bytes::Bytes;
use headwater_core::DocumentId;
use headwater_core::bounds::{Content, Limits};
use headwater_sync::connection::Role;
use headwater_sync::engine::{
    BatchId, ConnectionId, Engine, EngineConfig, Output, Peer, PersistChunk, WriteError, WriteId,
};
use headwater_sync::frame::{Frame, HeadwaterMetadata, PeerId};
use headwater_sync::message::SyncMessage;
use replica::{Put, TestReplica};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

pub fn document(number: u8) -> DocumentId {
    DocumentId::from_bytes([number; 16])
}

/// Small numbers from a seed, the same on every machine (SplitMix64).
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }
}

/// An engine with its storage.
pub struct Node {
    pub name: String,
    pub engine: Engine<TestReplica>,
    /// What is on disk.
    pub stored: BTreeMap<DocumentId, Vec<Bytes>>,
    /// Every change that is on disk.
    pub durable: BTreeSet<(DocumentId, ChangeHash)>,
    /// Batches that storage is busy with.
    pub writing: VecDeque<(BatchId, Vec<PersistChunk>)>,
    pub written: BTreeMap<WriteId, Result<ChangeHash, String>>,
    pub events: Vec<DocumentId>,
    pub acknowledged: Vec<(DocumentId, Vec<ChangeHash>)>,
    pub refused: Vec<(ConnectionId, DocumentId)>,
    pub closed: Vec<(ConnectionId, String)>,
    pub paused: BTreeSet<ConnectionId>,
    /// Connections on which too much waits to be sent.
    pub congested: BTreeSet<ConnectionId>,
    incarnation: u8,
}

impl Node {
    pub fn new(name: &str) -> Self {
        let mut node = Self {
            name: name.to_owned(),
            engine: Engine::new(
                EngineConfig::new(PeerId::new(name)),
                TestReplica::new(name, 0),
            ),
            stored: BTreeMap::new(),
            durable: BTreeSet::new(),
            writing: VecDeque::new(),
            written: BTreeMap::new(),
            events: Vec::new(),
            acknowledged: Vec::new(),
            refused: Vec::new(),
            closed: Vec::new(),
            paused: BTreeSet::new(),
            congested: BTreeSet::new(),
            incarnation: 0,
        };
        node.engine = Engine::new(EngineConfig::new(PeerId::new(name)), node.reload());
        node
    }

    /// The replica as storage has it.
    pub fn reload(&mut self) -> TestReplica {
        self.incarnation += 1;
        let mut replica = TestReplica::new(&self.name, self.incarnation);
        for (id, chunks) in &self.stored {
            let chunks: Vec<&[u8]> = chunks.iter().map(|chunk| &**chunk).collect();
            replica
                .documents
                .load(*id, &chunks)
                .expect("what was stored can be loaded");
        }
        replica
    }

    /// Forgets all that is in memory.
    pub fn restart(&mut self) {
        self.writing.clear();
        self.written.clear();
        let replica = self.reload();
        self.engine = Engine::new(EngineConfig::new(PeerId::new(&*self.name)), replica);
    }

    pub fn put(&mut self, document: DocumentId, key: &str, value: i64) -> WriteId {
        self.engine.write(Put {
            document,
            key: key.to_owned(),
            value,
        })
    }

    /// Completes the oldest write to storage.
    pub fn complete_write(&mut self, works: bool) {
        let Some((batch, chunks)) = self.writing.pop_front() else {
            return;
        };
        if !works {
            self.engine.persisted(batch, Err(String::from("disk full")));
            let replica = self.reload();
            self.engine.replace_replica(replica);
            return;
        }
        for chunk in chunks {
            let checked = headwater_core::bounds::check_chunks(&chunk.bytes, &Limits::default());
            for part in checked.expect("an engine stores what it checked").chunks {
                let Content::Change(change) = part.content else {
                    panic!("only changes are stored");
                };
                self.durable.insert((chunk.document, change.hash));
            }
            self.stored
                .entry(chunk.document)
                .or_default()
                .push(chunk.bytes);
        }
        self.engine.persisted(batch, Ok(()));
    }

    /// Everything that waited to be sent is out.
    pub fn catch_up(&mut self) {
        for connection in std::mem::take(&mut self.congested) {
            self.engine.drained(connection);
        }
    }

    pub fn heads(&self) -> BTreeMap<DocumentId, Vec<ChangeHash>> {
        use headwater_sync::engine::Replica;
        let replica = self.engine.replica();
        let documents = replica.documents().into_iter();
        documents
            .filter_map(|id| Some((id, replica.document(&id)?.get_heads())))
            .collect()
    }

    /// Carries out what the engine asks for, and gives the frames to send.
    pub fn drain(&mut self) -> Vec<(ConnectionId, Bytes)> {
        let mut frames = Vec::new();
        while let Some(output) = self.engine.poll_output() {
            match output {
                Output::Send { connection, frame } => {
                    self.check_durable(&frame);
                    frames.push((connection, frame));
                }
                Output::Persist { batch, chunks } => self.writing.push_back((batch, chunks)),
                Output::Written { write, result } => {
                    let result = match result {
                        Ok((document, hash)) => {
                            assert!(self.durable.contains(&(document, hash)));
                            Ok(hash)
                        }
                        Err(WriteError::Rejected(error)) => Err(error),
                        Err(WriteError::NotDurable(error)) => Err(error),
                    };
                    self.written.insert(write, result);
                }
                Output::Events(events) => {
                    self.events
                        .extend(events.iter().map(|event| event.document));
                }
                Output::AtRest => assert!(self.writing.is_empty(), "a batch is in flight"),
                Output::Acknowledged {
                    document, heads, ..
                } => self.acknowledged.push((document, heads)),
                Output::Refused {
                    connection,
                    document,
                    ..
                } => self.refused.push((connection, document)),
                Output::Close {
                    connection,
                    message,
                } => self.closed.push((connection, message)),
                Output::Pause { connection } => {
                    self.paused.insert(connection);
                }
                Output::Resume { connection } => {
                    self.paused.remove(&connection);
                }
                Output::Congested { connection } => {
                    self.congested.insert(connection);
                }
            }
        }
        frames
    }

    /// No frame may tell anyone of what is not on disk.
    fn check_durable(&self, frame: &Bytes) {
        let Frame::Sync(frame) = Frame::decode(frame, 1 << 30).expect("an engine sends frames")
        else {
            return;
        };
        let (message, summary) = SyncMessage::decode(&frame.data, &Limits::default())
            .expect("an engine sends sync messages that pass its own check");
        for head in &message.heads {
            assert!(
                self.durable.contains(&(frame.document, *head)),
                "{} told of heads that are not on disk",
                self.name
            );
        }
        for chunk in summary.chunks {
            let hashes = match chunk.content {
                Content::Change(change) => vec![change.hash],
                Content::Document { heads } => heads,
            };
            for hash in hashes {
                assert!(self.durable.contains(&(frame.document, hash)));
            }
        }
    }
}

/// A connection between two nodes, with the frames that are on their way.
struct Link {
    ends: [usize; 2],
    connection: Option<ConnectionId>,
    /// The frames to each end.
    frames: [VecDeque<Bytes>; 2],
}

/// Nodes and the links between them.
pub struct Network {
    pub nodes: Vec<Node>,
    links: Vec<Link>,
    next_connection: u64,
    /// Sync messages delivered so far.
    pub delivered: usize,
    /// Whether peers can be slower than they are sent to.
    pub slow_readers: bool,
}

impl Network {
    /// With a link for each pair in `edges`, all of them up.
    pub fn new(nodes: usize, edges: &[(usize, usize)]) -> Self {
        let link = |(a, b): &(usize, usize)| Link {
            ends: [*a, *b],
            connection: None,
            frames: [VecDeque::new(), VecDeque::new()],
        };
        let mut network = Self {
            nodes: (0..nodes)
                .map(|number| Node::new(&format!("node{number}")))
                .collect(),
            links: edges.iter().map(link).collect(),
            next_connection: 0,
            delivered: 0,
            slow_readers: false,
        };
        network.heal();
        network
    }

    pub fn line(nodes: usize) -> Self {
        let edges: Vec<_> = (1..nodes).map(|node| (node - 1, node)).collect();
        Self::new(nodes, &edges)
    }

    pub fn star(nodes: usize) -> Self {
        let edges: Vec<_> = (1..nodes).map(|node| (node, 0)).collect();
        Self::new(nodes, &edges)
    }

    pub fn ring(nodes: usize) -> Self {
        let edges: Vec<_> = (0..nodes).map(|node| (node, (node + 1) % nodes)).collect();
        Self::new(nodes, &edges)
    }

    pub fn links(&self) -> usize {
        self.links.len()
    }

    pub fn connect(&mut self, link: usize) {
        let link = &mut self.links[link];
        if link.connection.is_some() {
            return;
        }
        let connection = ConnectionId(self.next_connection);
        self.next_connection += 1;
        link.connection = Some(connection);
        let [client, server] = link.ends;
        for (node, other, role) in [
            (client, server, Role::Client),
            (server, client, Role::Server),
        ] {
            let peer = Peer {
                id: PeerId::new(&*self.nodes[other].name),
                headwater: Some(HeadwaterMetadata {
                    version: 1,
                    durable: true,
                }),
                role,
                database: None,
            };
            self.nodes[node].engine.connect(connection, peer);
        }
        self.collect();
    }

    /// Breaks a link. What was on its way is lost.
    pub fn disconnect(&mut self, link: usize) {
        let link = &mut self.links[link];
        if let Some(connection) = link.connection.take() {
            for end in link.ends {
                self.nodes[end].engine.disconnect(connection);
            }
            link.frames.iter_mut().for_each(VecDeque::clear);
        }
    }

    pub fn restart(&mut self, node: usize) {
        for link in 0..self.links.len() {
            if self.links[link].ends.contains(&node) {
                self.disconnect(link);
            }
        }
        self.nodes[node].restart();
    }

    /// Brings all links up.
    pub fn heal(&mut self) {
        for link in 0..self.links.len() {
            self.connect(link);
        }
    }

    /// Takes what the nodes want to send.
    pub fn collect(&mut self) {
        for node in 0..self.nodes.len() {
            for (connection, frame) in self.nodes[node].drain() {
                let link = self
                    .links
                    .iter_mut()
                    .find(|link| link.connection == Some(connection));
                // A link that broke meanwhile takes nothing.
                if let Some(link) = link {
                    let to = usize::from(link.ends[0] == node);
                    link.frames[to].push_back(frame);
                }
            }
        }
    }

    /// Delivers the oldest frame of one direction of a link, if there is one.
    pub fn deliver(&mut self, link: usize, to: usize) -> bool {
        self.collect();
        let link = &mut self.links[link];
        let (Some(connection), Some(frame)) = (link.connection, link.frames[to].pop_front()) else {
            return false;
        };
        let frame = Frame::decode(&frame, 1 << 30).expect("an engine sends frames");
        self.delivered += usize::from(matches!(frame, Frame::Sync(_)));
        self.nodes[link.ends[to]].engine.receive(connection, frame);
        self.collect();
        true
    }

    /// Delivers and stores everything until nothing happens any more.
    pub fn settle(&mut self) {
        let limit = self.delivered + 20_000;
        loop {
            let mut busy = false;
            for link in 0..self.links.len() {
                busy |= self.deliver(link, 0);
                busy |= self.deliver(link, 1);
            }
            for node in &mut self.nodes {
                busy |= !node.congested.is_empty();
                node.catch_up();
                busy |= !node.writing.is_empty();
                node.complete_write(true);
            }
            self.collect();
            assert!(self.delivered < limit, "the engines talk without end");
            if !busy {
                return;
            }
        }
    }

    /// One thing that can happen, chosen by chance.
    pub fn step(&mut self, random: &mut Random, documents: usize) {
        let node = random.below(self.nodes.len());
        let link = random.below(self.links.len());
        match random.below(100) {
            0..15 => {
                let id = document(random.below(documents) as u8);
                let key = format!("key{}", random.below(4));
                self.nodes[node].put(id, &key, random.below(1000) as i64);
            }
            15..40 => self.nodes[node].complete_write(true),
            40..42 => self.nodes[node].complete_write(false),
            42..46 => self.disconnect(link),
            46..54 => self.connect(link),
            54..55 => self.restart(node),
            55..58 if self.slow_readers => {
                let link = &self.links[link];
                if let Some(connection) = link.connection {
                    let end = link.ends[random.below(2)];
                    self.nodes[end].engine.congested(connection);
                }
            }
            58..61 if self.slow_readers => self.nodes[node].catch_up(),
            _ => {
                self.deliver(link, random.below(2));
            }
        }
        self.collect();
    }

    /// All nodes must hold the same documents, on disk too.
    pub fn assert_converged(&mut self) {
        let expected = self.nodes[0].heads();
        for node in &mut self.nodes {
            assert_eq!(node.heads(), expected, "{} differs", node.name);
            node.restart();
            assert_eq!(node.heads(), expected, "{} differs on disk", node.name);
        }
    }
}
