//! Clients that speak automerge's own sync and nothing else, as automerge-repo's do, and one engine that serves them.

use super::{Node, Random};
use automerge::sync::{Message, MessageVersion, State, SyncDoc};
use automerge::transaction::Transactable;
use automerge::{ActorId, Automerge, ROOT};
use bytes::Bytes;
use headwater_core::DocumentId;
use headwater_sync::connection::Role;
use headwater_sync::engine::{ConnectionId, Peer};
use headwater_sync::frame::{Frame, PeerId, SyncFrame};
use std::collections::{BTreeMap, VecDeque};

/// A client.
pub struct Client {
    pub name: String,
    pub documents: BTreeMap<DocumentId, Automerge>,
    states: BTreeMap<DocumentId, State>,
    /// Whether it knows version 1 of the sync messages only.
    old: bool,
    pub connection: Option<ConnectionId>,
    incoming: VecDeque<Bytes>,
    outgoing: VecDeque<Frame>,
    /// Documents that it was told the server lacks.
    pub unavailable: Vec<DocumentId>,
    /// Messages received, by the version they were in.
    pub received: [usize; 2],
    pub bytes: usize,
}

impl Client {
    pub fn new(name: &str, old: bool) -> Self {
        Self {
            name: name.to_owned(),
            documents: BTreeMap::new(),
            states: BTreeMap::new(),
            old,
            connection: None,
            incoming: VecDeque::new(),
            outgoing: VecDeque::new(),
            unavailable: Vec::new(),
            received: [0, 0],
            bytes: 0,
        }
    }

    pub fn edit(&mut self, id: DocumentId, key: &str, value: i64) {
        let mut actor = self.name.as_bytes().to_vec();
        actor.extend_from_slice(&id.as_bytes()[..1]);
        let document = self.documents.entry(id).or_default();
        document.set_actor(ActorId::from(actor));
        let mut transaction = document.transaction();
        transaction.put(ROOT, key, value).unwrap();
        transaction.commit();
        self.speak(id);
    }

    /// Asks for a document, or goes on syncing one.
    pub fn open(&mut self, id: DocumentId) {
        self.documents.entry(id).or_default();
        self.speak(id);
    }

    fn speak(&mut self, id: DocumentId) {
        if self.connection.is_none() {
            return;
        }
        let document = self.documents.entry(id).or_default();
        let request = document.get_heads().is_empty();
        let state = self.states.entry(id).or_default();
        if let Some(mut message) = document.generate_sync_message(state) {
            if self.old {
                message.flags = None;
                assert_eq!(message.version, MessageVersion::V1);
            }
            self.outgoing.push_back(Frame::Sync(SyncFrame {
                request,
                sender: PeerId::new(&*self.name),
                target: PeerId::new("server"),
                document: id,
                database: None,
                data: message.encode().into(),
            }));
        }
    }

    fn receive(&mut self, frame: &Bytes) {
        match Frame::decode(frame, 1 << 30).unwrap() {
            Frame::Sync(frame) => {
                self.bytes += frame.data.len();
                let message = Message::decode(&frame.data).unwrap();
                let version = usize::from(message.version == MessageVersion::V2);
                self.received[version] += 1;
                assert!(
                    !self.old || version == 0,
                    "an old client cannot read version 2"
                );
                let id = frame.document;
                let document = self.documents.entry(id).or_default();
                let state = self.states.entry(id).or_default();
                document.receive_sync_message(state, message).unwrap();
                if self.old {
                    state.their_capabilities = None;
                }
                self.speak(id);
            }
            Frame::Unavailable { document, .. } => self.unavailable.push(document),
            Frame::Error { .. } => {}
            other => panic!("a stock client was sent {other:?}"),
        }
    }
}

/// An engine and its stock clients.
pub struct Service {
    pub node: Node,
    pub clients: Vec<Client>,
    next_connection: u64,
    delivered: usize,
}

impl Service {
    /// With clients that are `old` or not.
    pub fn new(clients: &[bool]) -> Self {
        let client = |(number, old): (usize, &bool)| Client::new(&format!("client{number}"), *old);
        let mut service = Self {
            node: Node::new("server"),
            clients: clients.iter().enumerate().map(client).collect(),
            next_connection: 0,
            delivered: 0,
        };
        for client in 0..clients.len() {
            service.connect(client);
        }
        service
    }

    pub fn connect(&mut self, number: usize) {
        let client = &mut self.clients[number];
        if client.connection.is_some() {
            return;
        }
        let connection = ConnectionId(self.next_connection);
        self.next_connection += 1;
        client.connection = Some(connection);
        let peer = Peer {
            id: PeerId::new(&*client.name),
            headwater: None,
            role: Role::Server,
            database: None,
        };
        self.node.engine.connect(connection, peer);
        // What automerge-repo keeps of a sync state is what its encoding keeps.
        for state in client.states.values_mut() {
            *state = State::decode(&state.encode()).unwrap();
        }
        let ids: Vec<_> = client.documents.keys().copied().collect();
        for id in ids {
            client.speak(id);
        }
        self.collect();
    }

    pub fn disconnect(&mut self, number: usize) {
        let client = &mut self.clients[number];
        client.incoming.clear();
        client.outgoing.clear();
        if let Some(connection) = client.connection.take() {
            self.node.engine.disconnect(connection);
        }
    }

    pub fn collect(&mut self) {
        for (connection, frame) in self.node.drain() {
            let client = self
                .clients
                .iter_mut()
                .find(|client| client.connection == Some(connection));
            if let Some(client) = client {
                client.incoming.push_back(frame);
            }
        }
        for (connection, _) in std::mem::take(&mut self.node.closed) {
            if let Some(number) = self
                .clients
                .iter()
                .position(|client| client.connection == Some(connection))
            {
                self.disconnect(number);
            }
        }
    }

    pub fn deliver_to_client(&mut self, number: usize) -> bool {
        let client = &mut self.clients[number];
        let Some(frame) = client.incoming.pop_front() else {
            return false;
        };
        self.delivered += 1;
        client.receive(&frame);
        true
    }

    pub fn deliver_to_server(&mut self, number: usize) -> bool {
        let client = &mut self.clients[number];
        let (Some(connection), Some(frame)) = (client.connection, client.outgoing.pop_front())
        else {
            return false;
        };
        self.delivered += 1;
        self.node.engine.receive(connection, frame);
        self.collect();
        true
    }

    pub fn settle(&mut self) {
        let limit = self.delivered + 20_000;
        loop {
            let mut busy = false;
            for client in 0..self.clients.len() {
                busy |= self.deliver_to_server(client);
                busy |= self.deliver_to_client(client);
            }
            busy |= !self.node.writing.is_empty();
            self.node.complete_write(true);
            self.collect();
            assert!(self.delivered < limit, "server and client talk without end");
            if !busy {
                return;
            }
        }
    }

    /// One thing that can happen, chosen by chance.
    pub fn step(&mut self, random: &mut Random, documents: usize) {
        let client = random.below(self.clients.len());
        let id = super::document(random.below(documents) as u8);
        match random.below(100) {
            0..15 => {
                let key = format!("key{}", random.below(4));
                self.clients[client].edit(id, &key, random.below(1000) as i64);
            }
            15..20 => {
                self.node.put(id, "server", random.below(1000) as i64);
            }
            20..25 => self.clients[client].open(id),
            25..45 => self.node.complete_write(true),
            45..47 => self.node.complete_write(false),
            47..50 => self.disconnect(client),
            50..58 => self.connect(client),
            58..59 => {
                for client in 0..self.clients.len() {
                    self.disconnect(client);
                }
                self.node.restart();
            }
            59..80 => {
                self.deliver_to_client(client);
            }
            _ => {
                self.deliver_to_server(client);
            }
        }
        self.collect();
    }

    /// Every client must hold every document that the server holds and it has opened, as the server does.
    pub fn assert_converged(&mut self) {
        let server = self.node.heads();
        for client in &self.clients {
            for (id, document) in &client.documents {
                let expected = server.get(id).cloned().unwrap_or_default();
                assert_eq!(document.get_heads(), expected, "{} differs", client.name);
            }
        }
        self.node.restart();
        assert_eq!(self.node.heads(), server, "the server differs on disk");
    }
}
