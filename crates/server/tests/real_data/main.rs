//! What a user does with real data, by the commands that a user has: import files, sync them to a server, start a Drillbit
//! and ask it. Every cell of movies.json and airports.csv comes back as the type rules say.
//!
//! Needs a Java 17 development kit, and Maven once, and the npm packages of examples/demo. Two Drillbits are started, as one
//! can only end in one way, and a third that does not get far.

#[path = "../command/mod.rs"]
mod command;
mod drillbit;
mod source;

use command::{Server, fails, ok, ok_json, run};
use drillbit::{Drill, Started, query, until};
use serde_json::{Value as Json, json};
use source::{Cell, RawRow, Table};
use std::collections::BTreeSet;
use std::fs;
use std::net::TcpListener;
use std::path::Path;

const MOVIES: usize = 3_201;
const AIRPORTS: usize = 3_376;

#[test]
fn what_is_imported_is_read_back_from_a_real_drillbit() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let folder = folder.path();
    let movies = source::json_rows("movies.json");
    let sparse = sparse(&movies);
    let database = import(folder, &sparse);
    let server = Server::start(folder);
    let mut drill = Drill::start(folder, "--json");
    let started: Started = serde_json::from_str(&drill.line()).expect("addresses");
    let url = &started.url;
    assert!(started.jdbc.starts_with("jdbc:drill:drillbit=127.0.0.1:"));
    assert!(started.log.is_file());

    ok(folder, &format!("sync {} --data mine", server.url));
    let tables = [
        ("movies", source::json_table(&movies), MOVIES),
        ("sparse", source::json_table(&sparse), MOVIES),
        (
            "airports",
            source::csv_table("airports.csv", &["latitude", "longitude"]),
            AIRPORTS,
        ),
        ("texts", source::csv_table("airports.csv", &[]), AIRPORTS),
    ];
    for (name, expected, rows) in &tables {
        assert_eq!(expected.rows.len(), *rows);
        every_cell_is_right(folder, url, name, expected, &database);
    }
    keys_are_those_of_the_import(folder, url);
    answers_are_tables_or_json(folder, url);
    errors_say_what_to_do(folder, url, &server);
    a_lake_can_have_further_names(folder, url);
    what_lost_is_read_and_gone_once_it_is_settled(folder, url, &server, &database);

    let status = drill.end("TERM", started.pid);
    assert_eq!(status.code(), Some(0));
    let temporary = fs::read_dir(folder.join("temporary")).expect("a folder");
    assert_eq!(temporary.count(), 0);
    let gone = fails(folder, 1, &format!("query SELECT --url {url}"));
    assert!(gone.contains("headwater drill start"), "{gone}");

    one_that_is_killed_takes_java_along(folder);
    one_that_is_ended_early_takes_java_along(folder);
}

/// The movies without the fields that are null, and with integers that no double holds.
fn sparse(movies: &[RawRow]) -> Vec<RawRow> {
    let exact = |n: usize| match (n % 3, n as i64) {
        (0, n) => i64::MAX - n,
        (1, n) => i64::MIN + n,
        (_, n) => (1 << 53) + 1 + 2 * n,
    };
    let row = |(n, movie): (usize, &RawRow)| {
        let mut row = movie.clone();
        row.retain(|_, value| value.get() != "null");
        let integer = serde_json::value::to_raw_value(&exact(n)).expect("a number");
        row.insert("Exact".to_owned(), integer);
        row
    };
    movies.iter().enumerate().map(row).collect()
}

/// Imports all into one database, and gives its id.
fn import(folder: &Path, sparse: &[RawRow]) -> String {
    let lines: Vec<String> = sparse
        .iter()
        .map(|row| serde_json::to_string(row).expect("JSON"))
        .collect();
    fs::write(folder.join("sparse.ndjson"), lines.join("\n")).expect("written");
    let path = |name| source::path(name).display().to_string();
    let (movies, airports) = (path("movies.json"), path("airports.csv"));
    let import = |line: String, rows: usize| {
        let printed = ok_json(folder, &format!("import {line} --data mine --json"));
        assert_eq!(printed["inserted"], json!(rows), "{line}");
        printed["database"].as_str().expect("an id").to_owned()
    };
    let id = import(format!("\"{movies}\" --create it --key hash"), MOVIES);
    let doubles = "--type latitude=float --type longitude=float";
    for (line, rows) in [
        ("sparse.ndjson --key Exact".to_owned(), MOVIES),
        (format!("\"{airports}\" --key iata {doubles}"), AIRPORTS),
        (
            format!("\"{airports}\" --key iata --collection texts"),
            AIRPORTS,
        ),
    ] {
        import(format!("{line} --database it"), rows);
    }
    id
}

fn every_cell_is_right(folder: &Path, url: &str, name: &str, expected: &Table, database: &str) {
    let count = format!("query \"SELECT count(*) n FROM headwater.{name}\" --url {url} --json");
    until(&format!("all of {name} is there"), || {
        // Before the first publication there is no such table.
        let output = run(folder, &count);
        let answer: Json = serde_json::from_slice(&output.stdout).ok()?;
        (answer["rows"] == json!([{"n": expected.rows.len()}])).then_some(())
    });
    let answer = query(folder, url, &format!("SELECT * FROM headwater.{name}"));
    let mut columns: Vec<(&str, &str)> = answer
        .columns
        .iter()
        .map(|column| (column.name.as_str(), column.kind.as_str()))
        .map(|(name, kind)| (name, kind.split('(').next().unwrap_or(kind)))
        .collect();
    assert_eq!(
        columns[..2],
        [("_key", "VARCHAR"), ("_database", "VARCHAR")]
    );
    columns.drain(..2);
    columns.sort_unstable();
    let wanted = expected.columns.iter();
    let wanted: Vec<_> = wanted.map(|(name, kind)| (name.as_str(), *kind)).collect();
    assert_eq!(columns, wanted, "{name}");

    let mut keys = BTreeSet::new();
    let mut rows = Vec::new();
    for row in &answer.rows {
        let cell = |(name, kind): &(&str, &str)| source::json_cell(row[*name].get(), kind);
        assert_eq!(
            cell(&("_database", "VARCHAR")),
            Cell::Text(database.to_owned())
        );
        keys.insert(cell(&("_key", "VARCHAR")));
        rows.push(columns.iter().map(cell).collect::<Vec<_>>());
    }
    rows.sort();
    assert_eq!(keys.len(), expected.rows.len());
    assert_eq!(rows.len(), expected.rows.len());
    let stray = rows
        .iter()
        .find(|row| expected.rows.binary_search(row).is_err());
    assert_eq!(stray, None, "not a row of {name}, columns {wanted:?}");
    assert!(
        rows == expected.rows,
        "equal rows of {name} are not as many"
    );
    println!("{name}: {} cells", rows.len() * columns.len());
}

fn keys_are_those_of_the_import(folder: &Path, url: &str) {
    for sql in [
        "SELECT count(*) n FROM headwater.airports WHERE `_key` <> iata",
        "SELECT count(*) n FROM headwater.sparse WHERE `_key` <> CAST(Exact AS VARCHAR)",
    ] {
        assert_eq!(query(folder, url, sql).rows[0]["n"].get(), "0", "{sql}");
    }
}

fn answers_are_tables_or_json(folder: &Path, url: &str) {
    let sql =
        "SELECT Title, `US DVD Sales`, `IMDB Rating` FROM headwater.movies WHERE Title = '1776'";
    let printed = ok(folder, &format!("query \"{sql}\" --url {url}"));
    let cells: Vec<Vec<&str>> = printed
        .lines()
        .filter(|line| line.starts_with('│'))
        .map(|line| line.trim_matches('│').split('┆').map(str::trim).collect())
        .collect();
    assert_eq!(
        cells,
        [
            ["Title", "US DVD Sales", "IMDB Rating"],
            ["1776", "NULL", "7.0"]
        ],
        "{printed}"
    );
    let printed = ok_json(folder, &format!("query \"{sql};\" --url {url} --json"));
    assert_eq!(
        printed["rows"],
        json!([{"Title": "1776", "US DVD Sales": null, "IMDB Rating": 7.0}])
    );

    let all = format!("query \"SELECT Title FROM headwater.movies\" --url {url} --limit 2");
    let output = run(folder, &all);
    assert!(output.status.success());
    let (out, err) = (output.stdout, output.stderr);
    let (out, err) = (String::from_utf8_lossy(&out), String::from_utf8_lossy(&err));
    assert_eq!(out.matches('\n').count(), 6, "{out}");
    assert!(err.contains("raise --limit"), "{err}");
    let answer: drillbit::Answer =
        serde_json::from_str(&ok(folder, &format!("{all} --json"))).expect("an answer");
    assert!(answer.truncated && answer.rows.len() == 2);
}

fn errors_say_what_to_do(folder: &Path, url: &str, server: &Server) {
    let other = server.url.replace("ws://", "http://");
    let held = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = held.local_addr().expect("an address").port();
    fs::write(folder.join("file"), "").expect("written");
    for (line, part) in [
        (format!("query SELEC --url {url}"), "Non-query expression"),
        (
            format!("query \"SELECT Nothing FROM headwater.movies\" --url {url}"),
            "'Nothing' not found",
        ),
        (
            format!("query \"SELECT * FROM headwater.nothing\" --url {url}"),
            "'nothing' not found",
        ),
        (
            format!("query \"SELECT * FROM elsewhere.movies\" --url {url}"),
            "'elsewhere' not found",
        ),
        (format!("query SELECT --url {other}"), "is that Drill?"),
        (
            "drill register --lake lake --url http://127.0.0.1:1".to_owned(),
            "headwater drill start",
        ),
        (
            format!("drill register --lake nowhere --url {url}"),
            "Drill cannot see the folder",
        ),
        (
            format!("drill register --lake lake --plugin cp --url {url}"),
            "for something else: give another name",
        ),
        (
            format!("drill register --lake lake --plugin A-b --url {url}"),
            "use lower-case ASCII letters",
        ),
        (
            format!("drill start --lake lake --port {port}"),
            "give another one, or 0 for any",
        ),
        (
            "drill start --lake file --port 0".to_owned(),
            "cannot create file",
        ),
        ("drill install --cache file".to_owned(), "file"),
    ] {
        let error = fails(folder, 1, &line);
        assert!(error.starts_with("error: "), "{line}: {error}");
        assert!(error.contains(part), "{line}: {error}");
    }
    // None of it has hurt what was there.
    let sql = "SELECT count(*) n FROM headwater.movies";
    assert_eq!(query(folder, url, sql).rows[0]["n"].get(), "3201");
}

fn a_lake_can_have_further_names(folder: &Path, url: &str) {
    let line = format!("drill register --lake lake --plugin further --url {url}");
    for _ in 0..2 {
        assert!(ok(folder, &line).contains("further.TABLE"));
    }
    let sql = "SELECT count(*) n FROM `further`.airports";
    assert_eq!(query(folder, url, sql).rows[0]["n"].get(), "3376");
}

fn what_lost_is_read_and_gone_once_it_is_settled(
    folder: &Path,
    url: &str,
    server: &Server,
    database: &str,
) {
    let empty = query(folder, url, "SELECT * FROM headwater.airports_conflicts");
    let kinds: Vec<_> = empty
        .columns
        .iter()
        .map(|column| column.kind.as_str())
        .collect();
    assert!(empty.rows.is_empty());
    assert_eq!(kinds.len(), 18);
    for kind in ["TIMESTAMP", "BIT"] {
        assert!(kinds.contains(&kind), "{kinds:?}");
    }

    let sync = |data: &str| ok(folder, &format!("sync {} --data {data}", server.url));
    let there = format!(
        "sync {} --data other --database {database} --name it",
        server.url
    );
    ok(folder, &there);
    for (data, city) in [("mine", "Ann's"), ("other", "Bob's")] {
        let row = json!({"iata": "JFK", "city": city});
        fs::write(folder.join("edit.ndjson"), row.to_string()).expect("written");
        let edit = "import edit.ndjson --database it --collection airports --key iata";
        ok(folder, &format!("{edit} --data {data}"));
    }
    ["mine", "other", "mine"]
        .iter()
        .for_each(|data| drop(sync(data)));
    let listed = ok_json(
        folder,
        "conflicts list --collection airports --data mine --json",
    );
    let (winner, loser) = (&listed["winner"], &listed["losers"][0]);
    let sql = "SELECT c.lost, c.shown, c.lost_claim, c.winner_claim, c.resolved, a.city,                c.lost_at > TIMESTAMP '2024-01-01 00:00:00' AS recent                FROM headwater.airports_conflicts c JOIN headwater.airports a                ON c.`_key` = a.`_key` AND c.`_database` = a.`_database` WHERE c.field = 'city'";
    let rows = until("the conflict is there", || {
        let printed = ok_json(folder, &format!("query \"{sql}\" --url {url} --json"));
        let rows = printed["rows"].as_array().expect("rows").clone();
        (!rows.is_empty()).then_some(rows)
    });
    let expected = json!({
        "lost": loser["value"].to_string(), "shown": listed["shown"].to_string(),
        "lost_claim": loser["id"], "winner_claim": winner["id"], "resolved": true,
        "city": listed["shown"], "recent": true,
    });
    assert_eq!(rows, [expected]);

    ok(folder, "conflicts settle JFK --accept --data mine");
    sync("mine");
    until("the conflict is gone", || {
        let left = query(folder, url, "SELECT * FROM headwater.airports_conflicts");
        left.rows.is_empty().then_some(())
    });
}

/// Whoever starts a Drillbit may be killed too; then nobody is left to stop it.
fn one_that_is_killed_takes_java_along(folder: &Path) {
    let kept = ok(folder, "drill install");
    assert!(kept.starts_with("Drill is in "), "{kept}");
    let kept = kept.trim_start_matches("Drill is in ").trim_end();
    assert!(Path::new(kept).join("jars").is_dir(), "{kept}");

    let mut drill = Drill::start(folder, "--plugin mine");
    assert!(
        drill
            .line()
            .starts_with("Drill is ready at http://127.0.0.1:")
    );
    // The next line is a command that works as it stands.
    let hint = drill.line();
    let printed = ok(folder, hint.trim_start_matches("headwater "));
    assert!(
        printed.contains("movies") && printed.contains("airports"),
        "{printed}"
    );
    let java = drill.java();
    assert_eq!(drill.end("KILL", java).code(), None);
}

fn one_that_is_ended_early_takes_java_along(folder: &Path) {
    let drill = Drill::start(folder, "");
    let java = drill.java();
    // Not INT, which a shell has its background jobs ignore.
    drill.end("TERM", java);
}
