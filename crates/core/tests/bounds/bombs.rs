//! Bytes that make automerge fail, hang or take gigabytes must be refused, at once and by name.

use std::time::{Duration, Instant};

use headwater_core::bounds::{BoundsError, Limits, check_chunks};

use crate::build::{
    Change, Document, chunk, compressed_change, deflate, one, prefixed, run, unsigned,
};

fn refused(bytes: &[u8]) -> BoundsError {
    let start = Instant::now();
    let error = check_chunks(bytes, &Limits::default()).expect_err("these bytes must be refused");
    // Wide enough for a busy machine without optimisation, and a thousandth of what automerge takes for such bytes.
    assert!(start.elapsed() < Duration::from_secs(2), "{error}");
    error
}

#[track_caller]
fn passes(bytes: &[u8]) {
    if let Err(error) = check_chunks(bytes, &Limits::default()) {
        panic!("{error}");
    }
}

const HUGE: i64 = 20_000_000;

#[test]
fn the_hand_made_chunks_are_good_before_they_are_spoiled() {
    passes(&Change::new().bytes());
    passes(&compressed_change(&Change::new().content()));
    passes(&Document::new().bytes());
    automerge::Change::from_bytes(Change::new().bytes()).unwrap();
}

#[test]
fn a_change_with_a_huge_run_in_any_column_is_refused() {
    let runs: [(u64, Vec<u8>); 14] = [
        (0x01, run(HUGE, &[0])),
        (0x02, run(HUGE, &[1])),
        (0x11, run(HUGE, &[0])),
        (0x13, run(HUGE, &[0])),
        (0x15, run(HUGE, &prefixed(b"k"))),
        (0x34, unsigned(HUGE as u64)),
        (0x42, run(HUGE, &[1])),
        (0x56, run(HUGE, &[0])),
        (0x57, vec![0; 10]),
        (0x70, run(HUGE, &[1])),
        (0x71, run(HUGE, &[0])),
        (0x73, run(HUGE, &[0])),
        (0x94, [unsigned(0), unsigned(HUGE as u64)].concat()),
        (0xa5, run(HUGE, &prefixed(b"m"))),
    ];
    for (spec, bytes) in &runs {
        refused(&Change::new().with(*spec, bytes.clone()).bytes());
        let nulls = [vec![0], unsigned(HUGE as u64)].concat();
        refused(&Change::new().with(*spec, nulls).bytes());
        refused(&Change::new().with(*spec, run(i64::MAX, &[1])).bytes());
        refused(&Change::new().with(*spec, run(i64::MIN, &[1])).bytes());
    }
    // All columns agree on twenty million rows, as in a real bomb of 69 bytes.
    let mut bomb = Change::new();
    for spec in [0x15, 0x34, 0x42, 0x56, 0x70] {
        let bytes = runs
            .iter()
            .find(|(found, _)| *found == spec)
            .unwrap()
            .1
            .clone();
        bomb = bomb.with(spec, bytes);
    }
    let bomb = bomb.with(0x70, run(HUGE, &[0])).bytes();
    assert!(bomb.len() < 80, "{}", bomb.len());
    assert!(matches!(
        refused(&bomb),
        BoundsError::TooLarge {
            what: "operations",
            ..
        }
    ));
}

#[test]
fn changes_that_are_small_alone_are_refused_together() {
    let million = |change: Change| {
        change
            .with(0x15, run(1_000_000, &prefixed(b"k")))
            .with(0x34, unsigned(1_000_000))
            .with(0x42, run(1_000_000, &[1]))
            .with(0x56, run(1_000_000, &[0]))
            .with(0x70, run(1_000_000, &[0]))
            .bytes()
    };
    let one = million(Change::new());
    passes(&one);
    // What a replica stored over the years is not held to what one message may bring.
    assert!(check_chunks(&one.repeat(5), &Limits::stored()).is_ok());
    let error = check_chunks(&one.repeat(5), &Limits::default()).unwrap_err();
    assert!(
        matches!(
            error,
            BoundsError::TooLarge {
                what: "operations in all",
                ..
            }
        ),
        "{error}"
    );
}

#[test]
fn a_change_that_automerge_would_panic_on_is_refused() {
    let good = Change::new();
    let spoiled = [
        // An unknown action, a table, an increment by null, a delete of nothing.
        good.clone().with(0x42, one(&[9])),
        good.clone().with(0x42, one(&[6])),
        good.clone().with(0x42, one(&[5])),
        good.clone().with(0x42, one(&[3])),
        // Ids that do not fit 32 bits, name no actor, or come later.
        good.clone()
            .with(0x01, one(&[0]))
            .with(0x02, one(&unsigned(1 << 40))),
        good.clone().with(0x01, one(&[3])).with(0x02, one(&[1])),
        good.clone().with(0x01, one(&[0])).with(0x02, one(&[1])),
        // A mark that ends without a beginning; an insert into a map; a text that is not UTF-8.
        good.clone().with(0x42, one(&[7])),
        good.clone().with(0x34, vec![0, 1]),
        good.clone().with(0x15, one(&prefixed(&[0xff]))),
        good.clone()
            .with(0x56, one(&unsigned(2 << 4 | 6)))
            .with(0x57, vec![0xff, 0xfe]),
        // A value longer than there are bytes, bytes that no value claims, a float of three bytes.
        good.clone().with(0x56, one(&unsigned(1 << 50 | 7))),
        good.clone().with(0x57, vec![1]),
        good.clone()
            .with(0x56, one(&unsigned(3 << 4 | 5)))
            .with(0x57, vec![0; 3]),
        // A column that is unknown, compressed, or absent.
        good.clone().with(0xb2, one(&[0])),
        good.clone().with(0x4a, deflate(&one(&[1]))),
        Change {
            columns: vec![(0x42, one(&[1]))],
            ..good.clone()
        },
        // Numbers that automerge counts on.
        Change {
            seq: 0,
            ..good.clone()
        },
        Change {
            seq: 1 << 33,
            ..good.clone()
        },
        Change {
            start_op: 0,
            ..good.clone()
        },
        Change {
            start_op: u64::from(u32::MAX),
            ..good.clone()
        },
        Change {
            seq: 2,
            extra: vec![1, 1, 65],
            ..good.clone()
        },
        // Actors that are unused, too long or unsorted; dependencies twice.
        Change {
            others: vec![vec![2]],
            ..good.clone()
        },
        Change {
            actor: vec![1; 100],
            ..good.clone()
        },
        Change {
            others: vec![vec![3], vec![2]],
            ..good.clone()
        },
        Change {
            deps: vec![[1; 32]; 2],
            ..good.clone()
        },
    ];
    for (index, change) in spoiled.iter().enumerate() {
        let error = refused(&change.bytes());
        let expected = matches!(
            error,
            BoundsError::Malformed { .. } | BoundsError::TooLarge { .. } | BoundsError::Truncated
        );
        assert!(expected, "{index}: {error}");
    }
}

#[test]
fn a_document_with_a_huge_run_in_any_column_is_refused() {
    let numbers = |spec: u64| match spec {
        0x15 | 0x35 | 0xa5 => run(HUGE, &prefixed(b"k")),
        0x34 | 0x94 => unsigned(HUGE as u64),
        _ => run(HUGE, &[1]),
    };
    for spec in [
        0x01, 0x02, 0x11, 0x13, 0x15, 0x21, 0x23, 0x34, 0x42, 0x56, 0x80, 0x81, 0x83, 0x94, 0xa5,
    ] {
        refused(&Document::new().with_ops(spec, numbers(spec)).bytes());
        let deflated = deflate(&numbers(spec));
        let mut document = Document::new();
        document.ops.retain(|(found, _)| *found != spec);
        refused(&document.with_ops(spec | 8, deflated).bytes());
    }
    for spec in [0x01, 0x03, 0x13, 0x23, 0x35, 0x40, 0x43, 0x56] {
        refused(&Document::new().with_changes(spec, numbers(spec)).bytes());
    }
    // automerge would set aside four billion operations for this change, which holds one.
    let numbered = one(&unsigned(4_000_000_000));
    refused(&Document::new().with_changes(0x13, numbered.clone()).bytes());
    refused(
        &Document::new()
            .with_changes(0x13, numbered.clone())
            .with_ops(0x23, numbered)
            .bytes(),
    );
}

#[test]
fn a_document_that_automerge_would_panic_on_is_refused() {
    let good = Document::new();
    let two = |spec: u64, bytes: Vec<u8>| good.clone().with_ops(spec, bytes);
    // Two operations on "k", of which the second has this id.
    let double = |counter: &[u8]| {
        two(0x15, run(2, &prefixed(b"k")))
            .with_ops(0x21, run(2, &[0]))
            .with_ops(0x23, [&[0x7e, 1][..], counter].concat())
            .with_ops(0x34, vec![2])
            .with_ops(0x42, run(2, &[1]))
            .with_ops(0x56, run(2, &[0]))
            .with_ops(0x80, run(2, &[0]))
            .with_changes(0x13, one(&[2]))
    };
    passes(&double(&[1]).with_ops(0x23, run(2, &[1])).bytes());
    let spoiled = [
        // The same id twice, an operation of no change, one of an unknown actor, a gap.
        double(&[0]),
        two(0x23, one(&[2])),
        two(0x21, one(&[1])),
        double(&[2]).with_changes(0x13, one(&[3])),
        // A deletion whose id is taken, a deletion in the list, a successor that is older.
        two(0x80, one(&[1]))
            .with_ops(0x81, one(&[0]))
            .with_ops(0x83, one(&[1])),
        two(0x42, one(&[3])),
        two(0x80, run(-1, &unsigned(1 << 40))),
        // An object that nobody made, an element of the root.
        two(0x01, one(&[0]))
            .with_ops(0x02, one(&[1]))
            .with_ops(0x23, one(&[2]))
            .with_changes(0x13, one(&[2])),
        Document {
            ops: good
                .ops
                .iter()
                .filter(|(spec, _)| *spec != 0x15)
                .cloned()
                .collect(),
            ..good.clone()
        }
        .with_ops(0x13, one(&[0]))
        .with_ops(0x34, vec![0, 1]),
        // A change that depends on itself, names an unknown actor, or comes out of turn.
        good.clone()
            .with_changes(0x40, one(&[1]))
            .with_changes(0x43, one(&[0])),
        good.clone().with_changes(0x01, one(&[7])),
        good.clone().with_changes(0x03, one(&[2])),
        good.clone().with_changes(0x03, one(&[0])),
        // More actors than changes, which automerge's table of authors relies on.
        Document {
            actors: vec![vec![1], vec![2]],
            ..good.clone()
        },
    ];
    for (index, document) in spoiled.iter().enumerate() {
        let error = refused(&document.bytes());
        let expected = matches!(
            error,
            BoundsError::Malformed { .. } | BoundsError::TooLarge { .. }
        );
        assert!(expected, "{index}: {error}");
    }
}

#[test]
fn compressed_bombs_are_refused_within_the_limit() {
    let zeros = deflate(&vec![0; 200 << 20]);
    for bytes in [
        chunk(2, &zeros),
        Document::new().with_ops(0x5f, zeros.clone()).bytes(),
        Document::new().with_changes(0x5f, zeros.clone()).bytes(),
    ] {
        let error = check_chunks(&bytes, &Limits::default()).unwrap_err();
        assert!(
            matches!(
                error,
                BoundsError::TooLarge {
                    what: "inflated bytes",
                    ..
                }
            ),
            "{error}"
        );
    }
    // The limit is for all chunks together.
    let limits = Limits {
        inflated_bytes: 200,
        ..Limits::default()
    };
    let small = compressed_change(&Change::new().content());
    assert!(check_chunks(&small, &limits).is_ok());
    assert!(check_chunks(&small.repeat(8), &limits).is_err());
    // Garbage, and garbage after a stream.
    assert_eq!(refused(&chunk(2, &[0xff; 100])), BoundsError::Deflate);
    let mut tail = deflate(&Change::new().content());
    tail.push(0);
    assert_eq!(refused(&chunk(2, &tail)), BoundsError::Deflate);
}

#[test]
fn foreign_damaged_and_cut_chunks_are_refused() {
    let good = Change::new().bytes();
    assert_eq!(refused(b"hello, world"), BoundsError::Magic);
    assert_eq!(refused(&chunk(3, &[0; 8])), BoundsError::ChunkType(3));
    assert_eq!(refused(&chunk(77, &[])), BoundsError::ChunkType(77));
    let compressed = compressed_change(&Change::new().content());
    let document = Document::new().bytes();
    for document in [&good, &document, &compressed] {
        for len in 1..document.len() {
            assert_eq!(refused(&document[..len]), BoundsError::Truncated);
        }
        for bit in 0..document.len() * 8 {
            let mut flipped = document.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            // The last bits of a compressed stream are padding, which carries nothing.
            match check_chunks(&flipped, &Limits::default()) {
                Ok(summary) => assert_eq!(
                    summary.chunks[0].content,
                    check_chunks(document, &Limits::default()).unwrap().chunks[0].content
                ),
                Err(_) => continue,
            }
        }
        // Nothing after the last chunk.
        refused(&[document, &[0][..]].concat());
    }
    let claims_all = [&good[..9], &unsigned(u64::MAX)].concat();
    assert_eq!(refused(&claims_all), BoundsError::Truncated);
}
