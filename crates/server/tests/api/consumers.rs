//! Named consumers.

use super::client::Api;
use serde_json::{Value as Json, json};
use std::time::{Duration, Instant};

fn keys(page: &Json) -> Vec<String> {
    let changes = page["changes"].as_array().unwrap();
    let keys = changes
        .iter()
        .map(|one| one["key"].as_str().unwrap().to_owned());
    keys.collect()
}

#[test]
fn a_page_is_given_again_until_it_is_committed_and_to_one_holder_at_a_time() {
    let mut api = Api::start();
    let db = api.database();
    let etl = format!("{db}/consumers/etl");
    api.get(&etl).fails(404, "unknown-consumer");
    assert_eq!(
        api.put(&etl, &json!({"start": "head"})).is(201)["lag"]["changes"],
        0
    );
    api.put(&etl, &json!({"start": "beginning"})).is(200);
    api.put(&etl, &json!({"collection": "other"}))
        .fails(409, "other-consumer");
    let write = |api: &Api, key: &str| {
        api.put(
            &format!("{db}/collections/a/records/{key}"),
            &json!({"x": 1}),
        )
        .is(200);
        api.publish();
    };
    ["k1", "k2", "k3"].iter().for_each(|key| write(&api, key));
    let pull = json!({"limit": 2, "lease_s": 600, "holder": "worker-1"});
    let page = api.post(&format!("{etl}/pull"), &pull).is(200);
    assert_eq!(keys(&page), ["k1", "k2"]);
    let other = json!({"limit": 2, "holder": "worker-2"});
    let error = api
        .post(&format!("{etl}/pull"), &other)
        .fails(409, "leased");
    assert_eq!(error["details"]["holder"], "worker-1");
    // The worker was killed before it committed, and so was the server.
    api.restart();
    write(&api, "k4");
    let wider = json!({"limit": 100, "lease_s": 600, "holder": "worker-1"});
    let again = api.post(&format!("{etl}/pull"), &wider).is(200);
    assert_eq!(again["changes"], page["changes"]);
    assert_eq!(again["cursor"], page["cursor"]);
    let end = json!({"cursor": page["cursor"]});
    let inner = json!({"cursor": page["changes"][0]["cursor"]});
    api.post(&format!("{etl}/commit"), &inner)
        .fails(409, "not-leased");
    for _ in 0..2 {
        let committed = api.post(&format!("{etl}/commit"), &end).is(200);
        assert_eq!(committed["committed"], page["cursor"]);
        assert_eq!(committed["lag"]["changes"], 2);
        assert!(committed["lag"]["seconds"].as_f64().unwrap() > 0.0);
    }
    let rest = api.post(&format!("{etl}/pull"), &other).is(200);
    assert_eq!(keys(&rest), ["k3", "k4"]);
    api.post(&format!("{etl}/commit"), &json!({"cursor": rest["cursor"]}))
        .is(200);
    let all = api.get(&format!("{db}/consumers")).is(200);
    assert_eq!(
        all["consumers"][0]["lag"],
        json!({"changes": 0, "seconds": 0.0})
    );
    let empty = api.post(&format!("{etl}/pull"), &json!({})).is(200);
    assert_eq!((keys(&empty).len(), &empty["lease"]), (0, &Json::Null));
    api.post(&format!("{etl}/reset"), &json!({"to": page["from"]}))
        .is(200);
    assert_eq!(
        keys(&api.post(&format!("{etl}/pull"), &json!({})).is(200)).len(),
        4
    );
    api.send("DELETE", &etl, &[], "").is(204);
    api.get(&etl).fails(404, "unknown-consumer");
}

#[test]
fn a_consumer_whose_place_is_gone_says_so_until_it_is_reset() {
    let api = Api::start();
    let db = api.database();
    let etl = format!("{db}/consumers/etl");
    api.put(&etl, &json!({})).is(201);
    api.send("POST", "/lake/rebuild", &[], "").is(200);
    assert_eq!(api.get(&etl).is(200)["expired"], true);
    api.post(&format!("{etl}/pull"), &json!({}))
        .fails(410, "cursor-expired");
    let reset = api
        .post(&format!("{etl}/reset"), &json!({"to": "head"}))
        .is(200);
    assert_eq!(reset["expired"], false);
    api.post(&format!("{etl}/pull"), &json!({})).is(200);
}

/// A gauge of a consumer, as Prometheus sees it.
fn gauge(api: &Api, name: &str, consumer: &str) -> f64 {
    let metrics = api.get("/metrics").is(200);
    let mut lines = metrics.as_str().unwrap().lines();
    let line = lines.find(|line| {
        line.starts_with(&format!("{name}{{")) && line.contains(&format!("consumer=\"{consumer}\""))
    });
    line.unwrap()
        .split(' ')
        .next_back()
        .unwrap()
        .parse()
        .unwrap()
}

#[test]
fn the_metrics_tell_which_consumer_is_behind_and_which_has_expired() {
    let api = Api::start();
    let db = api.database();
    for (name, wants) in [
        ("all", json!({})),
        ("own", json!({"exclude_origin": "http"})),
    ] {
        api.put(&format!("{db}/consumers/{name}"), &wants).is(201);
    }
    let lag = |consumer| gauge(&api, "headwater_consumer_lag_seconds", consumer);
    assert_eq!(lag("all"), 0.0);
    let place = format!("{db}/collections/a/records/k");
    api.put(&place, &json!({"x": 1})).is(200);
    api.publish();
    let (before, end) = (lag("all"), Instant::now() + Duration::from_secs(20));
    while lag("all") <= before {
        assert!(
            Instant::now() < end,
            "it does not grow while nobody commits"
        );
    }
    assert_eq!(
        lag("own"),
        0.0,
        "what it does not get does not make it late"
    );
    assert_eq!(gauge(&api, "headwater_consumer_expired", "all"), 0.0);
    api.send("POST", "/lake/rebuild", &[], "").is(200);
    assert_eq!(gauge(&api, "headwater_consumer_expired", "all"), 1.0);
}
