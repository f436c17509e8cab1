//! Writes as of a version do what a peer does that had seen no more, whatever was written before and since.

use crate::replica::{NOTES, Replica, exchange, pair};
use headwater_core::{
    CollectionSchema, ConflictKind, DeleteRule, Edit, KeyChange, KeyWrite, Operation, Patch,
    Policy, Record, Settlement, Transaction, Value, Version, WriteContext, WriteError,
};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

#[derive(Debug, Clone)]
enum Act {
    Put(Record),
    Patch(Patch),
    Delete,
    Settle(Vec<String>, Settlement),
}

impl Act {
    fn now(&self, replica: &mut Replica) -> Result<(), WriteError> {
        let key = "k".to_owned();
        let done = replica.write(match self.clone() {
            Self::Put(record) => Operation::Put([(key, record)].into()),
            Self::Patch(patch) => Operation::Patch(key, patch),
            Self::Delete => Operation::Delete(key),
            Self::Settle(path, how) => Operation::Settle(key, path, how),
        });
        match (done, self) {
            // In a transaction that is no error.
            (Err(WriteError::NotFound { .. }), Self::Delete) => Ok(()),
            (done, _) => done.map(drop),
        }
    }

    fn as_of(&self, replica: &mut Replica, version: &Version) -> Result<(), WriteError> {
        let write = KeyWrite {
            collection: NOTES.into(),
            key: "k".into(),
            change: match self.clone() {
                Self::Put(record) => KeyChange::Put(record),
                Self::Patch(patch) => KeyChange::Patch(patch),
                Self::Delete => KeyChange::Delete,
                Self::Settle(path, how) => KeyChange::Settle(path, how),
            },
            version: Some(version.clone()),
            unchanged: false,
        };
        let done = replica.db.transact(&Transaction {
            writes: vec![write],
            context: WriteContext::default(),
            request: None,
        });
        match done {
            Err(WriteError::OneOf { source, .. }) => Err(*source),
            done => done.map(drop),
        }
    }
}

/// Scalars, one of them the largest of what is written, a counter, and a map of scalars: no field is written as two kinds.
fn act() -> impl Strategy<Value = Act> {
    let name = || prop::sample::select(vec!["a", "b", "best"]);
    let number = || (0..1_000_000i64).prop_map(Value::Int);
    let record = prop::collection::btree_map(name().prop_map(str::to_owned), number(), 0..3);
    let edit = prop_oneof![
        4 => number().prop_map(Edit::Set),
        1 => Just(Edit::Remove),
    ];
    let field = (name(), edit.clone()).prop_map(|(name, edit)| (name, edit));
    let inner = (name(), edit).prop_map(|(name, edit)| {
        let inner = Patch::from([(name.to_owned(), edit)]);
        ("m", Edit::Merge(inner))
    });
    let count = (1..100i64).prop_map(|n| ("n", Edit::Increment(n)));
    let patch = prop_oneof![4 => field, 2 => inner, 1 => count]
        .prop_map(|(name, edit)| Act::Patch([(name.to_owned(), edit)].into()));
    let path = prop_oneof![
        1 => Just(Vec::new()),
        3 => name().prop_map(|name| vec![name.to_owned()]),
        1 => name().prop_map(|name| vec!["m".to_owned(), name.to_owned()]),
    ];
    let how = prop_oneof![
        Just(Settlement::Accept),
        number().prop_map(Settlement::Write)
    ];
    prop_oneof![
        2 => record.prop_map(Act::Put),
        6 => patch,
        1 => Just(Act::Delete),
        2 => (path, how).prop_map(|(path, how)| Act::Settle(path, how)),
    ]
}

/// Values by the path of their field.
type Fields = BTreeMap<Vec<String>, BTreeSet<String>>;

/// What stands in the record: the values that are shown or kept of each field, and whether a delete met edits. Which of them
/// is shown depends on op ids, which are others in another peer's change.
fn standing(replica: &Replica) -> (Fields, BTreeSet<ConflictKind>) {
    let mut fields = Fields::new();
    let mut met = BTreeSet::new();
    let mut add_record = |record: Record| {
        for (name, value) in record {
            match value {
                Value::Map(inner) => inner.into_iter().for_each(|(inner, value)| {
                    add(&mut fields, vec![name.clone(), inner], &value);
                }),
                value => add(&mut fields, vec![name], &value),
            }
        }
    };
    replica.get("k").into_iter().for_each(&mut add_record);
    let (of_record, of_fields): (Vec<_>, Vec<_>) = replica
        .open()
        .into_iter()
        .partition(|conflict| conflict.field.is_empty());
    for conflict in of_record {
        met.insert(conflict.kind);
        for claim in conflict.losers {
            // What the record would show.
            if let Some(Value::Map(record)) = claim.value {
                add_record(record);
            }
        }
    }
    for conflict in of_fields {
        let claims = conflict.losers.into_iter().chain(conflict.winner);
        let values = claims.filter_map(|claim| claim.value).chain(conflict.shown);
        values.for_each(|value| add(&mut fields, conflict.field.clone(), &value));
    }
    (fields, met)
}

fn add(fields: &mut Fields, path: Vec<String>, value: &Value) {
    fields.entry(path).or_default().insert(format!("{value:?}"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn a_write_as_of_a_version_is_that_of_a_peer_which_had_seen_no_more(
        delete_wins: bool,
        before in prop::collection::vec((any::<bool>(), any::<bool>(), act()), 0..6),
        since in prop::collection::vec(act(), 0..5),
        act in act(),
    ) {
        let rule = if delete_wins { DeleteRule::DeleteWins } else { DeleteRule::EditWins };
        let schema = CollectionSchema::new().policy("best", Policy::Max).delete(rule);
        let (mut a, mut b) = pair(schema);
        for (by_a, meets, act) in before {
            // What cannot be done now is not.
            let _ = act.now(if by_a { &mut a } else { &mut b });
            if meets {
                exchange(&mut a, &mut b);
            }
        }
        exchange(&mut a, &mut b);
        let version = a.db.version_of(NOTES, "k");
        for act in since {
            let _ = act.now(&mut a);
        }
        let mut apart = Replica::new(3);
        apart.receive(&a.documents());
        let done = act.now(&mut b);
        apart.receive(&b.documents());
        let as_of = act.as_of(&mut a, &version);
        prop_assert_eq!(as_of.is_ok(), done.is_ok(), "{:?} {:?}", as_of, done);
        prop_assert_eq!(standing(&a), standing(&apart));
    }
}
