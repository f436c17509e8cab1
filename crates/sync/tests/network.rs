//! Engines among themselves: whatever happens to links and storage, they converge once it stops, and nothing is told that is
//! not on disk.

mod common;

use common::{Network, Random, document};
use headwater_sync::engine::ConnectionId;
use proptest::prelude::*;

fn shape(shape: usize, nodes: usize) -> Network {
    match shape {
        0 => Network::line(nodes),
        1 => Network::star(nodes),
        _ => Network::ring(nodes),
    }
}

/// Lets `steps` things happen, then stops all trouble.
fn converges(mut network: Network, seed: u64, documents: usize, steps: usize) {
    let mut random = Random(seed);
    for _ in 0..steps {
        network.step(&mut random, documents);
    }
    network.heal();
    network.settle();
    network.assert_converged();
}

/// A bloom filter claimed changes that a peer did not have, whose question for them was taken for that of a peer which had
/// only met us.
#[test]
fn changes_that_a_bloom_filter_hid_are_asked_for() {
    converges(shape(1, 4), 1_516_426_244_628_505_746, 2, 116);
}

/// A message that had to wait for another was dropped, because nothing had noted yet that its document is shared.
#[test]
fn what_waits_for_a_batch_is_not_dropped() {
    let mut network = shape(0, 5);
    network.slow_readers = true;
    converges(network, 13_563_817_543_576_122_944, 3, 147);
}

proptest! {
    #[test]
    fn all_converge_once_the_network_heals(
        seed in any::<u64>(),
        kind in 0_usize..3,
        nodes in 3_usize..6,
        documents in 1_usize..4,
        steps in 50_usize..400,
        slow_readers in any::<bool>(),
    ) {
        let mut network = shape(kind, nodes);
        network.slow_readers = slow_readers;
        converges(network, seed, documents, steps);
    }
}

#[test]
fn an_edit_reaches_everyone_and_is_acknowledged_by_the_neighbour() {
    let mut network = Network::line(3);
    let write = network.nodes[0].put(document(1), "key", 7);
    network.collect();
    assert!(network.nodes[0].written.is_empty(), "it is not on disk yet");
    network.settle();
    let hash = network.nodes[0].written[&write].clone().unwrap();
    assert_eq!(network.nodes[0].acknowledged, [(document(1), vec![hash])]);
    assert_eq!(network.nodes[2].events, [document(1)]);
    network.assert_converged();
}

/// Group commit, and the fan-out to peers that have not acknowledged yet: a writer that does not wait costs a message for
/// each batch, not for each edit and acknowledgement.
#[test]
fn edits_in_flight_share_batches_and_messages() {
    let mut network = Network::star(4);
    network.nodes[0].put(document(1), "key", 0);
    network.settle();
    let before = network.delivered;
    for value in 1..=100 {
        network.nodes[0].put(document(1), "key", value);
    }
    network.settle();
    // The first edit is a batch, the other 99 are another: two messages and two acknowledgements for each of three peers.
    assert_eq!(network.delivered - before, 12);
    network.assert_converged();
}

#[test]
fn a_reconnecting_peer_that_lags_gets_what_it_lacks_in_one_message() {
    let mut network = Network::line(2);
    network.nodes[0].put(document(1), "key", 0);
    network.settle();
    network.disconnect(0);
    for value in 1..=10 {
        network.nodes[0].put(document(1), "key", value);
        network.settle();
    }
    let before = network.delivered;
    network.heal();
    network.settle();
    // Two announcements, the changes, the acknowledgement, and that the lagging peer did not know the heads announced.
    assert!(
        network.delivered - before <= 5,
        "{}",
        network.delivered - before
    );
    network.assert_converged();
}

/// A slow reader costs no memory: what it misses is not kept for it, and it asks once it has read what was sent.
#[test]
fn a_peer_that_reads_too_slowly_gets_what_it_missed_at_once_when_it_keeps_up() {
    let mut network = Network::line(2);
    network.nodes[0].put(document(1), "key", 0);
    network.settle();
    let slow = ConnectionId(0);
    network.nodes[0].engine.congested(slow);
    let before = network.delivered;
    for value in 1..=100 {
        network.nodes[0].put(document(1), "key", value);
        network.nodes[0].put(document(2), "key", value);
        network.collect();
        network.nodes[0].complete_write(true);
        network.collect();
    }
    assert!(!network.deliver(0, 0) && !network.deliver(0, 1));
    network.settle();
    // Of each document two announcements, the changes and the acknowledgement, and that the peer did not know the heads.
    assert!(
        network.delivered - before <= 10,
        "{}",
        network.delivered - before
    );
    network.assert_converged();
}

#[test]
fn peers_that_are_equal_only_announce() {
    let mut network = Network::line(2);
    network.nodes[0].put(document(1), "key", 0);
    network.settle();
    network.disconnect(0);
    let before = network.delivered;
    network.heal();
    network.settle();
    assert_eq!(network.delivered - before, 2);
}

#[test]
fn a_failed_commit_fails_the_write_and_what_peers_sent_comes_again() {
    let mut network = Network::line(2);
    network.nodes[0].put(document(1), "key", 1);
    network.settle();
    // The other end's edit arrives, and the disk is full.
    network.nodes[1].put(document(1), "other", 2);
    network.collect();
    network.nodes[1].complete_write(true);
    while network.deliver(0, 0) {}
    assert_eq!(network.nodes[0].writing.len(), 1);
    let failed = network.nodes[0].put(document(1), "key", 3);
    network.nodes[0].complete_write(false);
    network.collect();
    // The write was still waiting, so it is done on the replica that was loaded again.
    network.settle();
    assert!(network.nodes[0].written[&failed].is_ok());
    network.assert_converged();

    let failed = network.nodes[0].put(document(1), "key", 4);
    network.collect();
    network.nodes[0].complete_write(false);
    network.settle();
    assert_eq!(
        network.nodes[0].written[&failed],
        Err(String::from("disk full"))
    );
    network.assert_converged();
}

#[test]
fn a_document_that_was_lost_in_a_failed_commit_is_sent_again() {
    let mut network = Network::line(2);
    network.nodes[1].put(document(1), "key", 1);
    network.collect();
    network.nodes[1].complete_write(true);
    while network.deliver(0, 0) {}
    network.nodes[0].complete_write(false);
    // An edit that follows the lost ones is on its way.
    network.nodes[1].put(document(1), "key", 2);
    network.settle();
    assert_eq!(network.nodes[0].heads().len(), 1);
    network.assert_converged();
}

#[test]
fn a_rejected_write_changes_nothing_and_says_why() {
    let mut network = Network::line(2);
    let write = network.nodes[0].put(document(1), "key", -1);
    network.collect();
    assert_eq!(
        network.nodes[0].written[&write],
        Err(String::from("negative"))
    );
    assert!(network.nodes[0].writing.is_empty());
}
