//! `headwater query --into`: what a real Drillbit answers goes back into collections, exactly.
//!
//! Needs a Java 17 development kit, and Maven once. One Drillbit serves all steps, as each takes ten seconds to start.

mod command;

use command::{Server, fails, ok, ok_json};
use headwater::{Options, Peer};
use headwater_server::drill::{self, DrillOptions, RunningDrill};
use serde_json::{Value as Json, json};
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

/// A server, its lake under a Drillbit, and the folder `mine` with the database `it`.
struct World {
    folder: tempfile::TempDir,
    server: Server,
    drill: RunningDrill,
    database: String,
}

#[test]
fn results_go_back_into_collections() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let server = Server::start(folder.path());
    let options = DrillOptions {
        http_port: 0,
        user_port: 0,
        bit_port: 0,
        data: Some(folder.path().join("data")),
        ..DrillOptions::new(folder.path().join("lake"))
    };
    let drill = drill::start(&options, &mut |_| {}).expect("a Drillbit");
    fs::write(folder.path().join("every.ndjson"), EVERY).expect("written");
    let create = format!(
        "import every.ndjson --create it --key k --type c=counter --type t=text --data mine --peer {} --json",
        server.url
    );
    let created = ok_json(folder.path(), &create);
    let world = World {
        database: created["database"].as_str().expect("an id").to_owned(),
        folder,
        server,
        drill,
    };
    world.until_rows("every", 4);
    every_type_comes_back_exactly(&world);
    what_drill_makes_has_its_type(&world);
    fields_stay_or_go(&world);
    declared_fields_keep_their_types(&world);
    a_race_is_merged_and_the_loser_is_in_the_ledger(&world);
    a_query_that_fails_half_way_writes_nothing(&world);
    errors_say_what_to_do(&world);
    world.drill.stop().expect("stopped");
}

/// All that the lake has a type for; of each some row has nothing, but for lists, which Drill cannot leave out.
const EVERY: &str = r#"{"k":"a","n":-9223372036854775808,"big":9007199254740993,"f":{"$float":"NaN"},"s":"x\u0000\n\"😀","ok":true,"at":{"$timestamp":-11644473599999},"b":{"$bytes":"AP8="},"c":5,"t":"text","place":{"zip":1,"at":{"$timestamp":5},"raw":{"$bytes":"AP8="},"tags":["u","v"],"in":{"f":{"$float":"-Infinity"},"s":"NaN"}},"pts":[{"x":1,"at":{"$timestamp":7}},{"x":2}],"tags":["p",""],"times":[{"$timestamp":7}],"mixed":"300"}
{"k":"b","tags":[],"pts":[],"times":[],"f":-0.0,"n":9223372036854775807}
{"k":"c","f":{"$float":"Infinity"},"place":{"zip":2,"tags":["w"]},"tags":[],"pts":[{}],"times":[],"s":"","ok":false,"mixed":"{}"}
{"k":"d\n/é","tags":["null"],"pts":[],"times":[],"f":5e-324,"b":{"$bytes":""},"c":0}
"#;

impl World {
    fn path(&self) -> &Path {
        self.folder.path()
    }

    /// `headwater query` with these words, on the database in the folder `mine`.
    fn into(&self, sql: &str, words: &str) -> String {
        let url = self.drill.url();
        format!("query \"{sql}\" --url {url} --database it --data mine {words}")
    }

    /// Inserted, updated and unchanged.
    #[track_caller]
    fn written(&self, sql: &str, words: &str) -> [u64; 3] {
        let line = self.into(sql, words) + " --json";
        let result = ok_json(self.path(), &line);
        ["inserted", "updated", "unchanged"].map(|count| result[count].as_u64().expect("a number"))
    }

    fn cat(&self, collection: &str) -> String {
        ok(
            self.path(),
            &format!("cat {collection} --database it --data mine"),
        )
    }

    fn sync(&self, data: &str) {
        ok(
            self.path(),
            &format!("sync {} --data {data}", self.server.url),
        );
    }

    /// Puts rows into a collection of the folder `data`, offline.
    fn import(&self, data: &str, collection: &str, rows: &[Json], extra: &str) {
        let lines: Vec<_> = rows.iter().map(Json::to_string).collect();
        fs::write(self.path().join("rows.ndjson"), lines.join("\n")).expect("written");
        let import = format!("import rows.ndjson --database it --collection {collection} --key k");
        ok(self.path(), &format!("{import} --data {data} {extra}"));
    }

    /// Waits until Drill sees so many rows.
    fn until_rows(&self, table: &str, rows: u64) {
        let begun = Instant::now();
        let sql = format!("SELECT count(*) FROM headwater.{table}");
        loop {
            let answer = drill::query(self.drill.url(), &sql);
            let found = answer
                .as_ref()
                .map(|answer| answer.rows()[0][0].get().to_owned());
            if found.as_ref().is_ok_and(|found| *found == rows.to_string()) {
                return;
            }
            assert!(
                begun.elapsed() < Duration::from_secs(30),
                "{table}: {found:?}"
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

fn every_type_comes_back_exactly(world: &World) {
    const ALL: &str = "SELECT * FROM headwater.every";
    let before = world.cat("every");
    assert_eq!(before.lines().count(), 4, "{before}");
    // Nothing is written by a dry run, and everything by the other; again there is nothing to write.
    let copy = "--into copy --key _key";
    assert_eq!(world.written(ALL, &format!("{copy} --dry-run")), [4, 0, 0]);
    assert!(!world.cat_is_there("copy"));
    assert_eq!(world.written(ALL, copy), [4, 0, 0]);
    assert_eq!(world.cat("copy"), before);
    for words in [
        copy,
        "--into copy --key _key --replace",
        "--into copy --key _key --dry-run",
    ] {
        assert_eq!(world.written(ALL, words), [0, 0, 4], "{words}");
    }
    // Nor into itself, where texts and counters stay what they are.
    let itself = "--into every --key _key --replace";
    assert_eq!(world.written(ALL, itself), [0, 0, 4]);
    let sql = "SELECT `_key`, `_database` AS origin_database FROM headwater.every";
    assert_eq!(world.written(sql, "--into named --key _key"), [4, 0, 0]);
    let expected = format!("{{\"origin_database\":\"{}\"}}", world.database);
    let named = world.cat("named");
    assert!(
        named.lines().all(|line| line.ends_with(&expected)),
        "{named}"
    );
}

impl World {
    fn cat_is_there(&self, collection: &str) -> bool {
        let listed = ok(self.path(), "ls --database it --data mine");
        listed.contains(collection)
    }
}

fn what_drill_makes_has_its_type(world: &World) {
    let sql = "SELECT 12 AS id, CAST(0.0000001 AS DECIMAL(20,10)) AS small, \
         CAST('1234567890123456789012345678.0001' AS DECIMAL(38,4)) AS large, DATE '2020-02-29' AS d, \
         TIME '10:11:12.123' AS t, TIMESTAMP '1601-01-01 00:00:00.001' AS ts, CAST(0.1 AS FLOAT) AS f, \
         CONVERT_TO('abc','UTF8') AS bytes, CAST(NULL AS INT) AS nothing, 1 = 1 AS yes FROM (VALUES (1)) -- made";
    assert_eq!(world.written(sql, "--into made --key id"), [1, 0, 0]);
    assert_eq!(world.written(sql, "--into made --key id"), [0, 0, 1]);
    let expected = concat!(
        r#"{"bytes":{"$bytes":"YWJj"},"d":"2020-02-29","f":0.10000000149011612,"id":12,"#,
        r#""large":"1234567890123456789012345678.0001","small":"0.0000001000","t":"10:11:12.123","#,
        r#""ts":{"$timestamp":-11644473599999},"yes":true}"#
    );
    assert_eq!(world.cat("made"), format!("12\t{expected}\n"));
    // A date, a decimal and a truth are keys by their text.
    for (column, key) in [
        ("d", "2020-02-29"),
        ("small", "0.0000001000"),
        ("yes", "true"),
    ] {
        world.written(sql, &format!("--into by_{column} --key {column}"));
        let shown = world.cat(&format!("by_{column}"));
        assert!(shown.starts_with(&format!("{key}\t")), "{shown}");
    }
}

fn fields_stay_or_go(world: &World) {
    let rows = [
        json!({"k": "1", "n": 1, "note": "stays", "gone": 1}),
        json!({"k": "2", "n": 2, "note": "stays"}),
    ];
    world.import("mine", "fields", &rows, "");
    let sql = "SELECT * FROM (VALUES ('1', 10, CAST(NULL AS INT)), ('3', 30, 3)) AS t(k, n, gone)";
    assert_eq!(world.written(sql, "--into fields --key k"), [1, 1, 0]);
    let expected = concat!(
        "1\t{\"k\":\"1\",\"n\":10,\"note\":\"stays\"}\n",
        "2\t{\"k\":\"2\",\"n\":2,\"note\":\"stays\"}\n",
        "3\t{\"gone\":3,\"k\":\"3\",\"n\":30}\n"
    );
    assert_eq!(world.cat("fields"), expected);
    assert_eq!(
        world.written(sql, "--into fields --key k --replace"),
        [0, 1, 1]
    );
    let expected = expected.replacen(",\"note\":\"stays\"", "", 1);
    assert_eq!(world.cat("fields"), expected);
}

fn declared_fields_keep_their_types(world: &World) {
    let types = "--type price=float --type day=timestamp --type id=int --type n=counter";
    world.import("mine", "typed", &[json!({"k": "0", "n": 1})], types);
    let sql = "SELECT '0' AS k, CAST('1.50' AS DECIMAL(9,2)) AS price, DATE '1970-01-02' AS `day`, \
         '18446744073709551615' AS id, 7 AS n FROM (VALUES (1))";
    assert_eq!(world.written(sql, "--into typed --key k"), [0, 1, 0]);
    let expected =
        r#"{"day":{"$timestamp":86400000},"id":18446744073709551615,"k":"0","n":7,"price":1.5}"#;
    assert_eq!(world.cat("typed"), format!("0\t{expected}\n"));
    let unfit = "SELECT '9' AS k, 'x' AS id FROM (VALUES (1))";
    let error = fails(world.path(), 1, &world.into(unfit, "--into typed --key k"));
    assert!(
        error.contains("row 1: field \"id\": \"x\" is not a 64-bit integer"),
        "{error}"
    );
    assert_eq!(world.cat("typed").lines().count(), 1);
}

fn a_race_is_merged_and_the_loser_is_in_the_ledger(world: &World) {
    let database = &world.database;
    world.import(
        "mine",
        "scores",
        &[json!({"k": "ann", "best": 1, "seen": 1})],
        "--policy best=max",
    );
    world.sync("mine");
    let there = format!(
        "sync {} --data other --database {database} --name it",
        world.server.url
    );
    ok(world.path(), &there);
    world.until_rows("scores", 1);
    // Someone who is offline has 50; the query, which does not know of that, makes it 11.
    world.import(
        "other",
        "scores",
        &[json!({"k": "ann", "best": 50, "seen": 1})],
        "",
    );
    let sql = "SELECT `_key`, best + 10 AS best, seen + 1 AS seen FROM headwater.scores";
    let peer = format!("--into scores --key _key --peer {}", world.server.url);
    assert_eq!(world.written(sql, &peer), [0, 1, 0]);
    for data in ["other", "mine"] {
        world.sync(data);
    }
    for data in ["other", "mine"] {
        let shown = ok(
            world.path(),
            &format!("cat scores --database it --data {data}"),
        );
        assert_eq!(
            shown, "ann\t{\"best\":50,\"k\":\"ann\",\"seen\":2}\n",
            "{data}"
        );
        let list = format!("conflicts list --collection scores --data {data} --json");
        let open = ok_json(world.path(), &list);
        assert_eq!(open["field"], json!(["best"]), "{open}");
        assert_eq!(open["winner"]["by"]["origin"], "headwater", "{open}");
        assert_eq!(open["losers"][0]["by"]["origin"], "drill", "{open}");
        assert_eq!(open["losers"][0]["value"], 11, "{open}");
    }
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let origin = runtime.block_on(async {
        let peer = Peer::open(Options::folder(world.path().join("mine"))).await?;
        let scores = peer.open_named("it").await?.collection("scores");
        let seen = scores.provenance("ann").remove(&vec!["seen".to_owned()]);
        peer.close().await?;
        Ok::<_, headwater::Error>(seen.expect("a field").provenance.origin)
    });
    assert_eq!(origin.expect("read").as_deref(), Some("drill"));
}

fn a_query_that_fails_half_way_writes_nothing(world: &World) {
    const ROWS: u64 = 20_000;
    let rows: Vec<_> = (0..ROWS)
        .map(|n| json!({"k": format!("{n:05}"), "s": if n == ROWS - 1 { "x".to_owned() } else { n.to_string() }}))
        .collect();
    world.import("mine", "many", &rows, "");
    world.sync("mine");
    world.until_rows("many", ROWS);
    let sql = |rest: &str| format!("SELECT k, CAST(s AS BIGINT) AS n FROM headwater.many {rest}");
    // Most of it is there before it fails.
    let whole = "--into half --key k";
    let error = fails(world.path(), 1, &world.into(&sql(""), whole));
    // Drill says why only if no row was on its way yet.
    let is_named =
        ["NumberFormatException: x", "the query is FAILED"].map(|why| error.contains(why));
    assert!(is_named.contains(&true), "{error}");
    assert!(!world.cat_is_there("half"));
    let good = sql("WHERE s <> 'x'");
    assert_eq!(world.written(&good, whole), [ROWS - 1, 0, 0]);
    assert_eq!(world.written(&good, whole), [0, 0, ROWS - 1]);
}

fn errors_say_what_to_do(world: &World) {
    let before = ok(world.path(), "ls --database it --data mine");
    let long = format!(
        "SELECT 1 AS k FROM (VALUES (1))|--into {} --key k",
        "x".repeat(201)
    );
    for (line, part) in [
        (
            "SELECT 1 AS n FROM (VALUES (1))|--into no --key k",
            "no column \"k\" for the key, only n",
        ),
        (
            "SELECT * FROM (VALUES (1), (CAST(NULL AS INT))) AS t(k)|--into no --key k",
            "1 of the 2 rows of the result cannot be written, so nothing was",
        ),
        (
            "SELECT * FROM (VALUES (1), (2), (1)) AS t(k)|--into no --key k",
            "is also that of row",
        ),
        (
            "SELECT 0.5e0 AS k FROM (VALUES (1))|--into no --key k",
            "CAST it to VARCHAR",
        ),
        (
            "SELECT nope FROM headwater.every|--into no --key k",
            "'nope' not found",
        ),
        (long.as_str(), "cannot name a collection"),
    ] {
        let (sql, words) = line.split_once('|').expect("two parts");
        let error = fails(world.path(), 1, &world.into(sql, words));
        assert!(error.contains(part), "{line}: {error}");
    }
    let nobody =
        "query SELECT --url http://127.0.0.1:1 --into no --key k --database it --data mine";
    let error = fails(world.path(), 1, nobody);
    assert!(error.contains("headwater drill start"), "{error}");
    let other = world.server.url.replace("ws://", "http://");
    let nobody = format!("query SELECT --url {other} --into no --key k --create new --data mine");
    let error = fails(world.path(), 1, &nobody);
    assert!(error.contains("is that Drill?"), "{error}");
    for words in [
        "query SELECT --into no",
        "query SELECT --into no --key k --database it",
        "query SELECT --key k",
        "query SELECT --dry-run",
        "query SELECT --into no --key k --database it --data mine --limit 3",
    ] {
        fails(world.path(), 2, words);
    }
    assert_eq!(ok(world.path(), "ls --database it --data mine"), before);
    assert!(!ok(world.path(), "ls --data mine").contains("new"));
}
