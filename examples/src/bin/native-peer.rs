//! A native peer that takes one JSON object a line on standard input and answers with one on standard output.
//!
//! ```text
//! {"put": ["movies", "KEY", {"Title": "…"}]}      {"patch": ["movies", "KEY", {"Title": {"set": "…"}, "votes": {"increment": 2},
//! {"delete": ["movies", "KEY"]}                      "notes": {"splice": [0, 0, "…"]}, "old": "remove"}]}
//! {"get": ["movies", "KEY"]}   {"json": true}     {"connect": "ws://HOST:PORT"}   {"disconnect": true}   {"state": true}
//! ```

use anyhow::{Context as _, bail};
use headwater::{Database, Edit, Link, Options, Patch, Peer, json};
use serde_json::{Value as Json, json};
use tokio::io::{AsyncBufReadExt as _, BufReader};

struct Session {
    db: Database,
    links: Vec<Link>,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let folder = arguments
        .next()
        .context("usage: native-peer FOLDER DATABASE-ID")?;
    let id = arguments
        .next()
        .context("usage: native-peer FOLDER DATABASE-ID")?;
    let peer = Peer::open(Options::folder(folder).origin("native-peer")).await?;
    let mut session = Session {
        db: peer.open_database(id.parse()?).await?,
        links: Vec::new(),
    };
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    while let Some(line) = lines.next_line().await? {
        let answer = match session.run(&line).await {
            Ok(answer) => json!({ "ok": answer }),
            Err(error) => json!({ "error": format!("{error:#}") }),
        };
        println!("{answer}");
    }
    Ok(peer.close().await?)
}

impl Session {
    async fn run(&mut self, line: &str) -> anyhow::Result<Json> {
        let request: Json = serde_json::from_str(line)?;
        let (command, argument) = request
            .as_object()
            .and_then(|object| object.iter().next())
            .context("a request is an object with the command's name")?;
        let text = |index: usize| argument[index].as_str().unwrap_or_default();
        let collection = self.db.collection(text(0));
        match command.as_str() {
            "put" => drop(
                collection
                    .put(text(1), json::record_from_json(&argument[2])?)
                    .await?,
            ),
            "patch" => drop(collection.patch(text(1), patch(&argument[2])?).await?),
            "delete" => drop(collection.delete(text(1)).await?),
            "get" => {
                let record = collection.get(text(1));
                let record = record.as_ref().map(json::record_to_json);
                return Ok(serde_json::from_str(record.as_deref().unwrap_or("null"))?);
            }
            "json" => return Ok(Json::String(self.db.to_json())),
            "connect" => {
                let url = argument.as_str().context("connect takes an address")?;
                self.links.push(self.db.connect(url)?);
            }
            "disconnect" => self.links.drain(..).for_each(|link| link.close()),
            "state" => {
                let state = self.db.sync_state();
                return Ok(json!({ "connected": state.connected(), "unsynced": state.unsynced }));
            }
            other => bail!("{other:?} is no command"),
        }
        Ok(Json::Null)
    }
}

fn patch(fields: &Json) -> anyhow::Result<Patch> {
    let fields = fields.as_object().context("a patch is an object")?;
    fields
        .iter()
        .map(|(name, edit)| Ok((name.clone(), field_edit(edit)?)))
        .collect()
}

fn field_edit(edit: &Json) -> anyhow::Result<Edit> {
    if edit == "remove" {
        return Ok(Edit::Remove);
    }
    if let Some(by) = edit["increment"].as_i64() {
        return Ok(Edit::Increment(by));
    }
    if let Some([at, delete, insert]) = edit["splice"].as_array().map(Vec::as_slice) {
        let number = |n: &Json| n.as_u64().and_then(|n| usize::try_from(n).ok());
        return Ok(Edit::Splice {
            at: number(at).context("splice begins at a number")?,
            delete: number(delete).context("splice deletes a number")?,
            insert: insert
                .as_str()
                .context("splice inserts a string")?
                .to_owned(),
        });
    }
    let value = edit
        .get("set")
        .context("an edit is set, remove, increment or splice")?;
    Ok(Edit::Set(json::value_from_json(value)?))
}
