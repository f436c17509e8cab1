//! What is wrong with a request is said in one shape, and changes nothing.

use super::client::Api;
use serde_json::json;

#[test]
fn what_is_malformed_is_refused_and_says_why() {
    let api = Api::start();
    let db = api.database();
    let record = format!("{db}/collections/a/records/k");
    api.put(&record, &json!({"n": 1})).is(200);
    let writes = format!("{db}/writes");
    api.send("PUT", &record, &[], "{nonsense")
        .fails(400, "bad-record");
    api.send("PUT", &record, &[], "[1]")
        .fails(400, "bad-record");
    api.send("PUT", &record, &[], "{\"a\":1,\"a\":2}")
        .fails(400, "bad-record");
    api.send("PUT", &record, &[("Content-Type", "text/plain")], "{}")
        .fails(415, "not-json");
    api.send("POST", &writes, &[], "{\"writes\":[")
        .fails(400, "bad-request");
    api.post(&writes, &json!({"writes": []}))
        .fails(400, "bad-request");
    api.post(&writes, &json!({"writes": 7}))
        .fails(400, "bad-request");
    api.post(&writes, &json!({"writes": [], "more": 1}))
        .fails(400, "unknown-field");
    api.get(&format!("{db}/changes?limit=0"))
        .fails(400, "bad-request");
    api.get(&format!("{db}/changes?limit=many"))
        .fails(400, "bad-request");
    api.get(&format!("{db}/changes?wait=1e9"))
        .fails(400, "bad-request");
    api.get(&format!("{db}/changes?wait=NaN"))
        .fails(400, "bad-request");
    api.get(&format!("{db}/changes?color=red"))
        .fails(400, "unknown-field");
    api.get("/v1/nothing/here").fails(404, "unknown-path");
    api.send("DELETE", "/v1/publish", &[], "")
        .fails(405, "method-not-allowed");
    api.get("/v1/databases/nonsense")
        .fails(404, "unknown-database");
    api.get(&format!("{db}/collections/none/records"))
        .fails(404, "unknown-collection");
    api.get("/v1/publications/99999")
        .fails(404, "unknown-publication");
    let long = [("Headwater-Origin", &*"x".repeat(129))];
    api.send("PUT", &record, &long, "{}")
        .fails(400, "bad-header");
    assert_eq!(api.get(&record).is(200)["value"], json!({"n": 1}));
}

#[test]
fn names_are_names_whatever_they_look_like() {
    let api = Api::start();
    let db = api.database();
    for name in [
        "..%2F..%2Fetc",
        "%27%3B%20DROP%20TABLE%20x--",
        "%24deleted",
        "%E2%80%AE",
        "a%22b",
    ] {
        let record = format!("{db}/collections/{name}/records/{name}");
        api.put(&record, &json!({"n": 1})).is(200);
        assert_eq!(api.get(&record).is(200)["value"], json!({"n": 1}), "{name}");
    }
    api.put(&format!("{db}/collections/%00/records/k"), &json!({}))
        .fails(422, "invalid-write");
    api.put(&format!("{db}/consumers/%00"), &json!({}))
        .fails(400, "bad-name");
    let long = "k".repeat(2000);
    api.put(&format!("{db}/collections/a/records/{long}"), &json!({}))
        .fails(422, "invalid-write");
    api.publish();
    let report = api.send("POST", "/v1/lake/verify", &[], "").is(200);
    assert_eq!(report["ok"], true, "{report}");
}

#[test]
fn a_giant_body_is_refused_before_it_is_read() {
    let api = Api::start();
    let db = api.database();
    let body = format!("{{\"a\":\"{}\"}}", "x".repeat(17 << 20));
    api.send("PUT", &format!("{db}/collections/a/records/k"), &[], &body)
        .fails(413, "too-large");
    api.get(&format!("{db}/collections/a/records/k"))
        .fails(404, "unknown-collection");
}
