//! What it takes to be let in by a server.

use anyhow::Context as _;
use headwater::Connect;
use std::path::PathBuf;

#[derive(Debug, Clone, clap::Args)]
pub(super) struct Reach {
    /// A file that holds the token for the other server; HEADWATER_TOKEN can hold the token itself
    #[arg(long, value_name = "FILE", help_heading = "Syncing")]
    pub token_file: Option<PathBuf>,

    /// A PEM file of certificates that vouch for a wss:// server, instead of those that the system trusts
    #[arg(long, value_name = "FILE", help_heading = "Syncing")]
    pub ca: Option<PathBuf>,
}

impl Reach {
    /// A server, and what it takes to be let in.
    pub fn server(&self, url: &str) -> anyhow::Result<Connect> {
        let mut server = Connect::new(url);
        if let Some(file) = &self.token_file {
            let token = std::fs::read_to_string(file);
            let token =
                token.with_context(|| format!("cannot read the token in {}", file.display()))?;
            server = server.token(token.trim());
        } else if let Ok(token) = std::env::var("HEADWATER_TOKEN") {
            server = server.token(token.trim());
        }
        Ok(match &self.ca {
            Some(file) => server.authority(file),
            None => server,
        })
    }
}
