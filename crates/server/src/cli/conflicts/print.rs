//! Conflicts as tables and sentences for people, and as JSON for programs.

use super::output::{self, printable};
use headwater::json::value_to_json;
use headwater::{Attribution, Claim, Conflict, ConflictEvent, Database, Value};
use serde_json::json;
use serde_json::value::{RawValue, to_raw_value};
use std::collections::BTreeMap;

/// How many characters of a value a table shows.
const WIDTH: usize = 40;

/// A database, and what it is called here.
#[derive(Clone)]
pub(super) struct Named {
    pub database: Database,
    /// Its first name in this folder.
    pub name: Option<String>,
}

impl Named {
    fn name(&self) -> String {
        let id = || self.database.id().to_string();
        self.name.clone().unwrap_or_else(id)
    }
}

/// An object of JSON, whose values are canonical.
type Object = BTreeMap<&'static str, Box<RawValue>>;

/// A conflict, and where it is.
pub(super) struct Open {
    pub of: Named,
    pub conflict: Conflict,
}

impl Open {
    /// The record and the field.
    pub fn place(&self) -> String {
        let Conflict {
            collection, key, ..
        } = &self.conflict;
        let database = self.of.name();
        printable(&format!(
            "{database} {collection} {key}: {}",
            field(&self.conflict)
        ))
    }

    /// All of it, on several lines.
    pub fn print(&self) -> anyhow::Result<()> {
        let conflict = &self.conflict;
        let mut text = format!("{} ({})\n", self.place(), decided_by(conflict));
        text += &format!("  shown: {}\n", shown(&conflict.shown));
        if let Some(claim) = &conflict.winner {
            text += &format!("    {}\n", write(claim));
        }
        for claim in &conflict.losers {
            let lost = value(&claim.value);
            text += &format!("  lost: {lost}\n    {}\n", write(claim));
        }
        Ok(output::line(text.trim_end())?)
    }

    pub fn print_json(&self) -> anyhow::Result<()> {
        output::json(&self.object()?)
    }

    fn object(&self) -> serde_json::Result<Object> {
        let conflict = &self.conflict;
        let losers: Vec<_> = conflict
            .losers
            .iter()
            .map(claim_json)
            .collect::<Result<_, _>>()?;
        let mut object = Object::from([
            (
                "database",
                to_raw_value(&self.of.database.id().to_string())?,
            ),
            ("collection", to_raw_value(&conflict.collection)?),
            ("key", to_raw_value(&conflict.key)?),
            ("field", to_raw_value(&conflict.field)?),
            ("path", to_raw_value(&conflict.path())?),
            ("kind", to_raw_value(conflict.kind.name())?),
            ("policy", to_raw_value(&conflict.policy)?),
            ("resolved", to_raw_value(&conflict.resolved)?),
            ("losers", to_raw_value(&losers)?),
        ]);
        if let Some(shown) = &conflict.shown {
            object.insert("shown", raw(shown)?);
        }
        if let Some(winner) = &conflict.winner {
            object.insert("winner", to_raw_value(&claim_json(winner)?)?);
        }
        Ok(object)
    }
}

/// What is open in a record now.
pub(super) fn record(of: &Named, event: ConflictEvent, as_json: bool) -> anyhow::Result<()> {
    let open = event.open.into_iter().map(|conflict| Open {
        of: of.clone(),
        conflict,
    });
    let (collection, key) = (&event.collection, &event.key);
    if as_json {
        let open = open.map(|open| open.object());
        let open = open.collect::<Result<Vec<_>, _>>()?;
        return output::json(&Object::from([
            ("database", to_raw_value(&of.database.id().to_string())?),
            ("collection", to_raw_value(collection)?),
            ("key", to_raw_value(key)?),
            ("open", to_raw_value(&open)?),
        ]));
    }
    let open: Vec<Open> = open.collect();
    if open.is_empty() {
        let place = printable(&format!("{} {collection} {key}", of.name()));
        output::line(&format!("{place}: nothing is open any more"))?;
    }
    open.iter().try_for_each(Open::print)
}

/// A table for each database.
pub(super) fn table(open: &[Open]) -> anyhow::Result<()> {
    if open.is_empty() {
        output::line("nothing is open")?;
    }
    for of_one in open.chunk_by(|a, b| a.of.database.id() == b.of.database.id()) {
        if let [first, ..] = of_one {
            let name = printable(&first.of.name());
            output::line(&format!("database {name}"))?;
        }
        let header = [
            "collection",
            "key",
            "field",
            "shown",
            "lost",
            "by",
            "when (UTC)",
            "policy",
            "kind",
        ];
        let rows = of_one.iter().flat_map(|open| rows(&open.conflict));
        output::line(&output::table(header, rows).to_string())?;
    }
    Ok(())
}

fn rows(conflict: &Conflict) -> Vec<[String; 9]> {
    let row = |lost: String, by: String, at: String| {
        [
            printable(&conflict.collection),
            printable(&conflict.key),
            printable(&field(conflict)),
            short(&shown(&conflict.shown)),
            short(&lost),
            by,
            at,
            policy(conflict),
            conflict.kind.name().to_owned(),
        ]
    };
    if conflict.losers.is_empty() {
        return vec![row(String::new(), String::new(), String::new())];
    }
    let losers = conflict.losers.iter();
    losers
        .map(|loser| {
            let by = loser.by.as_ref();
            let at = by.map(|by| time(by.provenance.at)).unwrap_or_default();
            row(value(&loser.value), by.map(who).unwrap_or_default(), at)
        })
        .collect()
}

/// Says that a conflict is settled, and what is shown now.
pub(super) fn settled(database: &Database, was: &Conflict, as_json: bool) -> anyhow::Result<()> {
    let collection = database.collection(&was.collection);
    let mut shown_now = collection.get(&was.key).map(Value::Map);
    for name in &was.field {
        shown_now = match shown_now {
            Some(Value::Map(mut map)) => map.remove(name),
            _ => None,
        };
    }
    let left = collection.conflicts_of(&was.key).len();
    if as_json {
        let mut object = Object::from([
            ("database", to_raw_value(&database.id().to_string())?),
            ("collection", to_raw_value(&was.collection)?),
            ("key", to_raw_value(&was.key)?),
            ("field", to_raw_value(&was.field)?),
            ("open", to_raw_value(&left)?),
        ]);
        if let Some(shown) = &shown_now {
            object.insert("shown", raw(shown)?);
        }
        return output::json(&object);
    }
    let mut text = printable(&format!("{} {}: {}", was.collection, was.key, field(was)));
    text += &format!(" is settled and shows {}", shown(&shown_now));
    if left > 0 {
        text += &format!("; {left} more open in this record");
    }
    Ok(output::line(&text)?)
}

fn raw(value: &Value) -> serde_json::Result<Box<RawValue>> {
    RawValue::from_string(value_to_json(value))
}

fn claim_json(claim: &Claim) -> serde_json::Result<Object> {
    let mut object = Object::from([("id", to_raw_value(&claim.id.0)?)]);
    if let Some(value) = &claim.value {
        object.insert("value", raw(value)?);
    }
    if let Some(by) = &claim.by {
        let claimed = &by.provenance;
        let by = json!({
            "user": claimed.user,
            "origin": claimed.origin,
            "at": claimed.at,
            "actor": by.actor.to_hex_string(),
            "change": by.hash.to_string(),
        });
        object.insert("by", to_raw_value(&by)?);
    }
    Ok(object)
}

fn field(conflict: &Conflict) -> String {
    match conflict.field.is_empty() {
        true => "(the record)".to_owned(),
        false => conflict.path(),
    }
}

/// What is shown of a field or a record.
fn shown(value: &Option<Value>) -> String {
    value.as_ref().map_or("(nothing)".to_owned(), value_to_json)
}

/// What a write made of a field or a record.
fn value(value: &Option<Value>) -> String {
    value
        .as_ref()
        .map_or("(a delete)".to_owned(), value_to_json)
}

fn policy(conflict: &Conflict) -> String {
    match conflict.resolved {
        true => printable(&conflict.policy),
        false => printable(&format!("{} (unresolved)", conflict.policy)),
    }
}

fn decided_by(conflict: &Conflict) -> String {
    format!("{}, {}", conflict.kind.name(), policy(conflict))
}

/// Which write.
fn write(claim: &Claim) -> String {
    let by = claim.by.as_ref();
    let by = by.map(|by| format!(" by {} at {} UTC", who(by), time(by.provenance.at)));
    format!("{}{}", claim.id, by.unwrap_or_default())
}

/// The user and the application, as claimed; else the session.
fn who(by: &Attribution) -> String {
    let claimed = &by.provenance;
    printable(&match (&claimed.user, &claimed.origin) {
        (Some(user), Some(origin)) => format!("{user} ({origin})"),
        (Some(name), None) | (None, Some(name)) => name.clone(),
        (None, None) => by.actor.to_hex_string(),
    })
}

/// Milliseconds since 1970 as a time, as far as they are one.
fn time(at: i64) -> String {
    match jiff::Timestamp::from_millisecond(at) {
        Ok(time) => time.strftime("%Y-%m-%d %H:%M:%S").to_string(),
        Err(_) => format!("{at} ms"),
    }
}

fn short(text: &str) -> String {
    let mut short: String = text.chars().take(WIDTH).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    short
}
