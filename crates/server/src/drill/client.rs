//! Drill's REST API: storage plugins and queries.

use super::{DrillError, QueryResult};
use serde_json::{Value, json};
use std::io::{Read as _, Write};
use std::path::Path;
use std::time::Duration;
use ureq::Agent;
use ureq::http::Response;

/// The time allowed for a change of Drill's configuration.
const CONFIGURATION_TIMEOUT: Duration = Duration::from_secs(60);

/// The most that is read of an answer that is not a query's.
const CONFIGURATION_LIMIT: u64 = 1 << 20;

/// How often a query is planned at most, if the tables' columns change each time.
const PLANS: usize = 3;

/// How much of Drill a query may use.
#[derive(Debug, Clone)]
pub struct QueryOptions {
    /// The most rows to return; Drill stops working once it has them. `None` returns all.
    pub rows: Option<u32>,
    /// The most bytes of the answer.
    pub bytes: u64,
    /// How long the answer may take as a whole.
    pub timeout: Duration,
    /// The schema of tables that are named without one.
    pub schema: Option<String>,
}

impl Default for QueryOptions {
    /// All rows, at most 256 MiB, at most ten minutes.
    fn default() -> Self {
        Self {
            rows: None,
            bytes: 256 << 20,
            timeout: Duration::from_secs(600),
            schema: None,
        }
    }
}

/// Runs one SQL statement on the Drillbit at `url` (`http://HOST:PORT`) with the default [`QueryOptions`].
///
/// # Errors
/// See [`query_with`].
pub fn query(url: &str, sql: &str) -> Result<QueryResult, DrillError> {
    query_with(url, sql, &QueryOptions::default())
}

/// Runs one SQL statement on the Drillbit at `url` (`http://HOST:PORT`). A `;` at its end is dropped, as Drill takes
/// none. A statement that Drill could not plan because the type of a column changed meanwhile is planned again; nothing of it
/// has run.
///
/// # Errors
/// [`DrillError::Failed`] with Drill's message if the query fails, also in the middle of its answer;
/// [`DrillError::Unreachable`], [`DrillError::Timeout`], [`DrillError::TooLong`] and [`DrillError::Unexpected`].
pub fn query_with(url: &str, sql: &str, options: &QueryOptions) -> Result<QueryResult, DrillError> {
    let mut body = request(sql);
    if let Some(rows) = options.rows {
        // One more than asked for shows whether there are more.
        body["autoLimit"] = json!(u64::from(rows) + 1);
    }
    if let Some(schema) = &options.schema {
        body["defaultSchema"] = json!(schema);
    }
    let client = Client::new(url, options.timeout);
    let mut result = planned(DrillError::is_torn_plan, || {
        let answer = client.post("/query.json", &body, options.bytes)?;
        QueryResult::parse(url, &answer)
    })?;
    if let Some(rows) = options.rows {
        result.truncate(rows as usize);
    }
    Ok(result)
}

/// Asks again, a few times, while an answer fails as `is_torn` tells: see [`DrillError::is_torn_plan`].
pub(crate) fn planned<T, E>(
    is_torn: impl Fn(&E) -> bool,
    mut ask: impl FnMut() -> Result<T, E>,
) -> Result<T, E> {
    for _ in 1..PLANS {
        match ask() {
            Err(error) if is_torn(&error) => {}
            answer => return answer,
        }
    }
    ask()
}

/// Runs one SQL statement as [`query_with`] does, and copies Drill's answer to `to` as it comes, also that of a query that
/// failed. For answers that are larger than memory; [`QueryOptions::rows`] is not looked at.
///
/// # Errors
/// As [`query_with`], but for [`DrillError::Failed`]; [`DrillError::Io`] if `to` cannot be written, which `path` names.
pub fn copy_answer(
    url: &str,
    sql: &str,
    options: &QueryOptions,
    to: &mut impl Write,
    path: &Path,
) -> Result<(), DrillError> {
    let client = Client::new(url, options.timeout);
    let request_url = format!("{}/query.json", client.url);
    let response = client.agent.post(request_url).send_json(request(sql));
    let mut response = client.successful(response)?;
    let body = response.body_mut().with_config().limit(options.bytes);
    let mut reader = body.reader();
    let mut buffer = vec![0; 1 << 16];
    loop {
        let read = reader.read(&mut buffer);
        let read = read.map_err(|error| client.failed(error.into()))?;
        if read == 0 {
            return Ok(());
        }
        to.write_all(&buffer[..read])
            .map_err(DrillError::io("write", path))?;
    }
}

fn request(sql: &str) -> Value {
    json!({"queryType": "SQL", "query": statement(sql)})
}

/// The statement without a `;` at its end, which Drill does not take.
pub(crate) fn statement(sql: &str) -> &str {
    sql.trim().trim_end_matches(';')
}

/// Shows the lake in the folder `lake` to the Drillbit at `url` as the storage plugin `name`, so that its tables are
/// `name.TABLE`, and has Drill say why a query failed. Doing it again changes nothing; another folder replaces the
/// first. Drill only reads the lake. If Drill cannot see the folder, the plugin is put back as it was.
///
/// `lake` is the folder's path on the Drillbit's machine; a relative one is taken from this process's folder.
///
/// # Errors
/// [`DrillError::BadPluginName`]; [`DrillError::PluginTaken`] if Drill has a plugin of this name that this function did
/// not make; [`DrillError::LakeNotVisible`] if the Drillbit cannot list the folder; and as [`query`].
pub fn register(url: &str, name: &str, lake: &Path) -> Result<(), DrillError> {
    let valid = name.starts_with(|first: char| first.is_ascii_lowercase())
        && name
            .chars()
            .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
    if !valid {
        return Err(DrillError::BadPluginName {
            name: name.to_owned(),
        });
    }
    let lake = std::path::absolute(lake).map_err(DrillError::io("find", lake))?;
    let client = Client::new(url, CONFIGURATION_TIMEOUT);
    let path = format!("/storage/{name}.json");
    let before = client.get(&path)?;
    if !is_ours(&before) {
        return Err(DrillError::PluginTaken {
            name: name.to_owned(),
        });
    }
    client.post(&path, &plugin(name, &lake), CONFIGURATION_LIMIT)?;
    query(
        url,
        "ALTER SYSTEM SET `drill.exec.http.rest.errors.verbose` = true",
    )?;
    // Drill takes any folder without looking, and then says that its tables do not exist.
    match query(url, &format!("SHOW FILES IN `{name}`")) {
        Err(DrillError::Failed { message }) => {
            match before["config"].is_null() {
                true => client.delete(&path)?,
                false => client.post(&path, &before, CONFIGURATION_LIMIT)?,
            };
            Err(DrillError::LakeNotVisible { lake, message })
        }
        other => other.map(drop),
    }
}

/// Takes away the storage plugin `name`, which [`register`] made.
pub(super) fn unregister(url: &str, name: &str) -> Result<(), DrillError> {
    let client = Client::new(url, CONFIGURATION_TIMEOUT);
    client.delete(&format!("/storage/{name}.json")).map(drop)
}

/// Waits for the first answer to a query.
pub(super) fn ping(url: &str, timeout: Duration) -> Result<(), DrillError> {
    let options = QueryOptions {
        timeout,
        ..QueryOptions::default()
    };
    query_with(url, "SELECT 1 FROM (VALUES (1))", &options).map(drop)
}

fn plugin(name: &str, lake: &Path) -> Value {
    json!({
        "name": name,
        "config": {
            "type": "file",
            "connection": "file:///",
            "enabled": true,
            "workspaces": {
                "default": {
                    "location": lake.to_string_lossy(),
                    "writable": false,
                    "allowAccessOutsideWorkspace": false,
                },
            },
            "formats": {"json": {"type": "json", "extensions": ["json"]}},
        },
    })
}

/// Whether `current`, Drill's answer for a plugin, is none at all or one of [`plugin`]'s.
fn is_ours(current: &Value) -> bool {
    let config = &current["config"];
    let single = |value: &Value, key| {
        value
            .as_object()
            .is_some_and(|map| map.len() == 1 && map.contains_key(key))
    };
    config.is_null()
        || (config["type"] == "file"
            && single(&config["workspaces"], "default")
            && single(&config["formats"], "json"))
}

struct Client {
    agent: Agent,
    url: String,
    timeout: Duration,
}

impl Client {
    fn new(url: &str, timeout: Duration) -> Self {
        let config = Agent::config_builder()
            .timeout_global(Some(timeout))
            .http_status_as_error(false)
            // A Drillbit is on this machine or next to it; a proxy for the internet cannot reach it.
            .proxy(None)
            .build();
        Self {
            agent: config.into(),
            url: url.trim_end_matches('/').to_owned(),
            timeout,
        }
    }

    fn get(&self, path: &str) -> Result<Value, DrillError> {
        let response = self.agent.get(format!("{}{path}", self.url)).call();
        let body = self.read(response, CONFIGURATION_LIMIT)?;
        serde_json::from_str(&body).map_err(|error| DrillError::Unexpected {
            url: self.url.clone(),
            reason: error.to_string(),
        })
    }

    fn post(&self, path: &str, body: &Value, limit: u64) -> Result<String, DrillError> {
        let request = self.agent.post(format!("{}{path}", self.url));
        self.read(request.send_json(body), limit)
    }

    fn delete(&self, path: &str) -> Result<String, DrillError> {
        let response = self.agent.delete(format!("{}{path}", self.url)).call();
        self.read(response, CONFIGURATION_LIMIT)
    }

    fn read(
        &self,
        response: Result<Response<ureq::Body>, ureq::Error>,
        limit: u64,
    ) -> Result<String, DrillError> {
        let mut response = self.successful(response)?;
        self.text(&mut response, limit)
    }

    /// The response, if it is one of success.
    fn successful(
        &self,
        response: Result<Response<ureq::Body>, ureq::Error>,
    ) -> Result<Response<ureq::Body>, DrillError> {
        let mut response = response.map_err(|error| self.failed(error))?;
        if response.status().is_success() {
            return Ok(response);
        }
        // Drill explains a request that it cannot take in plain text.
        let body = self.text(&mut response, CONFIGURATION_LIMIT)?;
        Err(DrillError::Unexpected {
            url: self.url.clone(),
            reason: format!("{}: {}", response.status(), body.trim()),
        })
    }

    fn text(&self, response: &mut Response<ureq::Body>, limit: u64) -> Result<String, DrillError> {
        let body = response.body_mut().with_config().limit(limit);
        body.read_to_string().map_err(|error| self.failed(error))
    }

    fn failed(&self, source: ureq::Error) -> DrillError {
        match source {
            ureq::Error::Timeout(_) => DrillError::Timeout {
                url: self.url.clone(),
                waited: self.timeout,
            },
            ureq::Error::BodyExceedsLimit(limit) => DrillError::TooLong { limit },
            source => DrillError::Unreachable {
                url: self.url.clone(),
                source: Box::new(source),
            },
        }
    }
}
