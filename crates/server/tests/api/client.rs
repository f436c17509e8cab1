//! A server, and requests to it.

use super::command::{self, Server};
use serde_json::{Value as Json, json};
use std::path::Path;
use tempfile::TempDir;

/// A server on folders of its own.
pub struct Api {
    pub folder: TempDir,
    pub server: Option<Server>,
    agent: ureq::Agent,
    pub url: String,
    pub token: Option<String>,
}

/// The answer to a request.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: ureq::http::HeaderMap,
    pub body: Json,
}

impl Answer {
    /// The body, of an answer with this status.
    #[track_caller]
    pub fn is(self, status: u16) -> Json {
        assert_eq!(self.status, status, "{}", self.body);
        self.body
    }

    /// That it is an error with this status and code, in the shape of all errors.
    #[track_caller]
    pub fn fails(self, status: u16, code: &str) -> Json {
        assert_eq!(self.status, status, "{}", self.body);
        let error = &self.body["error"];
        assert_eq!(error["code"], code, "{error}");
        assert!(error["message"].as_str().unwrap().len() > 10, "{error}");
        self.body["error"].clone()
    }
}

impl Api {
    pub fn start() -> Self {
        Self::start_with("", |_| {})
    }

    /// With more words on its command line, in a folder that is prepared.
    pub fn start_with(more: &str, prepare: impl FnOnce(&Path)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        prepare(folder.path());
        let server = Server::start_with(folder.path(), more);
        let url = server.url.replace("ws://", "http://");
        let agent = ureq::Agent::config_builder()
            .http_status_as_error(false)
            // A server ends the connection on which it refused a body.
            .max_idle_connections(0)
            .build();
        Self {
            folder,
            server: Some(server),
            agent: agent.into(),
            url,
            token: None,
        }
    }

    /// Kills the server and starts it again.
    pub fn restart(&mut self) {
        self.server = None;
        let server = Server::start(self.folder.path());
        self.url = server.url.replace("ws://", "http://");
        self.server = Some(server);
    }

    pub fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        let mut request = ureq::http::Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.url));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if let Some(token) = &self.token {
            request = request.header("Authorization", format!("Bearer {token}"));
        }
        if !body.is_empty() && !headers.iter().any(|(name, _)| *name == "Content-Type") {
            request = request.header("Content-Type", "application/json");
        }
        let request = request.body(body.to_owned()).unwrap();
        let mut answer = self.agent.run(request).unwrap();
        let text = answer.body_mut().read_to_string().unwrap();
        Answer {
            status: answer.status().as_u16(),
            headers: answer.headers().clone(),
            body: serde_json::from_str(&text).unwrap_or(Json::String(text)),
        }
    }

    pub fn get(&self, path: &str) -> Answer {
        self.send("GET", path, &[], "")
    }

    pub fn post(&self, path: &str, body: &Json) -> Answer {
        self.send("POST", path, &[], &body.to_string())
    }

    pub fn put(&self, path: &str, body: &Json) -> Answer {
        self.send("PUT", path, &[], &body.to_string())
    }

    /// A new database; gives its path.
    pub fn database(&self) -> String {
        let made = self.post("/v1/databases", &json!({})).is(201);
        format!("/v1/databases/{}", made["id"].as_str().unwrap())
    }

    /// Waits until all that was written is in the feed.
    pub fn publish(&self) -> Json {
        self.send("POST", "/v1/publish", &[], "").is(200)
    }

    /// A new token of the server's file, with this access.
    pub fn token(folder: &Path, access: &str, more: &str) -> String {
        let line = format!("token new --name {access} --access {access} {more} --file tokens.toml");
        command::ok(folder, &line).trim().to_owned()
    }
}
