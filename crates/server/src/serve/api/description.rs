//! The description of the API in OpenAPI 3.1, and a page to read it.

use axum::response::Html;
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityRequirement, SecurityScheme};
use utoipa::openapi::{
    ComponentsBuilder, ContentBuilder, InfoBuilder, OpenApi, Ref, RefOr, ResponseBuilder,
};
use utoipa::{PartialSchema as _, ToSchema as _};

use super::super::problem::{ErrorBody, ErrorDetail};

/// What every request may be answered with, beside what it is there for.
const ERRORS: [(&str, &str); 12] = [
    ("400", "The request is malformed"),
    (
        "401",
        "No token came with it, or one that is unknown or expired",
    ),
    ("403", "The token does not reach so far"),
    ("404", "What the path names is not there"),
    ("405", "The path does not have this method"),
    (
        "409",
        "Something else is there than the request takes for granted",
    ),
    (
        "410",
        "The change feed does not have this cursor, or not any more; `details` has `oldest` and `head`",
    ),
    ("413", "The request is too large"),
    ("415", "The body is not JSON"),
    ("422", "What is to be written cannot stand there"),
    (
        "429",
        "Too many requests; try again after the seconds in `Retry-After`",
    ),
    (
        "503",
        "Storage or the lake fails, or the server is busy or stopping; try again after the seconds in `Retry-After`",
    ),
];

/// Says what holds for every operation, and puts both halves together.
pub(super) fn complete(mut open: OpenApi, mut guarded: OpenApi) -> OpenApi {
    for path in guarded.paths.paths.values_mut() {
        for operation in operations(path) {
            let bearer = SecurityRequirement::new("token", Vec::<String>::new());
            operation.security = Some(vec![bearer]);
        }
    }
    open.merge(guarded);
    for path in open.paths.paths.values_mut() {
        for operation in operations(path) {
            for (status, description) in ERRORS {
                let body = Ref::from_schema_name("ErrorBody");
                let content = ContentBuilder::new().schema(Some(body)).build();
                let response = ResponseBuilder::new()
                    .description(description)
                    .content("application/json", content);
                let responses = &mut operation.responses.responses;
                responses
                    .entry(status.to_owned())
                    .or_insert_with(|| RefOr::T(response.build()));
            }
        }
    }
    open.info = InfoBuilder::new()
        .title("Headwater")
        .version(env!("CARGO_PKG_VERSION"))
        .description(Some(
            "Records, their changes and the lake over HTTP. Every error is \
             `{\"error\": {\"code\", \"message\", \"details\"?}}`. Cursors and versions are opaque.",
        ))
        .build();
    let mut components = open
        .components
        .take()
        .unwrap_or_else(|| ComponentsBuilder::new().build());
    components
        .schemas
        .insert("ErrorBody".into(), ErrorBody::schema());
    components
        .schemas
        .insert(ErrorDetail::name().into(), ErrorDetail::schema());
    let scheme = SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer));
    components.add_security_scheme("token", scheme);
    open.components = Some(components);
    open
}

fn operations(
    path: &mut utoipa::openapi::PathItem,
) -> impl Iterator<Item = &mut utoipa::openapi::path::Operation> {
    [
        &mut path.get,
        &mut path.put,
        &mut path.post,
        &mut path.patch,
        &mut path.delete,
    ]
    .into_iter()
    .flatten()
}

/// The page, which needs nothing from anywhere else.
pub(super) async fn page() -> Html<&'static str> {
    Html(include_str!("docs.html"))
}
