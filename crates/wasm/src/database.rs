use crate::error::{of_engine, thrown};
use crate::listen::{Subscription, call};
use crate::{Collection, read, resolver, schema};
use headwater::{Connect, LinkState, SyncState};
use js_sys::{Array, Function};
use std::time::Duration;
use wasm_bindgen::JsValue;
use wasm_bindgen::prelude::wasm_bindgen;

/// An open database.
#[wasm_bindgen]
#[derive(Debug)]
pub struct Database(pub(crate) headwater::Database);

#[wasm_bindgen]
impl Database {
    /// Its id, by which others open it.
    pub fn id(&self) -> String {
        self.0.id().to_string()
    }

    /// A collection, by its name; the fields that its writer knows, if not all are.
    pub fn collection(&self, name: String, known: Option<Vec<String>>) -> Collection {
        let collection = self.0.collection(name);
        Collection(match known {
            Some(fields) => collection.knowing(fields),
            None => collection,
        })
    }

    /// What is known of the collections, by name.
    pub fn collections(&self) -> Result<JsValue, JsValue> {
        resolver::not_inside()?;
        let collections = self.0.collections();
        Ok(read::object(collections.iter().map(
            |(name, collection)| {
                let partitions: Array = collection
                    .partitions
                    .iter()
                    .map(|count| JsValue::from(*count))
                    .collect();
                let fields = collection.fields.iter();
                let policies = collection.policies.iter();
                let columns = collection.columns.iter();
                let described = read::object([
                    ("partitions", partitions.into()),
                    (
                        "fields",
                        read::object(
                            fields.map(|(name, kind)| (name, kind.name().as_ref().into())),
                        ),
                    ),
                    (
                        "policies",
                        read::object(
                            policies.map(|(name, policy)| (name, policy.to_string().into())),
                        ),
                    ),
                    (
                        "columns",
                        read::object(
                            columns.map(|(name, column)| (name, schema::column_value(column))),
                        ),
                    ),
                    ("version", collection.version.into()),
                    ("delete", collection.delete.name().into()),
                ]);
                (name, described)
            },
        )))
    }

    /// Declares what a schema object says.
    pub async fn declare(&self, collection: String, schema: JsValue) -> Result<(), JsValue> {
        let declared = self.0.declare(&collection, schema::schema(&schema)?).await;
        declared.map_err(of_engine)
    }

    /// Canonical JSON of all records.
    #[wasm_bindgen(js_name = toJson)]
    pub fn to_json(&self) -> Result<String, JsValue> {
        resolver::not_inside()?;
        Ok(self.0.to_json())
    }

    /// Syncs with a server from now on, let in by a token if it wants one.
    pub fn connect(&self, url: &str, token: Option<String>) -> Result<Link, JsValue> {
        resolver::not_inside()?;
        let server = match token {
            Some(token) => Connect::new(url).token(token),
            None => Connect::new(url),
        };
        self.0.connect(server).map(Link).map_err(of_engine)
    }

    /// The state of synchronisation now.
    #[wasm_bindgen(js_name = syncState)]
    pub fn sync_state(&self) -> JsValue {
        state(&self.0.sync_state())
    }

    /// Calls `listener` with the state of synchronisation as it is, and whenever it changes.
    #[wasm_bindgen(js_name = onSyncState)]
    pub fn on_sync_state(&self, listener: Function) -> Subscription {
        let mut states = self.0.watch_sync_state();
        Subscription::start(async move {
            loop {
                let shown = state(&states.borrow_and_update());
                call(&listener, &shown);
                if states.changed().await.is_err() {
                    return;
                }
            }
        })
    }

    /// Waits until everything is synced, for so many milliseconds at the most.
    pub async fn synced(&self, timeout: f64) -> Result<(), JsValue> {
        let timeout = Duration::try_from_secs_f64(timeout / 1000.0)
            .map_err(|_| thrown("bad-argument", "timeout is in milliseconds, from 0 on"))?;
        self.0.synced(timeout).await.map_err(of_engine)
    }
}

/// A server that is synced with.
#[wasm_bindgen]
#[derive(Debug)]
pub struct Link(headwater::Link);

#[wasm_bindgen]
impl Link {
    /// How it goes.
    pub fn state(&self) -> JsValue {
        read::object(link_state(&self.0.state()))
    }

    /// Ends it for good.
    pub fn close(&self) {
        self.0.close();
    }

    /// Tries at once instead of after the wait.
    #[wasm_bindgen(js_name = retryNow)]
    pub fn retry_now(&self) {
        self.0.retry_now();
    }
}

fn link_state(state: &LinkState) -> Vec<(&'static str, JsValue)> {
    match state {
        LinkState::Connecting => vec![("state", "connecting".into())],
        LinkState::Connected => vec![("state", "connected".into())],
        LinkState::Waiting { error } => {
            vec![("state", "waiting".into()), ("error", error.into())]
        }
        LinkState::Denied { error } => {
            vec![("state", "denied".into()), ("error", error.into())]
        }
    }
}

fn state(state: &SyncState) -> JsValue {
    let links = state.links.iter().map(|link| {
        let mut properties = vec![("url", JsValue::from(&link.url))];
        properties.extend(link_state(&link.state));
        read::object(properties)
    });
    let refused = state.refused.iter().map(JsValue::from);
    read::object([
        ("connected", state.connected().into()),
        ("unsynced", (state.unsynced as f64).into()),
        ("links", links.collect::<Array>().into()),
        ("refused", refused.collect::<Array>().into()),
    ])
}
