//! A sync server made of samod and its file storage, as its documentation shows one.

use anyhow::Result;
use axum::extract::ws::WebSocketUpgrade;
use axum::routing::get;
use axum::serve::ListenerExt;
use clap::Parser;
use samod::storage::TokioFilesystemStorage;
use std::net::SocketAddr;
use std::path::PathBuf;

/// Serves automerge documents to stock automerge-repo clients at `/`.
#[derive(Parser)]
struct Arguments {
    /// Where to listen.
    #[arg(long)]
    listen: SocketAddr,
    /// The folder for the documents.
    #[arg(long)]
    data: PathBuf,
}

#[tokio::main]
async fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let storage = TokioFilesystemStorage::new(&arguments.data);
    let repo = samod::Repo::build_tokio()
        .with_storage(storage)
        .load()
        .await;
    let acceptor = repo.make_acceptor(format!("ws://{}/", arguments.listen).parse()?)?;
    let accept = move |upgrade: WebSocketUpgrade| async move {
        upgrade.on_upgrade(async move |socket| {
            // It fails only while the server stops.
            let _ = acceptor.accept_axum(socket, None);
        })
    };
    let listener = tokio::net::TcpListener::bind(arguments.listen)
        .await?
        .tap_io(|stream| {
            // Without it the kernel would hold small messages back; where it cannot be set the server is only slower.
            let _ = stream.set_nodelay(true);
        });
    axum::serve(listener, axum::Router::new().route("/", get(accept))).await?;
    Ok(())
}
