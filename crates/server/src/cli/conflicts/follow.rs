//! `headwater conflicts follow`

use super::print::{self, Named};
use super::{Where, conflicts};
use anyhow::{anyhow, bail};
use futures::{StreamExt as _, stream};
use headwater::{ConflictEvent, Database};
use tokio::signal::unix::{SignalKind, signal};

#[derive(Debug, clap::Args)]
#[command(after_help = "\
It begins with the records in which something is open, and from then on tells of each record of which something loses or is
settled, wherever that is done, until it is interrupted.

With --json each is an object: database, collection, key, and open, a list of conflicts as `list --json` prints them, which is
empty once everything in the record is settled.

Examples:
  headwater conflicts follow --database ID --peer ws://127.0.0.1:3030
  headwater conflicts follow --data ./mine --peer ws://127.0.0.1:3030 --collection movies --json")]
pub(in crate::cli) struct Follow {
    /// Print each record as JSON, one a line
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    place: Where,
}

pub(super) async fn run(args: Follow) -> anyhow::Result<()> {
    let Follow { json, place } = args;
    if place.data.peer.is_none() {
        bail!(
            "nothing can come into a folder that no server is connected to: name one with --peer URL"
        );
    }
    let (mut interrupt, mut terminate) = (
        signal(SignalKind::interrupt())?,
        signal(SignalKind::terminate())?,
    );
    let peer = place.data.open_existing().await?;
    let mut news = stream::SelectAll::new();
    for of in place.databases(&peer).await? {
        // From before it is looked what is open: then nothing is missed, though it may be told twice.
        let events = of.database.subscribe_conflicts();
        for event in open_now(&of.database) {
            tell(&place, &of, event, json)?;
        }
        news.push(events.map(move |event| (of.clone(), event)).boxed());
    }
    loop {
        let next = tokio::select! {
            next = news.next() => next,
            _ = interrupt.recv() => None,
            _ = terminate.recv() => None,
        };
        let Some((of, event)) = next else {
            return Ok(peer.close().await?);
        };
        let event = event.map_err(|_| {
            anyhow!("more came than could be printed: run it again, it begins with what is open")
        })?;
        tell(&place, &of, event, json)?;
    }
}

fn open_now(database: &Database) -> Vec<ConflictEvent> {
    let mut records = Vec::new();
    for collection in database.collections().into_keys() {
        let open = conflicts(database, &collection, None);
        let of_each = open.chunk_by(|a, b| a.key == b.key);
        records.extend(of_each.filter_map(|open| {
            Some(ConflictEvent {
                collection: collection.clone(),
                key: open.first()?.key.clone(),
                open: open.to_vec(),
            })
        }));
    }
    records
}

fn tell(place: &Where, of: &Named, event: ConflictEvent, json: bool) -> anyhow::Result<()> {
    match place.wants(&event.collection) {
        true => print::record(of, event, json),
        false => Ok(()),
    }
}
