//! Builds chunks by hand, with columns that no encoder would write.

use std::io::Write;

use flate2::Compression;
use flate2::write::DeflateEncoder;
use sha2::{Digest, Sha256};

/// An unsigned LEB128 number.
pub fn unsigned(mut value: u64) -> Vec<u8> {
    let mut out = Vec::new();
    while value > 0x7f {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
    out
}

/// A signed LEB128 number.
pub fn signed(mut value: i64) -> Vec<u8> {
    let mut out = Vec::new();
    loop {
        let byte = value as u8 & 0x7f;
        value >>= 7;
        if (value == 0 && byte & 0x40 == 0) || (value == -1 && byte & 0x40 != 0) {
            out.push(byte);
            return out;
        }
        out.push(byte | 0x80);
    }
}

/// A run of `count` times the same encoded value.
pub fn run(count: i64, value: &[u8]) -> Vec<u8> {
    [&signed(count), value].concat()
}

/// A single value, which an encoder writes as a literal run of one.
pub fn one(value: &[u8]) -> Vec<u8> {
    run(-1, value)
}

/// Bytes after their length.
pub fn prefixed(bytes: &[u8]) -> Vec<u8> {
    [&unsigned(bytes.len() as u64), bytes].concat()
}

pub fn deflate(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// A chunk of `kind` around `stored`, with the checksum of `content` as a chunk of `hashed_kind`.
fn frame(kind: u8, stored: &[u8], hashed_kind: u8, content: &[u8]) -> Vec<u8> {
    let mut hasher = Sha256::new();
    hasher.update([hashed_kind]);
    hasher.update(prefixed(content));
    let hash = hasher.finalize();
    let mut out = vec![0x85, 0x6f, 0x4a, 0x83];
    out.extend_from_slice(&hash[..4]);
    out.push(kind);
    out.extend_from_slice(&prefixed(stored));
    out
}

pub fn chunk(kind: u8, content: &[u8]) -> Vec<u8> {
    frame(kind, content, kind, content)
}

pub fn compressed_change(content: &[u8]) -> Vec<u8> {
    frame(2, &deflate(content), 1, content)
}

/// Columns by their specifications.
pub type Columns = Vec<(u64, Vec<u8>)>;

/// Replaces or adds a column.
pub fn set(columns: &mut Columns, spec: u64, bytes: Vec<u8>) {
    columns.retain(|(found, _)| *found != spec);
    columns.push((spec, bytes));
    columns.sort_by_key(|(spec, _)| spec & !8);
}

fn layout(columns: &Columns) -> Vec<u8> {
    let mut out = unsigned(columns.len() as u64);
    for (spec, bytes) in columns {
        out.extend(unsigned(*spec));
        out.extend(unsigned(bytes.len() as u64));
    }
    out
}

fn data(columns: &Columns) -> Vec<u8> {
    columns
        .iter()
        .flat_map(|(_, bytes)| bytes.clone())
        .collect()
}

/// A change by one actor.
#[derive(Clone)]
pub struct Change {
    pub deps: Vec<[u8; 32]>,
    pub actor: Vec<u8>,
    pub seq: u64,
    pub start_op: u64,
    pub others: Vec<Vec<u8>>,
    pub columns: Columns,
    pub extra: Vec<u8>,
}

impl Change {
    /// A change that sets "k" to null in the root.
    pub fn new() -> Self {
        Self {
            deps: Vec::new(),
            actor: vec![1],
            seq: 1,
            start_op: 1,
            others: Vec::new(),
            columns: vec![
                (0x15, one(&prefixed(b"k"))),
                (0x34, vec![1]),
                (0x42, one(&[1])),
                (0x56, one(&[0])),
                (0x70, one(&[0])),
            ],
            extra: Vec::new(),
        }
    }

    pub fn with(mut self, spec: u64, bytes: Vec<u8>) -> Self {
        set(&mut self.columns, spec, bytes);
        self
    }

    pub fn content(&self) -> Vec<u8> {
        let mut out = unsigned(self.deps.len() as u64);
        out.extend(self.deps.concat());
        out.extend(prefixed(&self.actor));
        out.extend(unsigned(self.seq));
        out.extend(unsigned(self.start_op));
        out.extend([0, 0]);
        out.extend(unsigned(self.others.len() as u64));
        for other in &self.others {
            out.extend(prefixed(other));
        }
        out.extend(layout(&self.columns));
        out.extend(data(&self.columns));
        out.extend_from_slice(&self.extra);
        out
    }

    pub fn bytes(&self) -> Vec<u8> {
        chunk(1, &self.content())
    }
}

/// A document with one change by one actor that sets "k" to null in the root.
#[derive(Clone)]
pub struct Document {
    pub actors: Vec<Vec<u8>>,
    pub heads: Vec<[u8; 32]>,
    pub changes: Columns,
    pub ops: Columns,
}

impl Document {
    pub fn new() -> Self {
        Self {
            actors: vec![vec![1]],
            heads: Vec::new(),
            changes: vec![
                (0x01, one(&[0])),
                (0x03, one(&[1])),
                (0x13, one(&[1])),
                (0x23, one(&[0])),
                (0x40, one(&[0])),
                (0x56, one(&[7])),
            ],
            ops: vec![
                (0x15, one(&prefixed(b"k"))),
                (0x21, one(&[0])),
                (0x23, one(&[1])),
                (0x34, vec![1]),
                (0x42, one(&[1])),
                (0x56, one(&[0])),
                (0x80, one(&[0])),
            ],
        }
    }

    pub fn with_changes(mut self, spec: u64, bytes: Vec<u8>) -> Self {
        set(&mut self.changes, spec, bytes);
        self
    }

    pub fn with_ops(mut self, spec: u64, bytes: Vec<u8>) -> Self {
        set(&mut self.ops, spec, bytes);
        self
    }

    pub fn bytes(&self) -> Vec<u8> {
        let mut out = unsigned(self.actors.len() as u64);
        for actor in &self.actors {
            out.extend(prefixed(actor));
        }
        out.extend(unsigned(self.heads.len() as u64));
        out.extend(self.heads.concat());
        out.extend(layout(&self.changes));
        out.extend(layout(&self.ops));
        out.extend(data(&self.changes));
        out.extend(data(&self.ops));
        out.extend(vec![0; self.heads.len()]);
        chunk(0, &out)
    }
}
