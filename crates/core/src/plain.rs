//! Reading plain automerge documents, which no Headwater peer made, as records.

use crate::read::{Candidate, Cell, Reader, Source, View, candidates};
use crate::value::{Record, Value};
use automerge::{Automerge, ROOT};

/// The records of a document that keeps them under `root`: a map of maps, whose keys they have, or a list of maps, whose
/// key is the value of the field `key`, or their place from 0 if no field is named.
///
/// What is not a map is left out, as is a list's map without a key.
pub fn records(document: &Automerge, root: &str, key: Option<&str>) -> Vec<(String, Record)> {
    let views = [View::now(document)];
    let top = [Source {
        rank: 0,
        object: ROOT,
    }];
    let found = candidates(&views, &top, root);
    match found.last() {
        Some(Candidate {
            source,
            cell: Cell::Map,
        }) => map_records(&views, source),
        Some(Candidate {
            source,
            cell: Cell::List,
        }) => list_records(&views, source, key),
        _ => Vec::new(),
    }
}

fn map_records(views: &[View<'_>; 1], map: &Source) -> Vec<(String, Record)> {
    views[0]
        .entries(&map.object)
        .into_iter()
        .filter(|entry| entry.cell == Cell::Map)
        .map(|entry| (entry.name, record(views, entry.id)))
        .collect()
}

fn list_records(views: &[View<'_>; 1], list: &Source, key: Option<&str>) -> Vec<(String, Record)> {
    views[0]
        .items(&list.object)
        .into_iter()
        .enumerate()
        .filter(|(_, (_, cell))| *cell == Cell::Map)
        .filter_map(|(index, (id, _))| {
            let record = record(views, id);
            let key = match key {
                None => index.to_string(),
                Some(field) => match record.get(field)? {
                    Value::String(text) | Value::Text(text) => text.clone(),
                    Value::Int(number) => number.to_string(),
                    _ => return None,
                },
            };
            Some((key, record))
        })
        .collect()
}

fn record(views: &[View<'_>; 1], object: automerge::ObjId) -> Record {
    Reader::plain(views)
        .merge(&[Source { rank: 0, object }], 0)
        .record
}
