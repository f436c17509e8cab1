//! The description of the API, and that it is true of who may do what.

use super::client::Api;
use serde_json::{Value as Json, json};

const METHODS: [&str; 5] = ["get", "put", "post", "patch", "delete"];

/// Every operation: its method, and its path with something in each place.
fn operations(description: &Json, database: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for (path, item) in description["paths"].as_object().unwrap() {
        let path = path.replace("{db}", database).replace("{id}", "1");
        let path = path.replace(['{', '}'], "");
        for method in METHODS.iter().filter(|method| item.get(method).is_some()) {
            found.push((method.to_uppercase(), path.clone()));
        }
    }
    found
}

#[test]
fn every_operation_but_health_wants_a_token_that_reaches_so_far() {
    let mut tokens = Vec::new();
    let other = headwater_core::DatabaseId::from_bytes([7; 16]);
    let mut api = Api::start_with("--tokens tokens.toml", |folder| {
        tokens.push(Api::token(folder, "admin", ""));
        tokens.push(Api::token(folder, "read", &format!("--database {other}")));
    });
    api.token = Some(tokens[0].clone());
    let description = api.get("/v1/openapi.json").is(200);
    let db = api.database();
    let db = db.trim_start_matches("/v1/databases/");
    let all = operations(&description, db);
    assert!(all.len() >= 25, "{all:?}");
    for (method, path) in all {
        let body = if matches!(&*method, "GET" | "DELETE") {
            ""
        } else {
            "{}"
        };
        api.token = None;
        let open = matches!(&*path, "/v1/health" | "/v1/ready");
        let answer = api.send(&method, &path, &[], body);
        match open {
            true => drop(answer.is(200)),
            false => drop(answer.fails(401, "unauthorized")),
        }
        api.token = Some(tokens[1].clone());
        let answer = api.send(&method, &path, &[], body);
        let lists = path == "/v1/databases" && method == "GET";
        match (open, lists) {
            (true, _) => drop(answer.is(200)),
            (_, true) => assert_eq!(answer.is(200)["databases"], json!([])),
            // What is wrong with the rest of the request may be said first.
            _ => assert!(
                [403, 400].contains(&answer.status),
                "{method} {path}: {}",
                answer.body
            ),
        }
    }
}

#[test]
fn a_token_for_reading_cannot_write_and_its_name_is_who_wrote() {
    let mut tokens = Vec::new();
    let mut api = Api::start_with("--tokens tokens.toml", |folder| {
        tokens.push(Api::token(folder, "write", ""));
        tokens.push(Api::token(folder, "read", ""));
    });
    api.token = Some(tokens[0].clone());
    let db = api.database();
    let record = format!("{db}/collections/a/records/k");
    api.put(&record, &json!({"n": 1})).is(200);
    api.publish();
    api.token = Some(tokens[1].clone());
    let write = json!({"op": "put", "collection": "a", "key": "k", "value": {"n": 2}});
    let settle = json!({"collection": "a", "key": "k", "path": ["n"], "accept": true});
    let consumer = format!("{db}/consumers/c");
    for (method, path, body) in [
        ("PUT", record.clone(), json!({"n": 2})),
        ("PATCH", record.clone(), json!({"n": 2})),
        ("DELETE", record.clone(), Json::Null),
        ("POST", format!("{db}/writes"), json!({"writes": [write]})),
        ("POST", format!("{db}/conflicts/settle"), settle),
        ("PATCH", format!("{db}/collections/b"), json!({})),
        ("POST", "/v1/databases".to_owned(), json!({})),
        ("DELETE", consumer.clone(), Json::Null),
    ] {
        let body = if body.is_null() {
            String::new()
        } else {
            body.to_string()
        };
        api.send(method, &path, &[], &body).fails(403, "forbidden");
    }
    // What reading takes, it may: to have the tables up to date, and to keep a place among the changes.
    api.post("/v1/publish", &Json::Null).is(200);
    api.put(&consumer, &json!({"start": "beginning"})).is(201);
    let page = api.post(&format!("{consumer}/pull"), &json!({})).is(200);
    api.post(
        &format!("{consumer}/commit"),
        &json!({"cursor": page["cursor"]}),
    )
    .is(200);
    api.post(&format!("{consumer}/reset"), &json!({"to": "beginning"}))
        .is(200);
    assert_eq!(api.get(&record).is(200)["value"]["n"], 1);
    let change = &api.get(&format!("{db}/changes")).is(200)["changes"][0];
    assert_eq!(
        (&change["who"], &change["origin"]),
        (&json!("write"), &json!("http"))
    );
}

#[test]
fn the_description_is_openapi_and_the_page_needs_nothing_from_elsewhere() {
    let api = Api::start();
    let description = api.get("/v1/openapi.json").is(200);
    assert_eq!(
        description["openapi"].as_str().unwrap().split('.').next(),
        Some("3")
    );
    assert!(description["openapi"].as_str().unwrap().starts_with("3.1"));
    let printed: Json = super::command::ok_json(api.folder.path(), "openapi");
    assert_eq!(printed, description);
    let text = description.to_string();
    for name in text.split("#/components/schemas/").skip(1) {
        let name = name.split('"').next().unwrap();
        assert!(
            description["components"]["schemas"].get(name).is_some(),
            "{name}"
        );
    }
    let page = api.get("/v1/docs").is(200);
    let page = page.as_str().unwrap();
    assert!(
        page.contains("/v1/openapi.json") && !page.contains("//"),
        "it loads something"
    );
}
