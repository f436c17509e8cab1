//! What lost when two edited the same: listed, settled, and in the lake.

mod command;

use command::{Server, fails, ok, ok_json};
use headwater::{CollectionSchema, Database, DeleteRule, Options, Peer, Settlement};
use serde_json::{Value as Json, json};
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

/// How many records two edit apart from each other.
const RECORDS: i64 = 8;

/// Two folders, `a` and `b`, with the database `it`, and a server that both sync with.
struct Two {
    folder: tempfile::TempDir,
    server: Server,
    id: String,
}

impl Two {
    /// Both have the same records.
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let server = Server::start(folder.path());
        let mut two = Self {
            folder,
            server,
            id: String::new(),
        };
        let rows = (0..RECORDS)
            .map(|n| json!({"k": format!("k{n}"), "n": -1, "title": "", "m": {"in": 0}}));
        two.file("notes.ndjson", rows);
        let url = &two.server.url;
        let create =
            format!("import notes.ndjson --create it --key k --data a --peer {url} --json");
        let created = ok_json(two.path(), &create);
        let id = created["database"].as_str().expect("an id").to_owned();
        let sync = format!("sync {url} --data b --database {id} --name it");
        ok(two.path(), &sync);
        two.id = id;
        two
    }

    /// Both have edited the same fields of the record `k0`, and met: of the title and of a nested number one lost.
    fn met() -> Self {
        let two = Self::new();
        for (data, title, number) in [("a", "of a", 1), ("b", "of b", 2)] {
            two.import(
                data,
                [json!({"k": "k0", "n": -1, "title": title, "m": {"in": number}})],
                "",
            );
        }
        two.meet();
        two
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn file(&self, name: &str, rows: impl IntoIterator<Item = Json>) {
        let lines: Vec<_> = rows.into_iter().map(|row| row.to_string()).collect();
        fs::write(self.path().join(name), lines.join("\n")).expect("written");
    }

    /// Puts records into the folder `data`, offline.
    fn import(&self, data: &str, rows: impl IntoIterator<Item = Json>, extra: &str) {
        self.file("edit.ndjson", rows);
        let line = format!(
            "import edit.ndjson --database it --collection notes --key k --data {data} {extra}"
        );
        ok(self.path(), &line);
    }

    /// Everyone gets what the others have.
    fn meet(&self) {
        for data in ["a", "b", "a"] {
            ok(
                self.path(),
                &format!("sync {} --data {data}", self.server.url),
            );
        }
    }

    /// What a person with a name does in the folder `data`, offline.
    fn edit(
        &self,
        data: &str,
        user: &str,
        edit: impl AsyncFnOnce(&Database) -> Result<(), headwater::Error>,
    ) {
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        let edited = runtime.block_on(async {
            let peer = Peer::open(Options::folder(self.path().join(data)).user(user)).await?;
            edit(&peer.open_named("it").await?).await?;
            peer.close().await
        });
        edited.expect("edited");
    }

    /// What `headwater conflicts list` gives in the folder `data`.
    fn open(&self, data: &str, extra: &str) -> Vec<Json> {
        let lines = ok(
            self.path(),
            &format!("conflicts list --data {data} --json {extra}"),
        );
        let parsed = lines.lines().map(serde_json::from_str);
        parsed.collect::<Result<_, _>>().expect("JSON on each line")
    }

    /// The rows of a table in the lake, once they satisfy `wanted`.
    fn rows(&self, table: &str, wanted: impl Fn(&[Json]) -> bool) -> Vec<Json> {
        let begun = Instant::now();
        loop {
            let rows = self.published(table);
            if let Some(rows) = rows.as_ref().filter(|rows| wanted(rows)) {
                return rows.clone();
            }
            assert!(
                begun.elapsed() < Duration::from_secs(30),
                "{table} stays {rows:#?}"
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// What a table shows now; nothing before it is there.
    fn published(&self, table: &str) -> Option<Vec<Json>> {
        let lake = self.path().join("lake");
        let view = fs::read(lake.join(format!("{table}.view.drill"))).ok()?;
        let view: Json = serde_json::from_slice(&view).expect("JSON");
        let (_, rest) = view["sql"].as_str()?.split_once("table(`headwater`.`")?;
        let (version, _) = rest.split_once('`')?;
        let mut rows: Vec<Json> = Vec::new();
        for part in parts(&lake.join(version)) {
            let text = fs::read_to_string(part).expect("read");
            rows.extend(
                text.lines()
                    .map(|line| serde_json::from_str(line).expect("JSON")),
            );
        }
        // The row without a key only shows the types.
        rows.retain(|row| row["_key"].is_string());
        rows.sort_by_key(|row| row["_key"].to_string());
        Some(rows)
    }
}

/// The files in a version's folder, by way of its groups.
fn parts(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).expect("a folder");
    let paths = entries.map(|entry| entry.expect("an entry").path());
    let shown = paths.filter(|path| {
        !path
            .file_name()
            .is_some_and(|name| name.as_encoded_bytes().starts_with(b"."))
    });
    let files = shown.flat_map(|path| {
        if path.is_dir() {
            parts(&path)
        } else {
            vec![path]
        }
    });
    files.collect()
}

fn at<'r>(rows: &'r [Json], column: &str) -> Vec<&'r Json> {
    rows.iter().map(|row| &row[column]).collect()
}

#[test]
fn what_lost_is_listed_kept_and_settled() {
    let two = Two::met();
    let open = two.open("a", "");
    assert_eq!(
        open,
        two.open("b", "--database it --collection notes --key k0")
    );
    assert_eq!(at(&open, "path"), ["m.in", "title"]);
    let title = &open[1];
    assert_eq!(title["database"], json!(two.id));
    assert_eq!(
        (&title["collection"], &title["key"]),
        (&json!("notes"), &json!("k0"))
    );
    assert_eq!(
        (&title["kind"], &title["policy"]),
        (&json!("values"), &json!("last-writer"))
    );
    assert_eq!(
        (&title["field"], &title["resolved"]),
        (&json!(["title"]), &json!(true))
    );
    let (winner, loser) = (&title["winner"], &title["losers"][0]);
    assert_eq!(winner["value"], title["shown"]);
    let mut values = [&winner["value"], &loser["value"]];
    values.sort_by_key(|value| value.to_string());
    assert_eq!(values, ["of a", "of b"]);
    assert_eq!(loser["by"]["origin"], json!("headwater"));
    assert!(loser["by"]["at"].as_i64().expect("a time") > 1_700_000_000_000);
    assert!(two.open("a", "--key k1").is_empty());

    let folder = two.path();
    let table = ok(folder, "conflicts list --data a");
    let line = table
        .lines()
        .find(|line| line.contains("title"))
        .expect("a line");
    let cells: Vec<_> = line.trim_matches('│').split('┆').map(str::trim).collect();
    let (shown, lost) = (title["shown"].to_string(), loser["value"].to_string());
    assert_eq!(
        cells[..6],
        ["notes", "k0", "title", &shown, &lost, "headwater"]
    );
    assert_eq!(cells[7..], ["last-writer", "values"]);
    let id = loser["id"].as_str().expect("an id");
    let all = ok(folder, "conflicts show k0 --data a");
    assert!(
        all.contains(id) && all.contains(&format!("lost: {lost}")),
        "{all}"
    );

    let settle = "conflicts settle k0 --data a";
    let kept = ok_json(
        folder,
        &format!("{settle} --field title --keep {id} --json"),
    );
    let expected = json!({
        "database": two.id, "collection": "notes", "key": "k0", "field": ["title"],
        "shown": loser["value"], "open": 1,
    });
    assert_eq!(kept, expected);
    // It is the only one that is left, so it needs no name.
    let written = ok(folder, &format!("{settle} --write 7"));
    assert_eq!(written, "notes k0: m.in is settled and shows 7\n");
    assert!(two.open("a", "").is_empty());
    assert_eq!(ok(folder, "conflicts list --data a"), "nothing is open\n");
    two.meet();
    assert!(two.open("b", "").is_empty());
    let record = ok_json(folder, "cat notes k0 --database it --data b --json");
    assert_eq!(record["record"]["title"], loser["value"]);
    assert_eq!(record["record"]["m"], json!({"in": 7}));
}

#[test]
fn a_server_is_asked_and_told_in_one_command() {
    let two = Two::met();
    let (id, url) = (&two.id, &two.server.url);
    let there = format!("--database {id} --peer {url}");
    let before = ok(two.path(), &format!("conflicts list {there} --json"));
    assert_eq!(before.lines().count(), 2);
    ok(
        two.path(),
        &format!("conflicts settle k0 --field title --accept {there}"),
    );
    ok(two.path(), &format!("sync {url} --data b"));
    assert_eq!(at(&two.open("b", ""), "path"), ["m.in"]);
}

/// The next line that a command prints, as JSON.
fn next_line(lines: &Receiver<String>) -> Json {
    let line = lines.recv_timeout(Duration::from_secs(60));
    serde_json::from_str(&line.expect("a line")).expect("JSON")
}

#[test]
fn who_follows_hears_what_is_open_and_of_all_that_loses_or_is_settled_from_then_on() {
    let two = Two::met();
    let (id, url) = (&two.id, &two.server.url);
    let line = format!("conflicts follow --database {id} --peer {url} --json");
    let mut follower = Command::new(command::HEADWATER)
        .current_dir(two.path())
        .args(line.split(' '))
        .stdout(Stdio::piped())
        .spawn()
        .expect("started");
    let (sender, lines) = channel();
    let out = BufReader::new(follower.stdout.take().expect("piped"));
    let reader = thread::spawn(move || {
        for line in out.lines() {
            let _ = sender.send(line.expect("text"));
        }
    });
    let open_now = next_line(&lines);
    assert_eq!(
        (&open_now["database"], &open_now["key"]),
        (&json!(id), &json!("k0"))
    );
    assert_eq!(open_now["open"], Json::from(two.open("a", "")));
    two.edit("a", "Ann", async |database| {
        let notes = database.collection("notes");
        notes
            .settle("k0", &["title".into()], Settlement::Accept)
            .await
            .map(drop)
    });
    two.meet();
    let settled = next_line(&lines);
    assert_eq!(
        at(settled["open"].as_array().expect("a list"), "path"),
        ["m.in"]
    );
    for data in ["a", "b"] {
        two.import(
            data,
            [json!({"k": "k1", "n": -1, "title": data, "m": {"in": 0}})],
            "",
        );
    }
    two.meet();
    let lost = next_line(&lines);
    assert_eq!(
        (&lost["key"], &lost["open"][0]["path"]),
        (&json!("k1"), &json!("title"))
    );
    ok(
        two.path(),
        &format!("conflicts settle k1 --accept --database {id} --peer {url}"),
    );
    assert_eq!(next_line(&lines)["open"], json!([]));
    let mut kill = Command::new("kill");
    let told = kill.args(["-TERM", &follower.id().to_string()]).status();
    assert!(told.expect("kill").success());
    assert!(follower.wait().expect("ended").success());
    reader.join().expect("read");
    fails(two.path(), 1, "conflicts follow --data a");
}

#[test]
fn who_wrote_is_shown_as_claimed_and_no_terminal_obeys_it() {
    let two = Two::new();
    two.import(
        "a",
        [json!({"k": "k0", "n": 1, "title": "", "m": {"in": 0}})],
        "",
    );
    two.edit("b", "Ann\u{1b}[2J", async |database| {
        database.collection("notes").delete("k0").await.map(drop)
    });
    two.meet();
    let open = two.open("a", "");
    assert_eq!(
        (&open[0]["kind"], &open[0]["path"]),
        (&json!("delete-lost"), &json!(""))
    );
    let loser = &open[0]["losers"][0];
    assert_eq!(
        (loser.get("value"), &loser["by"]["user"]),
        (None, &json!("Ann\u{1b}[2J"))
    );
    for line in ["conflicts list --data a", "conflicts show k0 --data a"] {
        let printed = ok(two.path(), line);
        assert!(
            printed.contains("Ann\\u{1b}[2J") && printed.contains("(a delete)"),
            "{printed}"
        );
        assert!(!printed.contains('\u{1b}'), "{printed}");
    }
    let id = loser["id"].as_str().expect("an id");
    let settle = format!("conflicts settle k0 --field \"\" --keep {id} --data a --json");
    assert_eq!(ok_json(two.path(), &settle).get("shown"), None);
    fails(two.path(), 1, "cat notes k0 --database it --data a");
}

#[test]
fn errors_say_what_to_do_and_settle_nothing() {
    let two = Two::met();
    let open = two.open("a", "");
    for (line, part) in [
        (
            "settle k0 --accept",
            "say which one with --field: it notes k0: m.in; it notes k0: title",
        ),
        (
            "settle k0 --field n --accept",
            "in the field \"n\"; open are: it notes k0: m.in",
        ),
        (
            "settle k1 --accept",
            "nothing is to be settled under the key \"k1\"",
        ),
        (
            "settle k0 --field title --keep 4/1@00",
            "none of the writes that met there",
        ),
        (
            "settle k0 --collection other --accept",
            "no collection \"other\"",
        ),
        ("show k1", "`headwater conflicts list`"),
        ("list --collection other", "no collection \"other\""),
        ("list --database other", "no database named \"other\""),
    ] {
        let error = fails(two.path(), 1, &format!("conflicts {line} --data a"));
        assert!(
            error.starts_with("error: ") && error.contains(part),
            "{line}: {error}"
        );
    }
    for (line, part) in [
        (
            "settle k0 --field title --write Oslo",
            "a text needs quotes of its own",
        ),
        ("settle k0 --field title", "--accept"),
        (
            "settle k0 --field title --accept --keep 4/1@00",
            "cannot be used with",
        ),
    ] {
        let error = fails(two.path(), 2, &format!("conflicts {line} --data a"));
        assert!(error.contains(part), "{line}: {error}");
    }
    fails(two.path(), 2, "conflicts list");
    assert_eq!(two.open("a", ""), open);

    let error = fails(
        two.path(),
        1,
        "conflicts settle k0 --field m.in --data nowhere --accept",
    );
    assert!(error.contains("there is no folder nowhere"), "{error}");
}

#[test]
fn policies_are_declared_with_an_import() {
    let two = Two::new();
    let number = |n: i64, number: i64| json!({"k": format!("k{n}"), "n": number, "title": "", "m": {"in": 0}});
    two.import(
        "a",
        (0..RECORDS).map(|n| number(n, n % 2)),
        "--policy n=max",
    );
    two.import("b", (0..RECORDS).map(|n| number(n, 1 - n % 2)), "");
    two.meet();
    for open in two.open("b", "") {
        let found = (&open["policy"], &open["shown"], &open["losers"][0]["value"]);
        assert_eq!(found, (&json!("max"), &json!(1), &json!(0)));
    }
    assert_eq!(two.open("b", "").len(), RECORDS as usize);

    fs::write(two.path().join("rows.csv"), "k,n\nx,1\n").expect("written");
    let import = "import rows.csv --database it --key k --data a --policy";
    for (policy, code, part) in [
        (
            "n=maximum",
            2,
            "last-writer, max, min, union, keep-all and custom:NAME@VERSION",
        ),
        ("n=counter", 2, "--type FIELD=counter"),
        ("n", 2, "FIELD=POLICY"),
        ("n=max --policy n=min", 1, "given twice for the field \"n\""),
        ("other=max", 1, "its header has k, n"),
    ] {
        let error = fails(two.path(), code, &format!("{import} {policy}"));
        assert!(error.contains(part), "{policy}: {error}");
    }
    ok(two.path(), &format!("{import} n=custom:a=b@2"));
}

#[test]
fn the_lake_has_what_is_open_and_nothing_else() {
    let two = Two::new();
    // Empty, and a table.
    two.rows("notes_conflicts", <[Json]>::is_empty);

    for (data, title) in [("a", "of a"), ("b", "of b")] {
        two.import(
            data,
            [json!({"k": "k0", "n": -1, "title": title, "m": {"in": 0}})],
            "",
        );
    }
    two.meet();
    let rows = two.rows("notes_conflicts", |rows| rows.len() == 1);
    let listed = &two.open("a", "")[0];
    let loser = &listed["losers"][0];
    let row = &rows[0];
    assert_eq!(
        (&row["_key"], &row["_database"]),
        (&json!("k0"), &json!(two.id))
    );
    assert_eq!(
        (&row["field"], &row["kind"]),
        (&json!("title"), &json!("values"))
    );
    assert_eq!(row["lost"], json!(loser["value"].to_string()));
    assert_eq!(row["shown"], json!(listed["shown"].to_string()));
    assert_eq!(
        (&row["lost_claim"], &row["lost_change"]),
        (&loser["id"], &loser["by"]["change"])
    );
    assert_eq!(row["winner_claim"], listed["winner"]["id"]);

    ok(two.path(), "conflicts settle k0 --accept --data a");
    two.meet();
    two.rows("notes_conflicts", |rows| rows.is_empty());
}

#[test]
fn the_lake_follows_rules_that_are_declared_later_and_a_restart() {
    let mut two = Two::new();
    let number = |n: i64, number: i64| json!({"k": format!("k{n}"), "n": number, "title": "", "m": {"in": 0}});
    two.import("a", (0..RECORDS).map(|n| number(n, n % 2)), "");
    two.import("b", (0..RECORDS).map(|n| number(n, 1 - n % 2)), "");
    two.edit("b", "Ann", async |database| {
        database.collection("notes").delete("k7").await.map(drop)
    });
    two.meet();
    let all = RECORDS as usize;
    // Of the last record two things lost.
    let rows = two.rows("notes_conflicts", |rows| rows.len() == all + 1);
    assert!(at(&rows, "kind").contains(&&json!("delete-lost")));
    // Whoever of the two won in a document, in half of its records it was the lesser number.
    two.import("a", [number(0, 1)], "--policy n=max");
    two.edit("a", "Ann", async |database| {
        let schema = CollectionSchema::new().delete(DeleteRule::DeleteWins);
        database.declare("notes", schema).await
    });
    two.meet();
    let shown = |two: &Two| {
        let ledger = two.rows("notes_conflicts", |rows| {
            rows.iter().any(|row| row["kind"] == "edit-lost")
        });
        for row in &ledger {
            let policy = match row["_key"] == "k7" {
                true => "delete-wins",
                false => "max",
            };
            assert_eq!(row["policy"], policy, "{row}");
        }
        assert_eq!(at(&ledger, "_key").len(), two.open("a", "").len());
        let rows = two.rows("notes", |rows| rows.len() == all - 1);
        assert!(at(&rows, "n").iter().all(|n| **n == 1), "{rows:#?}");
    };
    shown(&two);

    // What a server finds when it starts is the same.
    let Two { folder, server, id } = two;
    drop(server);
    fs::remove_dir_all(folder.path().join("lake")).expect("removed");
    let server = Server::start(folder.path());
    two = Two { folder, server, id };
    shown(&two);
}
