//! What requests carry, with what is wrong with it said in the API's own way.

use super::super::problem::Problem;
use super::Answer;
use axum::body::Bytes;
use axum::extract::rejection::{BytesRejection, FailedToBufferBody};
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use serde::de::DeserializeOwned;

/// What the path names.
pub(super) struct At<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for At<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Answer<Self> {
        let path = Path::<T>::from_request_parts(parts, state).await;
        path.map(|Path(path)| Self(path))
            .map_err(|error| Problem::bad("bad-path", error.body_text()))
    }
}

/// What stands after the question mark.
pub(super) struct Asked<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Asked<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Answer<Self> {
        let query = Query::<T>::from_request_parts(parts, state).await;
        query.map(|Query(query)| Self(query)).map_err(|error| {
            let text = error.body_text();
            let code = match text.contains("unknown field") {
                true => "unknown-field",
                false => "bad-request",
            };
            Problem::bad(code, text)
        })
    }
}

/// A body of JSON.
pub(super) struct Sent<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Sent<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Answer<Self> {
        let body = Body::from_request(request, state).await?;
        body.json().map(Self)
    }
}

/// A body of JSON as it came.
pub(super) struct Body(pub Bytes);

impl<S: Send + Sync> FromRequest<S> for Body {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Answer<Self> {
        if !is_json(request.headers()) {
            let message = "send JSON, with the header Content-Type: application/json";
            let status = StatusCode::UNSUPPORTED_MEDIA_TYPE;
            return Err(Problem::new(status, "not-json", message));
        }
        match Bytes::from_request(request, state).await {
            Ok(bytes) => Ok(Self(bytes)),
            Err(BytesRejection::FailedToBufferBody(FailedToBufferBody::LengthLimitError(_))) => {
                let message = "the body is larger than this server takes (16 MiB, unless `[limits] body_bytes` says otherwise): send less at once";
                Err(Problem::new(
                    StatusCode::PAYLOAD_TOO_LARGE,
                    "too-large",
                    message,
                ))
            }
            Err(error) => Err(Problem::bad("bad-request", error.body_text())),
        }
    }
}

impl Body {
    pub fn json<T: DeserializeOwned>(&self) -> Answer<T> {
        serde_json::from_slice(&self.0).map_err(|error| {
            let text = error.to_string();
            let code = match text.starts_with("unknown field") {
                true => "unknown-field",
                false => "bad-request",
            };
            Problem::bad(code, format!("the body is not what it should be: {text}"))
        })
    }

    pub fn text(&self) -> Answer<&str> {
        let text = std::str::from_utf8(&self.0);
        text.map_err(|error| Problem::bad("bad-request", format!("the body is not UTF-8: {error}")))
    }
}

fn is_json(headers: &HeaderMap) -> bool {
    let Some(kind) = headers.get(header::CONTENT_TYPE) else {
        return false;
    };
    let kind = kind.to_str().unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim();
    let kind = kind.to_ascii_lowercase();
    kind == "application/json" || kind == "application/merge-patch+json"
}

/// The value of a header of 1 to 128 printable characters.
pub(super) fn short_header(headers: &HeaderMap, name: &'static str) -> Answer<Option<String>> {
    let Some(value) = headers.get(name) else {
        return Ok(None);
    };
    let text = value.to_str().unwrap_or_default();
    match (1..=128).contains(&text.len()) {
        true => Ok(Some(text.to_owned())),
        false => {
            let message =
                format!("the header {name} must have 1 to 128 printable ASCII characters");
            Err(Problem::bad("bad-header", message))
        }
    }
}
