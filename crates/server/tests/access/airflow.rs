//! The server tells an Airflow of changes. Here Airflow is a stand-in that fails as it is told to.

use crate::command::{Server, fails, ok, ok_json};
use axum::extract::{Json, Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use headwater::{Options, Peer};
use serde_json::{Value as Json_, json};
use std::collections::{HashMap, VecDeque};
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

const LIMIT: Duration = Duration::from_secs(30);
const URI: &str = "headwater://orders";

/// What the stand-in saw, and how it is to fail.
#[derive(Default)]
struct Seen {
    events: Vec<(Json_, Instant)>,
    /// The statuses of the next answers to events, with `Retry-After`.
    fail: VecDeque<(u16, Option<u64>)>,
    tried: Vec<Instant>,
    password: String,
}

type Shared = Arc<Mutex<Seen>>;

async fn token(State(seen): State<Shared>, Json(body): Json<Json_>) -> Response {
    match body["username"] == "admin" && body["password"] == seen.lock().unwrap().password.as_str()
    {
        true => (StatusCode::CREATED, Json(json!({"access_token": "good"}))).into_response(),
        false => (StatusCode::UNAUTHORIZED, "Invalid credentials").into_response(),
    }
}

async fn assets(Query(query): Query<HashMap<String, String>>) -> Response {
    assert_eq!(query["uri_pattern"], URI);
    // A pattern finds what is alike, too.
    let alike = json!({"id": 3, "uri": format!("{URI}-archive"), "name": "archive"});
    // Airflow completes what a DAG has.
    let asset = json!({"id": 7, "uri": format!("{URI}/"), "name": URI});
    Json(json!({"assets": [alike, asset], "total_entries": 2})).into_response()
}

async fn event(
    State(seen): State<Shared>,
    headers: HeaderMap,
    Json(body): Json<Json_>,
) -> Response {
    let mut seen = seen.lock().unwrap();
    seen.tried.push(Instant::now());
    if headers["authorization"] != "Bearer good" {
        return StatusCode::UNAUTHORIZED.into_response();
    }
    if let Some((status, retry)) = seen.fail.pop_front() {
        let status = StatusCode::from_u16(status).unwrap();
        return match retry {
            Some(seconds) => (status, [("retry-after", seconds.to_string())]).into_response(),
            None => status.into_response(),
        };
    }
    seen.events.push((body, Instant::now()));
    Json(json!({"id": 1})).into_response()
}

/// Serves as Airflow at an address until the test ends.
fn stand_in(address: SocketAddr, seen: &Shared) -> tokio::runtime::Runtime {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let app = axum::Router::new()
        .route("/auth/token", post(token))
        .route("/api/v2/assets", get(assets))
        .route("/api/v2/assets/events", post(event))
        .with_state(Arc::clone(seen));
    let listener = runtime
        .block_on(tokio::net::TcpListener::bind(address))
        .unwrap();
    runtime.spawn(async move { axum::serve(listener, app).await.unwrap() });
    runtime
}

fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
}

/// A server that tells the Airflow at this address of the collection `orders`.
fn server(folder: &Path, airflow: SocketAddr, more: &str) -> Server {
    std::fs::write(folder.join("password"), "secret\n").unwrap();
    let config = format!(
        "[airflow]\nurl = \"http://{airflow}\"\nusername = \"admin\"\npassword_file = \"password\"\n\
         [[airflow.assets]]\nuri = \"{URI}\"\ncollection = \"orders\"\n{more}\n"
    );
    std::fs::write(folder.join("server.toml"), config).unwrap();
    Server::start_with(folder, "--config server.toml")
}

/// Writes a record into a collection at the server.
fn write(folder: &Path, server: &Server, collection: &str, key: &str) {
    std::fs::write(folder.join("a.csv"), format!("k,n\n{key},1\n")).unwrap();
    let exists = folder.join("mine").exists();
    let target = if exists {
        "--database one"
    } else {
        "--create one"
    };
    let line = format!(
        "import a.csv {target} --key k --collection {collection} --data mine --peer {}",
        server.url
    );
    ok(folder, &line);
}

/// Waits until the server says this of itself.
fn until_metric(server: &Server, line: &str) {
    let url = format!("{}/metrics", server.url.replace("ws://", "http://"));
    until(line, || {
        let metrics = ureq::get(&url)
            .call()
            .unwrap()
            .into_body()
            .read_to_string()
            .unwrap();
        metrics
            .lines()
            .any(|is| is == line)
            .then_some(())
            .ok_or(metrics)
    });
}

fn until(what: &str, mut done: impl FnMut() -> Result<(), String>) {
    let end = Instant::now() + LIMIT;
    while let Err(is) = done() {
        assert!(Instant::now() < end, "{what}: {is}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn until_events(seen: &Shared, count: usize) {
    until("events", || {
        let events = seen.lock().unwrap().events.len();
        if events == count {
            Ok(())
        } else {
            Err(format!("{events} and not {count}"))
        }
    });
}

fn shared() -> Shared {
    let seen = Seen {
        password: "secret".to_owned(),
        ..Seen::default()
    };
    Arc::new(Mutex::new(seen))
}

#[test]
fn what_changed_while_airflow_was_down_is_one_event_also_after_a_kill() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let airflow = free_address();
    let first = server(folder, airflow, "");
    for key in ["a", "b", "c"] {
        write(folder, &first, "orders", key);
    }
    until_metric(&first, "headwater_airflow_queue_length 1.0");
    until_metric(&first, "headwater_airflow_ok 0.0");
    drop(first);
    let seen = shared();
    let _airflow = stand_in(airflow, &seen);
    let second = server(folder, airflow, "");
    until_metric(&second, "headwater_airflow_events_total 1");
    until_metric(&second, "headwater_airflow_queue_length 0.0");
    let events = std::mem::take(&mut seen.lock().unwrap().events);
    assert_eq!(events.len(), 1);
    assert_eq!(events[0].0["asset_id"], 7);
    // Another collection is no news; one more change is.
    write(folder, &second, "other", "x");
    write(folder, &second, "orders", "d");
    until_events(&seen, 1);
    assert_eq!(
        ok_json(folder, "ls --data mine --json")
            .as_array()
            .unwrap()
            .len(),
        1
    );
}

#[test]
fn a_wrong_password_is_said_and_mended_without_a_new_start() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let (airflow, seen) = (free_address(), shared());
    seen.lock().unwrap().password = "other".to_owned();
    let _airflow = stand_in(airflow, &seen);
    let server = server(folder, airflow, "");
    write(folder, &server, "orders", "a");
    until_metric(&server, "headwater_airflow_ok 0.0");
    assert_eq!(seen.lock().unwrap().events.len(), 0);
    std::fs::write(folder.join("password"), "other").unwrap();
    until_events(&seen, 1);
    until_metric(&server, "headwater_airflow_ok 1.0");
}

#[test]
fn airflow_is_left_alone_for_as_long_as_it_asks() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let (airflow, seen) = (free_address(), shared());
    seen.lock().unwrap().fail = [(429, Some(1)), (503, Some(2)), (500, None)].into();
    let _airflow = stand_in(airflow, &seen);
    let server = server(folder, airflow, "");
    write(folder, &server, "orders", "a");
    until_events(&seen, 1);
    let tried = seen.lock().unwrap().tried.clone();
    assert_eq!(tried.len(), 4);
    assert!(tried[1] - tried[0] >= Duration::from_secs(1));
    assert!(tried[2] - tried[1] >= Duration::from_secs(2));
}

#[test]
fn changes_of_an_origin_that_is_left_out_are_no_news() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let (airflow, seen) = (free_address(), shared());
    let _airflow = stand_in(airflow, &seen);
    let server = server(folder, airflow, "exclude_origin = \"headwater\"");
    write(folder, &server, "orders", "a");
    let line = "headwater_lake_publications_total 1";
    until_metric(&server, line);
    let line = "headwater_airflow_queue_length 0.0";
    until_metric(&server, line);
    // Someone else's change is, also in the same publication as one that is left out.
    let id = ok_json(folder, "ls --data mine --json")[0]["database"].clone();
    let id: headwater::DatabaseId = id.as_str().unwrap().parse().unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let peer = Peer::open(Options::memory().origin("a person"))
            .await
            .unwrap();
        let db = peer.open_database(id).await.unwrap();
        let record = headwater::Record::new();
        db.collection("orders").put("b", record).await.unwrap();
        db.connect(&server.url).unwrap();
        db.synced(LIMIT).await.unwrap();
        peer.close().await.unwrap();
    });
    until_events(&seen, 1);
    assert_eq!(seen.lock().unwrap().tried.len(), 1);
}

#[test]
fn a_configuration_that_makes_no_sense_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let text = "[airflow]\nurl = \"http://localhost:1\"\n[[airflow.assets]]\nuri = \"a\"\ndatabase = \"b\"\n";
    std::fs::write(folder.join("server.toml"), text).unwrap();
    let said = fails(
        folder,
        1,
        "serve --listen 127.0.0.1:0 --data d --lake l --config server.toml",
    );
    assert!(said.contains("not an id"), "{said}");
}
