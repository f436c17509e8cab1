use crate::Database;
use crate::error::{of_engine, thrown};
use crate::{read, resolver};
use headwater::storage::Durability;
use headwater::{DatabaseId, Options};
use js_sys::Array;
use wasm_bindgen::JsValue;
use wasm_bindgen::prelude::wasm_bindgen;

/// A replica of any number of databases in one IndexedDB database.
#[wasm_bindgen]
#[derive(Debug)]
pub struct Peer(headwater::Peer);

#[wasm_bindgen]
impl Peer {
    /// Opens the store of this name. `resolvers` are pairs of a name with a version and a function.
    pub async fn open(
        name: String,
        durability: String,
        origin: Option<String>,
        user: Option<String>,
        resolvers: Array,
    ) -> Result<Peer, JsValue> {
        let mut options = match durability.as_str() {
            "memory" => Options::memory(),
            "relaxed" => Options::indexed_db(name, Durability::Relaxed),
            "strict" => Options::indexed_db(name, Durability::Strict),
            other => {
                let message =
                    format!("durability is strict, relaxed or memory, not {other:?}; choose one");
                return Err(thrown("bad-argument", &message));
            }
        };
        if let Some(origin) = origin {
            options = options.origin(origin);
        }
        if let Some(user) = user {
            options = options.user(user);
        }
        for (name, version, function) in resolver::all(&resolvers)? {
            options = options.resolver(name, version, function);
        }
        let peer = headwater::Peer::open(options).await;
        peer.map(Self).map_err(of_engine)
    }

    /// Creates a database.
    pub async fn create(&self, name: Option<String>) -> Result<Database, JsValue> {
        let database = self.0.create(name.as_deref()).await;
        database.map(Database).map_err(of_engine)
    }

    /// Opens a database by its id.
    #[wasm_bindgen(js_name = openDatabase)]
    pub async fn open_database(&self, id: String) -> Result<Database, JsValue> {
        let database = self.0.open_database(parse(&id)?).await;
        database.map(Database).map_err(of_engine)
    }

    /// Opens a database by its name here.
    #[wasm_bindgen(js_name = openNamed)]
    pub async fn open_named(&self, name: String) -> Result<Database, JsValue> {
        let database = self.0.open_named(&name).await;
        database.map(Database).map_err(of_engine)
    }

    /// Lets a name stand for a database here.
    #[wasm_bindgen(js_name = setName)]
    pub async fn set_name(&self, name: String, id: String) -> Result<(), JsValue> {
        let named = self.0.set_name(&name, parse(&id)?).await;
        named.map_err(of_engine)
    }

    /// The databases that are kept here.
    pub async fn databases(&self) -> Result<Array, JsValue> {
        let databases = self.0.databases().await.map_err(of_engine)?;
        let described = databases.iter().map(|database| {
            let names: Array = database.names.iter().map(JsValue::from).collect();
            read::object([
                ("id", database.id.to_string().into()),
                ("names", names.into()),
            ])
        });
        Ok(described.collect())
    }

    /// Lets go of the store.
    pub async fn close(&self) -> Result<(), JsValue> {
        self.0.close().await.map_err(of_engine)
    }
}

fn parse(id: &str) -> Result<DatabaseId, JsValue> {
    id.parse::<DatabaseId>()
        .map_err(|error| thrown("bad-id", &error.to_string()))
}
