//! Embeds a server and two peers from the packages alone: what one peer wrote, the other has and the lake shows.

use headwater::{Options, Peer, json};
use headwater_server::serve::{Config, ServeOptions, serve};
use std::error::Error;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(10);

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    let lake = folder.path().join("lake");
    let server = serve(ServeOptions {
        listen: ([127, 0, 0, 1], 0).into(),
        data: folder.path().join("data"),
        lake: lake.clone(),
        peers: Vec::new(),
        admin_listen: None,
        allow_insecure: false,
        allow_plain: false,
        config: Config::default(),
    })
    .await?;
    let url = format!("ws://{}", server.address());

    let ann = Peer::open(Options::folder(folder.path().join("ann"))).await?;
    let db = ann.create(Some("shared")).await?;
    let record = json::record_from_json(&serde_json::json!({"title": "from a package", "stars": 5}))?;
    db.collection("notes").put("first", record.clone()).await?;
    db.connect(&url)?;
    db.synced(PATIENCE).await?;

    let bob = Peer::open(Options::memory()).await?;
    let copy = bob.open_database(db.id()).await?;
    copy.connect(&url)?;
    copy.synced(PATIENCE).await?;
    assert_eq!(copy.collection("notes").get("first"), Some(record));

    bob.close().await?;
    ann.close().await?;
    // A server that stopped has published all that it acknowledged.
    server.stop().await?;
    let views: Vec<_> = std::fs::read_dir(&lake)?.collect::<Result<_, _>>()?;
    assert!(views.iter().any(|entry| entry.file_name() == "notes.view.drill"), "{views:?}");
    println!("the packages work");
    Ok(())
}
