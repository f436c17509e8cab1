//! An engine among clients that run automerge's own sync, among them old ones.

mod common;

use common::stock::Service;
use common::{Random, document};
use proptest::prelude::*;

proptest! {
    #[test]
    fn stock_clients_converge_once_the_network_heals(
        seed in any::<u64>(),
        old in proptest::collection::vec(any::<bool>(), 1..5),
        documents in 1_usize..4,
        steps in 50_usize..400,
    ) {
        let mut service = Service::new(&old);
        let mut random = Random(seed);
        for _ in 0..steps {
            service.step(&mut random, documents);
        }
        service.settle();
        for client in 0..old.len() {
            service.connect(client);
        }
        service.settle();
        service.assert_converged();
    }
}

#[test]
fn what_one_client_writes_the_other_reads() {
    let mut service = Service::new(&[false, true]);
    service.clients[1].open(document(1));
    service.settle();
    assert_eq!(service.clients[1].unavailable, [document(1)]);
    // It asked for the document before there was one, and is sent it now.
    service.clients[0].edit(document(1), "key", 1);
    service.settle();
    service.clients[1].edit(document(1), "other", 2);
    service.settle();
    assert_eq!(
        service.clients[0].documents[&document(1)].get_heads().len(),
        1
    );
    service.assert_converged();
}

#[test]
fn a_client_is_told_nothing_that_it_did_not_ask_for() {
    let mut service = Service::new(&[false, false]);
    service.clients[0].edit(document(1), "key", 1);
    service.settle();
    assert!(service.clients[1].documents.is_empty());
}

#[test]
fn a_new_client_gets_the_whole_document_and_an_old_one_its_changes() {
    let mut service = Service::new(&[false, false, true]);
    for client in 1..3 {
        service.disconnect(client);
    }
    for value in 0..500 {
        service.clients[0].edit(document(1), "key", value);
    }
    service.settle();
    for client in 1..3 {
        service.clients[client].open(document(1));
        service.connect(client);
    }
    service.settle();
    service.assert_converged();
    assert_eq!(
        service.clients[1].received[1], 1,
        "the whole document came in one message"
    );
    assert_eq!(service.clients[2].received[1], 0);
    let bytes = |client: usize| service.clients[client].bytes;
    assert!(bytes(1) * 4 < bytes(2), "{} and {}", bytes(1), bytes(2));
}

/// A pushed history is stored and acknowledged in parts if it must be, and arrives whole.
#[test]
fn a_long_offline_history_arrives() {
    let mut service = Service::new(&[true, false]);
    service.clients[0].edit(document(1), "key", 0);
    service.clients[1].open(document(1));
    service.settle();
    service.disconnect(0);
    for value in 0..3000 {
        service.clients[0].edit(document(1), &format!("key{value}"), value);
    }
    service.connect(0);
    service.settle();
    service.assert_converged();
    assert_eq!(
        service.clients[1].documents[&document(1)].get_heads().len(),
        1
    );
}
