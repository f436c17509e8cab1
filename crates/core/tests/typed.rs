//! Records as Rust types.

use headwater_core::json::{record_from_str, record_to_json};
use headwater_core::typed::{
    Bytes, Counter, Text, Timestamp, TypedError, TypedProblem, from_record, from_value, to_record,
    to_value,
};
use headwater_core::value::MAX_DEPTH;
use headwater_core::{Record, Value};
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use serde::{Deserialize, Serialize, Serializer};
use std::collections::BTreeMap;

fn record<const N: usize>(fields: [(&str, Value); N]) -> Record {
    fields.map(|(name, value)| (name.to_owned(), value)).into()
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
enum Shape {
    Point,
    Circle(f64),
    Line(i32, i32),
    Box { width: u8, height: u8 },
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind")]
enum Tagged {
    Seen { at: Timestamp, by: String },
    Missed,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
enum Loose {
    Number(i64),
    Words(Vec<String>),
    Named { name: String, at: Timestamp },
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Inner {
    letter: char,
    pair: (bool, i8),
    unit: (),
    newtype: Metres,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Metres(f32);

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Everything {
    small: i8,
    large: u64,
    wide: i128,
    float: f64,
    title: String,
    notes: Text,
    likes: Counter,
    at: Timestamp,
    photo: Bytes,
    maybe: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    absent: Option<i64>,
    shapes: Vec<Shape>,
    tagged: Vec<Tagged>,
    loose: Vec<Loose>,
    inner: Inner,
    by_number: BTreeMap<i32, bool>,
    by_flag: BTreeMap<bool, String>,
    by_letter: BTreeMap<char, Option<u16>>,
    #[serde(rename = "$dollar")]
    dollar: i64,
    any: Value,
    #[serde(flatten)]
    rest: Record,
}

fn strings() -> impl Strategy<Value = String> {
    prop_oneof!["[a-z]{0,4}", "\\$[a-z]{0,3}", any::<String>()]
}

fn scalars() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        any::<i64>().prop_map(Value::Int),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::Float),
        Just(Value::Float(f64::NAN)),
        Just(Value::Float(f64::NEG_INFINITY)),
        strings().prop_map(Value::String),
        strings().prop_map(Value::Text),
        vec(any::<u8>(), 0..5).prop_map(Value::Bytes),
        any::<i64>().prop_map(Value::Timestamp),
        any::<i64>().prop_map(Value::Counter),
    ]
}

fn values() -> impl Strategy<Value = Value> {
    // Names that look like tags are the ones that a map could be mistaken by.
    let names = || prop_oneof![strings(), Just("$timestamp".to_owned())];
    scalars().prop_recursive(4, 24, 4, move |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(Value::List),
            btree_map(names(), inner, 0..4).prop_map(Value::Map),
        ]
    })
}

fn shapes() -> impl Strategy<Value = Shape> {
    prop_oneof![
        Just(Shape::Point),
        any::<f64>().prop_map(Shape::Circle),
        any::<(i32, i32)>().prop_map(|(a, b)| Shape::Line(a, b)),
        any::<(u8, u8)>().prop_map(|(width, height)| Shape::Box { width, height }),
    ]
}

fn loose() -> impl Strategy<Value = Loose> {
    prop_oneof![
        any::<i64>().prop_map(Loose::Number),
        vec(strings(), 0..3).prop_map(Loose::Words),
        (strings(), any::<i64>()).prop_map(|(name, at)| Loose::Named {
            name,
            at: Timestamp(at)
        }),
    ]
}

fn tagged() -> impl Strategy<Value = Tagged> {
    prop_oneof![
        Just(Tagged::Missed),
        (strings(), any::<i64>()).prop_map(|(by, at)| Tagged::Seen {
            at: Timestamp(at),
            by
        }),
    ]
}

fn everything() -> impl Strategy<Value = Everything> {
    let numbers = (any::<i8>(), any::<u64>(), any::<i64>(), any::<f64>());
    let specials = (
        strings(),
        any::<i64>(),
        any::<i64>(),
        vec(any::<u8>(), 0..4),
    );
    let enums = (vec(shapes(), 0..3), vec(tagged(), 0..3), vec(loose(), 0..3));
    let inner = (any::<char>(), any::<(bool, i8)>(), any::<f32>());
    let maps = (
        btree_map(any::<i32>(), any::<bool>(), 0..3),
        btree_map(any::<bool>(), strings(), 0..3),
        btree_map(any::<char>(), any::<Option<u16>>(), 0..3),
        btree_map("x[a-z]{1,3}", values(), 0..3),
    );
    let options = (any::<Option<i64>>(), proptest::option::of(strings()));
    let parts = (numbers, specials, enums, inner, maps, options, values());
    parts.prop_map(
        |(numbers, specials, enums, inner, maps, options, value)| Everything {
            small: numbers.0,
            large: numbers.1,
            wide: numbers.2.into(),
            float: numbers.3,
            title: specials.0.clone(),
            notes: Text(specials.0),
            likes: Counter(specials.1),
            at: Timestamp(specials.2),
            photo: Bytes(specials.3),
            maybe: options.1,
            absent: options.0,
            shapes: enums.0,
            tagged: enums.1,
            loose: enums.2,
            inner: Inner {
                letter: inner.0,
                pair: inner.1,
                unit: (),
                newtype: Metres(inner.2),
            },
            by_number: maps.0,
            by_flag: maps.1,
            by_letter: maps.2,
            dollar: specials.1,
            any: value,
            rest: maps.3,
        },
    )
}

proptest! {
    #[test]
    fn any_record_survives_the_round_trip(record in btree_map(strings(), values(), 0..5)) {
        prop_assert_eq!(&from_record::<Record>(&record), &Ok(record.clone()));
        prop_assert_eq!(&to_record(&record), &Ok(record));
    }

    #[test]
    fn any_record_is_its_canonical_json_under_serde_json(record in btree_map(strings(), values(), 0..5)) {
        // Both are read back, since the two write some floats differently.
        let json = serde_json::to_string(&Value::Map(record.clone())).expect("JSON");
        prop_assert_eq!(record_from_str(&json), record_from_str(&record_to_json(&record)));
    }

    #[test]
    fn a_type_with_every_feature_survives_the_round_trip(value in everything()) {
        let record = to_record(&value).expect("a record");
        prop_assert_eq!(record.contains_key("absent"), value.absent.is_some());
        let back: Everything = from_record(&record).expect("the type");
        let again = to_record(&back).expect("a record");
        // What serde buffers for `flatten` comes in canonical JSON form, where texts and counters are plain.
        prop_assert_eq!(record_to_json(&again), record_to_json(&record));
        prop_assert_eq!(again.get("any"), record.get("any"));
        for name in value.rest.keys() {
            prop_assert!(record.contains_key(name));
        }
        let (mut back, mut value) = (back, value);
        back.rest.clear();
        value.rest.clear();
        prop_assert_eq!(without_nan(back), without_nan(value));
    }
}

/// Floats compare by `==` in the derived equality; the records were compared bit for bit.
fn without_nan(mut value: Everything) -> Everything {
    value
        .shapes
        .retain(|shape| !matches!(shape, Shape::Circle(r) if r.is_nan()));
    value
}

#[test]
fn each_kind_has_its_own_value() {
    let record = to_record(&BTreeMap::from([
        ("text", to_value(&Text("a".into())).unwrap()),
        ("counter", to_value(&Counter(3)).unwrap()),
        ("timestamp", to_value(&Timestamp(-5)).unwrap()),
        ("bytes", to_value(&Bytes(vec![0, 255])).unwrap()),
        ("uint", to_value(&u64::MAX).unwrap()),
        ("nan", to_value(&f32::NAN).unwrap()),
        ("none", to_value(&None::<i8>).unwrap()),
        ("list", to_value(&vec![1u8, 2]).unwrap()),
        ("variant", to_value(&Shape::Point).unwrap()),
        ("content", to_value(&Shape::Line(1, 2)).unwrap()),
    ]))
    .expect("a record");
    let ints = || Value::List(vec![Value::Int(1), Value::Int(2)]);
    let expected = [
        ("text", Value::Text("a".into())),
        ("counter", Value::Counter(3)),
        ("timestamp", Value::Timestamp(-5)),
        ("bytes", Value::Bytes(vec![0, 255])),
        ("uint", Value::Uint(u64::MAX)),
        ("nan", Value::Float(f64::NAN)),
        ("none", Value::Null),
        ("list", ints()),
        ("variant", Value::String("Point".into())),
        ("content", Value::Map(self::record([("Line", ints())]))),
    ];
    assert_eq!(record, self::record(expected));
}

struct Raw<'a>(&'a [u8]);

impl Serialize for Raw<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(self.0)
    }
}

#[test]
fn bytes_of_serde_are_bytes() {
    let value = to_value(&Raw(&[1, 2])).expect("a value");
    assert_eq!(value, Value::Bytes(vec![1, 2]));
    assert_eq!(from_value::<Vec<u8>>(&value), Ok(vec![1, 2]));
    assert_eq!(from_value::<Bytes>(&value), Ok(Bytes(vec![1, 2])));
}

#[test]
fn reading_is_as_tolerant_as_json() {
    assert_eq!(from_value::<f64>(&Value::Int(3)), Ok(3.0));
    assert_eq!(from_value::<i64>(&Value::Float(-3.0)), Ok(-3));
    assert_eq!(from_value::<u64>(&Value::Float(2f64.powi(63))), Ok(1 << 63));
    assert_eq!(from_value::<i64>(&Value::Counter(4)), Ok(4));
    assert_eq!(from_value::<i64>(&Value::Timestamp(5)), Ok(5));
    assert_eq!(from_value::<Timestamp>(&Value::Int(5)), Ok(Timestamp(5)));
    assert_eq!(from_value::<Counter>(&Value::Int(5)), Ok(Counter(5)));
    assert_eq!(
        from_value::<Text>(&Value::String("a".into())),
        Ok(Text("a".into()))
    );
    assert_eq!(
        from_value::<String>(&Value::Text("a".into())),
        Ok("a".into())
    );
    for (value, wrong) in [
        (Value::Float(2.5), "a fraction"),
        (Value::Float(2f64.powi(64)), "too large"),
        (Value::Float(f64::NAN), "not a number"),
        (Value::String("1".into()), "a string"),
    ] {
        assert!(from_value::<i64>(&value).is_err(), "{wrong}");
    }
    assert!(from_value::<i8>(&Value::Int(128)).is_err());
    assert!(from_value::<u64>(&Value::Int(-1)).is_err());
    assert!(from_value::<(i8, i8)>(&to_value(&(1, 2, 3)).unwrap()).is_err());
}

fn problem<T: std::fmt::Debug>(result: Result<T, TypedError>) -> (String, TypedProblem) {
    let error = result.expect_err("an error");
    (error.path().to_owned(), error.problem().clone())
}

#[test]
fn errors_name_the_field() {
    let out = to_record(&BTreeMap::from([("a", vec![(1, 2), (3, i128::MAX)])]));
    let number = i128::MAX.to_string();
    let message = out.as_ref().expect_err("too large").to_string();
    assert!(message.starts_with("field `a[1][1]`: "), "{message}");
    assert_eq!(
        problem(out),
        ("a[1][1]".into(), TypedProblem::IntegerRange { number })
    );

    let out = to_record(&BTreeMap::from([("a", BTreeMap::from([((1, 2), 3)]))]));
    assert_eq!(
        problem(out),
        ("a".into(), TypedProblem::Key { found: "list" })
    );
    let found = "string";
    assert_eq!(
        problem(to_record("a")),
        (String::new(), TypedProblem::NotARecord { found })
    );

    #[derive(Debug, Deserialize)]
    #[allow(dead_code)]
    struct Outer {
        shapes: Vec<Shape>,
    }
    let record = record_from_str(r#"{"shapes":[{"Box":{"width":1,"height":300}}]}"#).unwrap();
    let (path, problem) = problem(from_record::<Outer>(&record));
    assert_eq!(path, "shapes[0].Box.height");
    assert!(problem.to_string().contains("300"), "{problem}");
    let missing = from_record::<Outer>(&Record::new()).expect_err("missing");
    assert_eq!(missing.to_string(), "missing field `shapes`");
}

#[test]
fn two_flattened_fields_of_one_name_are_refused() {
    #[derive(Serialize)]
    struct Twice {
        a: i8,
        #[serde(flatten)]
        rest: BTreeMap<String, i8>,
    }
    let rest = BTreeMap::from([("a".to_owned(), 2)]);
    assert_eq!(
        problem(to_record(&Twice { a: 1, rest })),
        ("a".into(), TypedProblem::DuplicateName)
    );
}

#[test]
fn nesting_is_bounded() {
    let nested = |levels: usize| {
        let mut value = Value::Null;
        for _ in 0..levels {
            value = Value::List(vec![value]);
        }
        record([("a", value)])
    };
    assert_eq!(to_record(&nested(MAX_DEPTH)), Ok(nested(MAX_DEPTH)));
    let (path, problem) = problem(to_record(&nested(MAX_DEPTH + 1)));
    assert_eq!(problem, TypedProblem::TooDeep);
    assert!(path.starts_with("a[0][0]"), "{path}");
}

#[test]
fn other_serializers_get_the_canonical_json() {
    let record = record_from_str(
        r#"{"bytes":{"$bytes":"AP8="},"nan":{"$float":"NaN"},"at":{"$timestamp":5},"list":[{"$$x":1}]}"#,
    )
    .unwrap();
    let json = serde_json::to_string(&Value::Map(record.clone())).unwrap();
    assert_eq!(json, record_to_json(&record));
    assert_eq!(
        serde_json::from_str::<Value>(&json).unwrap(),
        Value::Map(record)
    );
    assert_eq!(serde_json::to_string(&Text("a".into())).unwrap(), r#""a""#);
    assert_eq!(serde_json::to_string(&Counter(2)).unwrap(), "2");
    let at: Timestamp = serde_json::from_str(r#"{"$timestamp":7}"#).unwrap();
    assert_eq!(at, Timestamp(7));
}
