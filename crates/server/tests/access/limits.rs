//! What a server does with those who ask for too much, and what it tells of it.

use crate::command::{Server, fails};
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::time::{Duration, Instant};

/// A server with this `[limits]`.
fn limited(folder: &Path, limits: &str) -> Server {
    std::fs::write(folder.join("server.toml"), format!("[limits]\n{limits}\n")).unwrap();
    Server::start_with(folder, "--config server.toml")
}

fn agent() -> ureq::Agent {
    let config = ureq::Agent::config_builder().http_status_as_error(false);
    config.build().into()
}

fn get(server: &Server, path: &str) -> (u16, Option<u64>, String) {
    let url = format!("{}{path}", server.url.replace("ws://", "http://"));
    read(agent().get(url).call().unwrap())
}

/// The status of an answer, its `Retry-After` in seconds, and its body.
fn read(answer: ureq::http::Response<ureq::Body>) -> (u16, Option<u64>, String) {
    let retry = answer.headers().get("retry-after");
    let retry = retry.map(|value| value.to_str().unwrap().parse().unwrap());
    let status = answer.status().as_u16();
    (status, retry, answer.into_body().read_to_string().unwrap())
}

#[test]
fn who_asks_too_often_is_told_when_to_come_back() {
    let folder = tempfile::tempdir().unwrap();
    let server = limited(folder.path(), "requests_per_second = 1\nburst = 3");
    let answers: Vec<_> = (0..6).map(|_| get(&server, "/metrics")).collect();
    assert!(answers[..3].iter().all(|answer| answer.0 == 200));
    let (status, retry, body) = answers.last().unwrap();
    assert_eq!(*status, 429);
    assert!(body.contains("\"rate-limited\""), "{body}");
    // Whether the server is well can always be asked.
    assert_eq!(get(&server, "/healthz").0, 200);
    std::thread::sleep(Duration::from_secs(retry.unwrap()));
    let (status, _, metrics) = get(&server, "/metrics");
    assert_eq!(status, 200, "{metrics}");
    let refused = "headwater_refused_total{reason=\"rate\"} ";
    let refused = metrics.split_once(refused).unwrap().1;
    let refused: u64 = refused.lines().next().unwrap().parse().unwrap();
    assert!(refused > 0);
    let answered =
        "headwater_http_requests_total{method=\"GET\",route=\"/metrics\",status=\"429\"} ";
    assert!(metrics.contains(answered), "{metrics}");
    assert!(metrics.ends_with("# EOF\n"), "{metrics}");
}

#[test]
fn there_are_so_many_connections_and_no_more() {
    let folder = tempfile::tempdir().unwrap();
    let server = limited(folder.path(), "connections = 2");
    let address = server.url.strip_prefix("ws://").unwrap();
    // Each is served once, so that it surely has its place.
    let open = || {
        let mut stream = TcpStream::connect(address).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_secs(20)))
            .unwrap();
        let _ = stream.write_all(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n");
        let mut first = [0; 12];
        let answered = stream.read_exact(&mut first).is_ok() && &first == b"HTTP/1.1 200";
        (stream, answered)
    };
    let (first, second) = (open(), open());
    assert!(first.1 && second.1);
    assert!(!open().1, "a third connection has no place");
    drop(first);
    let end = Instant::now() + Duration::from_secs(20);
    while !open().1 {
        assert!(Instant::now() < end, "the place was not given back");
    }
}

#[test]
fn so_many_may_wait_for_changes_whichever_way_they_ask() {
    let folder = tempfile::tempdir().unwrap();
    let server = limited(folder.path(), "waiting = 1");
    let post = |path: &str, body: &str| {
        let url = format!("{}{path}", server.url.replace("ws://", "http://"));
        let agent = agent();
        let request = agent.post(url).content_type("application/json");
        read(request.send(body).unwrap())
    };
    let (_, _, made) = post("/v1/databases", "{}");
    let made: serde_json::Value = serde_json::from_str(&made).unwrap();
    let database = format!("/v1/databases/{}", made["id"].as_str().unwrap());
    let url = format!(
        "{}{database}/consumers/c",
        server.url.replace("ws://", "http://")
    );
    let put = agent().put(url).content_type("application/json").send("{}");
    assert_eq!(put.unwrap().status(), 201);
    std::thread::scope(|scope| {
        let waits = scope.spawn(|| {
            let changes = format!("{database}/changes?wait=30");
            // The pulls below take the only place now and then, for as long as they wait.
            let mut answers = std::iter::repeat_with(|| get(&server, &changes));
            answers.find(|(status, ..)| *status != 503).unwrap()
        });
        let pull = format!("{database}/consumers/c/pull");
        let end = Instant::now() + Duration::from_secs(20);
        let (retry, body) = loop {
            let (status, retry, body) = post(&pull, r#"{"wait": 0.1}"#);
            if status == 503 {
                break (retry, body);
            }
            assert!(
                Instant::now() < end,
                "the other request does not wait: {body}"
            );
        };
        assert_eq!(retry, Some(1));
        assert!(body.contains("too many requests wait"), "{body}");
        // Who does not wait is answered, and so is the one who does.
        assert_eq!(post(&pull, "{}").0, 200);
        let record = r#"{"writes": [{"op": "put", "collection": "a", "key": "k", "value": {}}]}"#;
        assert_eq!(post(&format!("{database}/writes"), record).0, 200);
        let (status, _, body) = waits.join().unwrap();
        assert!(status == 200 && body.contains("\"insert\""), "{body}");
    });
}

#[test]
fn limits_that_make_no_sense_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    for (line, expected) in [("burst = 0", "zero"), ("bursts = 1", "bursts")] {
        std::fs::write(folder.join("server.toml"), format!("[limits]\n{line}\n")).unwrap();
        let line = "serve --listen 127.0.0.1:0 --data d --lake l --config server.toml";
        let said = fails(folder, 1, line);
        assert!(said.contains(expected), "{said}");
    }
}

#[test]
fn a_connection_that_asks_for_nothing_is_ended() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path());
    let address = server.url.strip_prefix("ws://").unwrap();
    let said: [&[u8]; 5] = [
        b"",
        b"GET /healthz HTTP/1.1\r\nhost:",
        // Of HTTP/2, as far as it is one.
        b"PRI * HTTP/2",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n",
    ];
    let mut streams = said.map(|said| {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.write_all(said).unwrap();
        let wait = Some(Duration::from_secs(60));
        stream.set_read_timeout(wait).unwrap();
        stream
    });
    let answers = streams.each_mut().map(|stream| {
        let mut answer = Vec::new();
        // That it is reset ends it as well; that nothing comes for a minute does not.
        let ended = stream.read_to_end(&mut answer);
        let reset = |error: &std::io::Error| error.kind() == std::io::ErrorKind::ConnectionReset;
        assert!(ended.as_ref().err().is_none_or(reset), "{ended:?}");
        String::from_utf8_lossy(&answer).into_owned()
    });
    // Only the last one asked, and was then silent.
    let answered = answers.map(|answer| answer.contains(" 200"));
    assert_eq!(answered, [false, false, false, false, true]);
}
