//! The table of what lost, beside that of the records.

use super::*;
use automerge::{ActorId, ChangeHash};
use headwater_core::{Attribution, Claim, ClaimId, Conflict, ConflictKind, Provenance};
use serde_json::json;

const COLUMNS: [(&str, &str); 18] = [
    ("_key", "VARCHAR"),
    ("_database", "VARCHAR"),
    ("field", "VARCHAR"),
    ("kind", "VARCHAR"),
    ("lost", "VARCHAR"),
    ("lost_actor", "VARCHAR"),
    ("lost_at", "TIMESTAMP"),
    ("lost_change", "VARCHAR"),
    ("lost_claim", "VARCHAR"),
    ("lost_origin", "VARCHAR"),
    ("lost_user", "VARCHAR"),
    ("policy", "VARCHAR"),
    ("resolved", "BOOLEAN"),
    ("shown", "VARCHAR"),
    ("winner_at", "TIMESTAMP"),
    ("winner_claim", "VARCHAR"),
    ("winner_origin", "VARCHAR"),
    ("winner_user", "VARCHAR"),
];

fn claim(n: u8, value: Option<Value>, at: i64) -> Claim {
    Claim {
        id: ClaimId(format!("4/{n}@{n:02x}")),
        value,
        by: Some(Attribution {
            hash: ChangeHash([n; 32]),
            actor: ActorId::from([n; 2]),
            provenance: Provenance {
                origin: Some("field".into()),
                user: Some(format!("user {n}")),
                at,
            },
        }),
    }
}

/// Of the values 1, 2 and 3 the last one is shown.
fn values() -> Conflict {
    Conflict {
        collection: "t".into(),
        key: "k".into(),
        field: vec!["m".into(), "a.b".into()],
        kind: ConflictKind::Values,
        policy: "last-writer".into(),
        shown: Some(3.into()),
        winner: Some(claim(3, Some(3.into()), 3)),
        losers: vec![
            claim(1, Some(1.into()), 1_000),
            claim(2, Some("two".into()), i64::MAX),
        ],
        resolved: true,
    }
}

/// The record of `values` is still there, though someone deleted it.
fn delete_lost() -> Conflict {
    Conflict {
        field: vec![],
        kind: ConflictKind::DeleteLost,
        policy: "edit-wins".into(),
        shown: Some(Value::Map(record([("n", 3.into())]))),
        winner: None,
        losers: vec![claim(4, None, 4)],
        resolved: false,
        ..values()
    }
}

fn ledger(root: &Path, table: &str) -> Visible {
    let visible = Visible::read(root, table);
    let columns: Vec<_> = visible
        .columns
        .iter()
        .map(|(name, kind, shown)| (name.as_str(), kind.as_str(), shown.as_str()))
        .collect();
    assert_eq!(columns, COLUMNS.map(|(name, kind)| (name, kind, kind)));
    visible
}

#[test]
fn every_write_that_lost_is_a_row() {
    let dir = tempfile::tempdir().unwrap();
    let mut lake = open(dir.path());
    lake.apply_conflicts(database(1), "t", "k", &[values(), delete_lost()]);
    lake.apply_conflicts(database(2), "t", "k", &[delete_lost()]);
    lake.publish().unwrap();
    let rows = ledger(dir.path(), "t_conflicts").rows;
    assert_eq!(rows.len(), 4);
    let row = |n: u8, key: &str| rows[&(database(n).to_string(), key.to_owned())].clone();
    let hex = |n: u8| format!("{n:02x}").repeat(32);
    let first = json!({
        "field": "m.\"a.b\"", "kind": "values", "policy": "last-writer", "resolved": true, "shown": "3",
        "lost": "1", "lost_claim": "4/1@01", "lost_user": "user 1", "lost_origin": "field", "lost_actor": "0101",
        "lost_change": hex(1), "lost_at": "1970-01-01T00:00:01.000",
        "winner_claim": "4/3@03", "winner_user": "user 3", "winner_origin": "field",
        "winner_at": "1970-01-01T00:00:00.003",
    });
    assert_eq!(row(1, "k 4/1@01"), first);
    // What no clock can mean is left out.
    let second = row(1, "k 4/2@02");
    assert_eq!(
        (&second["lost"], second.get("lost_at")),
        (&json!("\"two\""), None)
    );
    let delete = json!({
        "kind": "delete-lost", "policy": "edit-wins", "resolved": false, "shown": "{\"n\":3}",
        "lost_claim": "4/4@04", "lost_user": "user 4", "lost_origin": "field", "lost_actor": "0404",
        "lost_change": hex(4), "lost_at": "1970-01-01T00:00:00.004",
    });
    assert_eq!(row(1, "k 4/4@04"), delete);
    assert_eq!(row(2, "k 4/4@04"), delete);
}

#[test]
fn what_is_settled_is_gone_and_an_empty_ledger_is_a_table() {
    let dir = tempfile::tempdir().unwrap();
    let mut lake = open(dir.path());
    lake.declare("t");
    lake.publish().unwrap();
    assert_eq!(ledger(dir.path(), "t_conflicts").rows.len(), 0);
    assert_eq!(Visible::read(dir.path(), "t").rows.len(), 0);

    lake.apply_conflicts(database(1), "t", "k", &[values(), delete_lost()]);
    lake.publish().unwrap();
    lake.apply_conflicts(database(1), "t", "k", &[delete_lost()]);
    lake.publish().unwrap();
    assert_eq!(ledger(dir.path(), "t_conflicts").rows.len(), 1);
    lake.apply_conflicts(database(1), "t", "k", &[]);
    assert_eq!(lake.publish().unwrap().tables, ["t_conflicts"]);
    assert_eq!(ledger(dir.path(), "t_conflicts").rows.len(), 0);
    lake.apply_conflicts(database(1), "t", "k", &[]);
    assert_eq!(lake.publish().unwrap().tables, Vec::<String>::new());

    lake.apply_conflicts(database(1), "t", "k", &[values()]);
    lake.publish().unwrap();
    drop(lake);
    let mut lake = open(dir.path());
    lake.publish().unwrap();
    assert_eq!(
        ledger(dir.path(), "t_conflicts").rows.len(),
        2,
        "a restart settles nothing"
    );
}

#[test]
fn a_ledger_that_did_not_change_costs_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let mut lake = open(dir.path());
    lake.apply_conflicts(database(1), "t", "k", &[values()]);
    lake.apply(put("t", "k", record([("n", 3.into())])));
    lake.publish().unwrap();
    lake.apply(put("t", "k", record([("n", 4.into())])));
    assert_eq!(lake.publish().unwrap().tables, ["t", "t_changes"]);
    drop(lake);
    let mut lake = open(dir.path());
    lake.apply_conflicts(database(1), "t", "k", &[values()]);
    lake.apply(put("t", "k", record([("n", 4.into())])));
    assert_eq!(lake.publish().unwrap().tables, Vec::<String>::new());
}

#[test]
fn no_collection_takes_the_name_of_a_ledger() {
    let dir = tempfile::tempdir().unwrap();
    let mut lake = open(dir.path());
    for collection in ["t", "T", "t_conflicts", "a.b", "default"] {
        lake.apply(put(collection, collection, record([("n", 1.into())])));
        lake.apply_conflicts(database(1), collection, collection, &[delete_lost()]);
    }
    lake.publish().unwrap();
    for collection in ["t", "T", "t_conflicts", "a.b", "default"] {
        let (table, _) = lake.schema(collection).unwrap();
        assert_eq!(Visible::read(dir.path(), table).cells("n"), [json!(1)]);
        let rows = ledger(dir.path(), &format!("{table}_conflicts")).rows;
        let keys: Vec<_> = rows.into_keys().map(|(_, key)| key).collect();
        assert_eq!(keys, [format!("{collection} 4/4@04")]);
    }
    assert_eq!(lake.schema("t_conflicts").unwrap().0, "t_conflicts_");
}
