//! What is declared of the type of a collection's records.
#![cfg(not(target_arch = "wasm32"))]

use headwater::{
    CollectionSchema, Counter, DeleteRule, FieldType, LakeColumn, Options, Peer, Policy, Schema,
    Text, Timestamp,
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

#[derive(Serialize, Deserialize, Schema)]
struct Place {
    street: String,
}

#[derive(Serialize, Deserialize, Schema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(version = 2, delete = "delete-wins")]
struct Site {
    display_name: String,
    #[serde(rename = "best")]
    #[schema(policy = "max")]
    best_score: Option<f64>,
    #[schema(policy = "union")]
    tags: Vec<String>,
    #[schema(policy = "custom:longest@3", column = "note")]
    remark: String,
    #[schema(kind = "decimal(20,4)")]
    fee: String,
    #[schema(no_column)]
    phone: String,
    visits: Counter,
    notes: Text,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    inspected_at: Option<Timestamp>,
    #[schema(kind = "timestamp")]
    made: i64,
    place: Place,
    more: BTreeMap<String, i64>,
    #[schema(untyped)]
    anything: serde_json::Value,
    #[serde(skip)]
    #[expect(dead_code, reason = "it is here to be left out")]
    local: bool,
}

fn declared() -> CollectionSchema {
    CollectionSchema::new()
        .version(2)
        .delete(DeleteRule::DeleteWins)
        .field("displayName", FieldType::String)
        .field("best", FieldType::Float)
        .policy("best", Policy::Max)
        .field("tags", FieldType::List)
        .policy("tags", Policy::Union)
        .field("remark", FieldType::String)
        .policy(
            "remark",
            Policy::Custom {
                name: "longest".to_owned(),
                version: 3,
            },
        )
        .column("remark", "note")
        .field(
            "fee",
            FieldType::Decimal {
                precision: 20,
                scale: 4,
            },
        )
        .field("phone", FieldType::String)
        .column("phone", LakeColumn::Hidden)
        .field("visits", FieldType::Counter)
        .field("notes", FieldType::Text)
        .field("inspectedAt", FieldType::Timestamp)
        .field("made", FieldType::Timestamp)
        .field("place", FieldType::Map)
        .field("more", FieldType::Map)
}

/// The same records in an older version of the application.
#[derive(Serialize, Deserialize)]
struct OlderSite {
    name: String,
    address: Option<OlderAddress>,
}

#[derive(Serialize, Deserialize)]
struct OlderAddress {
    street: String,
}

#[tokio::test]
async fn an_older_version_keeps_the_fields_that_it_does_not_know() -> Result<(), headwater::Error> {
    let peer = Peer::open(Options::memory()).await?;
    let db = peer.create(None).await?;
    let sites = db.collection("sites");
    let newer = serde_json::json!({
        "name": "old", "added": 1, "address": {"street": "old", "zip": "new"}
    });
    let record = headwater::json::record_from_json(&newer).expect("a record");
    sites.put("k", record).await?;

    let older = sites.typed::<OlderSite>();
    let mut site = older.get("k")?.expect("it is there");
    site.name = "edited".to_owned();
    site.address = Some(OlderAddress {
        street: "edited".to_owned(),
    });
    older.put("k", &site).await?;
    let expected = serde_json::json!({
        "name": "edited", "added": 1, "address": {"street": "edited", "zip": "new"}
    });
    let expected = headwater::json::record_from_json(&expected).expect("a record");
    assert_eq!(sites.get("k"), Some(expected));
    peer.close().await
}

#[test]
fn the_schema_of_a_struct_has_the_names_types_and_policies_of_its_fields() {
    assert_eq!(Site::schema(), declared());
}

#[tokio::test]
async fn a_typed_collection_declares_its_schema() -> Result<(), headwater::Error> {
    let peer = Peer::open(Options::memory()).await?;
    let db = peer.create(None).await?;
    db.collection("sites").typed::<Site>().declare().await?;
    let collection = db.collections().remove("sites");
    let collection = collection.expect("it is declared");
    assert_eq!(collection.fields, declared().fields);
    assert_eq!(collection.policies, declared().policies);
    assert_eq!(collection.columns, declared().columns);
    assert_eq!(
        (collection.version, collection.delete),
        (2, DeleteRule::DeleteWins)
    );
    peer.close().await
}

#[tokio::test]
async fn a_writer_of_named_fields_leaves_the_others_as_they_are() {
    let peer = Peer::open(Options::memory()).await.unwrap();
    let db = peer.create(None).await.unwrap();
    let all = db.collection("notes");
    let record = |fields: &[(&str, i64)]| -> headwater::Record {
        let fields = fields.iter();
        fields
            .map(|(name, n)| ((*name).to_owned(), (*n).into()))
            .collect()
    };
    all.put("k", record(&[("old", 1), ("gone", 1), ("newer", 1)]))
        .await
        .unwrap();
    let older = all.knowing(["old", "gone"].map(str::to_owned));
    older.put("k", record(&[("old", 2)])).await.unwrap();
    assert_eq!(all.get("k"), Some(record(&[("old", 2), ("newer", 1)])));
    all.put("k", record(&[("old", 3)])).await.unwrap();
    assert_eq!(all.get("k"), Some(record(&[("old", 3)])));
}
