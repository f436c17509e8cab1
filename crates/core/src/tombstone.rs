//! Whether a record is deleted.
//!
//! A delete never removes the record's object; it puts a marker into it. What the deleters had seen is then the history
//! of the changes that put the visible markers, and an edit that is not in it was made without knowing of the delete.

use crate::catalog::DeleteRule;
use crate::genesis::bucket_object;
use crate::id::Placement;
use crate::names;
use crate::read::{Cell, Source, View, maps_under};
use automerge::{ChangeHash, ObjId};

/// Whether a record that carries a marker is deleted under `rule`.
pub(crate) fn is_deleted(
    views: &[View<'_>],
    sources: &[Source],
    key: &str,
    rule: DeleteRule,
) -> bool {
    match rule {
        DeleteRule::DeleteWins => true,
        DeleteRule::EditWins => !edited_since_delete(views, sources, key),
    }
}

/// Whether anything in the record is newer than what its deleters had seen.
pub(crate) fn edited_since_delete(views: &[View<'_>], sources: &[Source], key: &str) -> bool {
    !(0..views.len())
        .filter(|rank| sources.iter().any(|source| source.rank == *rank))
        .all(|rank| unedited_since_delete(&views[rank], rank, sources, key))
}

/// Whether nothing in this document's part of the record is newer than what its deleters had seen.
fn unedited_since_delete(view: &View<'_>, rank: usize, sources: &[Source], key: &str) -> bool {
    let mut deleters: Vec<ChangeHash> = sources
        .iter()
        .filter(|source| source.rank == rank)
        .flat_map(|source| view.all(&source.object, names::DELETED))
        .filter_map(|(marker, _)| view.doc.hash_for_opid(&marker))
        .collect();
    if deleters.is_empty() {
        return false;
    }
    deleters.sort();
    deleters.dedup();
    let then = View {
        doc: view.doc,
        at: Some(&deleters),
    };
    let bucket = Source {
        rank: 0,
        object: bucket_object(Placement::of(key).bucket()),
    };
    let now_maps = maps_under(&[*view], std::slice::from_ref(&bucket), key);
    let then_maps = maps_under(&[then], std::slice::from_ref(&bucket), key);
    now_maps == then_maps
        && now_maps
            .iter()
            .all(|map| same_map(view, &then, &map.object, 0))
}

pub(crate) fn same_map(now: &View<'_>, then: &View<'_>, map: &ObjId, depth: usize) -> bool {
    let names = |view: &View<'_>| -> Vec<String> {
        view.entries(map)
            .into_iter()
            .map(|entry| entry.name)
            .filter(|name| name != names::DELETED)
            .collect()
    };
    let here = names(now);
    here == names(then)
        && here.iter().all(|name| {
            let (a, b) = (now.all(map, name), then.all(map, name));
            a == b && a.iter().all(|(id, cell)| same(now, then, id, cell, depth))
        })
}

/// Whether the object `id` has the same content in both views. An increment changes a value and not its op id, which
/// the caller's comparison of values has seen.
pub(crate) fn same(now: &View<'_>, then: &View<'_>, id: &ObjId, cell: &Cell, depth: usize) -> bool {
    if depth > crate::value::MAX_DEPTH {
        return true;
    }
    match cell {
        Cell::Scalar(_) => true,
        Cell::Text => now.text(id) == then.text(id),
        Cell::Map => same_map(now, then, id, depth + 1),
        Cell::List => {
            let (a, b) = (now.items(id), then.items(id));
            a == b
                && a.iter()
                    .all(|(id, cell)| same(now, then, id, cell, depth + 1))
        }
    }
}
