//! Records: read, written one at a time and in batches, as of versions, and once only.

use super::client::Api;
use serde_json::{Value as Json, json};

#[test]
fn records_are_written_read_edited_and_deleted() {
    let api = Api::start();
    let db = api.database();
    let milk = format!("{db}/collections/shop/records/milk%2F1");
    let written = api
        .put(&milk, &json!({"title": "milk", "price": 3, "old": true}))
        .is(200);
    let read = api.get(&milk).is(200);
    assert_eq!(
        read["value"],
        json!({"title": "milk", "price": 3, "old": true})
    );
    assert_eq!(read["key"], "milk/1");
    assert_eq!(read["version"], written["version"]);
    let patch = json!({"price": 4, "old": null, "where": {"aisle": 2}});
    api.send("PATCH", &milk, &[], &patch.to_string()).is(200);
    let read = api.get(&milk).is(200);
    assert_eq!(
        read["value"],
        json!({"title": "milk", "price": 4, "where": {"aisle": 2}})
    );
    for n in 0..5 {
        api.put(
            &format!("{db}/collections/shop/records/egg{n}"),
            &json!({"n": n}),
        )
        .is(200);
    }
    let page = api
        .get(&format!("{db}/collections/shop/records?limit=4"))
        .is(200);
    assert_eq!(page["records"].as_array().unwrap().len(), 4);
    assert_eq!(page["next"], "egg3");
    let rest = api
        .get(&format!("{db}/collections/shop/records?after=egg3"))
        .is(200);
    assert_eq!(rest["records"][1]["key"], "milk/1");
    assert_eq!(rest["next"], Json::Null);
    api.send("DELETE", &milk, &[], "").is(200);
    api.get(&milk).fails(404, "unknown-record");
    api.send("PATCH", &milk, &[], "{\"a\": 1}")
        .fails(404, "unknown-record");
    let fields = json!({"fields": {"price": "int"}, "policies": {"price": "max"}});
    let shop = format!("{db}/collections/shop");
    let declared = api.send("PATCH", &shop, &[], &fields.to_string()).is(200);
    assert_eq!(declared["policies"]["price"], "max");
    api.put(&milk, &json!({"price": "dear"}))
        .fails(422, "invalid-write");
    api.send("PATCH", &shop, &[], "{\"fields\": {\"x\": \"wat\"}}")
        .fails(422, "invalid-declaration");
}

#[test]
fn a_write_as_of_a_version_merges_with_what_a_person_wrote_since_or_fails_if_asked_to() {
    let api = Api::start();
    let db = api.database();
    let ada = format!("{db}/collections/people/records/ada");
    let base = api
        .put(&ada, &json!({"name": "ada", "mail": "a@x", "tel": 1}))
        .is(200);
    let base = base["version"].as_str().unwrap().to_owned();
    api.send(
        "PATCH",
        &ada,
        &[("Headwater-Origin", "browser")],
        "{\"mail\": \"new@x\", \"tel\": 2}",
    )
    .is(200);
    // It had not seen the new mail, and says so.
    let full = json!({"name": "Ada L.", "mail": "a@x", "tel": 9});
    let path = format!("{ada}?version={base}");
    api.put(&format!("{path}&if_changed=fail"), &full)
        .fails(409, "changed");
    assert_eq!(api.get(&ada).is(200)["value"]["name"], "ada");
    let merged = api.put(&path, &full).is(200);
    let read = api.get(&ada).is(200);
    assert_eq!(read["value"]["name"], "Ada L.");
    assert_eq!(read["value"]["mail"], "new@x", "the person's edit stays");
    assert_eq!(read["unresolved"], 1);
    let open = api
        .get(&format!("{db}/conflicts?collection=people"))
        .is(200);
    let conflict = &open["conflicts"][0];
    assert_eq!(conflict["path"], json!(["tel"]));
    let mut both = vec![
        conflict["shown"].clone(),
        conflict["losers"][0]["value"].clone(),
    ];
    both.sort_by_key(|value| value.as_i64());
    assert_eq!(both, [json!(2), json!(9)]);
    // Who wrote last has not seen the person's edit, until it reads.
    assert_ne!(merged["version"], read["version"]);
    let version = read["version"].as_str().unwrap();
    let seen = format!("{ada}?version={version}&if_changed=fail");
    api.send("PATCH", &seen, &[], "{\"name\": \"Ada\"}").is(200);
    assert_eq!(conflict["version"], read["version"]);
    // Only for who has seen the person's edit.
    let mut settle = json!({
        "collection": "people", "key": "ada", "path": ["tel"], "write": 7, "if_changed": "fail",
        "version": merged["version"],
    });
    api.post(&format!("{db}/conflicts/settle"), &settle)
        .fails(409, "changed");
    settle["version"] = open["conflicts"][0]["version"].clone();
    api.send("PATCH", &ada, &[], "{\"mail\": \"newer@x\"}")
        .is(200);
    api.post(&format!("{db}/conflicts/settle"), &settle)
        .fails(409, "changed");
    settle["if_changed"] = json!("merge");
    assert_eq!(
        api.post(&format!("{db}/conflicts/settle"), &settle).is(200)["open"],
        0
    );
    assert_eq!(api.get(&ada).is(200)["value"]["tel"], 7);
    let settle = json!({"collection": "people", "key": "ada", "path": ["tel"], "keep": "4/9@00"});
    api.post(&format!("{db}/conflicts/settle"), &settle)
        .fails(409, "nothing-to-settle");
    api.put(&format!("{ada}?if_changed=fail"), &full)
        .fails(409, "changed");
    api.put(&format!("{ada}?version=nonsense"), &full)
        .fails(400, "bad-version");
    // A version of another database.
    let other = api.database();
    let elsewhere = api
        .put(&format!("{other}/collections/people/records/ada"), &full)
        .is(200);
    let elsewhere = elsewhere["version"].as_str().unwrap();
    api.put(&format!("{ada}?version={elsewhere}"), &full)
        .fails(409, "unknown-version");
}

#[test]
fn a_batch_is_made_whole_or_not_at_all() {
    let api = Api::start();
    let db = api.database();
    let good = json!({"op": "put", "collection": "a", "key": "k", "value": {"n": 1}});
    let bad = json!({"op": "patch", "collection": "a", "key": "gone", "value": {"n": 1}});
    let writes = format!("{db}/writes");
    let error = api
        .post(&writes, &json!({"writes": [good, bad]}))
        .fails(404, "unknown-record");
    assert_eq!(error["details"]["index"], 1);
    api.get(&format!("{db}/collections/a/records"))
        .fails(404, "unknown-collection");
    api.post(&writes, &json!({"writes": [good, good]}))
        .fails(400, "repeated-record");
    let other = json!({"op": "put", "collection": "b", "key": "k", "value": {"n": 2}});
    let absent = json!({"op": "delete", "collection": "b", "key": "absent"});
    let done = api
        .post(&writes, &json!({"writes": [good, other, absent]}))
        .is(200);
    assert_eq!(done["results"].as_array().unwrap().len(), 3);
    for (n, collection) in [(1, "a"), (2, "b")] {
        let read = api
            .get(&format!("{db}/collections/{collection}/records/k"))
            .is(200);
        assert_eq!(read["value"]["n"], n);
        assert_eq!(read["version"], done["results"][n - 1]["version"]);
    }
    // What a person deleted meanwhile stops no one who says so.
    let unless = json!({"op": "patch", "collection": "a", "key": "gone", "value": {"n": 1}, "if_missing": "skip"});
    let patch = json!({"op": "patch", "collection": "a", "key": "k", "value": {"m": 1}, "if_missing": "skip"});
    api.post(&writes, &json!({"writes": [unless, patch]}))
        .is(200);
    api.get(&format!("{db}/collections/a/records/gone"))
        .fails(404, "unknown-record");
    let read = api.get(&format!("{db}/collections/a/records/k")).is(200);
    assert_eq!(read["value"], json!({"n": 1, "m": 1}));
    let delete = json!({"op": "delete", "collection": "a", "key": "k", "if_missing": "skip"});
    api.post(&writes, &json!({"writes": [delete]}))
        .fails(400, "bad-request");
    let many: Vec<Json> = (0..10_000)
        .map(|n| json!({"op": "put", "collection": "many", "key": format!("k{n}"), "value": {"n": n}}))
        .collect();
    api.post(&writes, &json!({"writes": many})).is(200);
    let last = api
        .get(&format!(
            "{db}/collections/many/records?after=k9998&limit=1"
        ))
        .is(200);
    assert_eq!(last["records"][0]["value"]["n"], 9999);
}

#[test]
fn a_request_with_a_key_is_done_once_even_if_the_server_is_killed() {
    let mut api = Api::start();
    let db = api.database();
    let writes = format!("{db}/writes");
    let add = json!({"writes": [
        {"op": "put", "collection": "log", "key": "a", "value": {"by": "job"}},
        {"op": "put", "collection": "log", "key": "b", "value": {"by": "job"}},
    ]});
    let key = [
        ("Idempotency-Key", "run-1"),
        ("Headwater-Origin", "airflow:nightly"),
    ];
    let first = api.send("POST", &writes, &key, &add.to_string());
    assert!(first.headers.get("idempotency-replayed").is_none());
    let first = first.is(200);
    // A person goes on from there; what is sent again must not take that back.
    let a = format!("{db}/collections/log/records/a");
    api.put(&a, &json!({"by": "person"})).is(200);
    for killed in [false, true] {
        if killed {
            api.restart();
        }
        let again = api.send("POST", &writes, &key, &add.to_string());
        assert_eq!(again.headers["idempotency-replayed"], "true");
        assert_eq!(again.is(200), first);
        assert_eq!(api.get(&a).is(200)["value"]["by"], "person");
    }
    let other = json!({"writes": [{"op": "delete", "collection": "log", "key": "a"}]});
    api.send("POST", &writes, &key, &other.to_string())
        .fails(422, "idempotency-mismatch");
    // One that was refused may be sent again with another body.
    let key = [("Idempotency-Key", "run-2")];
    let bad = json!({"writes": [{"op": "patch", "collection": "log", "key": "none", "value": {}}]});
    api.send("POST", &writes, &key, &bad.to_string())
        .fails(404, "unknown-record");
    api.send("POST", &writes, &key, &other.to_string()).is(200);
}

#[test]
fn a_request_whose_answer_was_lost_with_the_server_is_not_done_twice() {
    let mut api = Api::start();
    let db = api.database();
    let writes: Vec<Json> = (0..3_000)
        .map(|n| json!({"op": "put", "collection": "log", "key": format!("k{n}"), "value": {"by": "job"}}))
        .collect();
    let body = json!({ "writes": writes }).to_string();
    let path = format!("{db}/writes");
    let record = format!("{db}/collections/log/records/k7");
    let url = format!("{}{path}", api.url);
    let sent = body.clone();
    let sending = std::thread::spawn(move || {
        let request = ureq::post(url).header("Content-Type", "application/json");
        // It may be answered or not.
        drop(request.header("Idempotency-Key", "run").send(sent));
    });
    // It is being made: whether it is durable when the server is killed is left to chance.
    while api.get(&record).status != 200 {}
    api.restart();
    sending.join().unwrap();
    let was_made = api.get(&record).status == 200;
    if was_made {
        api.put(&record, &json!({"by": "person"})).is(200);
    }
    let key = [("Idempotency-Key", "run")];
    let again = api.send("POST", &path, &key, &body);
    let replayed = again.headers.contains_key("idempotency-replayed");
    assert_eq!(again.status, 200, "{}", again.body);
    assert_eq!(replayed, was_made);
    let by = if was_made { "person" } else { "job" };
    assert_eq!(api.get(&record).is(200)["value"]["by"], by);
    let last = api.get(&format!("{db}/collections/log/records/k2999"));
    assert_eq!(last.is(200)["value"]["by"], "job");
}
