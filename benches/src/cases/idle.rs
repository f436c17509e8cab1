//! What a connection costs that does nothing.

use super::Findings;
use crate::client::Client;
use crate::fanout::within;
use crate::server::Server;
use anyhow::{Context, Result};
use futures::{StreamExt, TryStreamExt, stream};
use std::time::Duration;

/// Opens `connections` connections that have joined and ask for nothing.
pub async fn run(server: &Server, connections: usize, limit: Duration) -> Result<Findings> {
    let url = server.url();
    let before = server.usage().context("the server has ended")?;
    let clients = stream::iter(0..connections)
        .map(|number| {
            let url = url.clone();
            async move { Client::connect(&url, &format!("bench-idle-{number}")).await }
        })
        .buffer_unordered(32)
        .try_collect::<Vec<_>>();
    let clients = within(limit, clients).await?;
    let after = server.usage().context("the server has ended")?;
    let mut findings = Findings::default();
    let kilobytes = (after.resident_mb - before.resident_mb) * 1000.0 / clients.len() as f64;
    findings.add("memory of each, kB", Some(kilobytes));
    Ok(findings)
}
