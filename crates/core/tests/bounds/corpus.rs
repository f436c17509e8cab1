//! Everything that automerge writes must pass.

use automerge::marks::{ExpandMark, Mark};
use automerge::transaction::{CommitOptions, Transactable};
use automerge::{AutoCommit, ObjId, ObjType, ROOT, ReadDoc, ScalarValue};
use headwater_core::bounds::{Content, Limits, Summary, check_chunks};
use proptest::prelude::*;

/// One random edit; the numbers choose places and values.
#[derive(Clone, Debug)]
pub struct Edit {
    actor: u8,
    kind: u8,
    place: u16,
    value: u64,
    text: String,
}

pub fn edits(count: std::ops::Range<usize>) -> impl Strategy<Value = Vec<Edit>> {
    let edit = (
        any::<u8>(),
        any::<u8>(),
        any::<u16>(),
        any::<u64>(),
        ".{0,12}",
    );
    let edit = edit.prop_map(|(actor, kind, place, value, text)| Edit {
        actor,
        kind,
        place,
        value,
        text,
    });
    proptest::collection::vec(edit, count)
}

/// Three replicas that edit, and now and then commit, merge and delete.
pub fn play(edits: &[Edit]) -> AutoCommit {
    let mut first = AutoCommit::new().with_actor(vec![7; 16].into());
    first.put_object(ROOT, "map", ObjType::Map).unwrap();
    first.put_object(ROOT, "list", ObjType::List).unwrap();
    first.put_object(ROOT, "text", ObjType::Text).unwrap();
    first.put(ROOT, "counter", ScalarValue::counter(3)).unwrap();
    let second = first.fork().with_actor(vec![1; 16].into());
    let third = first.fork().with_actor(vec![9, 9, 9].into());
    let mut docs = vec![first, second, third];
    for edit in edits {
        let at = edit.actor as usize % 3;
        match edit.kind % 16 {
            14 => {
                let mut other = fork(&mut docs[(at + 1) % 3]);
                docs[at].merge(&mut other).unwrap();
            }
            15 => {
                let options = CommitOptions::default().with_message(edit.text.clone());
                docs[at].commit_with(options.with_time(edit.value as i64 >> 8));
            }
            _ => apply(&mut docs[at], edit),
        }
    }
    for other in 1..3 {
        let mut other = fork(&mut docs[other]);
        docs[0].merge(&mut other).unwrap();
    }
    docs.swap_remove(0)
}

/// A copy that shares what `doc` was about to commit.
fn fork(doc: &mut AutoCommit) -> AutoCommit {
    doc.commit();
    doc.clone()
}

fn scalar(edit: &Edit) -> ScalarValue {
    match edit.value % 10 {
        0 => ScalarValue::Null,
        1 => ScalarValue::Boolean(edit.place.is_multiple_of(2)),
        2 => ScalarValue::Uint(edit.value),
        3 => ScalarValue::Int(edit.value as i64),
        // Not NaN: automerge compares what it finds in debug builds, and NaN is not equal to itself.
        4 => ScalarValue::F64(f64::from_bits(edit.value & !(1 << 62))),
        5 => ScalarValue::Str(edit.text.as_str().into()),
        6 => ScalarValue::Bytes(edit.text.clone().into_bytes()),
        7 => ScalarValue::counter(edit.value as i64),
        8 => ScalarValue::Timestamp(edit.value as i64),
        _ => ScalarValue::Unknown {
            type_code: 12,
            bytes: vec![1, 2, 3],
        },
    }
}

/// Some object of the document, of which there are always a few.
fn object(doc: &AutoCommit, place: u16) -> (ObjId, ObjType) {
    let mut objects = vec![(ROOT, ObjType::Map)];
    let mut next = 0;
    while next < objects.len() && objects.len() < 40 {
        let (id, _) = objects[next].clone();
        for (value, child) in doc.values(&id).map(|item| (item.0.to_objtype(), item.1)) {
            if let Some(kind) = value {
                objects.push((child, kind));
            }
        }
        next += 1;
    }
    objects.swap_remove(place as usize % objects.len())
}

fn apply(doc: &mut AutoCommit, edit: &Edit) {
    let (id, kind) = object(doc, edit.place);
    let made = [ObjType::Map, ObjType::List, ObjType::Text][edit.value as usize % 3];
    match kind {
        ObjType::Map | ObjType::Table => {
            let key = format!("key {}", edit.value % 7);
            match edit.kind % 14 {
                0..=6 => doc.put(&id, key, scalar(edit)).unwrap(),
                7 | 8 => drop(doc.put_object(&id, key, made).unwrap()),
                9 | 10 => drop(doc.delete(&id, key)),
                _ => drop(doc.increment(&id, key, edit.value as i64 % 100)),
            }
        }
        ObjType::List => {
            let len = doc.length(&id);
            let at = edit.value as usize % (len + 1);
            match edit.kind % 14 {
                0..=5 => doc.insert(&id, at, scalar(edit)).unwrap(),
                6 => drop(doc.insert_object(&id, at, made).unwrap()),
                7 | 8 => drop(doc.put(&id, at, scalar(edit))),
                9 | 10 => drop(doc.delete(&id, at)),
                _ => drop(doc.increment(&id, at, 5)),
            }
        }
        ObjType::Text => {
            let len = doc.length(&id);
            let at = edit.value as usize % (len + 1);
            match edit.kind % 14 {
                0..=6 => drop(doc.splice_text(&id, at, 0, &edit.text)),
                7..=9 => drop(doc.splice_text(&id, at, (len - at).min(3) as isize, "x")),
                _ => {
                    let end = at + (len - at).min(4);
                    let mark = Mark::new("bold".into(), scalar(edit), at, end);
                    drop(doc.mark(&id, mark, ExpandMark::Both));
                }
            }
        }
    }
}

fn check(bytes: &[u8]) -> Summary<'_> {
    check_chunks(bytes, &Limits::default()).unwrap_or_else(|error| panic!("{error}"))
}

/// Checks a document in every form that automerge gives it.
fn check_all_forms(doc: &mut AutoCommit) {
    let heads = doc.get_heads();
    for saved in [doc.save(), doc.save_nocompress()] {
        let summary = check(&saved);
        assert_eq!(summary.changes, doc.get_changes(&[]).len() as u64);
        assert_eq!(summary.chunks.len(), 1);
        match &summary.chunks[0].content {
            Content::Document { heads: found } => assert_eq!(*found, heads),
            other => panic!("{other:?}"),
        }
    }
    let mut incremental = doc.save();
    for mut change in doc.get_changes(&[]) {
        for bytes in [change.raw_bytes().to_vec(), change.bytes().into_owned()] {
            incremental.extend_from_slice(&bytes);
            let summary = check(&bytes);
            assert_eq!(summary.ops, change.len() as u64);
            match &summary.chunks[0].content {
                Content::Change(header) => {
                    assert_eq!(header.hash, change.hash());
                    assert_eq!(&header.actor, change.actor_id());
                    assert_eq!(header.seq, change.seq());
                    assert_eq!(header.start_op, change.start_op().get());
                    assert_eq!(header.deps, change.deps());
                }
                other => panic!("{other:?}"),
            }
        }
    }
    check(&incremental);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(192))]
    #[test]
    fn random_documents_pass(edits in edits(0..120)) {
        check_all_forms(&mut play(&edits));
    }
}

#[test]
fn an_empty_document_and_an_empty_change_pass() {
    check(&[]);
    check(&AutoCommit::new().save());
    let mut doc = AutoCommit::new();
    doc.put(ROOT, "a", 1).unwrap();
    doc.commit();
    doc.empty_change(CommitOptions::default());
    check_all_forms(&mut doc);
}

#[test]
fn many_operations_pass() {
    let mut doc = AutoCommit::new();
    let list = doc.put_object(ROOT, "list", ObjType::List).unwrap();
    doc.splice(&list, 0, 0, vec![ScalarValue::Null; 60_000])
        .unwrap();
    let text = doc.put_object(ROOT, "text", ObjType::Text).unwrap();
    doc.splice_text(&text, 0, 0, &"lorem ipsum ".repeat(3_000))
        .unwrap();
    doc.splice_text(&text, 1_000, 10_000, "").unwrap();
    let map = doc.put_object(ROOT, "records", ObjType::Map).unwrap();
    for index in 0..400 {
        let record = doc
            .put_object(&map, format!("{index}"), ObjType::Map)
            .unwrap();
        for field in ["name", "city", "age", "score"] {
            doc.put(&record, field, format!("{field} {index}")).unwrap();
        }
    }
    doc.commit();
    assert!(check(&doc.save()).ops > 100_000);
    check(&doc.save_nocompress());
    let change = doc.get_last_local_change().unwrap();
    assert!(check(change.raw_bytes()).ops > 100_000);
}

#[test]
fn thousands_of_changes_pass() {
    let mut doc = AutoCommit::new();
    for index in 0..3_000 {
        doc.put(ROOT, format!("{}", index % 50), index).unwrap();
        doc.commit();
    }
    check_all_forms(&mut doc);
}
