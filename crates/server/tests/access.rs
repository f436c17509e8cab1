//! Who may do what at a server with tokens.

mod command;

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
