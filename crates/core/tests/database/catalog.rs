//! What a declaration does: types, and the rule for deletes.

use crate::replica::{NOTES, Replica, exchange, record};
use headwater_core::{
    CollectionSchema, DeleteRule, Edit, Event, FieldType, LakeColumn, Value, WriteError,
};

#[test]
fn declared_types_decide_how_plain_values_are_written() {
    let mut a = Replica::new(1);
    let types = [
        ("text", FieldType::Text),
        ("counter", FieldType::Counter),
        ("float", FieldType::Float),
        ("int", FieldType::Int),
        ("time", FieldType::Timestamp),
        ("other", FieldType::Other("point".into())),
    ];
    let schema = types
        .iter()
        .fold(CollectionSchema::new(), |schema, (name, kind)| {
            schema.field(*name, kind.clone())
        });
    a.declare(schema);
    a.put(
        "k",
        &[
            ("text", "abc".into()),
            ("counter", 5.into()),
            ("float", 2.into()),
            ("int", 3.0.into()),
            ("time", 1_000.into()),
            ("other", "as it is".into()),
            ("undeclared", 1.5.into()),
        ],
    );
    let expected = [
        ("text", Value::Text("abc".into())),
        ("counter", Value::Counter(5)),
        ("float", Value::Float(2.0)),
        ("int", Value::Int(3)),
        ("time", Value::Timestamp(1_000)),
        ("other", "as it is".into()),
        ("undeclared", 1.5.into()),
    ];
    assert_eq!(a.get("k"), Some(record(&expected)));
    a.patch("k", vec![("float", Edit::Set(Value::Null))])
        .unwrap();
    assert_eq!(a.get("k").unwrap()["float"], Value::Null);
}

#[test]
fn a_value_that_a_type_would_change_is_refused() {
    let mut a = Replica::new(1);
    let schema = CollectionSchema::new()
        .field("float", FieldType::Float)
        .field("int", FieldType::Int)
        .field("bool", FieldType::Bool);
    a.declare(schema);
    let heads = a.db.heads();
    let wrong: [(&str, Value); 5] = [
        ("float", ((1_i64 << 53) + 1).into()),
        ("int", 1.5.into()),
        ("int", (-0.0).into()),
        ("int", "1".into()),
        ("bool", 1.into()),
    ];
    for (field, value) in wrong {
        let error = a.try_put("k", &[(field, value)]).unwrap_err();
        assert!(matches!(error, WriteError::TypeMismatch { .. }), "{error}");
        assert!(error.to_string().contains(field), "{error}");
    }
    assert_eq!(a.db.heads(), heads);
}

#[test]
fn declarations_add_up_whoever_makes_them() {
    let (mut a, mut b) = (Replica::new(1), Replica::new(2));
    a.declare(
        CollectionSchema::new()
            .partitions(2)
            .field("x", FieldType::Text),
    );
    b.declare(
        CollectionSchema::new()
            .partitions(2)
            .field("y", FieldType::Int),
    );
    exchange(&mut a, &mut b);
    let collection = &a.db.collections()[NOTES];
    assert_eq!(collection.fields["x"], FieldType::Text);
    assert_eq!(collection.fields["y"], FieldType::Int);
    assert_eq!(collection.delete, DeleteRule::EditWins);
    // Declaring the same again is no change.
    a.declare(
        CollectionSchema::new()
            .partitions(2)
            .field("x", FieldType::Text),
    );
    assert!(a.out.is_empty());
}

#[test]
fn where_deletes_win_an_edit_that_had_not_seen_one_is_hidden() {
    let (mut a, mut b) = (Replica::new(1), Replica::new(2));
    a.declare(CollectionSchema::new().delete(DeleteRule::DeleteWins));
    a.put("k", &[("x", 1.into())]);
    exchange(&mut a, &mut b);
    a.delete("k");
    b.patch("k", vec![("x", Edit::Set(2.into()))]).unwrap();
    exchange(&mut a, &mut b);
    assert_eq!(a.get("k"), None);
    // Whoever changes the rule is told so, and finds the edit.
    a.told.clear();
    a.declare(CollectionSchema::new().delete(DeleteRule::EditWins));
    let collection = NOTES.to_owned();
    assert_eq!(a.told, [Event::Catalog { collection }]);
    exchange(&mut a, &mut b);
    assert_eq!(b.get("k"), Some(record(&[("x", 2.into())])));
    a.declare(CollectionSchema::new().delete(DeleteRule::DeleteWins));
    a.put("k", &[("y", 3.into())]);
    exchange(&mut a, &mut b);
    assert_eq!(b.get("k"), Some(record(&[("y", 3.into())])));
}

#[test]
fn type_names_are_read_as_they_are_written() {
    let decimal = |precision, scale| FieldType::Decimal { precision, scale };
    assert_eq!(FieldType::of_name("decimal(20,4)"), decimal(20, 4));
    assert_eq!(FieldType::of_name("decimal(38,38)"), decimal(38, 38));
    assert_eq!(FieldType::of_name("date"), FieldType::Date);
    for name in ["decimal(1,0)", "decimal(38,0)", "date", "int", "point"] {
        assert_eq!(FieldType::of_name(name).name(), name);
    }
    for malformed in [
        "decimal",
        "decimal()",
        "decimal(20)",
        "decimal(20, 4)",
        "decimal(020,4)",
        "decimal(+20,4)",
        "decimal(0,0)",
        "decimal(39,0)",
        "decimal(4,5)",
        "decimal(300,4)",
        "Decimal(20,4)",
        "DATE",
    ] {
        assert_eq!(
            FieldType::of_name(malformed),
            FieldType::Other(malformed.to_owned())
        );
    }
}

#[test]
fn decimals_and_dates_are_written_exactly_or_not_at_all() {
    let mut a = Replica::new(1);
    let schema = CollectionSchema::new()
        .field("price", FieldType::of_name("decimal(5,2)"))
        .field("day", FieldType::Date);
    a.declare(schema);
    for (field, value, kept) in [
        ("price", "-123.40".into(), Value::from("-123.40")),
        ("price", Value::Text("1".into()), "1".into()),
        ("price", 999.into(), 999.into()),
        ("price", 0.25.into(), 0.25.into()),
        ("price", Value::Null, Value::Null),
        ("day", "2024-02-29".into(), "2024-02-29".into()),
    ] {
        a.put("k", &[(field, value)]);
        assert_eq!(a.get("k").unwrap()[field], kept);
    }
    let wrong: [(&str, Value); 7] = [
        ("price", "1.234".into()),
        ("price", 1_000.into()),
        ("price", f64::NAN.into()),
        ("price", "1e2".into()),
        ("price", true.into()),
        ("day", "2023-02-29".into()),
        ("day", Value::Timestamp(0)),
    ];
    for (field, value) in wrong {
        let error = a.try_put("k", &[(field, value)]).unwrap_err();
        assert!(matches!(error, WriteError::TypeMismatch { .. }), "{error}");
    }
}

#[test]
fn columns_are_declared_beside_types_and_the_last_one_counts() {
    let (mut a, mut b) = (Replica::new(1), Replica::new(2));
    a.declare(
        CollectionSchema::new()
            .field("title", FieldType::String)
            .column("title", "headline")
            .column("secret", LakeColumn::Hidden),
    );
    exchange(&mut a, &mut b);
    let columns = &b.db.collections()[NOTES].columns;
    assert_eq!(columns["title"], "headline".into());
    assert_eq!(columns["secret"], LakeColumn::Hidden);
    assert_eq!(b.db.collections()[NOTES].fields["title"], FieldType::String);
    // Who declares a type says nothing of columns.
    b.declare(
        CollectionSchema::new()
            .field("secret", FieldType::Int)
            .column("title", LakeColumn::Hidden),
    );
    exchange(&mut a, &mut b);
    let columns = &a.db.collections()[NOTES].columns;
    assert_eq!(columns["title"], LakeColumn::Hidden);
    assert_eq!(columns["secret"], LakeColumn::Hidden);
    a.declare(CollectionSchema::new().column("secret", "secret"));
    assert_eq!(a.db.collections()[NOTES].columns["secret"], "secret".into());
}
