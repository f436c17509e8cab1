//! The `headwater` command as its users run it.

mod command;

use command::{HEADWATER, Server, fails, ok, ok_json};
use serde_json::{Value as Json, json};
use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

fn folder_with(files: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder");
    for (name, content) in files {
        fs::write(folder.path().join(name), content).expect("written");
    }
    folder
}

fn records(folder: &Path, line: &str) -> Vec<Json> {
    let lines = ok(folder, line);
    let parsed = lines.lines().map(serde_json::from_str);
    parsed.collect::<Result<_, _>>().expect("JSON on each line")
}

const FILMS: &str = r#"[
  {"Title": "A", "Votes": 9007199254740993, "Rating": 6.1, "Seen": null},
  {"Title": 300, "Votes": 2, "Rating": 6.0},
  {"Title": "A", "Votes": 9007199254740993, "Rating": 6.1, "Seen": null}
]"#;

#[test]
fn what_is_imported_is_printed_again_and_a_second_import_changes_nothing() {
    let folder = folder_with(&[("films.json", FILMS)]);
    let folder = folder.path();
    let line = "import films.json --key hash --data d --json";
    let first = ok_json(folder, &format!("{line} --create mine"));
    assert_eq!(
        (&first["inserted"], &first["unchanged"]),
        (&json!(3), &json!(0))
    );
    let again = ok_json(folder, &format!("{line} --database mine"));
    assert_eq!(
        (&again["inserted"], &again["updated"], &again["unchanged"]),
        (&json!(0), &json!(0), &json!(3))
    );
    assert_eq!(again["database"], first["database"]);

    let printed = records(folder, "cat films --database mine --data d --json");
    let mut found: Vec<String> = printed.iter().map(|r| r["record"].to_string()).collect();
    let source: Vec<Json> = serde_json::from_str(FILMS).expect("JSON");
    let mut expected: Vec<String> = source.iter().map(Json::to_string).collect();
    found.sort();
    expected.sort();
    assert_eq!(found, expected);
    let keys: Vec<&str> = printed.iter().filter_map(|r| r["key"].as_str()).collect();
    assert!(keys.iter().any(|key| key.ends_with("-2")), "{keys:?}");

    let listed = ok_json(folder, "ls --data d --json");
    let id = &first["database"];
    assert_eq!(listed, json!([{"database": id, "names": ["mine"]}]));
    let listed = ok_json(folder, "ls --data d --database mine --json");
    assert_eq!(
        listed,
        json!([{
            "collection": "films", "records": 3, "types": {}, "policies": {}, "delete": "edit-wins",
        }])
    );
}

#[test]
fn what_is_declared_of_a_collection_is_listed() {
    let folder = folder_with(&[("a.csv", "k,n,note\nx,1,\n")]);
    let folder = folder.path();
    let declared = "--type n=int --policy n=max --policy note=keep-all";
    ok(
        folder,
        &format!("import a.csv --create d --key k {declared} --collection c --data d"),
    );
    assert_eq!(
        ok_json(folder, "ls --data d --database d --json"),
        json!([{
            "collection": "c",
            "records": 1,
            "types": {"n": "int"},
            "policies": {"n": "max", "note": "keep-all"},
            "delete": "edit-wins",
        }])
    );
    let table = ok(folder, "ls --data d --database d");
    for declared in ["n=int", "n=max, note=keep-all", "edit-wins"] {
        assert!(table.contains(declared), "{table}");
    }
}

#[test]
fn declared_types_stay_with_the_collection() {
    let folder = folder_with(&[
        ("a.csv", "k,n,note\nx,1.5,\n"),
        ("b.csv", "k,n\ny,2\n"),
        ("c.csv", "k,n\nz,two\n"),
    ]);
    let folder = folder.path();
    ok(
        folder,
        "import a.csv --create d --key k --type n=float --collection c --data d",
    );
    ok(
        folder,
        "import b.csv --database d --key k --collection c --data d",
    );
    assert_eq!(
        ok(folder, "cat c --database d --data d"),
        "x\t{\"k\":\"x\",\"n\":1.5,\"note\":\"\"}\ny\t{\"k\":\"y\",\"n\":2.0}\n"
    );
    assert_eq!(
        ok(folder, "cat c y --database d --data d --json"),
        "{\"key\":\"y\",\"record\":{\"k\":\"y\",\"n\":2.0}}\n"
    );
    assert_eq!(
        ok(folder, "cat c --prefix y --database d --data d")
            .lines()
            .count(),
        1
    );
    assert_eq!(
        ok(folder, "cat c --limit 1 --database d --data d")
            .lines()
            .count(),
        1
    );
    let error = fails(
        folder,
        1,
        "import c.csv --database d --key k --collection c --data d",
    );
    assert!(
        error.contains("line 2: field \"n\": \"two\" is not a number"),
        "{error}"
    );
}

#[test]
fn a_file_with_broken_rows_changes_nothing_unless_asked() {
    let folder = folder_with(&[("rows.csv", "k,n\na,1\nb,x\nc\nd,4\n")]);
    let folder = folder.path();
    let line = "import rows.csv --create rows --key k --type n=int --data d";
    let error = fails(folder, 1, line);
    assert!(error.contains("2 of 4 rows"), "{error}");
    assert!(error.contains("line 3: field \"n\""), "{error}");
    assert!(error.contains("line 4: 1 fields"), "{error}");
    assert_eq!(ok_json(folder, "ls --data d --json"), json!([]));

    let result = ok_json(folder, &format!("{line} --skip-bad --json"));
    assert_eq!(
        (&result["inserted"], &result["skipped"]),
        (&json!(2), &json!(2))
    );
    assert_eq!(result["bad"][0]["line"], json!(3));
    let keys: Vec<_> = records(folder, "cat rows --database rows --data d --json");
    let keys: Vec<_> = keys.iter().map(|record| record["key"].clone()).collect();
    assert_eq!(keys, [json!("a"), json!("d")]);
}

#[test]
fn standard_input_is_a_file_too() {
    let folder = folder_with(&[]);
    let mut child = Command::new(HEADWATER)
        .current_dir(folder.path())
        .args("import - --format ndjson --collection c --create d --key k --data d".split(' '))
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .expect("started");
    let mut stdin = child.stdin.take().expect("piped");
    stdin.write_all(b"{\"k\":1}\n{\"k\":2}\n").expect("written");
    drop(stdin);
    assert!(child.wait().expect("ended").success());
    let printed = ok(folder.path(), "cat c --database d --data d");
    assert_eq!(printed, "1\t{\"k\":1}\n2\t{\"k\":2}\n");
}

#[test]
fn errors_say_what_to_do() {
    let folder = folder_with(&[("rows.csv", "k\na\n"), ("rows.txt", "")]);
    let folder = folder.path();
    ok(folder, "import rows.csv --create rows --key k --data d");
    for (line, part) in [
        ("ls --data nowhere", "there is no folder nowhere"),
        (
            "cat nope --database rows --data d",
            "its collections: \"rows\"",
        ),
        (
            "cat rows zz --database rows --data d",
            "no record with the key \"zz\"",
        ),
        (
            "cat rows --database other --data d",
            "no database named \"other\"",
        ),
        (
            "import rows.txt --database rows --key k --data d",
            "--format",
        ),
        (
            "import no.csv --database rows --key k --data d",
            "cannot read no.csv",
        ),
        (
            "import rows.csv --database rows --key z --data d",
            "its header has k",
        ),
        (
            "import rows.csv --create rows --key k --data d",
            "choose another name",
        ),
        ("cat rows --database rows --data d --peer http://x", "ws://"),
        (
            "query SELECT --url http://127.0.0.1:1",
            "headwater drill start",
        ),
        (
            "sync ws://127.0.0.1:1 --data d --timeout 1",
            "edits are only here",
        ),
        ("--log a=b=c ls --data d", "not a log filter"),
    ] {
        let error = fails(folder, 1, line);
        assert!(error.starts_with("error: "), "{line}: {error}");
        assert!(error.contains(part), "{line}: {error}");
    }
    assert!(!folder.join("nowhere").exists());
    for line in [
        "import rows.csv --key k",
        "import rows.csv --database rows --key k --data d --type k=integer",
        "sync ws://x",
        "cat rows --database rows",
        "nonsense",
    ] {
        fails(folder, 2, line);
    }
}

#[test]
fn a_server_brings_records_from_one_folder_to_another() {
    let folder = folder_with(&[("films.json", FILMS), ("more.ndjson", "{\"k\":1}\n")]);
    let folder = folder.path();
    let server = Server::start(folder);
    let url = &server.url;
    let first = ok_json(
        folder,
        &format!("import films.json --create mine --key hash --data a --peer {url} --json"),
    );
    assert_eq!(first["synced"], json!(true));
    let id = first["database"].as_str().expect("an id").to_owned();

    let synced = ok_json(
        folder,
        &format!("sync {url} --data b --database {id} --name theirs --json"),
    );
    assert_eq!(synced, json!([{"database": id, "records": 3}]));
    assert_eq!(
        ok(folder, "cat films --database theirs --data b"),
        ok(folder, "cat films --database mine --data a"),
    );

    // Nothing is kept here, and what the server has is not imported a second time.
    let again = format!("import films.json --database {id} --key hash --peer {url} --json");
    assert_eq!(ok_json(folder, &again)["unchanged"], json!(3));
    ok(
        folder,
        &format!("import more.ndjson --database {id} --key k --peer {url}"),
    );
    ok(folder, &format!("sync {url} --data a"));
    assert_eq!(
        ok(folder, "cat more --database mine --data a"),
        "1\t{\"k\":1}\n"
    );
    let in_use = fails(folder, 1, "ls --data server");
    assert!(in_use.contains("is in use by process"), "{in_use}");
}
