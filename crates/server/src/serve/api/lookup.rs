//! Finding what a request names, and who sends it.

use super::super::access::Access;
use super::super::endpoints::Shared;
use super::super::problem::Problem;
use super::Answer;
use super::extract::short_header;
use axum::http::HeaderMap;
use headwater::{Database, DatabaseId};
use headwater_core::catalog::Collection;

/// The header in which a request names the job or application that it is from.
pub(super) const ORIGIN: &str = "headwater-origin";

/// What a request wants to do with a database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Action {
    Read,
    Write,
}

/// The database of this id or name, if the request may do with it what it wants.
pub(super) async fn database(
    shared: &Shared,
    access: &Access,
    name: &str,
    action: Action,
) -> Answer<Database> {
    let allowed = |id: &DatabaseId| match action {
        Action::Read => access.read(id),
        Action::Write => access.write(id),
    };
    let unknown = || {
        let name: String = name.chars().take(64).collect();
        let message =
            format!("there is no database {name:?} here; GET /v1/databases lists those there are");
        Problem::missing("unknown-database", message)
    };
    let id = match name.parse::<DatabaseId>() {
        Ok(id) => id,
        Err(_) => {
            let known = shared.peer.databases().await?;
            let named = known
                .into_iter()
                .find(|info| info.names.iter().any(|one| one == name));
            match named {
                Some(info) => info.id,
                // Whether there is one of the name is told to those who may read everything.
                None => {
                    access.read_all()?;
                    return Err(unknown());
                }
            }
        }
    };
    allowed(&id)?;
    let open = shared.peer.open_databases();
    open.into_iter()
        .find(|database| database.id() == id)
        .ok_or_else(unknown)
}

/// What the catalog has of a collection.
pub(super) fn collection(database: &Database, name: &str) -> Answer<Collection> {
    let found = database.inspect(|core| core.collections().get(name).cloned());
    found.ok_or_else(|| {
        let name: String = name.chars().take(64).collect();
        let message = format!(
            "there is no collection {name:?} in this database; write a record to it, or declare it"
        );
        Problem::missing("unknown-collection", message)
    })
}

/// The same database for what this request writes: in its origin's name and its token's.
pub(super) fn written_by(
    database: &Database,
    access: &Access,
    headers: &HeaderMap,
) -> Answer<Database> {
    let origin = short_header(headers, ORIGIN)?;
    let origin = origin.unwrap_or_else(|| "http".to_owned());
    let user = access.name().map(str::to_owned);
    Ok(database.written_by(Some(origin), user))
}

/// How many things a page has: what is asked for, at most `max`.
pub(super) fn limit(asked: Option<u32>, usual: usize, max: usize) -> Answer<usize> {
    match asked {
        None => Ok(usual),
        Some(asked) if asked >= 1 && asked as usize <= max => Ok(asked as usize),
        Some(asked) => {
            let message = format!("limit is {asked}; it must be from 1 to {max}");
            Err(Problem::bad("bad-request", message))
        }
    }
}
