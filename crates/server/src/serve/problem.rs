//! The one shape of every error.

use super::access::AccessError;
use super::limits::Overloaded;
use super::metrics::Refusal;
use axum::http::{HeaderValue, StatusCode, Uri, header};
use axum::response::{IntoResponse, Json, Response};
use headwater::{Error, WriteError};
use headwater_materialize::LakeError;
use serde::Serialize;
use serde_json::{Value as Details, json};

/// Why a request was not done.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct ErrorBody {
    pub error: ErrorDetail,
}

/// What is wrong, for programs and for people.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct ErrorDetail {
    /// Which error it is, in words with hyphens, such as `unknown-record`. It stays the same from version to version.
    pub code: String,
    /// What is wrong and what to do next.
    pub message: String,
    /// More of it, for programs; what it holds depends on the code.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub details: Option<Details>,
}

/// An error on its way to whoever sent the request.
#[derive(Debug)]
pub(super) struct Problem {
    status: StatusCode,
    code: &'static str,
    message: String,
    details: Option<Details>,
    /// After how many seconds it may be tried again, where that is known.
    retry_after: Option<u64>,
}

/// After how many seconds what fails now may be tried again.
const RETRY_AFTER: u64 = 1;

impl Problem {
    pub fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self {
            status,
            code,
            message: message.into(),
            details: None,
            retry_after: (status == StatusCode::SERVICE_UNAVAILABLE).then_some(RETRY_AFTER),
        }
    }

    pub fn bad(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, code, message)
    }

    pub fn missing(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, code, message)
    }

    pub fn conflict(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, code, message)
    }

    pub fn unavailable(message: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", message)
    }

    pub fn storage(message: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "storage", message)
    }

    pub fn with(mut self, details: Details) -> Self {
        self.details = Some(details);
        self
    }

    pub fn internal(what: impl std::fmt::Display) -> Self {
        tracing::error!(%what, "a request failed by a defect");
        let message = format!("internal error: {what}; please report it");
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", message)
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let error = ErrorDetail {
            code: self.code.to_owned(),
            message: self.message,
            details: self.details,
        };
        let mut response = (self.status, Json(ErrorBody { error })).into_response();
        if let Some(seconds) = self.retry_after {
            let headers = response.headers_mut();
            headers.insert(header::RETRY_AFTER, seconds.into());
        }
        if self.status == StatusCode::UNAUTHORIZED {
            let scheme = HeaderValue::from_static("Bearer");
            let headers = response.headers_mut();
            headers.insert(header::WWW_AUTHENTICATE, scheme);
        }
        response
    }
}

impl From<AccessError> for Problem {
    fn from(error: AccessError) -> Self {
        Self::new(error.status(), error.code(), error.to_string())
    }
}

impl From<Overloaded> for Problem {
    fn from(error: Overloaded) -> Self {
        let (status, code) = match error.why {
            Refusal::Rate => (StatusCode::TOO_MANY_REQUESTS, "rate-limited"),
            _ => (StatusCode::SERVICE_UNAVAILABLE, "unavailable"),
        };
        let mut problem = Self::new(status, code, error.to_string());
        problem.retry_after = Some(error.seconds());
        problem
    }
}

impl From<WriteError> for Problem {
    fn from(error: WriteError) -> Self {
        let message = error.to_string();
        let (index, cause) = match &error {
            WriteError::OneOf { index, source } => (Some(*index), &**source),
            other => (None, other),
        };
        let (status, code) = match cause {
            WriteError::NotFound { .. } => (StatusCode::NOT_FOUND, "unknown-record"),
            WriteError::Changed { .. } => (StatusCode::CONFLICT, "changed"),
            WriteError::UnknownVersion { .. } => (StatusCode::CONFLICT, "unknown-version"),
            WriteError::NothingToSettle { .. } => (StatusCode::CONFLICT, "nothing-to-settle"),
            WriteError::Repeated { .. } => (StatusCode::BAD_REQUEST, "repeated-record"),
            WriteError::TooLarge { .. } | WriteError::TooManyOperations { .. } => {
                (StatusCode::PAYLOAD_TOO_LARGE, "too-large")
            }
            WriteError::Internal { .. } => return Self::internal(message),
            _ => (StatusCode::UNPROCESSABLE_ENTITY, "invalid-write"),
        };
        let problem = Self::new(status, code, message);
        match index {
            Some(index) => problem.with(json!({ "index": index })),
            None => problem,
        }
    }
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        match error {
            Error::Write(error) => error.into(),
            Error::Storage(_) | Error::NotSaved { .. } => Self::storage(error.to_string()),
            Error::Closed => Self::unavailable("the server is stopping; try again"),
            Error::NameTaken { .. } => Self::conflict("name-taken", error.to_string()),
            other => Self::internal(other),
        }
    }
}

impl From<LakeError> for Problem {
    fn from(error: LakeError) -> Self {
        Self::storage(error.to_string())
    }
}

/// For paths that there are not.
pub(super) async fn no_such_path(uri: Uri) -> Problem {
    let path: String = uri.path().chars().take(200).collect();
    let message = format!("there is nothing at {path:?}; /v1/docs lists what there is");
    Problem::missing("unknown-path", message)
}

/// For methods that a path does not have.
pub(super) async fn no_such_method() -> Problem {
    let message = "this path does not have this method; the header Allow lists those it has";
    Problem::new(
        StatusCode::METHOD_NOT_ALLOWED,
        "method-not-allowed",
        message,
    )
}

impl Problem {
    /// Of a transaction of one write, whose number is of no use.
    pub fn of_one(error: Error) -> Self {
        match error {
            Error::Write(WriteError::OneOf { source, .. }) => (*source).into(),
            other => other.into(),
        }
    }
}
