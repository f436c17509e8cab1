//! What Drill's answers cost on the lake's files, against files that were laid out by hand.

use super::browser::Editor;
use super::fixture::Fixture;
use super::host::Host;
use super::{Random, median};
use crate::records::{COLLECTION, key};
use crate::server::Programs;
use anyhow::{Context, Result, ensure};
use headwater_server::drill::{self, DrillOptions, RunningDrill};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// The folder, and the table, of the files laid out by hand.
const HAND: &str = "by_hand";
/// How many files these are.
const FILES: usize = 64;

/// Medians of one query, in milliseconds.
#[derive(Debug, Clone)]
pub struct Query {
    /// What it does.
    pub name: &'static str,
    /// On the lake's table.
    pub lake_ms: f64,
    /// On the files laid out by hand.
    pub hand_ms: f64,
}

fn start(host: &Host, programs: &Programs) -> Result<(RunningDrill, tempfile::TempDir)> {
    let data = tempfile::TempDir::with_prefix_in("headwater-bench-", &programs.data)?;
    let options = DrillOptions {
        http_port: 0,
        user_port: 0,
        bit_port: 0,
        data: Some(data.path().to_owned()),
        ..DrillOptions::new(host.lake())
    };
    Ok((drill::start(&options, &mut |_| {})?, data))
}

/// Asks both tables in turn, `rounds` times.
pub async fn queries(fixture: &Fixture, programs: &Programs, rounds: usize) -> Result<Vec<Query>> {
    let host = Host::start(fixture, programs, 1000).await?;
    lay_out(&host)?;
    let (drill, _data) = start(&host, programs)?;
    let wanted = key(fixture.layout.each / 2);
    let asked = [
        ("count", "SELECT count(*) FROM headwater.TABLE".to_owned()),
        (
            "filter by key",
            format!("SELECT `_key`, `best`, `title` FROM headwater.TABLE WHERE `_key` = '{wanted}' ORDER BY `_database`"),
        ),
        (
            "group by",
            "SELECT `open`, count(*), sum(`best`), avg(`least`) FROM headwater.TABLE GROUP BY `open` ORDER BY `open`".to_owned(),
        ),
    ];
    let mut found = Vec::new();
    for (name, sql) in asked {
        let [lake_sql, hand_sql] = [COLLECTION, HAND].map(|table| sql.replace("TABLE", table));
        let (mut lake, mut hand) = (Vec::new(), Vec::new());
        let answers = [&lake_sql, &hand_sql].map(|sql| timed(&drill, sql));
        let [(_, ours), (_, theirs)] = collect(answers)?;
        ensure!(
            ours == theirs,
            "the answers to {sql} differ: {ours} and {theirs}"
        );
        for round in 0..rounds {
            let mut ask = |is_lake: bool| -> Result<()> {
                match is_lake {
                    true => lake.push(timed(&drill, &lake_sql)?.0),
                    false => hand.push(timed(&drill, &hand_sql)?.0),
                }
                Ok(())
            };
            ask(round % 2 == 0)?;
            ask(round % 2 == 1)?;
        }
        found.push(Query {
            name,
            lake_ms: median(&lake).context("no rounds")?,
            hand_ms: median(&hand).context("no rounds")?,
        });
    }
    drill.stop()?;
    Ok(found)
}

fn collect<T>([a, b]: [Result<T>; 2]) -> Result<[T; 2]> {
    Ok([a?, b?])
}

/// Milliseconds until the answer, and the answer.
fn timed(drill: &RunningDrill, sql: &str) -> Result<(f64, String)> {
    let begun = Instant::now();
    let answer = drill::query(drill.url(), sql)?;
    let rows = answer.rows().iter().map(|row| {
        let cells: Vec<_> = row.iter().map(|cell| cell.get()).collect();
        cells.join(",")
    });
    let ms = begun.elapsed().as_secs_f64() * 1e3;
    Ok((ms, rows.collect::<Vec<_>>().join("\n")))
}

/// Writes the rows of the visible version into 64 files of the same size, with a view of the same text on them.
fn lay_out(host: &Host) -> Result<()> {
    let view = fs::read_to_string(host.view())?;
    let (_, folder) = view
        .split_once("`headwater`.`")
        .context("the view names no folder")?;
    let (folder, _) = folder.split_once('`').context("the view names no folder")?;
    let mut parts = Vec::new();
    find_parts(&host.lake().join(folder), &mut parts)?;
    let mut text = String::new();
    for part in parts {
        text.push_str(&fs::read_to_string(part)?);
    }
    let hand = host.lake().join(HAND);
    fs::create_dir(&hand)?;
    let lines: Vec<&str> = text.split_inclusive('\n').collect();
    for file in 0..FILES {
        let own = &lines[lines.len() * file / FILES..lines.len() * (file + 1) / FILES];
        fs::write(hand.join(format!("{file:02}.json")), own.concat())?;
    }
    let view = view.replace(folder, HAND);
    let view = view.replace(
        &format!("\"name\": \"{COLLECTION}\""),
        &format!("\"name\": \"{HAND}\""),
    );
    fs::write(host.lake().join(format!("{HAND}.view.drill")), view)?;
    Ok(())
}

fn find_parts(folder: &Path, parts: &mut Vec<PathBuf>) -> Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let hidden = path
            .file_name()
            .is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
        match (hidden, path.is_dir()) {
            (true, _) => {}
            (false, true) => find_parts(&path, parts)?,
            (false, false) => parts.push(path),
        }
    }
    Ok(())
}

/// Milliseconds from edits in a browser to Drill's answers that have them, and of the same query with nothing to wait for.
#[derive(Debug, Default)]
pub struct Fresh {
    /// From the edit to the answer.
    pub edit_ms: Vec<f64>,
    /// The query alone.
    pub query_ms: Vec<f64>,
}

/// Edits a record in a browser and asks Drill for it as soon as a view shows something new, until the answer has it.
pub async fn freshness(fixture: &Fixture, programs: &Programs, rounds: usize) -> Result<Fresh> {
    let host = Host::start(fixture, programs, 100).await?;
    let (drill, _data) = start(&host, programs)?;
    let mut editor = Editor::open(fixture, &host)?;
    let mut random = Random(3);
    let mut found = Fresh::default();
    for round in 0..rounds + 2 {
        let n = random.below(fixture.layout.each);
        let sql = format!(
            "SELECT `best` FROM headwater.{COLLECTION} WHERE `_key` = '{}'",
            key(n)
        );
        host.settled()?;
        let (query_ms, _) = timed(&drill, &sql)?;
        let mut shown = host.shown()?;
        let begun = Instant::now();
        let value = editor.edit(n)?;
        loop {
            let waiting = tokio::task::block_in_place(|| host.replaced(shown));
            waiting?;
            shown = host.shown()?;
            if timed(&drill, &sql)?.1.trim_matches('"') == value.to_string() {
                break;
            }
        }
        editor.stored()?;
        // The first queries of a Drillbit compile what the others find compiled.
        if round >= 2 {
            found.edit_ms.push(begun.elapsed().as_secs_f64() * 1e3);
            found.query_ms.push(query_ms);
        }
    }
    drill.stop()?;
    Ok(found)
}
