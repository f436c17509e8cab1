//! What each policy makes of concurrent values.

use crate::replica::{Replica, exchange, pair, record};
use headwater_core::policy::{Resolver, Resolvers};
use headwater_core::{CollectionSchema, Edit, FieldType, Policy, Settlement, Value, WriteError};
use std::sync::Arc;

fn declared(policy: Policy) -> (Replica, Replica) {
    pair(CollectionSchema::new().policy("f", policy))
}

/// Both have the record with `f` as `start`, and then each sets `f` without knowing of the other.
fn met(policy: Policy, start: &Value, a_sets: &[Value], b_sets: &[Value]) -> Value {
    let (mut a, mut b) = declared(policy);
    a.put("k", &[("f", start.clone())]);
    exchange(&mut a, &mut b);
    for value in a_sets {
        a.set("k", "f", value.clone());
    }
    for value in b_sets {
        b.set("k", "f", value.clone());
    }
    exchange(&mut a, &mut b);
    a.value("k", "f")
}

#[test]
fn max_keeps_the_greatest_value_that_anyone_wrote() {
    let int = |n: i64| Value::Int(n);
    // A plain register would show 4: the write of 3 hides that of 5.
    assert_eq!(
        met(Policy::Max, &int(0), &[int(5), int(3)], &[int(4)]),
        int(5)
    );
    assert_eq!(met(Policy::Max, &int(7), &[int(5)], &[int(6)]), int(7));
    assert_eq!(
        met(Policy::Max, &int(0), &[int(2)], &[2.5.into()]),
        2.5.into()
    );
    // Exact beyond what a double holds.
    let big = 1_i64 << 53;
    let rounded = Value::Float(big as f64);
    assert_eq!(
        met(Policy::Max, &int(0), &[int(big + 1)], &[rounded]),
        int(big + 1)
    );
    // Nothing is less than anything, and strings come after numbers.
    assert_eq!(
        met(Policy::Max, &Value::Null, &[int(-9)], &[f64::NAN.into()]),
        int(-9)
    );
    assert_eq!(
        met(Policy::Max, &int(0), &[int(99)], &["a".into()]),
        "a".into()
    );
}

#[test]
fn min_keeps_the_least_and_nothing_is_not_the_least() {
    let int = |n: i64| Value::Int(n);
    assert_eq!(
        met(Policy::Min, &int(9), &[int(5), int(8)], &[int(6)]),
        int(5)
    );
    assert_eq!(met(Policy::Min, &int(9), &[int(5)], &[Value::Null]), int(5));
    assert_eq!(
        met(Policy::Min, &Value::Null, &[f64::NAN.into()], &[int(3)]),
        int(3)
    );
}

#[test]
fn decimals_are_ordered_by_their_value_however_they_are_written() {
    let decimal = FieldType::Decimal {
        precision: 9,
        scale: 2,
    };
    let shown = |policy: Policy, start: Value, a_sets: Value, b_sets: Value| {
        let schema = CollectionSchema::new().policy("f", policy);
        let (mut a, mut b) = pair(schema.field("f", decimal.clone()));
        a.put("k", &[("f", start)]);
        exchange(&mut a, &mut b);
        a.set("k", "f", a_sets);
        b.set("k", "f", b_sets);
        exchange(&mut a, &mut b);
        assert_eq!(a.value("k", "f"), b.value("k", "f"));
        a.value("k", "f")
    };
    let (nine, ten) = (Value::from("9.50"), Value::from("10.00"));
    let all = [Policy::Max, Policy::Min].map(|policy| {
        let start = Value::from("9.75");
        shown(policy, start, nine.clone(), ten.clone())
    });
    assert_eq!(all, [ten.clone(), nine.clone()]);
    // A number and a string, and one that is no decimal at all.
    let mixed = shown(Policy::Max, "-10".into(), nine.clone(), 10.into());
    assert_eq!(mixed, 10.into());
    // What is equal is no write.
    let equal = shown(Policy::Max, "1.5".into(), "1.50".into(), "0".into());
    assert_eq!(equal, "1.5".into());
    // What was written before the type was declared, and is no decimal number, is less than any.
    let (mut a, _) = declared(Policy::Max);
    a.put("k", &[("f", "none".into())]);
    a.declare(CollectionSchema::new().field("f", decimal.clone()));
    a.set("k", "f", "-2.5");
    assert_eq!(a.value("k", "f"), "-2.5".into());
}

#[test]
fn a_reset_takes_a_maximum_back_unless_someone_exceeds_it_unseen() {
    let (mut a, mut b) = declared(Policy::Max);
    a.put("k", &[("f", 10.into())]);
    exchange(&mut a, &mut b);
    let reset = Edit::Reset(2.into());
    a.patch("k", vec![("f", reset.clone())]).unwrap();
    exchange(&mut a, &mut b);
    assert_eq!(b.value("k", "f"), 2.into());

    a.patch("k", vec![("f", reset)]).unwrap();
    b.set("k", "f", 4);
    exchange(&mut a, &mut b);
    assert_eq!(a.value("k", "f"), 4.into());
}

#[test]
fn a_write_that_does_not_exceed_a_maximum_is_no_write() {
    let (mut a, mut b) = declared(Policy::Max);
    a.put("k", &[("f", 10.into())]);
    exchange(&mut a, &mut b);
    let heads = a.db.heads();
    a.set("k", "f", 9);
    a.put("k", &[("f", 10.into())]);
    assert_eq!(a.db.heads(), heads);
}

#[test]
fn a_union_has_what_anyone_added_and_no_one_who_saw_it_removed() {
    let (mut a, mut b) = declared(Policy::Union);
    let list = |items: &[&str]| Value::List(items.iter().map(|item| (*item).into()).collect());
    a.put("k", &[("f", list(&["red", "blue"]))]);
    assert_eq!(a.value("k", "f"), list(&["blue", "red"]), "in one order");
    exchange(&mut a, &mut b);

    // A whole list that is written is the difference to what its writer sees.
    a.set("k", "f", list(&["red", "green"]));
    b.set("k", "f", list(&["red", "blue", "black"]));
    exchange(&mut a, &mut b);
    assert_eq!(a.value("k", "f"), list(&["black", "green", "red"]));

    // Who adds again what is there wins over who removes it without having seen that.
    let edit = |edit: fn(Vec<Value>) -> Edit, item: &str| vec![("f", edit(vec![item.into()]))];
    a.patch("k", edit(Edit::Add, "red")).unwrap();
    b.patch("k", edit(Edit::Discard, "red")).unwrap();
    b.patch("k", edit(Edit::Discard, "black")).unwrap();
    exchange(&mut a, &mut b);
    assert_eq!(a.value("k", "f"), list(&["green", "red"]));

    a.set("k", "f", list(&[]));
    exchange(&mut a, &mut b);
    assert_eq!(b.value("k", "f"), list(&[]), "an empty set is still one");
    b.patch("k", edit(Edit::Add, "new")).unwrap();
    assert_eq!(b.value("k", "f"), list(&["new"]));
    assert_eq!(a.open(), []);
}

#[test]
fn sets_that_two_create_apart_are_one_and_a_list_becomes_a_set() {
    let (mut a, mut b) = declared(Policy::Union);
    let list = |items: &[i64]| Value::List(items.iter().map(|n| Value::Int(*n)).collect());
    a.put("k", &[("f", list(&[1, 2]))]);
    b.put("k", &[("f", list(&[2, 3]))]);
    exchange(&mut a, &mut b);
    assert_eq!(a.value("k", "f"), list(&[1, 2, 3]));

    // Written before the policy was declared, or by a peer that does not know of it.
    let (mut a, mut b) = pair(CollectionSchema::new());
    a.put("k", &[("f", list(&[1, 2]))]);
    a.declare(CollectionSchema::new().policy("f", Policy::Union));
    exchange(&mut a, &mut b);
    a.patch("k", vec![("f", Edit::Add(vec![3.into()]))])
        .unwrap();
    exchange(&mut a, &mut b);
    a.patch("k", vec![("f", Edit::Add(vec![4.into()]))])
        .unwrap();
    b.patch("k", vec![("f", Edit::Add(vec![5.into()]))])
        .unwrap();
    exchange(&mut a, &mut b);
    assert_eq!(b.value("k", "f"), list(&[1, 2, 3, 4, 5]));
}

#[test]
fn keep_all_shows_every_value_until_someone_who_saw_them_writes() {
    let (mut a, mut b) = declared(Policy::KeepAll);
    a.put("k", &[("f", "start".into())]);
    assert_eq!(a.value("k", "f"), Value::List(vec!["start".into()]));
    exchange(&mut a, &mut b);
    a.set("k", "f", "a's");
    b.set("k", "f", "b's");
    exchange(&mut a, &mut b);
    let both = Value::List(vec!["a's".into(), "b's".into()]);
    assert_eq!(a.value("k", "f"), both);
    assert_eq!(a.open(), [], "nothing lost");
    // What was read is put back by an application that changed another field.
    a.put("k", &[("f", both.clone()), ("g", 1.into())]);
    exchange(&mut a, &mut b);
    assert_eq!(b.value("k", "f"), both);
    b.set("k", "f", "settled");
    exchange(&mut a, &mut b);
    assert_eq!(a.value("k", "f"), Value::List(vec!["settled".into()]));
}

#[test]
fn a_custom_function_decides_where_it_is_registered() {
    let longest = Policy::Custom {
        name: "longest".into(),
        version: 1,
    };
    let (mut a, mut b) = declared(longest);
    let function = |values: &[Value]| {
        let length = |value: &&Value| value.as_str().map_or(0, str::len);
        values.iter().max_by_key(length).cloned()
    };
    let registered = |versions: &[u32]| {
        let mut resolvers = Resolvers::default();
        for version in versions {
            resolvers.register("longest", *version, Arc::new(function));
        }
        resolvers
    };
    a.db.resolvers(registered(&[1]));
    b.db.resolvers(registered(&[2]));
    a.put("k", &[("f", "start".into())]);
    exchange(&mut a, &mut b);
    a.set("k", "f", "the longest of them");
    b.set("k", "f", "short");
    let (from_a, from_b) = (std::mem::take(&mut a.out), std::mem::take(&mut b.out));
    b.receive(&from_a);
    a.receive(&from_b);
    assert_eq!(a.value("k", "f"), "the longest of them".into());
    // Version 2 is another function, so B shows the last writer's value and says that it is not resolved.
    assert_eq!(b.value("k", "f"), "short".into());
    assert!(a.open()[0].resolved);
    assert!(!b.open()[0].resolved);
    b.db.resolvers(registered(&[1, 2]));
    assert_eq!(a.open(), b.open());
    // The result is not written back.
    let heads = a.db.heads();
    a.put("k", &[("f", "the longest of them".into())]);
    assert_eq!(a.db.heads(), heads);
}

#[test]
fn a_custom_function_that_fails_leaves_the_last_writers_value_unresolved() {
    let deep = |_: &[Value]| Some((0..100).fold(Value::Null, |inner, _| Value::List(vec![inner])));
    let functions: [Resolver; 2] = [Arc::new(|_| None), Arc::new(deep)];
    for function in functions {
        let (mut a, mut b) = declared(Policy::of_name("custom:fails@1"));
        let mut resolvers = Resolvers::default();
        resolvers.register("fails", 1, function);
        a.db.resolvers(resolvers);
        a.put("k", &[("f", 1.into())]);
        exchange(&mut a, &mut b);
        a.set("k", "f", 2);
        b.set("k", "f", 3);
        exchange(&mut a, &mut b);
        assert_eq!(a.value("k", "f"), 3.into());
        assert!(!a.open()[0].resolved);
        a.settle("k", &["f"], Settlement::Accept).unwrap();
        exchange(&mut a, &mut b);
        assert_eq!((b.value("k", "f"), b.open()), (3.into(), vec![]));
    }
}

#[test]
fn what_a_typed_keep_all_field_shows_can_be_put_back() {
    let policy = Policy::KeepAll;
    let schema = CollectionSchema::new().field("f", FieldType::Timestamp);
    let (mut a, mut b) = pair(schema.policy("f", policy));
    a.put("k", &[("f", 1.into())]);
    exchange(&mut a, &mut b);
    a.set("k", "f", 2);
    b.set("k", "f", 3);
    exchange(&mut a, &mut b);
    let shown = a.get("k").unwrap();
    let both = [2, 3].map(Value::Timestamp).to_vec();
    assert_eq!(shown["f"], Value::List(both.clone()));
    a.put("k", &[("f", shown["f"].clone())]);
    a.set("k", "f", vec![4.into(), 5.into()]);
    let both = [4, 5].map(Value::Timestamp).to_vec();
    assert_eq!(a.value("k", "f"), Value::List(both));
    let wrong = a.patch("k", vec![("f", Edit::Set(vec!["six".into()].into()))]);
    assert!(matches!(wrong, Err(WriteError::TypeMismatch { .. })));
}

#[test]
fn a_policy_that_is_not_known_is_kept_and_shows_the_last_writer() {
    let (mut a, mut b) = declared(Policy::Other("median".into()));
    a.put("k", &[("f", 1.into())]);
    exchange(&mut a, &mut b);
    a.set("k", "f", 2);
    b.set("k", "f", 3);
    exchange(&mut a, &mut b);
    assert_eq!(a.value("k", "f"), 3.into());
    assert!(!a.open()[0].resolved);
    let policies = &b.db.collections()["notes"].policies;
    assert_eq!(policies["f"], Policy::Other("median".into()));
}

#[test]
fn names_of_policies_are_read_as_they_are_written() {
    for policy in [
        Policy::LastWriter,
        Policy::Max,
        Policy::Min,
        Policy::Union,
        Policy::KeepAll,
        Policy::Other("custom:@1".into()),
        Policy::Custom {
            name: "a@b".into(),
            version: 3,
        },
    ] {
        assert_eq!(Policy::of_name(&policy.to_string()), policy);
    }
}

#[test]
fn of_two_declarations_one_holds_and_the_other_is_not_lost() {
    let (mut a, mut b) = declared(Policy::Max);
    assert_eq!(a.db.declaration_conflicts("notes"), []);
    a.declare(CollectionSchema::new().policy("f", Policy::Min));
    b.declare(CollectionSchema::new().policy("f", Policy::KeepAll));
    exchange(&mut a, &mut b);
    assert_eq!(a.db.collections(), b.db.collections());
    let lost = a.db.declaration_conflicts("notes");
    assert_eq!(lost, b.db.declaration_conflicts("notes"));
    assert_eq!(lost.len(), 1);
    assert_eq!(lost[0].field, ["fields", "f", "policy"]);
    assert_eq!(lost[0].shown, Some("keep-all".into()));
    assert_eq!(lost[0].losers[0].value, Some("min".into()));
    a.declare(CollectionSchema::new().policy("f", Policy::Min));
    exchange(&mut a, &mut b);
    assert_eq!(b.db.declaration_conflicts("notes"), []);
}

#[test]
fn the_greatest_schema_version_stays_whoever_declared_it() {
    let (mut a, mut b) = pair(CollectionSchema::new().version(1));
    a.declare(CollectionSchema::new().version(3).policy("x", Policy::Max));
    b.declare(CollectionSchema::new().version(2).policy("y", Policy::Min));
    exchange(&mut a, &mut b);
    let merged = &a.db.collections()["notes"];
    assert_eq!(merged.version, 3);
    assert_eq!(merged.policies.len(), 2);
}

/// It is not known whether it would choose one of them, so nothing of either may vanish.
#[test]
fn maps_under_a_policy_that_is_not_known_merge() {
    let (mut a, mut b) = declared(Policy::Other("median".into()));
    let map = |name: &str| Value::Map(record(&[(name, 1.into())]));
    a.put("k", &[("f", 1.into())]);
    exchange(&mut a, &mut b);
    a.set("k", "f", map("a"));
    b.set("k", "f", map("b"));
    exchange(&mut a, &mut b);
    let both = Value::Map(record(&[("a", 1.into()), ("b", 1.into())]));
    assert_eq!((a.value("k", "f"), a.open()), (both, vec![]));
}

#[test]
fn an_edit_within_a_value_is_of_the_one_that_is_shown() {
    let (mut a, mut b) = declared(Policy::Max);
    let text = |text: &str| Value::Text(text.into());
    a.put("k", &[("f", 0.into())]);
    exchange(&mut a, &mut b);
    a.set("k", "f", text("the greater of two"));
    b.set("k", "f", text("less"));
    exchange(&mut a, &mut b);
    let end = Edit::Splice {
        at: 18,
        delete: 0,
        insert: "!".into(),
    };
    b.patch("k", vec![("f", end)]).unwrap();
    exchange(&mut a, &mut b);
    assert_eq!(a.value("k", "f"), text("the greater of two!"));
}

#[test]
fn what_a_policy_makes_of_all_values_cannot_be_edited_within() {
    let (mut a, _) = declared(Policy::KeepAll);
    a.put("k", &[("f", Value::Text("one".into()))]);
    let splice = Edit::Splice {
        at: 0,
        delete: 0,
        insert: "!".into(),
    };
    let error = a.patch("k", vec![("f", splice)]).unwrap_err();
    assert!(error.to_string().contains("of all values"), "{error}");
}
