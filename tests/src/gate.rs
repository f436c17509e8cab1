//! A way to a server on which what the server sends can be held back.

use std::net::SocketAddr;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// Passes connections on to a server. While it is closed, nothing is read from the server.
#[derive(Debug)]
pub struct Gate {
    /// Where clients connect.
    pub url: String,
    open: watch::Sender<bool>,
}

impl Gate {
    /// An open gate before the server at `address`.
    pub async fn before(address: &str) -> anyhow::Result<Self> {
        let server: SocketAddr = address.parse()?;
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("ws://{}", listener.local_addr()?);
        let (open, gate) = watch::channel(true);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(pass(client, server, gate.clone()));
            }
        });
        Ok(Self { url, open })
    }

    /// Holds back what the server sends, or lets it through again.
    pub fn set_open(&self, open: bool) {
        self.open.send_replace(open);
    }
}

async fn pass(client: TcpStream, server: SocketAddr, gate: watch::Receiver<bool>) {
    let Ok(server) = TcpStream::connect(server).await else {
        return;
    };
    let (client_reads, client_writes) = client.into_split();
    let (server_reads, server_writes) = server.into_split();
    let (_always, open) = watch::channel(true);
    // Each way ends when either end has gone.
    tokio::join!(
        copy(client_reads, server_writes, open),
        copy(server_reads, client_writes, gate)
    );
}

async fn copy(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut gate: watch::Receiver<bool>) {
    let mut buffer = vec![0; 64 << 10];
    while gate.wait_for(|open| *open).await.is_ok() {
        let read = tokio::select! {
            read = from.read(&mut buffer) => read,
            changed = gate.changed() => match changed {
                Ok(()) => continue,
                Err(_) => return,
            },
        };
        let passed = match read {
            Ok(0) | Err(_) => return,
            Ok(read) => to.write_all(&buffer[..read]).await,
        };
        if passed.is_err() {
            return;
        }
    }
}
