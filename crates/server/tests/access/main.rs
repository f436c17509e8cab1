//! Who may do what at a server with tokens.

mod airflow;
#[path = "../command/mod.rs"]
mod command;
mod limits;

use command::{Server, fails, ok, ok_json};
use headwater_core::DatabaseId;
use serde_json::{Value as Json, json};
use std::path::Path;
use std::time::{Duration, Instant};

const TOKENS: &str = "tokens.toml";

/// Makes a token and returns it.
fn token(folder: &Path, name: &str, more: &str) -> String {
    let printed = ok(
        folder,
        &format!("token new --file {TOKENS} --name {name} {more}"),
    );
    printed.trim().to_owned()
}

/// Puts a token into a file and returns the words that name it.
fn hold(folder: &Path, file: &str, token: &str) -> String {
    std::fs::write(folder.join(file), format!("{token}\n")).unwrap();
    format!("--token-file {file}")
}

/// The status of an answer, its `WWW-Authenticate`, and its body.
fn ask(server: &Server, method: &str, path: &str, headers: &[(&str, &str)]) -> (u16, String, Json) {
    let url = format!("{}{path}", server.url.replace("ws://", "http://"));
    let agent: ureq::Agent = ureq::Agent::config_builder()
        .http_status_as_error(false)
        .build()
        .into();
    let mut request = ureq::http::Request::builder().method(method).uri(url);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let mut answer = agent.run(request.body(()).unwrap()).unwrap();
    let scheme = answer.headers().get("www-authenticate");
    let scheme = scheme
        .map_or("", |value| value.to_str().unwrap())
        .to_owned();
    let text = answer.body_mut().read_to_string().unwrap();
    let body = serde_json::from_str(&text).unwrap_or(Json::String(text));
    (answer.status().as_u16(), scheme, body)
}

fn ask_with(server: &Server, method: &str, path: &str, token: &str) -> (u16, Json) {
    let (status, _, body) = ask(
        server,
        method,
        path,
        &[("authorization", &format!("Bearer {token}"))],
    );
    (status, body)
}

/// Waits until an answer has this status.
fn until(server: &Server, token: &str, expected: u16) {
    let end = Instant::now() + Duration::from_secs(20);
    loop {
        let (status, body) = ask_with(server, "GET", "/metrics", token);
        if status == expected {
            return;
        }
        assert!(Instant::now() < end, "{status} and not {expected}: {body}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn a_token_is_made_listed_and_revoked() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let id = DatabaseId::from_bytes([7; 16]);
    let etl = token(folder, "etl", "--access write");
    let phone = token(
        folder,
        "phone",
        &format!("--access read --database {id} --expires 2999-01-01T00:00:00Z"),
    );
    assert!(etl.len() > 40 && etl != phone);
    let file = std::fs::read_to_string(folder.join(TOKENS)).unwrap();
    assert!(!file.contains(&etl), "{file}");
    let listed = ok_json(folder, &format!("token list --file {TOKENS} --json"));
    assert_eq!(
        listed,
        json!([
            {"name": "etl", "access": "write", "databases": "all", "expires": null},
            {"name": "phone", "access": "read", "databases": [id.to_string()], "expires": "2999-01-01T00:00:00Z"},
        ])
    );
    let said = fails(
        folder,
        1,
        &format!("token new --file {TOKENS} --name etl --access read"),
    );
    assert!(said.contains("one named \"etl\" already"), "{said}");
    let one = format!("token new --file {TOKENS} --name root --access admin --database {id}");
    let said = fails(folder, 1, &one);
    assert!(said.contains("the whole server"), "{said}");
    ok(folder, &format!("token revoke etl --file {TOKENS}"));
    let said = fails(folder, 1, &format!("token revoke etl --file {TOKENS}"));
    assert!(said.contains("no token named \"etl\""), "{said}");
    let table = ok(folder, &format!("token list --file {TOKENS}"));
    assert!(table.contains("phone") && !table.contains("etl"), "{table}");
}

#[cfg(unix)]
#[test]
fn only_its_owner_reads_a_new_tokens_file() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir().unwrap();
    token(folder.path(), "a", "--access read");
    let metadata = std::fs::metadata(folder.path().join(TOKENS)).unwrap();
    assert_eq!(metadata.permissions().mode() & 0o777, 0o600);
}

#[test]
fn a_request_is_served_as_far_as_its_token_reaches() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let id = DatabaseId::from_bytes([7; 16]);
    let root = token(folder, "root", "--access admin");
    let reader = token(folder, "reader", "--access read");
    let phone = token(folder, "phone", &format!("--access write --database {id}"));
    let late = token(
        folder,
        "late",
        "--access admin --expires 2020-01-01T00:00:00Z",
    );
    let server = Server::start_with(folder, &format!("--tokens {TOKENS}"));

    assert_eq!(ask(&server, "GET", "/healthz", &[]).0, 200);
    let (status, scheme, body) = ask(&server, "GET", "/metrics", &[]);
    assert_eq!((status, scheme.as_str()), (401, "Bearer"));
    assert_eq!(body["error"]["code"], "unauthorized");
    let message = body["error"]["message"].as_str().unwrap();
    assert!(message.contains("Authorization: Bearer"), "{message}");

    for (token, path, expected) in [
        (root.as_str(), "/metrics", 200),
        (&reader, "/metrics", 200),
        (&phone, "/metrics", 403),
        (&late, "/metrics", 401),
        (&root[..root.len() - 1], "/metrics", 401),
        ("", "/metrics", 401),
        (&reader, "/lake/verify", 403),
        (&root, "/lake/verify", 200),
        (&reader, "/nowhere", 404),
        ("nobody", "/nowhere", 401),
    ] {
        let method = if path == "/metrics" { "GET" } else { "POST" };
        let (status, body) = ask_with(&server, method, path, token);
        assert_eq!(status, expected, "{path} {token}: {body}");
        if status == 403 {
            assert_eq!(body["error"]["code"], "forbidden");
        }
    }
    // A web page of elsewhere is kept out whatever token it found.
    let headers = [
        ("authorization", &*format!("Bearer {root}")),
        ("origin", "https://evil.example"),
    ];
    assert_eq!(ask(&server, "GET", "/metrics", &headers).0, 403);
}

#[test]
fn without_tokens_only_requests_of_this_machine_are_served() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path());
    assert_eq!(ask(&server, "GET", "/metrics", &[]).0, 200);
    for header in [
        ("host", "rebound.example"),
        ("origin", "https://evil.example"),
    ] {
        let (status, _, body) = ask(&server, "GET", "/metrics", &[header]);
        assert_eq!(status, 403, "{header:?}: {body}");
        let message = body["error"]["message"].as_str().unwrap();
        assert!(message.contains("`origins`"), "{message}");
    }
}

#[test]
fn a_running_server_follows_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let first = token(folder, "first", "--access read");
    let server = Server::start_with(folder, &format!("--tokens {TOKENS}"));
    let second = token(folder, "second", "--access read");
    until(&server, &second, 200);
    // A file that became wrong locks nobody out.
    let right = std::fs::read(folder.join(TOKENS)).unwrap();
    std::fs::write(folder.join(TOKENS), "[[token]]\nname = 1").unwrap();
    let third = "hw_not-yet";
    until(&server, third, 401);
    until(&server, &first, 200);
    std::fs::write(folder.join(TOKENS), right).unwrap();
    ok(folder, &format!("token revoke first --file {TOKENS}"));
    until(&server, &first, 401);
    until(&server, &second, 200);
}

#[test]
fn a_server_does_not_start_with_a_wrong_tokens_file() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let line = format!("serve --listen 127.0.0.1:0 --data d --lake l --tokens {TOKENS}");
    let said = fails(folder, 1, &line);
    assert!(said.contains("cannot read the tokens file"), "{said}");
    std::fs::write(folder.join(TOKENS), "[[token]]\nname = \"x\"").unwrap();
    let said = fails(folder, 1, &line);
    assert!(
        said.contains("is wrong") && said.contains("sha256"),
        "{said}"
    );
}

#[test]
fn a_token_lets_its_holder_sync_where_it_is_for() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    std::fs::write(folder.join("a.csv"), "k,n\nx,1\n").unwrap();
    let made = ok_json(
        folder,
        "import a.csv --create one --key k --collection c --data mine --json",
    );
    let id = made["database"].as_str().unwrap();
    let other = DatabaseId::from_bytes([7; 16]);
    let mine = token(folder, "mine", &format!("--access write --database {id}"));
    let other = token(
        folder,
        "other",
        &format!("--access write --database {other}"),
    );
    let server = Server::start_with(folder, &format!("--tokens {TOKENS}"));
    let sync = |data: &str, how: &str| {
        format!(
            "sync {} --database {id} --data {data} --json {how}",
            server.url
        )
    };
    // Who is not let in hears it at once, and keeps what is here.
    let started = Instant::now();
    let said = fails(folder, 1, &sync("mine", ""));
    assert!(said.contains("wants a token"), "{said}");
    let said = fails(folder, 1, &sync("mine", &hold(folder, "wrong", "hw_wrong")));
    assert!(said.contains("unknown here"), "{said}");
    let said = fails(folder, 1, &sync("mine", &hold(folder, "other", &other)));
    assert!(said.contains("lacks") && said.contains(id), "{said}");
    assert!(started.elapsed() < Duration::from_secs(30));

    let mine = hold(folder, "mine.token", &mine);
    assert_eq!(
        ok_json(folder, &sync("mine", &mine)),
        json!([{"database": id, "records": 1}])
    );
    assert_eq!(
        ok_json(folder, &sync("theirs", &mine)),
        json!([{"database": id, "records": 1}])
    );
}

/// What a page hears that offers these subprotocols: the one that was chosen, and the code of the close.
async fn knock(url: &str, offered: &str) -> (Option<String>, Option<u16>) {
    use futures::StreamExt as _;
    use tokio_tungstenite::tungstenite::Message;
    use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
    let mut request = url.into_client_request().unwrap();
    request
        .headers_mut()
        .insert("sec-websocket-protocol", offered.parse().unwrap());
    let (mut socket, answer) = tokio_tungstenite::connect_async(request).await.unwrap();
    let chosen = answer.headers().get("sec-websocket-protocol");
    let chosen = chosen.map(|value| value.to_str().unwrap().to_owned());
    let next = tokio::time::timeout(Duration::from_millis(500), socket.next()).await;
    let closed = match next {
        Ok(Some(Ok(Message::Close(Some(frame))))) => Some(frame.code.into()),
        _ => None,
    };
    (chosen, closed)
}

#[tokio::test]
async fn a_page_offers_its_token_as_a_subprotocol() {
    use base64::Engine as _;
    use base64::prelude::BASE64_URL_SAFE_NO_PAD;
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let (id, other) = (
        DatabaseId::from_bytes([7; 16]),
        DatabaseId::from_bytes([8; 16]),
    );
    let secret = token(folder, "page", &format!("--access write --database {id}"));
    let server = Server::start_with(folder, &format!("--tokens {TOKENS}"));
    let url = format!("{}/sync/{id}", server.url);
    let offer = |secret: &str| {
        format!(
            "headwater.v1, token.{}",
            BASE64_URL_SAFE_NO_PAD.encode(secret)
        )
    };
    let ours = Some("headwater.v1".to_owned());
    assert_eq!(knock(&url, &offer(&secret)).await, (ours.clone(), None));
    assert_eq!(
        knock(&url, &offer("hw_other")).await,
        (ours.clone(), Some(4401))
    );
    assert_eq!(
        knock(&url, "headwater.v1").await,
        (ours.clone(), Some(4401))
    );
    let elsewhere = format!("{}/sync/{other}", server.url);
    assert_eq!(
        knock(&elsewhere, &offer(&secret)).await,
        (ours.clone(), Some(4403))
    );
    let link = format!("{}/link", server.url);
    assert_eq!(knock(&link, &offer(&secret)).await, (ours, Some(4403)));
}

#[test]
fn administration_can_have_an_address_of_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let admin = free.local_addr().unwrap();
    drop(free);
    let server = Server::start_with(folder.path(), &format!("--admin-listen {admin}"));
    assert_eq!(ask(&server, "GET", "/metrics", &[]).0, 404);
    assert_eq!(ask(&server, "POST", "/lake/verify", &[]).0, 404);
    let metrics = ureq::get(format!("http://{admin}/metrics")).call().unwrap();
    let metrics = metrics.into_body().read_to_string().unwrap();
    assert!(metrics.contains("headwater_lake_ok 1"), "{metrics}");
    let status = ureq::get(format!("http://{admin}/healthz"))
        .call()
        .unwrap()
        .status();
    assert_eq!(status, 200);
}

/// Makes a certificate for `localhost` that vouches for itself.
fn certificate(folder: &Path) {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    std::fs::write(folder.join("key.pem"), made.signing_key.serialize_pem()).unwrap();
    std::fs::write(folder.join("cert.pem"), made.cert.pem()).unwrap();
}

#[test]
fn a_server_with_a_certificate_is_reached_by_those_who_trust_it() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    certificate(folder);
    std::fs::copy(folder.join("cert.pem"), folder.join("first.pem")).unwrap();
    std::fs::write(
        folder.join("server.toml"),
        "[tls]\ncertificate = \"cert.pem\"\nkey = \"key.pem\"\n[tokens]\nfile = \"tokens.toml\"\n",
    )
    .unwrap();
    let secret = token(folder, "all", "--access write");
    std::fs::write(folder.join("a.csv"), "k,n\nx,1\n").unwrap();
    ok(
        folder,
        "import a.csv --create one --key k --collection c --data mine",
    );
    let server = Server::start_with(folder, "--config server.toml");
    let url = server.url.replace("ws://127.0.0.1", "wss://localhost");
    let held = hold(folder, "all.token", &secret);
    let sync =
        |ca: &str, timeout| format!("sync {url} --data mine --timeout {timeout} {held} {ca}");
    let said = ok(folder, &sync("--ca cert.pem", 60));
    assert!(said.contains("in sync, 1 records"), "{said}");
    let said = fails(folder, 1, &sync("", 2));
    assert!(said.to_lowercase().contains("certificate"), "{said}");
    // A renewed certificate is shown without a new start, to those who connect from then on.
    certificate(folder);
    let end = Instant::now() + Duration::from_secs(30);
    while !command::run(folder, &sync("--ca cert.pem", 2))
        .status
        .success()
    {
        assert!(Instant::now() < end, "the renewed certificate is not shown");
    }
    let said = fails(folder, 1, &sync("--ca first.pem", 2));
    assert!(said.to_lowercase().contains("certificate"), "{said}");
}
