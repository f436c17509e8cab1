//! Rows as the lake keeps them, exactly: canonical JSON by database and key.

use headwater_core::DatabaseId;
use serde::{Deserialize, Serialize};
use std::cmp::Ordering;

/// What orders the rows of a table.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct RowKey {
    pub database: DatabaseId,
    pub key: Box<str>,
}

impl Serialize for RowKey {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        (self.database.as_bytes(), &self.key).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for RowKey {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (database, key) = <([u8; 16], Box<str>)>::deserialize(deserializer)?;
        let database = DatabaseId::from_bytes(database);
        Ok(Self { database, key })
    }
}

/// A row as it stands in a file of rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RowRef<'a> {
    pub database: &'a [u8; 16],
    pub key: &'a str,
    /// Canonical JSON of what stands under the key: in a table of records its record, in the others one or more, one a line.
    pub content: &'a str,
}

impl RowRef<'_> {
    pub(crate) fn compare(&self, key: &RowKey) -> Ordering {
        let database = self.database.cmp(key.database.as_bytes());
        database.then_with(|| self.key.cmp(&key.key))
    }

    pub(crate) fn to_key(self) -> RowKey {
        RowKey {
            database: DatabaseId::from_bytes(*self.database),
            key: self.key.into(),
        }
    }
}

/// Begins a file of rows.
const MAGIC: &[u8; 4] = b"HWr1";
const HEADER: usize = MAGIC.len() + 4;
/// The most that a file may unpack to: a part, and one record of any size that the core lets in.
const MAX_UNPACKED: usize = 256 << 20;

/// Rows in order, packed one after the other.
#[derive(Debug, Default, Clone)]
pub(crate) struct Rows {
    bytes: Vec<u8>,
    count: u32,
}

/// Why a file of rows cannot be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RowsError {
    #[error("it does not begin as a file of rows does")]
    Foreign,
    #[error("its checksum is wrong")]
    Checksum,
    #[error("it cannot be unpacked ({0})")]
    Packed(String),
    #[error("a row in it is cut off")]
    Torn,
}

impl Rows {
    pub(crate) fn push(&mut self, row: RowRef<'_>) {
        self.bytes.extend_from_slice(row.database);
        for text in [row.key, row.content] {
            // Lengths are far below 4 GiB: a record is bounded by the core's message limit.
            self.bytes
                .extend_from_slice(&(text.len() as u32).to_le_bytes());
            self.bytes.extend_from_slice(text.as_bytes());
        }
        self.count += 1;
    }

    pub(crate) fn count(&self) -> u32 {
        self.count
    }

    pub(crate) fn iter(&self) -> RowIter<'_> {
        RowIter { rest: &self.bytes }
    }

    /// The file's bytes: a header with a checksum, then the rows packed with LZ4.
    pub(crate) fn pack(&self) -> Vec<u8> {
        let packed = lz4_flex::block::compress_prepend_size(&self.bytes);
        let mut file = Vec::with_capacity(HEADER + packed.len());
        file.extend_from_slice(MAGIC);
        file.extend_from_slice(&crc32c::crc32c(&packed).to_le_bytes());
        file.extend_from_slice(&packed);
        file
    }

    /// Reads a file that [`Self::pack`] made, every row of it.
    pub(crate) fn unpack(file: &[u8]) -> Result<Self, RowsError> {
        let (header, packed) = file.split_at_checked(HEADER).ok_or(RowsError::Foreign)?;
        let sum = header.strip_prefix(MAGIC).ok_or(RowsError::Foreign)?;
        if sum != crc32c::crc32c(packed).to_le_bytes() {
            return Err(RowsError::Checksum);
        }
        let failed = |error: lz4_flex::block::DecompressError| RowsError::Packed(error.to_string());
        let (size, block) = lz4_flex::block::uncompressed_size(packed).map_err(failed)?;
        if size > MAX_UNPACKED {
            return Err(RowsError::Packed(format!("{size} bytes are too many")));
        }
        let bytes = lz4_flex::block::decompress(block, size).map_err(failed)?;
        let mut rows = Self { bytes, count: 0 };
        let mut iter = rows.iter();
        let count = iter.by_ref().count();
        if !iter.rest.is_empty() {
            return Err(RowsError::Torn);
        }
        rows.count = count as u32;
        Ok(rows)
    }
}

/// The rows of a file in their order.
#[derive(Debug, Clone)]
pub(crate) struct RowIter<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for RowIter<'a> {
    type Item = RowRef<'a>;

    fn next(&mut self) -> Option<RowRef<'a>> {
        let (database, rest) = self.rest.split_first_chunk::<16>()?;
        let (key, rest) = text(rest)?;
        let (content, rest) = text(rest)?;
        self.rest = rest;
        Some(RowRef {
            database,
            key,
            content,
        })
    }
}

fn text(bytes: &[u8]) -> Option<(&str, &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<4>()?;
    let length = usize::try_from(u32::from_le_bytes(*length)).ok()?;
    let (text, rest) = rest.split_at_checked(length)?;
    Some((std::str::from_utf8(text).ok()?, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Rows {
        let mut rows = Rows::default();
        for (key, content) in [("", "{}"), ("a\0b", "{\"x\":1}\n{\"x\":2}"), ("é", "{}")] {
            rows.push(RowRef {
                database: &[7; 16],
                key,
                content,
            });
        }
        rows
    }

    #[test]
    fn rows_come_back_as_they_were() {
        let rows = sample();
        let back = Rows::unpack(&rows.pack()).unwrap();
        assert_eq!(back.count(), 3);
        assert!(back.iter().eq(rows.iter()));
    }

    #[test]
    fn any_damage_is_seen() {
        let file = sample().pack();
        for at in 0..file.len() {
            let mut damaged = file.clone();
            damaged[at] ^= 0x10;
            assert!(Rows::unpack(&damaged).is_err(), "byte {at}");
            assert!(Rows::unpack(&file[..at]).is_err(), "cut at {at}");
        }
    }
}
