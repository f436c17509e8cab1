//! An application that embeds the crate and nothing else: a reading list in a folder, usable offline, synced when a server
//! is given.
//!
//! ```text
//! cargo run -p headwater-examples --bin embedded -- FOLDER [ws://HOST:PORT [DATABASE-ID]]
//! ```

use headwater::{Edit, Options, Patch, Peer, Scan, Text};
use serde::{Deserialize, Serialize};
use std::time::Duration;

#[derive(Debug, Serialize, Deserialize)]
struct Book {
    title: String,
    pages: i64,
    notes: Text,
    #[serde(default)]
    read: bool,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let folder = arguments
        .next()
        .unwrap_or_else(|| "reading-list".to_owned());
    let (server, id) = (arguments.next(), arguments.next());

    let peer = Peer::open(Options::folder(folder).origin("reading-list")).await?;
    let db = match id {
        Some(id) => peer.open_database(id.parse()?).await?,
        None => peer.open_or_create("reading-list").await?,
    };
    let books = db.collection("books").typed::<Book>();
    let mut changes = books.untyped().subscribe();

    let book = Book {
        title: "The Tangled Bank".to_owned(),
        pages: 312,
        notes: Text("begin with chapter two".to_owned()),
        read: false,
    };
    books.put("tangled-bank", &book).await?;
    let finished = Patch::from([("read".to_owned(), Edit::Set(true.into()))]);
    books.patch("tangled-bank", finished).await?;
    while let Ok(Some(Ok(change))) =
        tokio::time::timeout(Duration::from_millis(200), changes.next()).await
    {
        println!("{:?} {}", change.change(), change.key);
    }

    if let Some(server) = server {
        db.connect(&server)?;
        db.synced(Duration::from_secs(10)).await?;
        println!("synced with {server}; others open it by its id {}", db.id());
    }
    for (key, book) in books.scan(&Scan::default())? {
        println!("{key}: {book:?}");
    }
    println!("{} edits are on no server yet", db.unsynced());
    peer.close().await?;
    Ok(())
}
