//! The folder, the database and the server that the data commands work with.

use super::output;
use super::reach::Reach;
use anyhow::{Context as _, bail};
use headwater::{Database, DatabaseId, Error, LinkState, Options, Peer};
use std::path::PathBuf;
use std::time::Duration;

/// What writes of the command line name as their origin, but for what says otherwise.
pub(super) const ORIGIN: &str = "headwater";

#[derive(Debug, clap::Args)]
pub(super) struct DataArgs {
    /// The folder that keeps the data; without one nothing is kept here, and --peer is needed
    #[arg(long, value_name = "DIR", required_unless_present = "peer")]
    pub data: Option<PathBuf>,

    /// A server to sync with, before reading and after writing
    #[arg(long, value_name = "URL", help_heading = "Syncing")]
    pub peer: Option<String>,

    #[command(flatten)]
    pub reach: Reach,

    /// How long a sync may take, in seconds
    #[arg(
        long,
        value_name = "SECONDS",
        default_value_t = 60,
        help_heading = "Syncing"
    )]
    pub timeout: u64,
}

impl DataArgs {
    /// Opens the folder to write to it, creating it if needed.
    pub async fn open(&self) -> anyhow::Result<Peer> {
        self.open_as(ORIGIN).await
    }

    /// As [`open`](Self::open), with `origin` in what is written.
    pub async fn open_as(&self, origin: &str) -> anyhow::Result<Peer> {
        open_peer(self.data.as_ref(), origin).await
    }

    /// Opens the folder to read what is there already.
    pub async fn open_existing(&self) -> anyhow::Result<Peer> {
        if let Some(folder) = &self.data
            && !folder.is_dir()
        {
            bail!(
                "there is no folder {}; `headwater import` and `headwater sync` create one",
                folder.display()
            );
        }
        self.open().await
    }

    /// Opens a database by id or name and brings it up to date.
    pub async fn open_database(&self, peer: &Peer, database: &str) -> anyhow::Result<Database> {
        let database = match database.parse::<DatabaseId>() {
            Ok(id) => {
                let known = peer.databases().await?.iter().any(|known| known.id == id);
                if !known && self.peer.is_none() {
                    bail!(
                        "the database {id} is not in this folder; `headwater ls` shows what is, --peer gets it from a server"
                    );
                }
                peer.open_database(id).await?
            }
            Err(_) => peer.open_named(database).await?,
        };
        if let Some(url) = &self.peer {
            database.connect(self.reach.server(url)?)?;
            self.sync(&database).await?;
        }
        Ok(database)
    }

    /// Creates a database, with a name if one is given, and has it sync with the server that was given.
    pub async fn create(&self, peer: &Peer, name: Option<&str>) -> anyhow::Result<Database> {
        let database = peer.create(name).await?;
        if let Some(url) = &self.peer {
            database.connect(self.reach.server(url)?)?;
        }
        Ok(database)
    }

    /// Waits until the server that was given has all of this database and this peer all of the server's.
    pub async fn sync(&self, database: &Database) -> anyhow::Result<()> {
        match &self.peer {
            Some(url) => synced(database, url, Duration::from_secs(self.timeout)).await,
            None => Ok(()),
        }
    }
}

pub(super) async fn open_peer(data: Option<&PathBuf>, origin: &str) -> anyhow::Result<Peer> {
    let options = match data {
        Some(folder) => Options::folder(folder),
        None => Options::memory(),
    };
    Ok(Peer::open(options.origin(origin)).await?)
}

/// Waits until this database, connected to `url`, is in sync.
pub(super) async fn synced(
    database: &Database,
    url: &str,
    timeout: Duration,
) -> anyhow::Result<()> {
    let spinner = output::spinner();
    spinner.set_message(format!("syncing {} with {url}", database.id()));
    let result = database.synced(timeout).await;
    spinner.finish_and_clear();
    let Err(Error::NotInSync { seconds, .. }) = result else {
        return Ok(result?);
    };
    let state = database.sync_state();
    let mut reasons = state.refused.clone();
    reasons.extend(state.links.iter().filter_map(|link| match &link.state {
        LinkState::Waiting { error } | LinkState::Denied { error } => Some(error.clone()),
        LinkState::Connecting => Some("no answer".to_owned()),
        LinkState::Connected => None,
    }));
    if reasons.is_empty() {
        reasons.push("it is still going on; allow more with --timeout".to_owned());
    }
    let here = match state.unsynced {
        0 => String::new(),
        edits => format!("; {edits} edits are only here"),
    };
    Err(anyhow::anyhow!(reasons.join("; "))).with_context(|| {
        format!("not in sync with {url} after {seconds} s{here}; run the command again once this is mended")
    })
}
