//! The change feed.

use super::client::Api;
use serde_json::{Value as Json, json};
use std::time::{Duration, Instant};

fn puts(collection: &str, keys: std::ops::Range<usize>) -> Json {
    let writes: Vec<Json> = keys
        .map(|n| json!({"op": "put", "collection": collection, "key": format!("k{n:05}"), "value": {"n": n}}))
        .collect();
    json!({ "writes": writes })
}

#[test]
fn every_change_is_told_once_in_pages_and_says_who_wrote_it() {
    let api = Api::start();
    let db = api.database();
    let (a, b) = (puts("a", 0..70), puts("b", 0..50));
    api.send(
        "POST",
        &format!("{db}/writes"),
        &[("Headwater-Origin", "job")],
        &a.to_string(),
    )
    .is(200);
    api.post(&format!("{db}/writes"), &b).is(200);
    // Of another database nothing is told here.
    let other = api.database();
    api.post(&format!("{other}/writes"), &puts("a", 0..30))
        .is(200);
    api.publish();
    let (mut cursor, mut told) = (None, Vec::new());
    loop {
        let at = cursor
            .map(|cursor| format!("&cursor={cursor}"))
            .unwrap_or_default();
        let page = api.get(&format!("{db}/changes?limit=16{at}")).is(200);
        let changes = page["changes"].as_array().unwrap().clone();
        assert!(changes.len() <= 16);
        let more = page["more"].as_bool().unwrap();
        told.extend(changes);
        cursor = Some(page["cursor"].as_str().unwrap().to_owned());
        if !more {
            break;
        }
    }
    let mut places: Vec<_> = told
        .iter()
        .map(|one| {
            (
                one["collection"].as_str().unwrap(),
                one["key"].as_str().unwrap(),
            )
        })
        .collect();
    places.sort_unstable();
    places.dedup();
    assert_eq!((told.len(), places.len()), (120, 120));
    let first = told.iter().find(|one| one["collection"] == "a").unwrap();
    assert_eq!(
        (&first["op"], &first["origin"]),
        (&json!("insert"), &json!("job"))
    );
    assert_eq!(
        (&first["before"], &first["after"]["n"]),
        (&Json::Null, &json!(0))
    );
    let head = api.get(&format!("{db}/changes/head")).is(200);
    assert_eq!(head["cursor"].as_str(), cursor.as_deref());
    // From the place of one change come those after it.
    let at = told[99]["cursor"].as_str().unwrap();
    let rest = api.get(&format!("{db}/changes?cursor={at}")).is(200);
    assert_eq!(rest["changes"].as_array().unwrap().as_slice(), &told[100..]);
    let of_b = api.get(&format!("{db}/changes?collection=b")).is(200);
    assert_eq!(of_b["changes"].as_array().unwrap().len(), 50);
}

#[test]
fn an_excluded_origin_still_moves_the_cursor_on() {
    let api = Api::start();
    let db = api.database();
    let start = api.get(&format!("{db}/changes?cursor=head")).is(200);
    let start = start["cursor"].as_str().unwrap().to_owned();
    let mine = [("Headwater-Origin", "airflow:push")];
    api.send(
        "POST",
        &format!("{db}/writes"),
        &mine,
        &puts("a", 0..10).to_string(),
    )
    .is(200);
    api.publish();
    let page = api
        .get(&format!(
            "{db}/changes?cursor={start}&exclude_origin=airflow:push"
        ))
        .is(200);
    assert_eq!(page["changes"], json!([]));
    assert_ne!(page["cursor"].as_str().unwrap(), start);
    let next = page["cursor"].as_str().unwrap();
    assert_eq!(
        api.get(&format!("{db}/changes?cursor={next}")).is(200)["changes"],
        json!([])
    );
}

#[test]
fn a_waiting_request_is_answered_when_something_is_written() {
    let api = Api::start();
    let db = api.database();
    let head = api.get(&format!("{db}/changes?cursor=head")).is(200);
    let head = head["cursor"].as_str().unwrap().to_owned();
    let started = Instant::now();
    let page = std::thread::scope(|scope| {
        let waiting = scope.spawn(|| api.get(&format!("{db}/changes?cursor={head}&wait=50")));
        // Another database's changes do not end it.
        let other = api.database();
        api.post(&format!("{other}/writes"), &puts("a", 0..1))
            .is(200);
        api.publish();
        api.post(&format!("{db}/writes"), &puts("a", 0..1)).is(200);
        waiting.join().unwrap().is(200)
    });
    assert_eq!(page["changes"].as_array().unwrap().len(), 1);
    assert_eq!(page["from"], head);
    assert!(started.elapsed() < Duration::from_secs(40));
    let next = page["cursor"].as_str().unwrap();
    let started = Instant::now();
    let empty = api
        .get(&format!("{db}/changes?cursor={next}&wait=0.3"))
        .is(200);
    assert_eq!(empty["changes"], json!([]));
    assert!(started.elapsed() >= Duration::from_millis(300));
}

#[test]
fn a_cursor_that_the_feed_does_not_have_says_where_to_go_on() {
    let api = Api::start();
    let db = api.database();
    api.post(&format!("{db}/writes"), &puts("a", 0..3)).is(200);
    api.publish();
    let head = api.get(&format!("{db}/changes/head")).is(200)["cursor"].clone();
    for (cursor, code) in [
        ("nonsense", "cursor-unknown"),
        ("1.2", "cursor-expired"),
        ("'; DROP TABLE", "cursor-unknown"),
    ] {
        let cursor = cursor.replace(' ', "%20");
        let error = api
            .get(&format!("{db}/changes?cursor={cursor}"))
            .fails(410, code);
        assert_eq!(error["details"]["head"], head);
    }
    let lake = api.folder.path().join("lake");
    command_rebuild(&api);
    assert!(lake.exists());
    let old = head.as_str().unwrap();
    let error = api
        .get(&format!("{db}/changes?cursor={old}"))
        .fails(410, "cursor-expired");
    let oldest = error["details"]["oldest"].as_str().unwrap();
    api.get(&format!("{db}/changes?cursor={oldest}")).is(200);
}

/// Makes the lake anew, which begins another epoch.
fn command_rebuild(api: &Api) {
    api.send("POST", "/lake/rebuild", &[], "").is(200);
}
