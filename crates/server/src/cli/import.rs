//! `headwater import`

use super::data::DataArgs;
use super::output;
use super::write::Writer;
use crate::import::{
    Format, Import as File, ImportOptions, Key, Progress, Source, parse_field_type,
};
use anyhow::{Context as _, bail};
use headwater::{CollectionSchema, Database, FieldType, Policy, Written};
use indicatif::ProgressBar;
use serde_json::json;
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Import {
    /// The file, or `-` for standard input
    file: PathBuf,

    /// The database, by its id or its name in this folder
    #[arg(
        long,
        value_name = "ID|NAME",
        required_unless_present = "create",
        conflicts_with = "create"
    )]
    database: Option<String>,

    /// Create a database with this name and import into it
    #[arg(long, value_name = "NAME")]
    create: Option<String>,

    /// The collection [default: the file's name without its extension]
    #[arg(long, value_name = "NAME")]
    collection: Option<String>,

    /// The field that holds each record's key, a string or an integer; or `hash`: a key made of the record itself
    #[arg(long, value_name = "FIELD|hash")]
    key: String,

    /// How the file is written [default: by its extension]
    #[arg(long, value_enum)]
    format: Option<FormatArg>,

    /// The type of a field: bool, int, float, decimal(PRECISION,SCALE), string, text, counter, date, timestamp, bytes, list or
    /// map; again for more fields
    #[arg(long = "type", value_name = "FIELD=TYPE", value_parser = parse_type)]
    types: Vec<(String, FieldType)>,

    /// What decides between concurrent values of a field: last-writer, max, min, union, keep-all or custom:NAME@VERSION; again
    /// for more fields
    #[arg(long = "policy", value_name = "FIELD=POLICY", value_parser = parse_policy)]
    policies: Vec<(String, Policy)>,

    /// Import the good rows of a file that has broken ones, instead of nothing
    #[arg(long)]
    skip_bad: bool,

    /// Print the result as JSON
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    data: DataArgs,
}

const EXAMPLES: &str = "\
Importing a file again changes nothing: records that are as they should be are left alone.

The file is checked as a whole first. Broken rows are named by line, and nothing is imported unless --skip-bad is given.
In JSON every value has its type, integers exactly; {\"$timestamp\": milliseconds}, {\"$bytes\": base64}, {\"$text\": …} and
{\"$counter\": …} are values of these types. In CSV all is strings unless --type or the collection says otherwise; an empty
cell is the empty string, or null where another type is declared.

In Drill a column has the narrowest type that holds all its values exactly: BIGINT for integers, DOUBLE for fractions also
with integers among them, DECIMAL where doubles would round these, text for any other mixture such as numbers among titles.
A field with a declared type has that type. What is null or missing is null.

Examples:
  headwater import movies.json --create films --key hash --data ./mine
  headwater import airports.csv --database films --key iata --type latitude=float --type longitude=float --data ./mine
  headwater import scores.csv --database films --key player --type best=int --policy best=max --data ./mine
  headwater import orders.ndjson --database ID --key id --peer ws://127.0.0.1:3030";

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum FormatArg {
    Json,
    Ndjson,
    Csv,
}

fn parse_type(text: &str) -> Result<(String, FieldType), String> {
    // The last `=`, since a field's name may hold one and a type's does not.
    let (field, kind) = text
        .rsplit_once('=')
        .ok_or("use FIELD=TYPE, such as price=float")?;
    let kind = parse_field_type(kind).map_err(|error| error.to_string())?;
    Ok((field.to_owned(), kind))
}

fn parse_policy(text: &str) -> Result<(String, Policy), String> {
    // The first `=` behind which there is a policy: both names may hold one.
    let mut equals = text.match_indices('=');
    let (at, policy) = equals
        .find_map(|(at, _)| match Policy::of_name(&text[at + 1..]) {
            Policy::Other(_) => None,
            policy => Some((at, policy)),
        })
        .ok_or(
            "use FIELD=POLICY, such as price=max; policies are last-writer, max, min, union, keep-all and custom:NAME@VERSION, \
             and text and counter are types: --type FIELD=counter",
        )?;
    Ok((text[..at].to_owned(), policy))
}

impl Import {
    fn format(&self) -> anyhow::Result<Format> {
        match self.format {
            Some(FormatArg::Json) => Ok(Format::Json),
            Some(FormatArg::Ndjson) => Ok(Format::Ndjson),
            Some(FormatArg::Csv) => Ok(Format::Csv),
            None => Format::of_path(&self.file).with_context(|| {
                format!(
                    "{} does not end in .json, .ndjson, .jsonl or .csv; say what it is with --format",
                    self.file.display()
                )
            }),
        }
    }

    fn collection(&self) -> anyhow::Result<String> {
        match (&self.collection, self.file.file_stem()) {
            (Some(name), _) => Ok(name.clone()),
            (None, Some(stem)) if stem != "-" => Ok(stem.to_string_lossy().into_owned()),
            _ => bail!("name the collection with --collection"),
        }
    }

    /// What is declared of the fields.
    fn schema(&self) -> anyhow::Result<CollectionSchema> {
        let mut schema = CollectionSchema::new();
        for (field, kind) in &self.types {
            if schema.fields.insert(field.clone(), kind.clone()).is_some() {
                bail!("--type is given twice for the field {field:?}");
            }
        }
        for (field, policy) in &self.policies {
            if schema
                .policies
                .insert(field.clone(), policy.clone())
                .is_some()
            {
                bail!("--policy is given twice for the field {field:?}");
            }
        }
        Ok(schema)
    }
}

pub(super) async fn run(args: Import) -> anyhow::Result<()> {
    let collection = args.collection()?;
    let schema = args.schema()?;
    let mut options = ImportOptions {
        format: args.format()?,
        key: match args.key.as_str() {
            "hash" => Key::Hash,
            field => Key::Field(field.to_owned()),
        },
        types: schema.fields.clone(),
        required: schema.policies.keys().cloned().collect(),
        declared: BTreeMap::new(),
        skip_bad: args.skip_bad,
    };
    let source = match args.file == Path::new("-") {
        true => Source::copy("standard input", io::stdin().lock())?,
        false => Source::open(&args.file)?,
    };
    let peer = args.data.open().await?;
    let existing = match &args.database {
        None => None,
        Some(database) => Some(args.data.open_database(&peer, database).await?),
    };
    if let Some(database) = &existing
        && let Some(known) = database.collections().remove(&collection)
    {
        options.declared = known.fields;
    }
    let bar = output::byte_bar("checking");
    let import = File::check(source, options, &mut |progress| show(&bar, progress))?;
    bar.finish_and_clear();
    // Only now, so that a file that cannot be imported leaves no empty database behind.
    let database = match existing {
        Some(database) => database,
        None => args.data.create(&peer, args.create.as_deref()).await?,
    };
    if schema != CollectionSchema::new() {
        database.declare(&collection, schema).await?;
    }
    let writer = Writer {
        target: database.collection(&collection),
        records: import.len(),
        dry_run: false,
        again: "import the file",
    };
    let written = writer.write(import.records()?).await?;
    args.data.sync(&database).await?;
    report(&args, &import, &database, &collection, written)?;
    Ok(peer.close().await?)
}

pub(super) fn show(bar: &ProgressBar, progress: Progress) {
    bar.set_length(progress.total);
    bar.set_position(progress.bytes);
}

fn report(
    args: &Import,
    import: &File,
    database: &Database,
    collection: &str,
    written: Written,
) -> anyhow::Result<()> {
    let bad = import.bad();
    if args.json {
        let rows = bad.named().iter();
        let rows: Vec<_> = rows
            .map(|row| json!({"line": row.line, "message": row.message}))
            .collect();
        return output::json(&json!({
            "database": database.id().to_string(),
            "collection": collection,
            "inserted": written.inserted,
            "updated": written.updated,
            "unchanged": written.unchanged,
            "repeated": import.repeated(),
            "skipped": bad.total(),
            "bad": rows,
            "synced": args.data.peer.is_some(),
        }));
    }
    let mut text = format!(
        "{collection}: {} inserted, {} updated, {} unchanged",
        written.inserted, written.updated, written.unchanged
    );
    if import.repeated() > 0 {
        text += &format!(", {} equal rows left out", import.repeated());
    }
    text += &format!("\ndatabase {}", database.id());
    if let Some(url) = &args.data.peer {
        text += &format!(", in sync with {url}");
    }
    output::line(&text)?;
    if bad.total() > 0 {
        eprintln!("{} broken rows left out:{bad}", bad.total());
    }
    Ok(())
}
