//! `headwater token`: who may use a server.

use super::output;
use crate::serve::{Databases, Level, Token, Tokens, parse_time};
use clap::{Args, Subcommand};
use headwater::DatabaseId;
use jiff::Timestamp;
use serde_json::json;
use std::path::PathBuf;

/// Give, list and revoke the tokens of a server.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Make a token and print it: this once, for the file has only its hash.
    New(New),
    /// List the tokens of a file.
    List(List),
    /// Take a token out of a file. A running server ends what it was used for within seconds.
    Revoke(Revoke),
}

#[derive(Debug, Args)]
#[command(after_help = "\
A server that runs with this file reads it again by itself.

Examples:
  headwater token new --name etl --access write --file tokens.toml
  headwater token new --name phone --access read --database 3xQ… --expires 2027-01-31T00:00:00Z --file tokens.toml")]
pub(super) struct New {
    /// Who is to hold it; it is the user of what is written with it over HTTP.
    #[arg(long)]
    name: String,
    /// What its holder may do.
    #[arg(long, value_enum)]
    access: Level,
    /// The id of a database that it is for; can be given several times. Without it, it is for all.
    #[arg(long = "database", value_name = "ID")]
    databases: Vec<DatabaseId>,
    /// When it ends, such as 2027-01-31T00:00:00Z. Without it, it is good until revoked.
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    expires: Option<Timestamp>,
    /// The tokens file; it is created if needed.
    #[arg(long, value_name = "FILE")]
    file: PathBuf,
}

#[derive(Debug, Args)]
pub(super) struct List {
    /// The tokens file.
    #[arg(long, value_name = "FILE")]
    file: PathBuf,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
pub(super) struct Revoke {
    /// The token's name.
    name: String,
    /// The tokens file.
    #[arg(long, value_name = "FILE")]
    file: PathBuf,
}

pub(super) fn run(command: Command) -> anyhow::Result<()> {
    match command {
        Command::New(new) => {
            let databases = match new.databases.is_empty() {
                true => Databases::All,
                false => Databases::Only(new.databases.into_iter().collect()),
            };
            let secret = Token::create(&new.file, &new.name, new.access, databases, new.expires)?;
            output::line(&secret)?;
        }
        Command::List(List { file, json }) => list(&Tokens::read(&file)?, json)?,
        Command::Revoke(Revoke { name, file }) => Token::revoke(&file, &name)?,
    }
    Ok(())
}

fn list(tokens: &Tokens, as_json: bool) -> anyhow::Result<()> {
    if as_json {
        let tokens = tokens.iter().map(|token| {
            json!({
                "name": token.name,
                "access": token.access,
                "databases": match &token.databases {
                    Databases::All => json!("all"),
                    Databases::Only(ids) => ids.iter().map(ToString::to_string).collect(),
                },
                "expires": token.expires.map(|time| time.to_string()),
            })
        });
        return output::json(&tokens.collect::<Vec<_>>());
    }
    let rows = tokens.iter().map(|token| {
        let databases = match &token.databases {
            Databases::All => "all".to_owned(),
            Databases::Only(ids) => {
                let ids: Vec<_> = ids.iter().map(ToString::to_string).collect();
                ids.join("\n")
            }
        };
        let expires = token
            .expires
            .map_or_else(String::new, |time| time.to_string());
        [
            output::printable(&token.name),
            token.access.to_string(),
            databases,
            expires,
        ]
    });
    let table = output::table(["name", "access", "databases", "expires"], rows);
    Ok(output::line(&table.to_string())?)
}
