//! The few frames of the automerge-repo protocol that a stock client sends and reads.

use anyhow::{Context, Result};
use automerge::ChangeHash;
use automerge::sync::{BloomFilter, ChunkList, Have, Message, MessageFlags, MessageVersion};
use minicbor::{Decoder, Encoder};

/// A frame from the other side, reduced to what the load generator acts on.
#[derive(Debug, Clone, PartialEq)]
pub enum Frame {
    /// The client's greeting, with its peer id.
    Join(String),
    /// The answer to it, with the server's peer id.
    Peer(String),
    /// A sync message (`request` or `sync`) about a document.
    Sync {
        /// The document's id in bs58check.
        document: String,
        /// The automerge sync message.
        data: Vec<u8>,
    },
    /// The other side has no such document.
    Unavailable(String),
    /// The other side gives up, with its reason.
    Error(String),
    /// A frame that a load generator need not answer.
    Other,
}

impl Frame {
    /// Reads one binary WebSocket message.
    pub fn decode(bytes: &[u8]) -> Result<Self> {
        let mut decoder = Decoder::new(bytes);
        let fields = decoder.map()?.context("a frame is a map of known length")?;
        let (mut kind, mut sender, mut document, mut message, mut data) =
            ("", "", "", "", Vec::new());
        for _ in 0..fields {
            match decoder.str()? {
                "type" => kind = decoder.str()?,
                "senderId" => sender = decoder.str()?,
                "documentId" => document = decoder.str()?,
                "message" => message = decoder.str()?,
                "data" => data = decoder.bytes()?.to_vec(),
                _ => decoder.skip()?,
            }
        }
        Ok(match kind {
            "join" => Self::Join(sender.to_owned()),
            "peer" => Self::Peer(sender.to_owned()),
            "sync" | "request" => Self::Sync {
                document: document.to_owned(),
                data,
            },
            "doc-unavailable" => Self::Unavailable(document.to_owned()),
            "error" => Self::Error(message.to_owned()),
            _ => Self::Other,
        })
    }
}

/// The client's greeting.
pub fn join(sender: &str) -> Result<Vec<u8>> {
    let mut encoder = Encoder::new(Vec::new());
    encoder
        .map(4)?
        .str("type")?
        .str("join")?
        .str("senderId")?
        .str(sender)?;
    encoder
        .str("peerMetadata")?
        .map(1)?
        .str("isEphemeral")?
        .bool(true)?;
    encoder
        .str("supportedProtocolVersions")?
        .array(1)?
        .str("1")?;
    Ok(encoder.into_writer())
}

/// The server's answer.
pub fn peer(sender: &str, target: &str) -> Result<Vec<u8>> {
    let mut encoder = Encoder::new(Vec::new());
    encoder
        .map(5)?
        .str("type")?
        .str("peer")?
        .str("senderId")?
        .str(sender)?
        .str("targetId")?
        .str(target)?;
    encoder
        .str("peerMetadata")?
        .map(1)?
        .str("isEphemeral")?
        .bool(false)?;
    encoder.str("selectedProtocolVersion")?.str("1")?;
    Ok(encoder.into_writer())
}

/// A sync message about `document`; `kind` is `request` for the first of a peer without the document, else `sync`.
pub fn sync(
    kind: &str,
    sender: &str,
    target: &str,
    document: &str,
    data: &[u8],
) -> Result<Vec<u8>> {
    let mut encoder = Encoder::new(Vec::with_capacity(data.len() + 160));
    encoder
        .map(5)?
        .str("type")?
        .str(kind)?
        .str("senderId")?
        .str(sender)?
        .str("targetId")?
        .str(target)?;
    encoder
        .str("documentId")?
        .str(document)?
        .str("data")?
        .bytes(data)?;
    Ok(encoder.into_writer())
}

/// A sync message made by hand: `heads` is all we have, `need` is what we ask for, `changes` is what we send.
///
/// It says that everything up to `heads` is shared, which is true once the other side has read `changes`; so the other
/// side sends nothing back that we have.
pub fn message(heads: Vec<ChangeHash>, need: Vec<ChangeHash>, changes: Vec<Vec<u8>>) -> Message {
    let mut flags = MessageFlags::new();
    flags.set(MessageFlags::SUPPORTS_SYNC_RESET);
    Message {
        have: vec![Have {
            last_sync: heads.clone(),
            bloom: BloomFilter::default(),
        }],
        heads,
        need,
        changes: ChunkList::from(changes),
        flags: Some(flags),
        version: MessageVersion::V1,
    }
}
