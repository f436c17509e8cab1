//! `headwater conflicts`

mod follow;
mod print;

use super::data::DataArgs;
use super::output;
use anyhow::bail;
use headwater::json::value_from_str;
use headwater::{ClaimId, Conflict, Database, Peer, Scan, Settlement, Value};
use print::{Named, Open};

#[derive(Debug, clap::Subcommand)]
pub(super) enum Conflicts {
    /// List what lost and is not settled, a line for each write that did
    List(List),
    /// Show all that is open in the records of one key, with the ids of the writes
    Show(Show),
    /// Tell what is open, and of all that loses or is settled from then on
    Follow(follow::Follow),
    /// Settle what lost in one field of a record, or in the record as a whole
    Settle(Settle),
}

#[derive(Debug, clap::Args)]
struct Where {
    /// Only this database, by its id or its name in this folder
    #[arg(long, value_name = "ID|NAME", required_unless_present = "data")]
    database: Option<String>,

    /// Only this collection
    #[arg(long, value_name = "NAME")]
    collection: Option<String>,

    #[command(flatten)]
    data: DataArgs,
}

const JSON: &str = "\
With --json each conflict is an object: database, collection, key, field (a list of names, empty for the record as a whole),
path (the same as --field takes it), kind, policy, resolved, shown, winner and losers. A write is {\"id\": …, \"value\": …,
\"by\": {user, origin, at, actor, change}}; a delete has no value, and a deleted record shows nothing. User, origin and time
(milliseconds since 1970) are what the writer claims.

Examples:
";

#[derive(Debug, clap::Args)]
#[command(after_help = format!("{JSON}\
  headwater conflicts list --data ./mine
  headwater conflicts list --database films --collection movies --data ./mine --json
  headwater conflicts list --database ID --peer ws://127.0.0.1:3030"))]
pub(super) struct List {
    /// Only the record of this key
    #[arg(long)]
    key: Option<String>,

    /// Print each conflict as JSON, one a line
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    place: Where,
}

#[derive(Debug, clap::Args)]
#[command(after_help = format!("{JSON}\
  headwater conflicts show milk --data ./mine
  headwater conflicts show milk --database films --collection movies --data ./mine --json"))]
pub(super) struct Show {
    /// The record's key
    key: String,

    /// Print each conflict as JSON, one a line
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    place: Where,
}

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Settling is a write: it supersedes what is here, and nothing that others write meanwhile. Of an edit that met a delete,
--accept leaves what is shown, --keep takes the id of the delete or of the edit, and --write a whole record.

Examples:
  headwater conflicts settle milk --field title --accept --data ./mine
  headwater conflicts settle milk --field title --keep 4/17@5b2e… --database films --data ./mine
  headwater conflicts settle milk --field address.city --write '\"Oslo\"' --data ./mine --peer ws://127.0.0.1:3030
  headwater conflicts settle milk --field \"\" --accept --data ./mine")]
#[command(group(clap::ArgGroup::new("how").required(true).args(["accept", "keep", "write"])))]
pub(super) struct Settle {
    /// The record's key
    key: String,

    /// The field as `list` and `show` write it, empty for the record as a whole [default: the only one that is open]
    #[arg(long, value_name = "PATH")]
    field: Option<String>,

    /// Leave what is shown
    #[arg(long)]
    accept: bool,

    /// Show this one of the writes
    #[arg(long, value_name = "CLAIM-ID")]
    keep: Option<String>,

    /// Show another value, as `headwater import` reads JSON
    #[arg(long, value_name = "JSON", value_parser = parse_value)]
    write: Option<Value>,

    /// Print {"database", "collection", "key", "field", "shown", "open": how many are left in the record}
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    place: Where,
}

fn parse_value(text: &str) -> Result<Value, String> {
    value_from_str(text)
        .map_err(|error| format!("{error}; a text needs quotes of its own, as in '\"Oslo\"'"))
}

pub(super) async fn run(command: Conflicts) -> anyhow::Result<()> {
    match command {
        Conflicts::List(args) => list(args).await,
        Conflicts::Show(args) => show(args).await,
        Conflicts::Follow(args) => follow::run(args).await,
        Conflicts::Settle(args) => settle(args).await,
    }
}

async fn list(args: List) -> anyhow::Result<()> {
    let peer = args.place.data.open_existing().await?;
    let open = args.place.open(&peer, args.key.as_deref()).await?;
    match args.json {
        true => open.iter().try_for_each(Open::print_json)?,
        false => print::table(&open)?,
    }
    Ok(peer.close().await?)
}

async fn show(args: Show) -> anyhow::Result<()> {
    let peer = args.place.data.open_existing().await?;
    let open = args.place.open(&peer, Some(&args.key)).await?;
    if open.is_empty() {
        bail!(nothing_open(&args.key));
    }
    match args.json {
        true => open.iter().try_for_each(Open::print_json)?,
        false => open.iter().try_for_each(Open::print)?,
    }
    Ok(peer.close().await?)
}

async fn settle(args: Settle) -> anyhow::Result<()> {
    let peer = args.place.data.open_existing().await?;
    let open = args.place.open(&peer, Some(&args.key)).await?;
    let Open { of, conflict } = args.choose(&open)?;
    let database = &of.database;
    let how = args.how(conflict)?;
    let collection = database.collection(&conflict.collection);
    collection
        .settle(&conflict.key, &conflict.field, how)
        .await?;
    args.place.data.sync(database).await?;
    print::settled(database, conflict, args.json)?;
    Ok(peer.close().await?)
}

fn nothing_open(key: &str) -> String {
    format!(
        "nothing is to be settled under the key {key:?}; `headwater conflicts list` shows what is open"
    )
}

impl Where {
    /// Those that are meant, brought up to date with the server if there is one.
    async fn databases(&self, peer: &Peer) -> anyhow::Result<Vec<Named>> {
        let known = peer.databases().await?;
        let wanted = match &self.database {
            Some(database) => vec![database.clone()],
            None => known.iter().map(|info| info.id.to_string()).collect(),
        };
        let mut all = Vec::new();
        for wanted in wanted {
            let database = self.data.open_database(peer, &wanted).await?;
            let names = known.iter().filter(|info| info.id == database.id());
            let name = names.flat_map(|info| &info.names).next().cloned();
            all.push(Named { database, name });
        }
        let has = |wanted: &String| {
            let mut databases = all.iter();
            databases.any(|one| one.database.collections().contains_key(wanted))
        };
        match &self.collection {
            Some(collection) if !has(collection) => bail!(
                "there is no collection {collection:?}; `headwater ls --database ID|NAME` lists those of a database"
            ),
            _ => Ok(all),
        }
    }

    /// Whether this collection is meant.
    fn wants(&self, collection: &str) -> bool {
        let wanted = self.collection.as_deref();
        wanted.is_none_or(|wanted| wanted == collection)
    }

    /// All that is open there.
    async fn open(&self, peer: &Peer, key: Option<&str>) -> anyhow::Result<Vec<Open>> {
        let mut open = Vec::new();
        for of in self.databases(peer).await? {
            for collection in of.database.collections().into_keys() {
                if self.wants(&collection) {
                    let found = conflicts(&of.database, &collection, key).into_iter();
                    open.extend(found.map(|conflict| Open {
                        of: of.clone(),
                        conflict,
                    }));
                }
            }
        }
        Ok(open)
    }
}

fn conflicts(database: &Database, collection: &str, key: Option<&str>) -> Vec<Conflict> {
    let collection = database.collection(collection);
    match key {
        Some(key) => collection.conflicts_of(key),
        None => collection.conflicts(&Scan::default()),
    }
}

impl Settle {
    /// The one that is meant.
    fn choose<'o>(&self, open: &'o [Open]) -> anyhow::Result<&'o Open> {
        if open.is_empty() {
            bail!(nothing_open(&self.key));
        }
        let field = self.field.as_ref();
        let meant: Vec<&Open> = open
            .iter()
            .filter(|open| field.is_none_or(|field| open.conflict.path() == *field))
            .collect();
        let list = |all: &[&Open]| {
            let all: Vec<_> = all.iter().map(|open| open.place()).collect();
            all.join("; ")
        };
        match (meant.as_slice(), field) {
            ([one], _) => Ok(one),
            ([], _) => {
                let all: Vec<&Open> = open.iter().collect();
                let field = field.map(String::as_str).unwrap_or_default();
                bail!(
                    "nothing is to be settled in the field {field:?}; open are: {}",
                    list(&all)
                )
            }
            (several, None) => {
                bail!(
                    "several conflicts are open, say which one with --field: {}",
                    list(several)
                )
            }
            (several, Some(_)) => bail!(
                "several records have a conflict there, say which one with --database and --collection: {}",
                list(several)
            ),
        }
    }

    fn how(&self, conflict: &Conflict) -> anyhow::Result<Settlement> {
        if let Some(value) = &self.write {
            return Ok(Settlement::Write(value.clone()));
        }
        let Some(id) = &self.keep else {
            return Ok(Settlement::Accept);
        };
        let writes = conflict.losers.iter().chain(&conflict.winner);
        let ids: Vec<&ClaimId> = writes.map(|claim| &claim.id).collect();
        if !ids.iter().any(|known| known.0 == *id) {
            let ids: Vec<_> = ids.iter().map(|id| id.to_string()).collect();
            bail!(
                "{id:?} is none of the writes that met there; they are {}",
                ids.join(", ")
            );
        }
        Ok(Settlement::Keep(ClaimId(id.clone())))
    }
}
