//! Reading frames.

use super::{
    EphemeralFrame, Frame, FrameError, HeadwaterMetadata, PeerId, PeerMetadata, RemoteHeads,
    SyncFrame,
};
use bytes::Bytes;
use minicbor::Decoder;
use minicbor::data::Type;
use std::collections::BTreeMap;
use std::str::FromStr;

/// How deeply the values of a frame may nest. Frames of the protocol need four levels.
const MAX_DEPTH: u32 = 32;

/// How long a name of a peer, session or storage may be, since these are kept.
const MAX_NAME: usize = 1024;

type Cbor<T> = Result<T, minicbor::decode::Error>;

pub(super) fn frame(bytes: &Bytes, limit: usize) -> Result<Frame, FrameError> {
    if bytes.len() > limit {
        return Err(FrameError::TooLarge {
            size: bytes.len(),
            limit,
        });
    }
    let map = Map::read(&mut Decoder::new(bytes))?;
    let kind = match map.get("type").map(|raw| text(&mut Decoder::new(raw))) {
        Some(kind) => kind?,
        None => {
            return Err(FrameError::Missing {
                kind: String::from("untyped"),
                field: "type",
            });
        }
    };
    Fields { bytes, kind, map }.frame()
}

/// A map whose values are still encoded. Only keys that some frame has are kept, so its size is bounded.
struct Map<'b> {
    values: BTreeMap<&'static str, &'b [u8]>,
}

/// Every key that we read, in frames and in the maps within them.
const KEYS: [&str; 23] = [
    "add",
    "count",
    "data",
    "databaseId",
    "documentId",
    "durable",
    "heads",
    "headwater",
    "isEphemeral",
    "message",
    "newHeads",
    "peerMetadata",
    "remove",
    "selectedProtocolVersion",
    "senderId",
    "sessionId",
    "storageId",
    "supportedProtocolVersions",
    "targetId",
    "timestamp",
    "type",
    "version",
    "versions",
];

impl<'b> Map<'b> {
    fn read(decoder: &mut Decoder<'b>) -> Cbor<Self> {
        let mut values = BTreeMap::new();
        entries(decoder, |decoder| {
            let key = match decoder.datatype()? {
                Type::String | Type::StringIndef => {
                    let key = text(decoder)?;
                    KEYS.into_iter().find(|known| *known == key)
                }
                _ => {
                    skip(decoder, 0)?;
                    None
                }
            };
            let value = raw(decoder)?;
            if let Some(key) = key
                && !is_absent(value)
            {
                values.insert(key, value);
            }
            Ok(())
        })?;
        Ok(Self { values })
    }

    fn get(&self, key: &str) -> Option<&'b [u8]> {
        self.values.get(key).copied()
    }
}

/// A frame on its way from a map to its type.
struct Fields<'b> {
    bytes: &'b Bytes,
    kind: String,
    map: Map<'b>,
}

impl Fields<'_> {
    fn frame(self) -> Result<Frame, FrameError> {
        Ok(match self.kind.as_str() {
            "join" => Frame::Join {
                sender: self.sender()?,
                metadata: self.metadata()?,
                versions: self.texts("supportedProtocolVersions")?,
            },
            "peer" => Frame::Peer {
                sender: self.sender()?,
                target: self.target()?,
                metadata: self.metadata()?,
                version: self.required("selectedProtocolVersion", text)?,
            },
            "error" => Frame::Error {
                sender: self.sender()?,
                target: self.target()?,
                message: self.optional("message", text)?.unwrap_or_default(),
            },
            "request" => Frame::Sync(self.sync(true)?),
            "sync" => Frame::Sync(self.sync(false)?),
            "doc-unavailable" => Frame::Unavailable {
                sender: self.sender()?,
                target: self.target()?,
                document: self.id("documentId")?,
                database: self.optional_id("databaseId")?,
            },
            "ephemeral" => Frame::Ephemeral(EphemeralFrame {
                sender: self.sender()?,
                target: self.target()?,
                document: self.id("documentId")?,
                database: self.optional_id("databaseId")?,
                count: self.required("count", integer)?,
                session: self.name("sessionId")?,
                data: self.data()?,
            }),
            "remote-subscription-change" => Frame::RemoteSubscriptionChange {
                sender: self.sender()?,
                target: self.target()?,
                add: self.texts("add")?,
                remove: self.texts("remove")?,
            },
            "remote-heads-changed" => Frame::RemoteHeadsChanged {
                sender: self.sender()?,
                target: self.target()?,
                document: self.id("documentId")?,
                heads: self.required("newHeads", remote_heads)?,
            },
            "leave" => Frame::Leave {
                sender: self.sender()?,
            },
            "headwater-refused" => Frame::Refused {
                sender: self.sender()?,
                target: self.target()?,
                document: self.id("documentId")?,
                database: self.optional_id("databaseId")?,
                message: self.optional("message", text)?.unwrap_or_default(),
            },
            "headwater-announced" => Frame::Announced {
                sender: self.sender()?,
                target: self.target()?,
                database: self.optional_id("databaseId")?,
            },
            _ => Frame::Unknown {
                sender: self.sender().ok(),
                kind: self.kind,
            },
        })
    }

    fn sync(&self, request: bool) -> Result<SyncFrame, FrameError> {
        Ok(SyncFrame {
            request,
            sender: self.sender()?,
            target: self.target()?,
            document: self.id("documentId")?,
            database: self.optional_id("databaseId")?,
            data: self.data()?,
        })
    }

    fn optional<'s, T>(
        &'s self,
        field: &'static str,
        read: impl FnOnce(&mut Decoder<'s>) -> Cbor<T>,
    ) -> Result<Option<T>, FrameError> {
        self.map
            .get(field)
            .map(|raw| read(&mut Decoder::new(raw)))
            .transpose()
            .map_err(|error| self.bad(field, format!("cannot be read: {error}")))
    }

    fn required<'s, T>(
        &'s self,
        field: &'static str,
        read: impl FnOnce(&mut Decoder<'s>) -> Cbor<T>,
    ) -> Result<T, FrameError> {
        self.optional(field, read)?.ok_or(FrameError::Missing {
            kind: self.kind.clone(),
            field,
        })
    }

    fn bad(&self, field: &'static str, reason: String) -> FrameError {
        FrameError::BadField {
            kind: self.kind.clone(),
            field,
            reason,
        }
    }

    fn name(&self, field: &'static str) -> Result<String, FrameError> {
        let name = self.required(field, text)?;
        if name.is_empty() || name.len() > MAX_NAME {
            return Err(self.bad(
                field,
                format!(
                    "has {} bytes; it must have 1 to {MAX_NAME}, so choose another",
                    name.len()
                ),
            ));
        }
        Ok(name)
    }

    fn sender(&self) -> Result<PeerId, FrameError> {
        self.name("senderId").map(PeerId::new)
    }

    fn target(&self) -> Result<PeerId, FrameError> {
        self.name("targetId").map(PeerId::new)
    }

    fn id<T: FromStr<Err: std::fmt::Display>>(&self, field: &'static str) -> Result<T, FrameError> {
        self.optional_id(field)?.ok_or(FrameError::Missing {
            kind: self.kind.clone(),
            field,
        })
    }

    fn optional_id<T: FromStr<Err: std::fmt::Display>>(
        &self,
        field: &'static str,
    ) -> Result<Option<T>, FrameError> {
        self.optional(field, text)?
            .map(|text| {
                text.parse()
                    .map_err(|error| self.bad(field, format!("is wrong: {error}")))
            })
            .transpose()
    }

    fn texts(&self, field: &'static str) -> Result<Vec<String>, FrameError> {
        Ok(self.optional(field, texts)?.unwrap_or_default())
    }

    fn data(&self) -> Result<Bytes, FrameError> {
        self.required("data", |decoder| byte_string(decoder, self.bytes))
    }

    fn metadata(&self) -> Result<PeerMetadata, FrameError> {
        Ok(self.optional("peerMetadata", metadata)?.unwrap_or_default())
    }
}

fn metadata(decoder: &mut Decoder<'_>) -> Cbor<PeerMetadata> {
    let map = Map::read(decoder)?;
    let field = |key| map.get(key).map(Decoder::new);
    Ok(PeerMetadata {
        storage_id: field("storageId").map(|mut d| text(&mut d)).transpose()?,
        is_ephemeral: field("isEphemeral")
            .map(|mut d| d.bool())
            .transpose()?
            .unwrap_or(false),
        headwater: field("headwater")
            .map(|mut d| headwater(&mut d))
            .transpose()?,
    })
}

fn headwater(decoder: &mut Decoder<'_>) -> Cbor<HeadwaterMetadata> {
    let map = Map::read(decoder)?;
    let field = |key| map.get(key).map(Decoder::new);
    Ok(HeadwaterMetadata {
        version: field("version")
            .map(|mut d| integer(&mut d))
            .transpose()?
            .unwrap_or(0),
        durable: field("durable")
            .map(|mut d| d.bool())
            .transpose()?
            .unwrap_or(false),
    })
}

fn remote_heads(decoder: &mut Decoder<'_>) -> Cbor<BTreeMap<String, RemoteHeads>> {
    let mut storages = BTreeMap::new();
    entries(decoder, |decoder| {
        let storage = text(decoder)?;
        let map = Map::read(decoder)?;
        let field = |key| map.get(key).map(Decoder::new);
        let heads = RemoteHeads {
            heads: field("heads")
                .map(|mut d| texts(&mut d))
                .transpose()?
                .unwrap_or_default(),
            timestamp: field("timestamp")
                .map(|mut d| integer(&mut d))
                .transpose()?
                .unwrap_or(0),
        };
        storages.insert(storage, heads);
        Ok(())
    })?;
    Ok(storages)
}

/// Calls `entry` at each key of a map. A declared length costs nothing: the input ends first.
fn entries<'b>(
    decoder: &mut Decoder<'b>,
    mut entry: impl FnMut(&mut Decoder<'b>) -> Cbor<()>,
) -> Cbor<()> {
    match decoder.map()? {
        Some(count) => {
            for _ in 0..count {
                entry(decoder)?;
            }
        }
        None => {
            while decoder.datatype()? != Type::Break {
                entry(decoder)?;
            }
            decoder.skip()?;
        }
    }
    Ok(())
}

fn texts(decoder: &mut Decoder<'_>) -> Cbor<Vec<String>> {
    let mut texts = Vec::new();
    match decoder.array()? {
        Some(count) => {
            for _ in 0..count {
                texts.push(text(decoder)?);
            }
        }
        None => {
            while decoder.datatype()? != Type::Break {
                texts.push(text(decoder)?);
            }
            decoder.skip()?;
        }
    }
    Ok(texts)
}

fn text(decoder: &mut Decoder<'_>) -> Cbor<String> {
    let mut text = String::new();
    for part in decoder.str_iter()? {
        text.push_str(part?);
    }
    Ok(text)
}

fn byte_string(decoder: &mut Decoder<'_>, whole: &Bytes) -> Cbor<Bytes> {
    // automerge-repo writes plain byte strings, but other encoders tag a typed array.
    while decoder.datatype()? == Type::Tag {
        decoder.tag()?;
    }
    if decoder.datatype()? == Type::Bytes {
        return Ok(whole.slice_ref(decoder.bytes()?));
    }
    let mut bytes = Vec::new();
    for part in decoder.bytes_iter()? {
        bytes.extend_from_slice(part?);
    }
    Ok(bytes.into())
}

fn integer(decoder: &mut Decoder<'_>) -> Cbor<u64> {
    match decoder.datatype()? {
        Type::F16 | Type::F32 | Type::F64 => {
            let number = decoder.f64()?;
            if number.fract() != 0.0 || !(0.0..=9_007_199_254_740_992.0).contains(&number) {
                return Err(minicbor::decode::Error::message(
                    "not a whole number from 0 to 2^53",
                ));
            }
            // Exact, because it was just checked.
            Ok(number as u64)
        }
        _ => decoder.u64(),
    }
}

fn is_absent(raw: &[u8]) -> bool {
    matches!(raw, [0xf6] | [0xf7])
}

/// The bytes of the next value.
fn raw<'b>(decoder: &mut Decoder<'b>) -> Cbor<&'b [u8]> {
    let start = decoder.position();
    skip(decoder, 0)?;
    decoder
        .input()
        .get(start..decoder.position())
        .ok_or_else(minicbor::decode::Error::end_of_input)
}

/// Skips a value. minicbor's own `skip` keeps a stack as deep as the input likes.
fn skip(decoder: &mut Decoder<'_>, depth: u32) -> Cbor<()> {
    if depth > MAX_DEPTH {
        return Err(minicbor::decode::Error::message("values nest too deeply"));
    }
    match decoder.datatype()? {
        Type::Array => {
            for _ in 0..decoder.array()?.unwrap_or(0) {
                skip(decoder, depth + 1)?;
            }
        }
        Type::Map => {
            for _ in 0..decoder.map()?.unwrap_or(0) {
                skip(decoder, depth + 1)?;
                skip(decoder, depth + 1)?;
            }
        }
        Type::ArrayIndef | Type::MapIndef => {
            decoder.set_position(decoder.position() + 1);
            while decoder.datatype()? != Type::Break {
                skip(decoder, depth + 1)?;
            }
            decoder.set_position(decoder.position() + 1);
        }
        Type::Tag => {
            decoder.tag()?;
            skip(decoder, depth + 1)?;
        }
        Type::Break => return Err(minicbor::decode::Error::message("a break outside")),
        _ => decoder.skip()?,
    }
    Ok(())
}
