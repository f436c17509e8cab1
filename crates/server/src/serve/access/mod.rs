//! Who may do what. A file of hashed tokens says it; a server without one lets everyone on this machine do everything.

mod error;
mod origin;
mod tokens;

pub use error::AccessError;
pub(super) use origin::stranger;
pub use tokens::{Databases, Level, Token, Tokens, TokensError, parse_time};

use super::limits::Limits;
use super::metrics::{Counts, Refusal};
use super::problem::Problem;
use super::upgrade::Upgrade;
use axum::extract::{ConnectInfo, FromRequestParts, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use headwater::transport::TOKEN_SUBPROTOCOL;
use headwater_core::DatabaseId;
use jiff::Timestamp;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Weak};
use std::time::Duration;
use subtle::ConstantTimeEq as _;
use tokio::sync::watch;

/// How often the file is looked at for changes.
const RELOAD_INTERVAL: Duration = Duration::from_secs(1);

/// After how long it is looked again whether a token has expired.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// Asks for tokens, where there are any.
#[derive(Debug)]
pub(crate) struct Gate {
    origins: Vec<String>,
    /// None: everyone on this machine may do everything.
    tokens: Option<watch::Sender<Arc<Tokens>>>,
}

impl Gate {
    /// Reads the file and from then on follows it. It must be called on a runtime.
    pub fn open(file: Option<PathBuf>, origins: Vec<String>) -> Result<Arc<Self>, TokensError> {
        let Some(path) = file else {
            let tokens = None;
            return Ok(Arc::new(Self { origins, tokens }));
        };
        let tokens = watch::Sender::new(Arc::new(Tokens::read(&path)?));
        let gate = Arc::new(Self {
            origins,
            tokens: Some(tokens),
        });
        tokio::spawn(follow(Arc::downgrade(&gate), path));
        Ok(gate)
    }

    /// What the sender of a request may do.
    pub fn access(&self, headers: &HeaderMap) -> Result<Access, AccessError> {
        if let Some(origin) = stranger(headers, &self.origins) {
            return Err(AccessError::Origin { origin });
        }
        let Some(tokens) = &self.tokens else {
            return match origin::strange_host(headers, &self.origins) {
                Some(host) => Err(AccessError::Host { host }),
                None => Ok(Access(None)),
            };
        };
        let secret = secret(headers).ok_or(AccessError::NoToken)?;
        let token =
            find(&tokens.borrow(), &tokens::digest(&secret)).ok_or(AccessError::UnknownToken)?;
        check_expiry(&token)?;
        Ok(Access(Some(Arc::new(Granted {
            token,
            tokens: tokens.subscribe(),
        }))))
    }
}

/// Reads the file when it changes. A file that became wrong leaves in force what it said before.
async fn follow(gate: Weak<Gate>, path: PathBuf) {
    let mut failure = None;
    let mut ticks = tokio::time::interval(RELOAD_INTERVAL);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let file = path.clone();
        let read = tokio::task::spawn_blocking(move || Tokens::read(&file)).await;
        let Some(gate) = gate.upgrade() else { return };
        let (Some(tokens), Ok(read)) = (&gate.tokens, read) else {
            continue;
        };
        match read {
            Ok(read) => {
                failure = None;
                let count = read.0.len();
                let changed = tokens.send_if_modified(|tokens| {
                    let changed = **tokens != read;
                    if changed {
                        *tokens = Arc::new(read);
                    }
                    changed
                });
                if changed {
                    tracing::info!(file = %path.display(), tokens = count, "tokens read again");
                }
            }
            Err(error) => {
                let text = error.to_string();
                if failure.as_ref() != Some(&text) {
                    tracing::error!(error = text, "the tokens of before stay in force");
                    failure = Some(text);
                }
            }
        }
    }
}

/// The token of a digest. Each is compared in full, so that the time tells nothing of any.
fn find(tokens: &Tokens, digest: &[u8; 32]) -> Option<Token> {
    let mut found = None;
    for token in tokens.iter() {
        if bool::from(token.sha256.ct_eq(digest)) {
            found = Some(token);
        }
    }
    found.cloned()
}

fn check_expiry(token: &Token) -> Result<(), AccessError> {
    match token.expires {
        Some(expires) if expires <= Timestamp::now() => Err(AccessError::Expired {
            name: token.name.clone(),
        }),
        _ => Ok(()),
    }
}

/// The token of a request: in its `Authorization`, or in the subprotocols that a page offers.
fn secret(headers: &HeaderMap) -> Option<Vec<u8>> {
    if let Some(token) = bearer(headers) {
        return Some(token.to_owned());
    }
    let offered = headers.get_all(header::SEC_WEBSOCKET_PROTOCOL);
    let mut names = offered
        .iter()
        .flat_map(|value| value.to_str().unwrap_or_default().split(','));
    let token = names.find_map(|name| name.trim().strip_prefix(TOKEN_SUBPROTOCOL))?;
    BASE64_URL_SAFE_NO_PAD.decode(token).ok()
}

fn bearer(headers: &HeaderMap) -> Option<&[u8]> {
    let value = headers.get(header::AUTHORIZATION)?.as_bytes();
    let (scheme, token) = value.split_at_checked("Bearer ".len())?;
    let token = token.trim_ascii();
    (scheme.eq_ignore_ascii_case(b"Bearer ") && !token.is_empty()).then_some(token)
}

/// What the sender of a request may do. A handler behind `authenticate` takes it as an argument.
#[derive(Debug, Clone)]
pub struct Access(Option<Arc<Granted>>);

#[derive(Debug)]
struct Granted {
    token: Token,
    tokens: watch::Receiver<Arc<Tokens>>,
}

impl Access {
    /// The name of the token, the user of what is written with it. None on a server without tokens.
    pub fn name(&self) -> Option<&str> {
        self.0.as_ref().map(|granted| granted.token.name.as_str())
    }

    /// That it may read a database.
    ///
    /// # Errors
    /// [`AccessError`] if not.
    pub fn read(&self, database: &DatabaseId) -> Result<(), AccessError> {
        self.database(Level::Read, database)
    }

    /// That it may write to a database.
    ///
    /// # Errors
    /// [`AccessError`] if not.
    pub fn write(&self, database: &DatabaseId) -> Result<(), AccessError> {
        self.database(Level::Write, database)
    }

    /// That it may read every database.
    ///
    /// # Errors
    /// [`AccessError`] if not.
    pub fn read_all(&self) -> Result<(), AccessError> {
        self.everything(Level::Read)
    }

    /// That it may write to every database, and thereby make new ones.
    ///
    /// # Errors
    /// [`AccessError`] if not.
    pub fn write_all(&self) -> Result<(), AccessError> {
        self.everything(Level::Write)
    }

    /// That it may administer the server.
    ///
    /// # Errors
    /// [`AccessError`] if not.
    pub fn admin(&self) -> Result<(), AccessError> {
        self.everything(Level::Admin)
    }

    /// Resolves once the token is no longer good: revoked, changed, or expired. What it was used for has to end then.
    pub(crate) async fn withdrawn(&self) {
        let Some(granted) = &self.0 else {
            return std::future::pending().await;
        };
        let mut tokens = granted.tokens.clone();
        loop {
            let stands = tokens
                .borrow_and_update()
                .iter()
                .any(|token| *token == granted.token);
            if !stands || check_expiry(&granted.token).is_err() {
                return;
            }
            // The clock that decides may be set, so no wait is long.
            let left = granted.token.expires.map(|expires| {
                let left = expires.duration_since(Timestamp::now());
                left.unsigned_abs()
                    .clamp(Duration::from_millis(10), LONGEST_WAIT)
            });
            let wait = tokio::time::sleep(left.unwrap_or(LONGEST_WAIT));
            tokio::select! {
                changed = tokens.changed() => if changed.is_err() { return },
                () = wait => {}
            }
        }
    }

    fn database(&self, needed: Level, database: &DatabaseId) -> Result<(), AccessError> {
        let Some(granted) = &self.0 else {
            return Ok(());
        };
        let Token {
            name,
            access,
            databases,
            ..
        } = &granted.token;
        if *access >= needed && databases.contain(database) {
            return Ok(());
        }
        Err(AccessError::Database {
            name: name.clone(),
            needed,
            database: *database,
        })
    }

    fn everything(&self, needed: Level) -> Result<(), AccessError> {
        let Some(granted) = &self.0 else {
            return Ok(());
        };
        let token = &granted.token;
        if token.access >= needed && token.databases == Databases::All {
            return Ok(());
        }
        Err(AccessError::Everything {
            name: token.name.clone(),
            needed,
        })
    }
}

impl<S: Sync> FromRequestParts<S> for Access {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Response> {
        let access = parts.extensions.get::<Self>().cloned();
        // A route that was left out of what `authenticate` guards is closed to all, and not open.
        access.ok_or_else(|| StatusCode::INTERNAL_SERVER_ERROR.into_response())
    }
}

/// What decides whether a request is answered.
#[derive(Debug)]
pub(crate) struct Door {
    pub gate: Arc<Gate>,
    pub limits: Arc<Limits>,
    pub counts: Counts,
}

/// A middleware that lets requests pass whose sender is known and does not ask too much, with their [`Access`].
pub(crate) async fn authenticate(
    State(door): State<Arc<Door>>,
    request: Request,
    next: Next,
) -> Response {
    // First of all, so that whoever is refused hears why, whatever they still send.
    let request = request.map(|body| door.limits.timed(body));
    let access = door.gate.access(request.headers());
    let peer = request.extensions().get::<ConnectInfo<SocketAddr>>();
    let address = peer.map(|ConnectInfo(address)| *address);
    // Before anything else, so that tokens cannot be guessed in large numbers.
    let share = match door.limits.take(access.as_ref().ok(), address) {
        Ok(share) => share,
        Err(overloaded) => {
            door.counts.refused(overloaded.why);
            return Problem::from(overloaded).into_response();
        }
    };
    let response = match access {
        Ok(access) => {
            let mut request = request;
            request.extensions_mut().insert(access);
            next.run(request).await
        }
        Err(error) => deny(error, request).await,
    };
    match response.status() {
        StatusCode::UNAUTHORIZED => door.counts.refused(Refusal::Unauthorized),
        StatusCode::FORBIDDEN => door.counts.refused(Refusal::Forbidden),
        _ => {}
    }
    drop(share);
    response
}

/// Tells why, in a WebSocket to those who would not see an answer.
async fn deny(error: AccessError, request: Request) -> Response {
    let (mut parts, _) = request.into_parts();
    match Upgrade::from_request_parts(&mut parts, &()).await {
        Ok(upgrade) => upgrade.deny(error),
        Err(_) => Problem::from(error).into_response(),
    }
}
