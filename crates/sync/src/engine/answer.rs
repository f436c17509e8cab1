//! What a peer's message is answered with.

use super::outgoing;
use super::peers::Share;
use super::queue::Turn;
use super::{ConnectionId, Engine, Peer, Replica, has_change};
use crate::connection::Role;
use crate::frame::Frame;
use automerge::sync::{MessageFlags, MessageVersion, State, SyncDoc};
use automerge::{Automerge, Change, ChangeHash, ReadDoc};
use bytes::Bytes;
use headwater_core::DocumentId;
use std::hash::{DefaultHasher, Hash, Hasher};

/// What to send.
#[derive(Debug)]
enum Answer {
    Nothing,
    /// Our heads, with what the peer's question was about.
    Heads,
    /// Our heads and no more, so that the peer says what it makes of them.
    Announce,
    /// That we do not know these of its heads.
    Lost(Vec<ChangeHash>),
    /// Everything that the peer lacks, all of whose heads we know.
    CatchUp,
    /// These changes.
    Changes(Vec<Change>),
    /// What automerge makes of it.
    Message(Bytes),
}

impl<R: Replica> Engine<R> {
    /// Answers what a peer said. Everything that it brought is durable by now. `told` is whether it has been sent our
    /// heads since.
    pub(super) fn answer(
        &mut self,
        connection: ConnectionId,
        id: DocumentId,
        turn: &Turn,
        told: bool,
    ) {
        let passed_over = self.passes_over(connection, id);
        let Some(document) = self.replica.document(&id) else {
            return match passed_over {
                true => {}
                false => self.answer_lacking(connection, id, turn),
            };
        };
        let Some((peer, share)) = self.peers.share(connection, id) else {
            return;
        };
        if share.refused {
            return;
        }
        let known = turn.heads.iter().filter(|head| has_change(document, head));
        let known: Vec<_> = known.copied().collect();
        if passed_over {
            return self.note_heads(connection, id, &turn.heads, known);
        }
        let limit = self.config.limits.message_bytes;
        let answer = decide(document, peer, share, turn, told, limit);
        let heads = document.get_heads();
        let messages = match answer {
            Answer::Nothing => Vec::new(),
            Answer::Heads => outgoing::changes(heads, &[], limit),
            Answer::Announce => vec![outgoing::announcement(heads, false)],
            Answer::Lost(unknown) => vec![outgoing::lost(heads, unknown)],
            Answer::Changes(changes) => outgoing::changes(heads, &changes, limit),
            Answer::Message(message) => vec![message],
            Answer::CatchUp => {
                self.answers
                    .catch_up(id, document, &turn.heads, share.whole_documents, limit)
            }
        };
        self.note_heads(connection, id, &turn.heads, known);
        self.send_sync(connection, id, &messages, false);
    }

    /// Answers a message about a document that we do not have.
    fn answer_lacking(&mut self, connection: ConnectionId, id: DocumentId, turn: &Turn) {
        let Some((peer, share)) = self.peers.share(connection, id) else {
            return;
        };
        if share.refused {
            return;
        }
        // We may come to know them: whoever asks is told when the document appears.
        share.heads.clone_from(&turn.heads);
        share.caught_up = false;
        if !turn.heads.is_empty() {
            let message = match peer.headwater {
                Some(_) => outgoing::announcement(Vec::new(), false),
                None => outgoing::question(&turn.heads),
            };
            return self.send_sync(connection, id, &[message], true);
        }
        if peer.headwater.is_none() {
            let frame = Frame::Unavailable {
                sender: self.config.peer_id.clone(),
                target: peer.id.clone(),
                document: id,
                database: peer.database,
            };
            self.send(connection, frame.encode());
        }
    }
}

fn decide(
    document: &Automerge,
    peer: &Peer,
    share: &mut Share,
    turn: &Turn,
    told: bool,
    limit: usize,
) -> Answer {
    if turn.flags.is_some() {
        share.whole_documents = true;
    }
    if turn.has_flag(MessageFlags::SYNC_RESET) {
        share.start_over();
    }
    if turn.asks_for_all() || turn.heads.is_empty() {
        share.caught_up = false;
    }
    let unknown: Vec<_> = turn
        .heads
        .iter()
        .filter(|head| !has_change(document, head))
        .copied()
        .collect();
    let headwater = peer.headwater.is_some();
    if unknown.is_empty() && turn.need.is_empty() {
        return decide_known(document, share, turn, told);
    }
    if !unknown.is_empty() && headwater && turn.is_announcement() {
        return match peer.role {
            // It will answer our announcement: with what we lack, or with its being lost too.
            Role::Client if share.spoken => Answer::Nothing,
            Role::Client => Answer::Announce,
            Role::Server => Answer::Lost(unknown),
        };
    }
    // A peer that is lost asks for our heads alone, but needs what is before them too.
    let ours = document.get_heads();
    let lost = headwater && turn.is_lost(&ours);
    if unknown.is_empty() && lost && share.caught_up {
        // What it misses is on the way.
        return Answer::Nothing;
    }
    let question = digest(turn, &ours);
    if !share.is_new(question) && !turn.brought {
        return Answer::Nothing;
    }
    if unknown.is_empty() {
        let mut changes = match share.caught_up {
            true => Vec::new(),
            false => document.get_changes(&turn.heads),
        };
        share.caught_up = true;
        add_needed(&mut changes, document, &turn.need);
        return Answer::Changes(changes);
    }
    reconcile(document, share, turn, lost, limit)
}

/// Answers a peer all of whose heads we know, so that what it lacks is certain.
fn decide_known(document: &Automerge, share: &mut Share, turn: &Turn, told: bool) -> Answer {
    let owed = (turn.brought && !told) || !share.spoken;
    if share.caught_up {
        return if owed { Answer::Heads } else { Answer::Nothing };
    }
    let ours = document.get_heads();
    if turn.heads == ours {
        share.caught_up = true;
        return if owed { Answer::Heads } else { Answer::Nothing };
    }
    let question = digest(turn, &ours);
    if !share.is_new(question) && !turn.brought {
        return Answer::Nothing;
    }
    share.caught_up = true;
    Answer::CatchUp
}

/// Answers a peer that has changes which we do not know, by automerge's own sync: bloom filters, and what each side needs.
fn reconcile(
    document: &Automerge,
    share: &mut Share,
    turn: &Turn,
    lost: bool,
    limit: usize,
) -> Answer {
    let is_known = |head: &&ChangeHash| has_change(document, head);
    let mut shared: Vec<_> = share
        .heads
        .iter()
        .chain(&turn.heads)
        .filter(is_known)
        .copied()
        .collect();
    shared.sort_unstable();
    shared.dedup();
    // A peer that was sent everything lacks nothing but what it names.
    let chooses = !share.caught_up && !lost;
    let mut state = State {
        shared_heads: shared,
        their_heads: Some(turn.heads.clone()),
        their_need: Some(if lost { Vec::new() } else { turn.need.clone() }),
        their_have: Some(if chooses {
            turn.have.clone()
        } else {
            Vec::new()
        }),
        ..State::new()
    };
    let reaches =
        |have: &automerge::sync::Have| have.last_sync.iter().all(|head| has_change(document, head));
    if chooses && !turn.have.is_empty() && turn.have.iter().take(1).all(reaches) {
        share.caught_up = true;
    }
    let Some(mut message) = document.generate_sync_message(&mut state) else {
        return Answer::Nothing;
    };
    // The state does not say that the peer reads whole documents, since automerge would put changes into these that wait
    // for others and were never made durable.
    if share.whole_documents && outgoing::is_most(document, message.changes.len()) {
        message.changes = outgoing::save(document).into();
        message.version = MessageVersion::V2;
    }
    let message = message.encode();
    if message.len() > limit {
        return Answer::Changes(document.get_changes(&state.shared_heads));
    }
    Answer::Message(message.into())
}

fn add_needed(changes: &mut Vec<Change>, document: &Automerge, need: &[ChangeHash]) {
    for hash in need {
        if !changes.iter().any(|change| change.hash() == *hash)
            && let Some(change) = document.get_change_by_hash(hash)
        {
            changes.push(change);
        }
    }
}

impl Share {
    /// Whether a question is another than the last, which is the one that is answered.
    fn is_new(&mut self, question: u64) -> bool {
        let new = self.answered.replace(question) != Some(question);
        self.stuck = !new && !self.caught_up;
        new
    }
}

fn digest(turn: &Turn, ours: &[ChangeHash]) -> u64 {
    let mut hasher = DefaultHasher::new();
    (&turn.heads, &turn.need, &turn.have, ours).hash(&mut hasher);
    hasher.finish()
}
