//! Columns of declared types: what fits is read exactly, what does not is null there and a row of its own elsewhere.

use crate::select;
use crate::torture::{Random, any_text, as_decimal};
use headwater_core::json::value_to_json;
use headwater_core::{DatabaseId, FieldType, LakeColumn, Record, Value};
use headwater_materialize::{Declaration, Declarations, DeclaredType, Lake, RowChange};
use headwater_server::drill::RunningDrill;
use std::collections::BTreeSet;

const ROWS: u64 = 2_000;

/// Declarations of these fields with these types.
pub fn types<const N: usize>(fields: [(&str, &str); N]) -> Declarations {
    let declared = fields.map(|(field, kind)| {
        let kind = DeclaredType::of(&FieldType::of_name(kind));
        (field.to_owned(), Declaration { kind, column: None })
    });
    declared.into()
}

/// A column: its declared type, the type that Drill shows, what is drawn for it, and what it shows of that: nothing if it is
/// rejected.
struct Column {
    name: &'static str,
    declared: &'static str,
    kind: &'static str,
    value: fn(&mut Random) -> Value,
    cell: fn(&Value) -> Option<Value>,
}

fn pick(random: &mut Random, values: &[Value]) -> Value {
    values[random.below(values.len())].clone()
}

fn columns() -> [Column; 6] {
    [
        Column {
            name: "price",
            declared: "decimal(20,4)",
            kind: "DECIMAL",
            value: |r| {
                let values = [
                    "12.5".into(),
                    "-9999999999999999.9999".into(),
                    7.into(),
                    0.25.into(),
                    "1.00001".into(),
                    any_text(r).into(),
                    f64::NAN.into(),
                ];
                pick(r, &values)
            },
            cell: |value| {
                let decimal = FieldType::Decimal {
                    precision: 20,
                    scale: 4,
                };
                decimal.fits(value).then(|| as_decimal(value, 4))
            },
        },
        Column {
            name: "exact",
            declared: "decimal(38,38)",
            kind: "DECIMAL",
            value: |r| {
                let values = [
                    "0.12345678901234567890123456789012345678".into(),
                    "-0.00000000000000000000000000000000000001".into(),
                    "1".into(),
                ];
                pick(r, &values)
            },
            cell: |value| (value.as_str() != Some("1")).then(|| as_decimal(value, 38)),
        },
        Column {
            name: "whole",
            declared: "decimal(38,0)",
            kind: "DECIMAL",
            value: |r| {
                let values = [
                    "99999999999999999999999999999999999999".into(),
                    "-12345678901234567890123456789012345678".into(),
                    Value::Uint(u64::MAX),
                    0.5.into(),
                ];
                pick(r, &values)
            },
            cell: |value| (*value != 0.5.into()).then(|| as_decimal(value, 0)),
        },
        Column {
            name: "day",
            declared: "date",
            kind: "DATE",
            value: |r| {
                let days = [
                    "0001-01-01",
                    "1582-10-10",
                    "1969-12-31",
                    "2024-02-29",
                    "9999-12-31",
                    "2023-02-29",
                    "tomorrow",
                ];
                pick(r, &days.map(Value::from))
            },
            // Drill's REST interface gives milliseconds since 1970.
            cell: |value| {
                Some(Value::Int(match value.as_str()? {
                    "0001-01-01" => -62_135_596_800_000,
                    "1582-10-10" => -12_219_724_800_000,
                    "1969-12-31" => -86_400_000,
                    "2024-02-29" => 1_709_164_800_000,
                    "9999-12-31" => 253_402_214_400_000,
                    _ => return None,
                }))
            },
        },
        Column {
            name: "n",
            declared: "int",
            kind: "BIGINT",
            value: |r| {
                let values = [i64::MIN.into(), 3.0.into(), 0.5.into(), "x".into()];
                pick(r, &values)
            },
            cell: |value| match value {
                Value::Int(n) => Some(Value::Int(*n)),
                Value::Float(f) => (*f == 3.0).then_some(Value::Int(3)),
                _ => None,
            },
        },
        Column {
            name: "tags",
            declared: "list",
            kind: "ANY",
            value: |r| {
                let values = [Value::List(vec!["a".into(), "".into()]), "a".into()];
                pick(r, &values)
            },
            // Drill has no null arrays.
            cell: |value| {
                Some(match value {
                    Value::List(_) => value.clone(),
                    _ => Value::List(Vec::new()),
                })
            },
        },
    ]
}

/// Every cell of columns of declared types, and of the table of what was rejected.
pub fn every_cell_is_right(drill: &RunningDrill, lake: &mut Lake) {
    let database = DatabaseId::from_bytes([1; 16]);
    let columns = columns();
    let mut declared: Declarations = columns
        .iter()
        .flat_map(|column| types([(column.name, column.declared)]))
        .collect();
    declared.entry("n".to_owned()).or_default().column = Some("number".into());
    declared.entry("secret".to_owned()).or_default().column = Some(LakeColumn::Hidden);
    lake.declare_fields(database, "declared", declared);
    let mut random = Random(0xdec1);
    let (mut expected, mut rejected) = (Vec::new(), BTreeSet::new());
    for n in 0..ROWS {
        let key = format!("{n:05}");
        let mut record = Record::from([("secret".to_owned(), "x".into())]);
        let mut cells = vec![Value::from(key.as_str())];
        for column in &columns {
            let value = (column.value)(&mut random);
            let cell = (column.cell)(&value);
            let refused = cell.is_none() || (column.name == "tags" && value.as_str().is_some());
            if refused {
                let field = column.name.to_owned();
                rejected.insert((key.clone(), field, value_to_json(&value)));
            }
            cells.push(cell.unwrap_or(Value::Null));
            record.insert(column.name.to_owned(), value);
        }
        expected.push(cells);
        lake.apply(RowChange {
            database,
            collection: "declared".to_owned(),
            key,
            record: Some(record),
            by: None,
        });
    }
    lake.publish().unwrap();
    let sql = "SELECT `_key`, price, `exact`, `whole`, `day`, `number`, tags FROM headwater.declared ORDER BY `_key`";
    for (row, expected) in select(drill, sql).into_iter().zip(&expected) {
        assert_eq!(row, *expected);
    }
    let all = select(drill, "SELECT * FROM headwater.declared");
    assert_eq!(all.len() as u64, ROWS);
    assert_eq!(
        all[0].len(),
        columns.len() + 2,
        "the hidden field is not there"
    );
    assert!(rejected.len() > 500);
    let rows = select(
        drill,
        "SELECT `_key`, field, `value`, reason FROM headwater.declared_rejected",
    );
    let shown: BTreeSet<_> = rows
        .iter()
        .map(|row| {
            let text = |at: usize| row[at].as_str().unwrap().to_owned();
            assert!(text(3).contains(" is not a"), "{row:?}");
            (text(0), text(1), text(2))
        })
        .collect();
    assert_eq!((rows.len(), shown), (rejected.len(), rejected));
    declared_columns_work_in_sql(drill, &columns);
}

fn declared_columns_work_in_sql(drill: &RunningDrill, columns: &[Column]) {
    let kinds = select(
        drill,
        "SELECT COLUMN_NAME, DATA_TYPE FROM INFORMATION_SCHEMA.`COLUMNS` WHERE TABLE_NAME = 'declared'",
    );
    for column in columns {
        let name = if column.name == "n" {
            "number"
        } else {
            column.name
        };
        assert!(
            kinds.contains(&vec![name.into(), column.kind.into()]),
            "{name} in {kinds:?}"
        );
    }
    let prices = select(
        drill,
        "SELECT DISTINCT price FROM headwater.declared WHERE price > 0.3 ORDER BY price",
    );
    assert_eq!(
        prices,
        [[Value::from("decimal 7.0000")], ["decimal 12.5000".into()]]
    );
    let days = select(
        drill,
        "SELECT DISTINCT CAST(`day` AS VARCHAR) FROM headwater.declared \
         WHERE `day` BETWEEN DATE '1969-01-01' AND DATE '2024-12-31' ORDER BY 1",
    );
    assert_eq!(days, [[Value::from("1969-12-31")], ["2024-02-29".into()]]);
    let joined = select(
        drill,
        "SELECT count(DISTINCT d.`_key`) FROM headwater.declared d JOIN headwater.declared_rejected r \
         ON d.`_key` = r.`_key` AND d.`_database` = r.`_database` WHERE r.field = 'price' AND d.price IS NOT NULL",
    );
    assert_eq!(joined, [[Value::Int(0)]]);
}
