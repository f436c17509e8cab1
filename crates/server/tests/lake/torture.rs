//! A collection made to hurt: what is drawn for each column, and what Drill must give for it by the rules in
//! `headwater_materialize`'s documentation.

use headwater_core::{Record, Value};

const EXACT_IN_DOUBLE: i64 = 1 << 53;

/// A column: the value of each row, and what Drill gives for it.
pub struct Column {
    /// Its name.
    pub name: &'static str,
    /// Its type in INFORMATION_SCHEMA.
    pub kind: &'static str,
    /// Draws a row's value.
    pub value: fn(&mut Random) -> Value,
    /// What Drill gives for it, if it is not null.
    pub cell: fn(&Value) -> Value,
}

/// All of them.
pub fn columns() -> Vec<Column> {
    let column = |name, kind, value, cell| Column {
        name,
        kind,
        value,
        cell,
    };
    vec![
        column("bools", "BOOLEAN", |r| (r.below(2) == 0).into(), same),
        column(
            "integers",
            "BIGINT",
            |r| [i64::MIN, i64::MAX, 0, EXACT_IN_DOUBLE + 1, r.next() as i64][r.below(5)].into(),
            same,
        ),
        column(
            "counters",
            "BIGINT",
            |r| Value::Counter(r.below(99) as i64),
            as_integer,
        ),
        column("doubles", "DOUBLE", any_double, as_double),
        column(
            "integers_and_fractions",
            "DOUBLE",
            integer_or_fraction,
            as_double,
        ),
        column(
            "large_and_fractions",
            "DECIMAL",
            large_or_fraction,
            |value| as_decimal(value, 3),
        ),
        column(
            "unsigned",
            "DECIMAL",
            |r| pick([Value::Uint(u64::MAX), 1.into(), i64::MIN.into()], r),
            |value| as_decimal(value, 0),
        ),
        column(
            "large_and_no_decimals",
            "CHARACTER VARYING",
            |r| {
                pick(
                    [(EXACT_IN_DOUBLE + 1).into(), f64::NAN.into(), 1e300.into()],
                    r,
                )
            },
            as_text,
        ),
        column(
            "decimals",
            "ANY",
            |r| Value::List((0..r.below(4)).map(|_| large_or_fraction(r)).collect()),
            |value| match value {
                Value::List(items) => {
                    Value::List(items.iter().map(|item| as_decimal(item, 3)).collect())
                }
                other => panic!("{other:?}"),
            },
        ),
        column("texts", "CHARACTER VARYING", |r| any_text(r).into(), same),
        column(
            "editable",
            "CHARACTER VARYING",
            |r| Value::Text(any_text(r)),
            as_text,
        ),
        column(
            "numbers_and_texts",
            "CHARACTER VARYING",
            number_or_text,
            as_text,
        ),
        column(
            "bools_and_numbers",
            "CHARACTER VARYING",
            |r| pick([true.into(), 7.into(), 0.5.into()], r),
            as_text,
        ),
        column("moments", "TIMESTAMP", any_moment, as_milliseconds),
        column(
            "bytes",
            "BINARY VARYING",
            |r| Value::Bytes((0..r.below(40)).map(|_| r.next() as u8).collect()),
            as_text,
        ),
        column("never", "CHARACTER VARYING", |_| Value::Null, same),
        column("structs", "ANY", any_struct, full_struct),
        column(
            "lists",
            "ANY",
            |r| Value::List((0..r.below(4)).map(|_| any_text(r).into()).collect()),
            same,
        ),
        column(
            "points",
            "ANY",
            |r| Value::List((0..r.below(4)).map(|_| any_point(r)).collect()),
            full_points,
        ),
        column("ragged", "CHARACTER VARYING", any_ragged, as_text),
        column(
            "scalar_or_struct",
            "CHARACTER VARYING",
            |r| pick([7.into(), any_struct(r)], r),
            as_text,
        ),
        column(
            "deep",
            "ANY",
            |r| {
                (0..40).fold(Value::from(r.below(9) as i64), |inner, _| {
                    map([("d", inner)])
                })
            },
            same,
        ),
        column(
            "long",
            "ANY",
            |r| {
                "é".repeat([3, 70_000][usize::from(r.below(500) == 0)])
                    .into()
            },
            same,
        ),
    ]
}

/// What an absent cell reads as: Drill has no null arrays and no null structs.
pub fn absent(column: &str) -> Value {
    match column {
        "structs" => full_struct(&map([])),
        "lists" | "points" | "decimals" => Value::List(Vec::new()),
        "deep" => (0..40).fold(Value::Null, |inner, _| map([("d", inner)])),
        _ => Value::Null,
    }
}

/// SplitMix64, so that a failure can be repeated.
pub struct Random(pub u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `n`.
    pub fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }
}

fn pick<const N: usize>(values: [Value; N], random: &mut Random) -> Value {
    let n = random.below(N);
    values.into_iter().nth(n).unwrap_or(Value::Null)
}

/// A map of these fields.
pub fn map<const N: usize>(fields: [(&str, Value); N]) -> Value {
    Value::Map(
        fields
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value))
            .collect(),
    )
}

/// Characters of every plane, control characters and what JSON escapes.
pub fn any_text(random: &mut Random) -> String {
    let length = random.below(12);
    (0..length)
        .map(|_| match random.below(6) {
            0 => char::from(random.below(0x20) as u8),
            1 => [
                '"', '\\', '/', '\u{7f}', '\u{2028}', '\u{feff}', '\u{ffff}', '\'',
            ][random.below(8)],
            2 => char::from_u32(random.below(0x11_0000) as u32).unwrap_or('\u{fffd}'),
            _ => char::from(b'a' + random.below(26) as u8),
        })
        .collect()
}

fn any_double(random: &mut Random) -> Value {
    let special = [
        f64::NAN,
        f64::INFINITY,
        f64::NEG_INFINITY,
        -0.0,
        5e-324,
        f64::MAX,
        f64::MIN_POSITIVE,
        0.1,
    ];
    match random.below(3) {
        0 => special[random.below(special.len())].into(),
        _ => f64::from_bits(random.next()).into(),
    }
}

fn integer_or_fraction(random: &mut Random) -> Value {
    pick(
        [
            1.into(),
            0.1.into(),
            EXACT_IN_DOUBLE.into(),
            (-EXACT_IN_DOUBLE).into(),
            2.0.into(),
        ],
        random,
    )
}

fn large_or_fraction(random: &mut Random) -> Value {
    pick(
        [
            (EXACT_IN_DOUBLE + 1).into(),
            0.5.into(),
            3.into(),
            4.0.into(),
            (-0.125).into(),
            i64::MAX.into(),
        ],
        random,
    )
}

fn number_or_text(random: &mut Random) -> Value {
    pick(
        [
            300.into(),
            1.5.into(),
            any_text(random).into(),
            f64::NAN.into(),
            "300".into(),
        ],
        random,
    )
}

fn any_moment(random: &mut Random) -> Value {
    const FIRST: i64 = -62_135_596_800_000;
    const LAST: i64 = 253_402_300_799_999;
    let between = FIRST + (random.next() % (LAST - FIRST) as u64) as i64;
    Value::Timestamp([FIRST, LAST, -1, 0, between, between][random.below(6)])
}

fn any_struct(random: &mut Random) -> Value {
    let mut fields = Record::new();
    if random.below(2) == 0 {
        fields.insert("text".to_owned(), any_text(random).into());
    }
    if random.below(2) == 0 {
        fields.insert("number".to_owned(), integer_or_fraction(random));
    }
    if random.below(2) == 0 {
        fields.insert(
            "inner".to_owned(),
            map([("at", any_moment(random)), ("none", Value::Null)]),
        );
    }
    Value::Map(fields)
}

fn any_point(random: &mut Random) -> Value {
    match random.below(3) {
        0 => map([]),
        1 => map([("x", (random.below(9) as i64).into())]),
        _ => map([
            ("name", any_text(random).into()),
            ("tags", Value::List(vec!["t".into(); random.below(3)])),
        ]),
    }
}

fn any_ragged(random: &mut Random) -> Value {
    let items: [Vec<Value>; 4] = [
        vec![1.into(), Value::Null],
        vec![],
        vec!["a".into(), 1.into()],
        vec![Value::List(vec![1.into()])],
    ];
    Value::List(items[random.below(4)].clone())
}

fn same(value: &Value) -> Value {
    value.clone()
}

fn as_integer(value: &Value) -> Value {
    Value::Int(value.as_int().unwrap())
}

fn as_double(value: &Value) -> Value {
    match value {
        Value::Int(n) => (*n as f64).into(),
        Value::Float(f) if f.is_nan() => "NaN".into(),
        Value::Float(f) if f.is_infinite() => {
            if *f > 0.0 { "Infinity" } else { "-Infinity" }.into()
        }
        other => other.clone(),
    }
}

/// A decimal number as `drill` reads it from Drill's answer: its digits, padded with zeros to the column's scale.
pub fn as_decimal(value: &Value, scale: usize) -> Value {
    let text = match value {
        Value::String(text) | Value::Text(text) => text.clone(),
        Value::Float(f) => f.to_string(),
        other => headwater_core::json::value_to_json(other),
    };
    let (whole, fraction) = text.split_once('.').unwrap_or((&text, ""));
    let point = if scale > 0 { "." } else { "" };
    format!("decimal {whole}{point}{fraction:0<scale$}").into()
}

/// Drill's REST interface gives milliseconds since 1970.
fn as_milliseconds(value: &Value) -> Value {
    match value {
        Value::Timestamp(ms) => Value::Int(*ms),
        other => panic!("{other:?}"),
    }
}

fn as_text(value: &Value) -> Value {
    match value {
        Value::String(text) | Value::Text(text) => text.as_str().into(),
        // Drill's REST interface gives bytes in base64, as canonical JSON does.
        Value::Bytes(_) => {
            let json = headwater_core::json::value_to_json(value);
            json["{\"$bytes\":\"".len()..json.len() - 2].into()
        }
        Value::Float(f) if f.is_nan() => "NaN".into(),
        other => headwater_core::json::value_to_json(other).into(),
    }
}

fn member(fields: &Record, name: &str, cell: fn(&Value) -> Value) -> Value {
    fields
        .get(name)
        .filter(|value| !matches!(value, Value::Null))
        .map_or(Value::Null, cell)
}

fn full_struct(value: &Value) -> Value {
    let Value::Map(fields) = value else {
        panic!("{value:?}")
    };
    let empty = Record::new();
    let inner = match fields.get("inner") {
        Some(Value::Map(inner)) => inner,
        _ => &empty,
    };
    map([
        ("text", member(fields, "text", same)),
        ("number", member(fields, "number", as_double)),
        (
            "inner",
            map([
                ("at", member(inner, "at", as_milliseconds)),
                ("none", Value::Null),
            ]),
        ),
    ])
}

fn full_points(value: &Value) -> Value {
    let Value::List(points) = value else {
        panic!("{value:?}")
    };
    let full = |point: &Value| {
        let Value::Map(fields) = point else {
            panic!("{point:?}")
        };
        let tags = fields
            .get("tags")
            .cloned()
            .unwrap_or(Value::List(Vec::new()));
        map([
            ("x", member(fields, "x", same)),
            ("name", member(fields, "name", same)),
            ("tags", tags),
        ])
    };
    Value::List(points.iter().map(full).collect())
}
