//! Relaying ephemeral messages, each once.

use super::peers::Share;
use super::{ConnectionId, Engine, Replica};
use crate::frame::{EphemeralFrame, Frame};
use std::collections::{BTreeMap, VecDeque};

/// How many sessions are remembered. A message of a forgotten one may be relayed a second time.
const SESSIONS: usize = 4096;

/// The number of the last message of each session.
#[derive(Debug, Default)]
pub(super) struct Sessions {
    last: BTreeMap<String, u64>,
    order: VecDeque<String>,
}

impl Sessions {
    /// Whether this message has not been seen. From then on it has.
    pub(super) fn is_new(&mut self, session: &str, count: u64) -> bool {
        if let Some(last) = self.last.get_mut(session) {
            let new = count > *last;
            *last = count.max(*last);
            return new;
        }
        if self.order.len() >= SESSIONS
            && let Some(oldest) = self.order.pop_front()
        {
            self.last.remove(&oldest);
        }
        self.last.insert(session.to_owned(), count);
        self.order.push_back(session.to_owned());
        true
    }
}

impl<R: Replica> Engine<R> {
    /// Passes a message on to everyone else who shares its document.
    pub(super) fn relay(&mut self, connection: ConnectionId, frame: EphemeralFrame) {
        let shares = |share: Option<&Share>| share.is_some_and(|share| !share.refused);
        if !shares(self.peers.existing_share(connection, &frame.document))
            || !self.sessions.is_new(&frame.session, frame.count)
        {
            return;
        }
        for target in self.peers.sharing(&frame.document) {
            let Some(connected) = self.peers.get(target) else {
                continue;
            };
            if target != connection
                && connected.behind.is_none()
                && connected.peer.id != frame.sender
                && shares(self.peers.existing_share(target, &frame.document))
            {
                let frame = EphemeralFrame {
                    target: connected.peer.id.clone(),
                    database: connected.peer.database,
                    ..frame.clone()
                };
                self.send(target, Frame::Ephemeral(frame).encode());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_message_is_new_once_and_memory_is_bounded() {
        let mut sessions = Sessions::default();
        assert!(sessions.is_new("a", 1));
        assert!(!sessions.is_new("a", 1));
        assert!(sessions.is_new("a", 2));
        assert!(!sessions.is_new("a", 1));
        for session in 0..2 * SESSIONS {
            assert!(sessions.is_new(&session.to_string(), 1));
        }
        assert_eq!(sessions.last.len(), SESSIONS);
        assert_eq!(sessions.order.len(), SESSIONS);
    }
}
