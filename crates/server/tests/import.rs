//! Importing files: every row comes in as it is, or is named.

use headwater_core::json::record_to_json;
use headwater_core::{FieldType, Record, Value};
use headwater_server::import::{
    Format, Import, ImportError, ImportOptions, Key, MAX_NAMED_ROWS, Source,
};
use proptest::prelude::*;
use std::collections::BTreeSet;
use std::io::Write as _;

fn options(format: Format, key: &str) -> ImportOptions {
    ImportOptions {
        format,
        key: match key {
            "hash" => Key::Hash,
            field => Key::Field(field.to_owned()),
        },
        types: [].into(),
        declared: [].into(),
        required: [].into(),
        skip_bad: false,
    }
}

fn check(content: impl AsRef<[u8]>, options: ImportOptions) -> Result<Import, ImportError> {
    let source = Source::copy("test", content.as_ref()).expect("a temporary file");
    Import::check(source, options, &mut |_| {})
}

fn records(import: &Import) -> Vec<(String, Record)> {
    let records = import.records().expect("a second reading");
    records.collect::<Result<_, _>>().expect("the same rows")
}

fn shown(import: &Import) -> Vec<String> {
    let shown = |(key, record): (String, Record)| format!("{key} {}", record_to_json(&record));
    records(import).into_iter().map(shown).collect()
}

/// The lines that are named, with the beginning of what is said of them.
fn bad_lines(result: Result<Import, ImportError>) -> Vec<(u64, String)> {
    match result {
        Err(ImportError::BadRows { bad, .. }) => {
            assert_eq!(bad.total(), bad.named().len() as u64);
            let named = bad.named().iter();
            named.map(|row| (row.line, row.message.clone())).collect()
        }
        other => panic!("expected bad rows, not {other:?}"),
    }
}

fn assert_bad(result: Result<Import, ImportError>, expected: &[(u64, &str)]) {
    let found = bad_lines(result);
    assert_eq!(found.len(), expected.len(), "{found:#?}");
    for ((line, message), (at, part)) in found.iter().zip(expected) {
        assert_eq!(line, at, "{found:#?}");
        assert!(message.contains(part), "{message:?} lacks {part:?}");
    }
}

#[test]
fn each_format_gives_the_same_records() {
    let json = "[\n {\"id\": 1, \"name\": \"a\"},\n {\"id\": 2, \"name\": \"b, \\\"c\\\"\"}\n]\n";
    let ndjson = "{\"id\": 1, \"name\": \"a\"}\r\n\n{\"name\": \"b, \\\"c\\\"\", \"id\": 2}";
    let csv = "\u{feff}id,name\r\n1,a\r\n\r\n2,\"b, \"\"c\"\"\"";
    let expected = [
        "1 {\"id\":1,\"name\":\"a\"}",
        "2 {\"id\":2,\"name\":\"b, \\\"c\\\"\"}",
    ];
    for (content, format) in [
        (json, Format::Json),
        (ndjson, Format::Ndjson),
        (csv, Format::Csv),
    ] {
        let mut options = options(format, "id");
        options.types = [("id".to_owned(), FieldType::Int)].into();
        let import = check(content, options).expect("a good file");
        assert_eq!(import.len(), 2);
        assert_eq!(shown(&import), expected, "{format:?}");
    }
    let one = check("{\"id\": 7}", options(Format::Json, "id")).expect("one object");
    assert_eq!(shown(&one), ["7 {\"id\":7}"]);
    let none = check(" [ ] ", options(Format::Json, "id")).expect("an empty array");
    assert!(none.is_empty() && records(&none).is_empty());
}

#[test]
fn json_values_keep_their_types_and_tags() {
    let row = r#"{"k":"a","n":300,"f":300.0,"t":{"$timestamp":5},"c":{"$counter":2},"$$x":null}"#;
    let import = check(format!("[{row}]"), options(Format::Json, "k")).expect("a good file");
    let (_, record) = records(&import).remove(0);
    assert_eq!(record["n"], Value::Int(300));
    assert_eq!(record["f"], Value::Float(300.0));
    assert_eq!(record["t"], Value::Timestamp(5));
    assert_eq!(record["c"], Value::Counter(2));
    assert_eq!(record["$x"], Value::Null);
}

#[test]
fn csv_is_text_unless_declared() {
    let csv = "k,$n,empty,at,note\n007,1.50,,,\n";
    let mut options = options(Format::Csv, "k");
    let declare = |name: &str, kind| (name.to_owned(), kind);
    options.types = [declare("at", FieldType::Timestamp)].into();
    options.declared = [
        declare("note", FieldType::Text),
        declare("at", FieldType::Int),
        declare("elsewhere", FieldType::Int),
    ]
    .into();
    let import = check(csv, options).expect("a good file");
    let (key, record) = records(&import).remove(0);
    assert_eq!(key, "007");
    assert_eq!(record["$n"], Value::String("1.50".into()));
    assert_eq!(record["empty"], Value::String(String::new()));
    assert_eq!(record["at"], Value::Null);
    assert_eq!(record["note"], Value::Text(String::new()));
}

#[test]
fn every_broken_csv_row_is_named_and_nothing_is_imported() {
    let mut csv = b"k,n\nok,1\ntoo,many,2\nfew\nst\"ray,3\n\"af\"ter,4\nnot,a number\n".to_vec();
    csv.extend_from_slice(b"\xff,5\n\"two\nlines\",6\n,7\nopen,\"8\nlast,9\n");
    let mut options = options(Format::Csv, "k");
    options.types = [("n".to_owned(), FieldType::Int)].into();
    let expected = [
        (3, "3 fields, and the header has 2"),
        (4, "1 fields, and the header has 2"),
        (5, "a quote within an unquoted field"),
        (6, "text after a closing quote"),
        (7, "field \"n\": \"a number\" is not a 64-bit integer"),
        (8, "field \"k\" is not UTF-8"),
        (11, "the key field \"k\" is empty"),
        (12, "never closed"),
    ];
    assert_bad(check(&csv, options.clone()), &expected);

    options.skip_bad = true;
    let import = check(&csv, options).expect("the good rows");
    assert_eq!(import.bad().total(), expected.len() as u64);
    let keys: Vec<_> = records(&import).into_iter().map(|(key, _)| key).collect();
    assert_eq!(keys, ["ok", "two\nlines", "last"]);
}

#[test]
fn broken_json_is_named_by_line() {
    let ndjson = "{\"k\":1}\n{\"k\":2\n[3]\n{\"k\":18446744073709551616}\n{\"k\":1e999}\n{\"k\":5,\"k\":6}\n{\"k\":{\"$timestamp\":\"x\"}}\n{\"k\":null}\n{}\n{\"k\":1.5}\n";
    let expected = [
        (2, "not JSON"),
        (3, "a record must be a JSON object"),
        (4, "18446744073709551616"),
        (5, "1e999"),
        (6, "twice"),
        (7, "$timestamp needs"),
        (8, "holds a null"),
        (9, "no field \"k\""),
        (10, "holds a float"),
    ];
    assert_bad(check(ndjson, options(Format::Ndjson, "k")), &expected);

    let json = "[\n {\"k\":1},\n 5,\n \"a\", null,\n [{\"k\":2}],\n {\"k\":\n -9223372036854775809},\n {\"k\":3}]";
    let expected = [
        (3, "not int"),
        (4, "not string"),
        (4, "not null"),
        (5, "not list"),
        (6, "-9223372036854775809"),
    ];
    let mut options = options(Format::Json, "k");
    assert_bad(check(json, options.clone()), &expected);
    options.skip_bad = true;
    let import = check(json, options).expect("the good rows");
    assert_eq!(shown(&import), ["1 {\"k\":1}", "3 {\"k\":3}"]);
}

#[test]
fn a_file_that_is_not_of_its_format_says_so() {
    let deep = "[".repeat(100_000);
    let long = format!("[{{\"k\":\"{}\"}}]", "x".repeat(17 << 20));
    for (content, format, line, part) in [
        ("", Format::Json, 1, "empty"),
        ("\n\n7", Format::Json, 3, "an array of objects"),
        ("[{\"k\":1}\n", Format::Json, 2, "not complete"),
        ("[{\"k\":1},\n]", Format::Json, 2, "expected an object"),
        ("[{\"k\":1}\n{\"k\":2}]", Format::Json, 2, "expected `,`"),
        ("{\"k\":1}\n{\"k\":2}", Format::Json, 2, "--format ndjson"),
        ("[{\"k\":1}]\nx", Format::Json, 2, "follows the end"),
        ("[\n{\"k\":1},\n{\"k\"\n1}]", Format::Json, 4, "not JSON"),
        (deep.as_str(), Format::Json, 1, "not JSON"),
        (long.as_str(), Format::Json, 1, "longer than 16 MiB"),
        ("", Format::Csv, 1, "needs a header"),
        ("k,a,k\n", Format::Csv, 1, "\"k\" twice"),
        ("k,,a\n", Format::Csv, 1, "without a name"),
        ("k,\"a\n", Format::Csv, 1, "never closed"),
    ] {
        match check(content, options(format, "k")) {
            Err(ImportError::Malformed {
                line: at, message, ..
            }) => {
                assert_eq!(at, line, "{message}");
                assert!(message.contains(part), "{message:?} lacks {part:?}");
            }
            other => panic!("{part}: expected an error, not {other:?}"),
        }
    }
    let unknown = check("a,b\n1,2\n", options(Format::Csv, "k"));
    let message = unknown.expect_err("no such field").to_string();
    assert_eq!(message, "test has no field \"k\"; its header has a, b");
}

#[test]
fn two_rows_with_one_key_are_named_unless_they_are_equal() {
    let rows = "{\"k\":1,\"a\":1}\n{\"a\":1,\"k\":1}\n{\"k\":2}\n{\"k\":\"1\",\"a\":1}\n";
    assert_bad(
        check(rows, options(Format::Ndjson, "k")),
        &[(4, "the key \"1\" is also on line 1")],
    );
    let import = check(&rows[..rows.len() - 17], options(Format::Ndjson, "k")).expect("good");
    assert_eq!((import.len(), import.repeated()), (2, 1));
    assert_eq!(shown(&import), ["1 {\"a\":1,\"k\":1}", "2 {\"k\":2}"]);
}

#[test]
fn hash_keys_are_stable_and_lose_no_row() {
    let rows = "[{\"a\":1,\"b\":2},{\"b\":2,\"a\":1},{\"a\":1.0,\"b\":2},{\"a\":1,\"b\":2}]";
    let import = check(rows, options(Format::Json, "hash")).expect("a good file");
    let keys: Vec<_> = records(&import).into_iter().map(|(key, _)| key).collect();
    // sha256 of {"a":1,"b":2}
    let first = "43258cff783fe7036d8a43033f830adf";
    assert_eq!(keys[0], first);
    assert_eq!(keys[1], format!("{first}-2"));
    assert_eq!(keys[3], format!("{first}-3"));
    assert_eq!(keys.iter().collect::<BTreeSet<_>>().len(), 4);
    // Another order of the other rows keeps them.
    let moved = "[{\"c\":0},{\"b\":2,\"a\":1}]";
    let import = check(moved, options(Format::Json, "hash")).expect("a good file");
    assert_eq!(records(&import)[1].0, first);
}

#[test]
fn bad_rows_are_bounded() {
    let csv = format!("k\n{}", "a,b\n".repeat(1000));
    let message = check(&csv, options(Format::Csv, "k"))
        .expect_err("bad rows")
        .to_string();
    assert!(message.starts_with("test: 1000 of 1000 rows"), "{message}");
    assert_eq!(message.lines().count(), MAX_NAMED_ROWS + 2);
    assert!(message.ends_with("and 900 more"), "{message}");
    let long = format!(
        "k,v\n\"{}\",1\nb,2\nc,\"{}\n",
        "x".repeat(17 << 20),
        "y\n".repeat(9 << 20)
    );
    let found = bad_lines_of_long(&long);
    assert_eq!(
        found,
        [
            (2, "longer than 16 MiB"),
            (4, "a quote is opened and never closed")
        ]
    );
}

fn bad_lines_of_long(csv: &str) -> Vec<(u64, &'static str)> {
    let mut options = options(Format::Csv, "k");
    options.skip_bad = true;
    let import = check(csv, options).expect("the good row");
    assert_eq!(shown(&import), ["b {\"k\":\"b\",\"v\":\"2\"}"]);
    let known = ["longer than 16 MiB", "a quote is opened and never closed"];
    let named = import.bad().named().iter().take(2);
    named
        .map(|row| {
            let message = known.iter().find(|known| row.message == **known);
            (row.line, *message.expect("a known message"))
        })
        .collect()
}

#[test]
fn a_file_that_changes_between_the_readings_is_refused() {
    let mut file = tempfile::NamedTempFile::new().expect("a temporary file");
    file.write_all(b"{\"k\":1}\n").expect("written");
    let source = Source::open(file.path()).expect("opened");
    let import = Import::check(source, options(Format::Ndjson, "k"), &mut |_| {}).expect("good");
    file.write_all(b"{\"k\":2}\n").expect("written");
    let read: Result<Vec<_>, _> = import.records().expect("read again").collect();
    assert!(matches!(read, Err(ImportError::Changed { .. })), "{read:?}");
}

#[test]
fn progress_reaches_the_end() {
    let source = Source::copy("test", "\u{feff}k\n1\n2\n".as_bytes()).expect("copied");
    let mut last = None;
    Import::check(source, options(Format::Csv, "k"), &mut |p| last = Some(p)).expect("good");
    let last = last.expect("progress");
    assert_eq!((last.bytes, last.total), (9, 9));
}

fn cells() -> impl Strategy<Value = Vec<Vec<String>>> {
    let cell = || prop_oneof!["[ab,\"\r\n]{0,5}", any::<String>()];
    (2..5usize).prop_flat_map(move |width| {
        proptest::collection::vec(proptest::collection::vec(cell(), width), 1..8)
    })
}

proptest! {
    #[test]
    fn csv_reads_what_a_csv_writer_writes(rows in cells(), crlf: bool) {
        let terminator = match crlf {
            true => csv::Terminator::CRLF,
            false => csv::Terminator::Any(b'\n'),
        };
        let mut writer = csv::WriterBuilder::new()
            .terminator(terminator)
            .quote_style(csv::QuoteStyle::Always)
            .from_writer(Vec::new());
        let header: Vec<_> = (0..rows[0].len()).map(|i| i.to_string()).collect();
        writer.write_record(&header).expect("written");
        for row in &rows {
            writer.write_record(row).expect("written");
        }
        let content = writer.into_inner().expect("written");
        let import = check(content, options(Format::Csv, "hash")).expect("well formed");
        let found: Vec<Vec<String>> = records(&import)
            .into_iter()
            .map(|(_, record)| {
                let cell = |name| record[name].as_str().expect("a string").to_owned();
                header.iter().map(cell).collect()
            })
            .collect();
        prop_assert_eq!(found, rows);
    }

    #[test]
    fn no_bytes_make_it_panic(content: Vec<u8>, text in "[{}\\[\\]\",:a1\n\r ]{0,60}") {
        for format in [Format::Json, Format::Ndjson, Format::Csv] {
            for content in [content.as_slice(), text.as_bytes()] {
                let mut options = options(format, "hash");
                options.skip_bad = true;
                if let Ok(import) = check(content, options) {
                    prop_assert_eq!(records(&import).len() as u64, import.len());
                }
            }
        }
    }
}
