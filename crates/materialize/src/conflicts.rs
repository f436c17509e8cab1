//! The ledger of what lost, as rows.

use crate::declared::DeclaredType;
use crate::types::TIMESTAMPS;
use headwater_core::json::value_to_json;
use headwater_core::{Claim, Conflict, Record, Value};

/// The columns of a table of conflicts. They have their types from the start, so that an empty one can be queried too.
pub(crate) const COLUMNS: [(&str, DeclaredType); 16] = [
    ("field", DeclaredType::Text),
    ("kind", DeclaredType::Text),
    ("policy", DeclaredType::Text),
    ("resolved", DeclaredType::Bool),
    ("shown", DeclaredType::Text),
    ("lost", DeclaredType::Text),
    ("lost_claim", DeclaredType::Text),
    ("lost_user", DeclaredType::Text),
    ("lost_origin", DeclaredType::Text),
    ("lost_actor", DeclaredType::Text),
    ("lost_change", DeclaredType::Text),
    ("lost_at", DeclaredType::Timestamp),
    ("winner_claim", DeclaredType::Text),
    ("winner_user", DeclaredType::Text),
    ("winner_origin", DeclaredType::Text),
    ("winner_at", DeclaredType::Timestamp),
];

/// The rows of one record: one for each write that lost. What has no loser, since its policy could not be carried out and
/// all values are alike, has none.
pub(crate) fn rows(conflicts: &[Conflict]) -> impl Iterator<Item = Record> {
    conflicts.iter().flat_map(|conflict| {
        let losers = conflict.losers.iter();
        losers.map(move |loser| row(conflict, loser))
    })
}

fn row(conflict: &Conflict, loser: &Claim) -> Record {
    let json = |value: &Option<Value>| value.as_ref().map(value_to_json).map(Value::String);
    let text = |text: &str| Some(Value::from(text));
    let whole = conflict.field.is_empty();
    let mut row = Row(Record::new());
    row.set("field", (!whole).then(|| conflict.path().into()));
    row.set("kind", text(conflict.kind.name()));
    row.set("policy", text(&conflict.policy));
    row.set("resolved", Some(Value::Bool(conflict.resolved)));
    row.set("shown", json(&conflict.shown));
    row.set("lost", json(&loser.value));
    row.claim("lost", loser);
    if let Some(by) = &loser.by {
        row.set("lost_actor", Some(by.actor.to_hex_string().into()));
        row.set("lost_change", Some(by.hash.to_string().into()));
    }
    if let Some(winner) = &conflict.winner {
        row.claim("winner", winner);
    }
    row.0
}

struct Row(Record);

impl Row {
    fn set(&mut self, column: &str, cell: Option<Value>) {
        if let Some(cell) = cell {
            self.0.insert(column.to_owned(), cell);
        }
    }

    fn claim(&mut self, whose: &str, claim: &Claim) {
        self.set(&format!("{whose}_claim"), Some(claim.id.to_string().into()));
        let Some(by) = &claim.by else { return };
        let claimed = &by.provenance;
        let text = |text: &Option<String>| text.clone().map(Value::String);
        self.set(&format!("{whose}_user"), text(&claimed.user));
        self.set(&format!("{whose}_origin"), text(&claimed.origin));
        // A clock may say anything; what Drill cannot hold must not make the column text for everyone.
        let at = TIMESTAMPS.contains(&claimed.at);
        self.set(
            &format!("{whose}_at"),
            at.then_some(Value::Timestamp(claimed.at)),
        );
    }
}
