use super::*;
use std::io::Cursor;

fn answer(columns: &str, kinds: &str, rows: &str, end: &str) -> String {
    format!(
        "{{\"queryId\":\"1\"\n,\"columns\":[{columns}]\n,\"metadata\":[{kinds}]\n,\"attemptedAutoLimit\":0\n,\
         \"rows\":[\n{rows}\n]\n,{end}}}\n"
    )
}

const COMPLETED: &str = "\"queryState\":\"COMPLETED\"";

/// Nothing answers there; only nested columns and times ask Drill again.
fn options(declared: &[(&str, FieldType)]) -> ResultOptions {
    let declared = declared.iter();
    ResultOptions {
        url: "http://127.0.0.1:1".to_owned(),
        sql: "SELECT 1".to_owned(),
        limits: QueryOptions::default(),
        key: "k".to_owned(),
        declared: declared
            .map(|(name, kind)| ((*name).to_owned(), kind.clone()))
            .collect(),
    }
}

fn check(answer: &str, declared: &[(&str, FieldType)]) -> Result<QueryResult, ResultError> {
    let source = Source::copy(NAME, Cursor::new(answer)).expect("a temporary file");
    QueryResult::check(source, &options(declared), &mut |_| {})
}

fn records(result: &QueryResult) -> Vec<(String, String)> {
    let records = result.records().expect("read again");
    let shown = |(key, record): (String, Record)| (key, json::record_to_json(&record));
    records
        .map(|record| shown(record.expect("as before")))
        .collect()
}

fn value(kind: &str, raw: &str) -> Result<Value, String> {
    let raw: Box<RawValue> = serde_json::from_str(raw).expect("JSON");
    Kind::of(kind).value(&raw)
}

#[test]
fn each_of_drills_types_is_exact() {
    for (kind, raw, expected) in [
        ("BIGINT", "-9223372036854775808", Value::Int(i64::MIN)),
        ("BIGINT", "9007199254740993", Value::Int((1 << 53) + 1)),
        ("INT", "7", Value::Int(7)),
        ("FLOAT8", "4.9E-324", Value::Float(5e-324)),
        ("FLOAT8", "-0.0", Value::Float(-0.0)),
        ("FLOAT8", "1", Value::Float(1.0)),
        ("FLOAT8", "\"NaN\"", Value::Float(f64::NAN)),
        ("FLOAT8", "\"-Infinity\"", Value::Float(f64::NEG_INFINITY)),
        (
            "FLOAT4",
            "0.10000000149011612",
            Value::Float(f64::from(0.1_f32)),
        ),
        ("BIT", "true", true.into()),
        ("VARCHAR(65535)", "\"NaN\"", "NaN".into()),
        ("VARCHAR", "\"\\uD83D\\uDE00\\n\"", "😀\n".into()),
        ("VARBINARY", "\"AP8=\"", Value::Bytes(vec![0, 255])),
        ("VARDECIMAL(20, 4)", "12.0000", "12.0000".into()),
        (
            "VARDECIMAL(38, 4)",
            "1234567890123456789012345678901234.0001",
            "1234567890123456789012345678901234.0001".into(),
        ),
        ("VARDECIMAL(20, 10)", "1.000E-7", "0.0000001000".into()),
        ("VARDECIMAL(20, 10)", "-1.5E-7", "-0.00000015".into()),
        ("VARDECIMAL(20, 10)", "0E-10", "0.0000000000".into()),
        ("VARDECIMAL(20, 0)", "1.25E+3", "1250".into()),
        ("VARDECIMAL(20, 0)", "12.5E+0", "12.5".into()),
        ("DATE", "1582934400000", "2020-02-29".into()),
        ("DATE", "-62135596800000", "0001-01-01".into()),
        ("TIME", "36672123", "10:11:12.123".into()),
        ("TIMESTAMP", "-1", Value::Timestamp(-1)),
        ("INTERVALDAY", "\"P1D\"", "P1D".into()),
        ("BIGINT", "null", Value::Null),
        ("BIGINT", "[1,2]", Value::List(vec![1.into(), 2.into()])),
        ("TIMESTAMP", "[]", Value::List(Vec::new())),
    ] {
        assert_eq!(value(kind, raw), Ok(expected), "{kind} {raw}");
    }
    for (kind, raw) in [
        ("BIGINT", "1.5"),
        ("BIGINT", "\"1\""),
        ("BIT", "1"),
        ("FLOAT8", "\"x\""),
        ("VARBINARY", "\"AP8\""),
        ("VARDECIMAL(20, 4)", "\"1\""),
        ("VARDECIMAL(20, 4)", "1E999999999"),
        ("DATE", "999999999999999999"),
        ("TIME", "-1"),
        ("TIMESTAMP", "1.5"),
        ("VARCHAR", "\"\\uD800\""),
        ("UNION", "1"),
        ("MAP", "{\"x\":1}"),
    ] {
        assert!(value(kind, raw).is_err(), "{kind} {raw}");
    }
    assert_eq!(value("MAP", "{\"x\":null,\"l\":null}"), Ok(Value::Null));
}

#[test]
fn values_are_fitted_to_what_is_declared() {
    let columns = "\"k\",\"price\",\"text\",\"note\",\"whole\",\"at\",\"n\"";
    let kinds = "\"INT\",\"VARDECIMAL(20, 4)\",\"VARCHAR\",\"VARCHAR\",\"FLOAT8\",\"VARCHAR\",\"VARDECIMAL(9, 2)\"";
    let row = r#"{"k":1,"price":1.5000,"text":"18446744073709551615","note":"x","whole":3.0,"at":"1970-01-02","n":10.00}"#;
    let declared = [
        ("price", FieldType::Float),
        ("text", FieldType::Int),
        ("note", FieldType::Text),
        ("whole", FieldType::Int),
        ("at", FieldType::Timestamp),
        ("n", FieldType::Int),
    ];
    let result = check(&answer(columns, kinds, row, COMPLETED), &declared).expect("good");
    let (key, record) = result
        .records()
        .expect("read")
        .next()
        .expect("one")
        .expect("good");
    assert_eq!(key, "1");
    assert_eq!(record["k"], Value::Int(1));
    assert_eq!(record["price"], Value::Float(1.5));
    assert_eq!(record["text"], Value::Uint(u64::MAX));
    assert_eq!(record["note"], Value::Text("x".into()));
    assert_eq!(record["whole"], Value::Int(3));
    assert_eq!(record["at"], Value::Timestamp(86_400_000));
    assert_eq!(record["n"], Value::Int(10));

    let row = r#"{"k":1,"price":1.5,"text":"","note":"x","whole":3.5,"at":"x","n":10.50}"#;
    for (field, kind) in declared
        .iter()
        .filter(|(name, _)| !["price", "note"].contains(name))
    {
        let bad = check(
            &answer(columns, kinds, row, COMPLETED),
            &[(field, kind.clone())],
        );
        let message = bad.expect_err("does not fit").to_string();
        assert!(
            message.contains(&format!("row 1: field {field:?}")),
            "{message}"
        );
    }
}

#[test]
fn the_lakes_own_columns_are_no_fields() {
    let columns = "\"k\",\"_key\",\"_database\",\"_more\"";
    let kinds = "\"VARCHAR\",\"VARCHAR\",\"VARCHAR\",\"VARCHAR\"";
    let row =
        r#"{"k":"a","_key":"x","_database":"d","_more":"{\"n\":1,\"at\":{\"$timestamp\":5}}"}"#;
    let result = check(&answer(columns, kinds, row, COMPLETED), &[]).expect("good");
    let expected = r#"{"at":{"$timestamp":5},"k":"a","n":1}"#;
    assert_eq!(records(&result), [("a".to_owned(), expected.to_owned())]);
    assert_eq!(result.fields().collect::<Vec<_>>(), ["k"]);
    for (more, part) in [
        ("{\\\"k\\\":1}", "stands in \"_more\" too"),
        ("x", "as JSON, and here not"),
    ] {
        let row = format!("{{\"k\":\"a\",\"_more\":\"{more}\"}}");
        let bad = check(&answer(columns, kinds, &row, COMPLETED), &[]);
        let message = bad.expect_err("no fields").to_string();
        assert!(message.contains(part), "{message}");
    }
}

#[test]
fn every_row_without_a_key_of_its_own_is_named() {
    let rows = r#"{"k":1.5},{"k":null},{},{"k":"a"},{"k":"a"},{"k":""},{"k":"b"}"#;
    let rows = rows.replace("1.5", "[\"x\"]");
    let bad = check(&answer("\"k\"", "\"VARCHAR\"", &rows, COMPLETED), &[]);
    let message = bad.expect_err("bad rows").to_string();
    assert!(message.starts_with("5 of the 7 rows"), "{message}");
    for part in [
        "row 1: the key column \"k\" holds a list",
        "row 2: the key column \"k\" is null",
        "row 3: the key column \"k\" is null",
        "row 5: the key \"a\" is also that of row 4",
        "row 6: the key column \"k\" is empty",
    ] {
        assert!(message.contains(part), "{part} in {message}");
    }
    let none = check(
        &answer("\"x\",\"y\"", "\"INT\",\"INT\"", "", COMPLETED),
        &[],
    );
    let message = none.expect_err("no key").to_string();
    assert!(
        message.contains("no column \"k\" for the key, only x, y"),
        "{message}"
    );
}

#[test]
fn what_is_not_the_whole_answer_is_an_error() {
    let whole = answer("\"k\"", "\"INT\"", "{\"k\":1}\n,{\"k\":2}", COMPLETED);
    assert_eq!(check(&whole, &[]).expect("good").len(), 2);
    for end in 0..whole.trim_end().len() {
        assert!(check(&whole[..end], &[]).is_err(), "{}", &whole[..end]);
    }
    let failed = "\"queryState\":\"FAILED\",\"errorMessage\":\"it broke\"";
    let failed = check(&answer("\"k\"", "\"INT\"", "{\"k\":1}", failed), &[]);
    assert!(
        matches!(&failed, Err(ResultError::Drill(DrillError::Failed { message })) if message == "it broke")
    );
    for text in [
        "<html>",
        "[]",
        "{}",
        "7",
        "{\"rows\":[7],\"queryState\":\"COMPLETED\"}",
    ] {
        assert!(check(text, &[]).is_err(), "{text}");
    }
    let long = format!("{{\"k\":\"{}\"}}", "x".repeat(17 << 20));
    let long = check(&answer("\"k\"", "\"VARCHAR\"", &long, COMPLETED), &[]);
    let message = long.expect_err("too long").to_string();
    assert!(message.contains("longer than 16 MiB"), "{message}");
}

#[test]
fn the_types_of_members_are_asked_for_by_name() {
    let mut shape = Shape::default();
    let mut left = 100;
    for raw in [
        "{\"a\":1,\"it`s\":{\"x\":[]},\"none\":null}",
        "{\"points\":[{\"x\":1},{\"y\":[2]}],\"it`s\":{\"x\":[1]}}",
        "null",
    ] {
        let raw: Box<RawValue> = serde_json::from_str(raw).expect("JSON");
        shape.note(&raw, &mut left).expect("few members");
    }
    let mut all = Vec::new();
    shape.expressions("q.c", &mut all);
    let expected = [
        "q.c.`a`",
        "q.c.`it``s`.`x`",
        "q.c.`none`",
        "q.c.`points`[0].`x`",
        "q.c.`points`[0].`y`",
    ];
    assert_eq!(all, expected);
    let kinds = ["BIGINT", "TIMESTAMP", "VARCHAR", "INT", "VARBINARY"];
    let kind = shape
        .kind(&mut kinds.into_iter().map(Kind::of))
        .expect("enough");
    let raw =
        r#"{"a":1,"it`s":{"x":[5]},"none":null,"points":[{"x":2,"y":["AP8="]},{"x":null,"y":[]}]}"#;
    let raw: Box<RawValue> = serde_json::from_str(raw).expect("JSON");
    let value = kind.value(&raw).expect("of this kind");
    let expected = r#"{"a":1,"it`s":{"x":[{"$timestamp":5}]},"points":[{"x":2,"y":[{"$bytes":"AP8="}]},{"y":[]}]}"#;
    assert_eq!(json::value_to_json(&value), expected);

    let wide: Vec<_> = (0..101).map(|n| format!("\"m{n}\":1")).collect();
    let wide: Box<RawValue> =
        serde_json::from_str(&format!("{{{}}}", wide.join(","))).expect("JSON");
    let refused = Shape::default().note(&wide, &mut 100);
    assert!(matches!(refused, Err(ResultError::TooManyMembers)));
}

#[test]
fn what_drill_shows_alike_is_left_alone() {
    let record = |text: &str| json::record_from_str(text).expect("a record");
    let row = |text: &str| unchanged(record(text), &record(CURRENT), |field| field != "other");
    const CURRENT: &str = r#"{"n":1,"mixed":300,"null":null,"empty":{},"s":{"a":null,"x":2},"tags":["t"],"other":null,"l":[{"x":null}]}"#;
    let same =
        r#"{"n":1.0,"mixed":"300","s":{"x":2.0,"tags":[]},"tags":["t"],"absent":[],"l":[{}]}"#;
    let expected = CURRENT.replace(",\"other\":null", "");
    assert_eq!(row(same), record(&expected));
    let other =
        r#"{"n":1.5,"mixed":"301","null":[],"empty":{"a":1},"s":{"a":1},"tags":[],"l":[{"x":1}]}"#;
    let expected = other.replace("\"null\":[]", "\"null\":null");
    assert_eq!(row(other), record(&expected));
}

/// Answers the first request with `body`, as a Drillbit; gives where, and then what it was asked.
fn drillbit(body: &str) -> (String, std::thread::JoinHandle<String>) {
    use std::io::{BufRead as _, BufReader, Read as _, Write as _};
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    let response = format!(
        "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    );
    let asked = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("a connection");
        let mut reader = BufReader::new(stream.try_clone().expect("a socket"));
        let mut length = 0;
        let mut line = String::new();
        while reader.read_line(&mut line).expect("a line") > 2 {
            if let Some(n) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                length = n.trim().parse().expect("a number");
            }
            line.clear();
        }
        let mut request = vec![0; length];
        reader.read_exact(&mut request).expect("a body");
        stream.write_all(response.as_bytes()).expect("sent");
        let request: serde_json::Value = serde_json::from_slice(&request).expect("JSON");
        request["query"].as_str().expect("a query").to_owned()
    });
    (url, asked)
}

#[test]
fn times_of_a_drill_in_another_zone_are_refused() {
    let times = answer(
        "\"k\",\"at\"",
        "\"INT\",\"TIMESTAMP\"",
        "{\"k\":1,\"at\":0}",
        COMPLETED,
    );
    let check = |zone: &str| {
        let zone = answer(
            "\"w\",\"s\"",
            "\"TIMESTAMP\",\"TIMESTAMP\"",
            zone,
            COMPLETED,
        );
        let (url, asked) = drillbit(&zone);
        let source = Source::copy(NAME, Cursor::new(&times)).expect("a temporary file");
        let options = ResultOptions {
            url,
            ..options(&[])
        };
        let result = QueryResult::check(source, &options, &mut |_| {});
        assert!(
            asked
                .join()
                .expect("asked")
                .contains("TIMESTAMP '1970-01-01 00:00:00'")
        );
        result
    };
    let utc = check("{\"w\":0,\"s\":963619200000}").expect("in UTC");
    assert_eq!(records(&utc)[0].1, "{\"at\":{\"$timestamp\":0},\"k\":1}");
    // London in summer, and Berlin.
    for zone in [
        "{\"w\":0,\"s\":963615600000}",
        "{\"w\":-3600000,\"s\":963612000000}",
    ] {
        let refused = check(zone);
        assert!(
            matches!(refused, Err(ResultError::Zone { .. })),
            "{refused:?}"
        );
    }
}

#[test]
fn an_answer_is_kept_whole_and_within_its_limit() {
    let body = answer("\"k\"", "\"INT\"", "{\"k\":1}", COMPLETED);
    let (url, asked) = drillbit(&body);
    let given = ResultOptions {
        url,
        ..options(&[])
    };
    let source = ask(&given).expect("an answer");
    assert_eq!(asked.join().expect("asked"), "SELECT 1");
    let result = QueryResult::check(source, &given, &mut |_| {}).expect("good");
    assert_eq!(result.len(), 1);

    let (url, asked) = drillbit(&body);
    let mut given = ResultOptions {
        url,
        ..options(&[])
    };
    given.limits.bytes = 50;
    let long = ask(&given);
    assert!(
        matches!(
            long,
            Err(ResultError::Drill(DrillError::TooLong { limit: 50 }))
        ),
        "{long:?}"
    );
    asked.join().expect("asked");
}
