use super::*;
use crate::frame::HeadwaterMetadata;

fn config(name: &str) -> ConnectionConfig {
    let metadata = PeerMetadata {
        storage_id: Some(format!("storage of {name}")),
        is_ephemeral: false,
        headwater: Some(HeadwaterMetadata {
            version: 1,
            durable: name == "server",
        }),
    };
    ConnectionConfig::new(PeerId::new(name), metadata)
}

fn frames(connection: &mut Connection) -> Vec<Frame> {
    std::iter::from_fn(|| connection.poll_transmit())
        .filter_map(|transmit| match transmit {
            Transmit::Frame(bytes) => Some(Frame::decode(&bytes, 1 << 20).unwrap()),
            Transmit::Ping => None,
        })
        .collect()
}

fn leave(name: &str) -> Incoming {
    let sender = PeerId::new(name);
    Incoming::Binary(Frame::Leave { sender }.encode())
}

fn joined() -> (Connection, Connection) {
    let mut client = Connection::new(Role::Client, config("client"), 0);
    let mut server = Connection::new(Role::Server, config("server"), 0);
    let Some(Transmit::Frame(join)) = client.poll_transmit() else {
        panic!("a client begins with a frame");
    };
    let Received::Joined(peer) = server.receive(Incoming::Binary(join), 5).unwrap() else {
        panic!("a join was answered otherwise");
    };
    assert_eq!(peer.id, PeerId::new("client"));
    assert_eq!(peer.metadata, config("client").metadata);
    let Some(Transmit::Frame(answer)) = server.poll_transmit() else {
        panic!("a server answers a join");
    };
    let Received::Joined(peer) = client.receive(Incoming::Binary(answer), 9).unwrap() else {
        panic!("the answer was not taken for one");
    };
    assert_eq!(peer.metadata, config("server").metadata);
    (client, server)
}

/// The error frame that the peer gets.
fn complaint(connection: &mut Connection) -> String {
    match frames(connection).as_slice() {
        [Frame::Error { message, .. }] => message.clone(),
        other => panic!("expected one error frame, got {other:?}"),
    }
}

#[test]
fn client_and_server_learn_of_each_other() {
    joined();
}

#[test]
fn a_peer_that_does_not_join_is_told_and_closed() {
    let mut server = Connection::new(Role::Server, config("server"), 0);
    let error = server.receive(leave("client"), 1).unwrap_err();
    assert!(matches!(
        error,
        PeerMisbehaved::NotJoined {
            expected: "join",
            ..
        }
    ));
    assert!(complaint(&mut server).contains("`leave`"));
    assert_eq!(server.poll_timeout(), None);
}

#[test]
fn a_foreign_version_is_refused() {
    let mut server = Connection::new(Role::Server, config("server"), 0);
    let join = Frame::Join {
        sender: PeerId::new("client"),
        metadata: PeerMetadata::default(),
        versions: vec![String::from("2")],
    };
    let error = server
        .receive(Incoming::Binary(join.encode()), 1)
        .unwrap_err();
    assert!(matches!(error, PeerMisbehaved::Version { .. }));
    assert!(complaint(&mut server).contains("version 1"));
}

#[test]
fn text_a_second_join_and_foreign_names_end_a_connection() {
    let (_, mut server) = joined();
    assert!(matches!(
        server.receive(Incoming::Text, 20),
        Err(PeerMisbehaved::Text)
    ));
    assert!(complaint(&mut server).contains("binary"));

    let (_, mut server) = joined();
    let again = Frame::Join {
        sender: PeerId::new("client"),
        metadata: PeerMetadata::default(),
        versions: vec![String::from("1")],
    };
    let error = server.receive(Incoming::Binary(again.encode()), 20);
    assert!(matches!(error, Err(PeerMisbehaved::JoinedTwice)));

    let (_, mut server) = joined();
    let foreign = Frame::Unavailable {
        sender: PeerId::new("another"),
        target: PeerId::new("server"),
        document: headwater_core::DocumentId::from_bytes([7; 16]),
        database: None,
    };
    let error = server.receive(Incoming::Binary(foreign.encode()), 20);
    assert!(matches!(error, Err(PeerMisbehaved::WrongSender { .. })));
    assert!(complaint(&mut server).contains("another"));
}

#[test]
fn ephemeral_messages_may_carry_another_sender() {
    let (_, mut server) = joined();
    let relayed = Frame::Ephemeral(crate::frame::EphemeralFrame {
        sender: PeerId::new("another"),
        target: PeerId::new("server"),
        document: headwater_core::DocumentId::from_bytes([7; 16]),
        database: None,
        count: 1,
        session: String::from("session"),
        data: Bytes::from_static(b"hello"),
    });
    let received = server
        .receive(Incoming::Binary(relayed.encode()), 20)
        .unwrap();
    assert_eq!(received, Received::Frame(relayed));
}

#[test]
fn rubbish_is_answered_with_an_error_frame() {
    let (_, mut server) = joined();
    let error = server.receive(Incoming::Binary(Bytes::from_static(b"\xff\x00")), 20);
    assert!(matches!(error, Err(PeerMisbehaved::BadFrame(_))));
    complaint(&mut server);
}

#[test]
fn errors_of_the_peer_are_passed_on_and_not_answered() {
    let mut client = Connection::new(Role::Client, config("client"), 0);
    frames(&mut client);
    let refusal = Frame::Error {
        sender: PeerId::new("server"),
        target: PeerId::new("client"),
        message: String::from("no token"),
    };
    let error = client
        .receive(Incoming::Binary(refusal.encode()), 3)
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "the peer closed the connection: no token"
    );
    assert!(frames(&mut client).is_empty());
}

#[test]
fn a_handshake_has_a_deadline() {
    let mut server = Connection::new(Role::Server, config("server"), 100);
    assert_eq!(server.poll_timeout(), Some(10_100));
    assert!(server.handle_timeout(10_099).is_ok());
    assert!(matches!(
        server.handle_timeout(10_100),
        Err(PeerMisbehaved::JoinTimeout(10_000))
    ));
    complaint(&mut server);
}

#[test]
fn an_idle_peer_is_pinged_and_a_silent_one_is_dead() {
    let (_, mut server) = joined();
    assert_eq!(server.poll_timeout(), Some(30_005));
    server.handle_timeout(30_005).unwrap();
    assert_eq!(server.poll_transmit(), Some(Transmit::Ping));
    server.receive(Incoming::Control, 30_010).unwrap();
    assert_eq!(server.poll_timeout(), Some(60_010));

    server.handle_timeout(60_010).unwrap();
    assert_eq!(server.poll_transmit(), Some(Transmit::Ping));
    assert_eq!(server.poll_timeout(), Some(90_010));
    assert!(matches!(
        server.handle_timeout(90_010),
        Err(PeerMisbehaved::Silent(60_000))
    ));
    assert_eq!(server.poll_transmit(), None);
    assert_eq!(server.poll_timeout(), None);
}
