//! Airflow's REST API, as much of it as posts an event.

use super::config::AirflowConfig;
use serde::Deserialize;
use serde_json::json;
use std::collections::HashMap;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use ureq::Agent;
use ureq::http::header::RETRY_AFTER;
use ureq::http::{Response, StatusCode};
use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig, parse_pem};

/// How long a request may take.
const TIMEOUT: Duration = Duration::from_secs(20);
/// The most that is read of an answer, in bytes.
const MAX_ANSWER: u64 = 4 << 20;
/// The longest that Airflow can make us wait.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(600);

/// Why an event was not posted.
#[derive(Debug, thiserror::Error)]
pub(super) enum PostError {
    /// A secret cannot be read, or a certificate.
    #[error("cannot use {file}: {why}")]
    File { file: String, why: String },
    /// Airflow does not take the token, or the user and password.
    #[error(
        "Airflow does not let this server in ({status}): {why}. Check the user, the password or the token in [airflow]"
    )]
    Denied { status: StatusCode, why: String },
    /// It has no such asset.
    #[error(
        "Airflow has no asset with the URI {uri:?}: a DAG that it has read must name it, as `airflow assets list` shows"
    )]
    UnknownAsset { uri: String },
    /// It answered otherwise than with success.
    #[error("Airflow answered {status}: {why}")]
    Refused {
        status: StatusCode,
        why: String,
        retry_after: Option<Duration>,
    },
    /// It did not answer.
    #[error("Airflow cannot be reached: {0}")]
    Unreachable(#[from] Box<ureq::Error>),
    /// It answered with what its API does not say.
    #[error("Airflow answered with something else than its API says: {0}")]
    Unexpected(String),
}

impl PostError {
    /// How long Airflow wants to be left alone.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Refused { retry_after, .. } => *retry_after,
            _ => None,
        }
    }
}

type Result<T> = std::result::Result<T, PostError>;

pub(super) struct Client {
    config: AirflowConfig,
    agent: Agent,
    token: Option<String>,
    /// The numbers that Airflow gave the assets.
    assets: HashMap<String, i64>,
}

impl Client {
    pub fn new(config: AirflowConfig) -> Result<Self> {
        let mut agent = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .timeout_global(Some(TIMEOUT));
        if config.url.starts_with("https://") {
            agent = agent.tls_config(tls(config.ca_file.as_deref())?);
        }
        Ok(Self {
            agent: agent.build().into(),
            token: None,
            assets: HashMap::new(),
            config,
        })
    }

    /// Posts an event of an asset. A token that is not taken any more is replaced by a new one, once.
    pub fn post(&mut self, uri: &str, extra: &serde_json::Value) -> Result<()> {
        match self.try_post(uri, extra) {
            Err(PostError::Denied { .. }) => {
                self.token = None;
                self.try_post(uri, extra)
            }
            // It may have been made anew under another number.
            Err(PostError::Refused { status, .. }) if status == StatusCode::NOT_FOUND => {
                self.assets.remove(uri);
                self.try_post(uri, extra)
            }
            done => done,
        }
    }

    fn try_post(&mut self, uri: &str, extra: &serde_json::Value) -> Result<()> {
        let token = self.token()?;
        let id = self.asset(uri, &token)?;
        let answer = self
            .agent
            .post(format!("{}/api/v2/assets/events", self.base()))
            .header("Authorization", format!("Bearer {token}"))
            .send_json(json!({ "asset_id": id, "extra": extra }));
        successful(answer).map(drop)
    }

    fn base(&self) -> &str {
        self.config.url.trim_end_matches('/')
    }

    fn token(&mut self) -> Result<String> {
        if let Some(token) = &self.token {
            return Ok(token.clone());
        }
        #[derive(Deserialize)]
        struct Answer {
            access_token: String,
        }
        let token = match (&self.config.token_file, &self.config.username) {
            (Some(file), _) => secret(file)?,
            (None, username) => {
                let password = self.config.password_file.as_deref().map(secret);
                let answer = self
                    .agent
                    .post(format!("{}/auth/token", self.base()))
                    .send_json(json!({
                        "username": username.clone().unwrap_or_default(),
                        "password": password.transpose()?.unwrap_or_default(),
                    }));
                read::<Answer>(successful(answer)?)?.access_token
            }
        };
        self.token = Some(token.clone());
        Ok(token)
    }

    /// The number of an asset, by its URI.
    fn asset(&mut self, uri: &str, token: &str) -> Result<i64> {
        #[derive(Deserialize)]
        struct Assets {
            assets: Vec<Asset>,
        }
        #[derive(Deserialize)]
        struct Asset {
            id: i64,
            uri: String,
        }
        if let Some(id) = self.assets.get(uri) {
            return Ok(*id);
        }
        let answer = self
            .agent
            .get(format!("{}/api/v2/assets", self.base()))
            .query("uri_pattern", bare(uri))
            .query("limit", "100")
            .header("Authorization", format!("Bearer {token}"))
            .call();
        let found: Assets = read(successful(answer)?)?;
        // A pattern finds more than the one.
        let asset = found
            .assets
            .into_iter()
            .find(|asset| bare(&asset.uri) == bare(uri));
        let id = asset
            .map(|asset| asset.id)
            .ok_or_else(|| PostError::UnknownAsset {
                uri: uri.to_owned(),
            })?;
        self.assets.insert(uri.to_owned(), id);
        Ok(id)
    }
}

/// Of what a DAG has as `scheme://name` Airflow makes `scheme://name/`.
fn bare(uri: &str) -> &str {
    uri.trim_end_matches('/')
}

fn secret(file: &Path) -> Result<String> {
    let read = std::fs::read_to_string(file).map_err(|error| of_file(file, &error))?;
    Ok(read.trim().to_owned())
}

fn of_file(file: &Path, why: &dyn std::fmt::Display) -> PostError {
    PostError::File {
        file: file.display().to_string(),
        why: why.to_string(),
    }
}

fn tls(ca_file: Option<&Path>) -> Result<TlsConfig> {
    let certificates: Vec<Certificate<'static>> = match ca_file {
        Some(file) => {
            let pem = std::fs::read(file).map_err(|error| of_file(file, &error))?;
            let items = parse_pem(&pem).collect::<std::result::Result<Vec<_>, _>>();
            let items = items.map_err(|error| of_file(file, &error))?;
            let certificates = items.into_iter().filter_map(|item| match item {
                PemItem::Certificate(certificate) => Some(certificate),
                _ => None,
            });
            certificates.collect()
        }
        None => {
            let found = rustls_native_certs::load_native_certs().certs;
            found
                .iter()
                .map(|certificate| Certificate::from_der(certificate).to_owned())
                .collect()
        }
    };
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    Ok(TlsConfig::builder()
        .root_certs(RootCerts::new_with_certs(&certificates))
        .unversioned_rustls_crypto_provider(provider)
        .build())
}

/// The answer, if it is one of success.
fn successful(
    answer: std::result::Result<Response<ureq::Body>, ureq::Error>,
) -> Result<Response<ureq::Body>> {
    let mut answer = answer.map_err(Box::new)?;
    let status = answer.status();
    if status.is_success() {
        return Ok(answer);
    }
    let retry_after = answer.headers().get(RETRY_AFTER);
    let retry_after = retry_after.and_then(|value| value.to_str().ok()?.parse().ok());
    let body = answer.body_mut().with_config().limit(MAX_ANSWER);
    let why: String = body
        .read_to_string()
        .unwrap_or_default()
        .chars()
        .take(200)
        .collect();
    Err(match status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => PostError::Denied { status, why },
        _ => PostError::Refused {
            status,
            why,
            retry_after: retry_after
                .map(|seconds| Duration::from_secs(seconds).min(MAX_RETRY_AFTER)),
        },
    })
}

fn read<T: for<'a> Deserialize<'a>>(mut answer: Response<ureq::Body>) -> Result<T> {
    let body = answer.body_mut().with_config().limit(MAX_ANSWER);
    body.read_json().map_err(|error| match error {
        ureq::Error::Json(error) => PostError::Unexpected(error.to_string()),
        ureq::Error::Io(error) if error.kind() == io::ErrorKind::InvalidData => {
            PostError::Unexpected(error.to_string())
        }
        error => Box::new(error).into(),
    })
}
