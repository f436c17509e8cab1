//! Writing frames.

use super::{EphemeralFrame, Frame, PeerId, PeerMetadata, SyncFrame};
use bytes::{BufMut, Bytes, BytesMut};
use headwater_core::{DatabaseId, DocumentId};
use minicbor::encode::{Encoder, Error, Write};
use std::convert::Infallible;

/// Growable bytes. Writing to them cannot fail.
struct Buffer(BytesMut);

impl Write for Buffer {
    type Error = Infallible;

    fn write_all(&mut self, bytes: &[u8]) -> Result<(), Infallible> {
        self.0.put_slice(bytes);
        Ok(())
    }
}

type Encoding = Result<(), Error<Infallible>>;

fn encode(capacity: usize, write: impl FnOnce(&mut Encoder<Buffer>) -> Encoding) -> Bytes {
    let mut encoder = Encoder::new(Buffer(BytesMut::with_capacity(capacity)));
    // The buffer cannot fail, and no value here has an encoding of its own that could.
    let outcome = write(&mut encoder);
    debug_assert!(outcome.is_ok());
    encoder.into_writer().0.freeze()
}

/// A sync frame for several receivers: everything but its `targetId` is encoded once.
#[derive(Clone, Debug)]
pub struct SharedSync {
    fields: u64,
    rest: Bytes,
}

impl SharedSync {
    /// Encodes all of the frame but its target.
    pub fn new(
        request: bool,
        sender: &PeerId,
        document: &DocumentId,
        database: Option<&DatabaseId>,
        data: &[u8],
    ) -> Self {
        Self {
            fields: 5 + u64::from(database.is_some()),
            rest: encode(data.len() + 192, |e| {
                e.str("type")?
                    .str(if request { "request" } else { "sync" })?;
                e.str("senderId")?.str(sender.as_str())?;
                scope(e, document, database)?;
                e.str("data")?.bytes(data)?.ok()
            }),
        }
    }

    /// The frame for `target`.
    pub fn to(&self, target: &PeerId) -> Bytes {
        let capacity = self.rest.len() + target.as_str().len() + 16;
        let mut encoder = Encoder::new(Buffer(BytesMut::with_capacity(capacity)));
        let outcome = encoder
            .map(self.fields)
            .and_then(|e| e.str("targetId"))
            .and_then(|e| e.str(target.as_str()));
        debug_assert!(outcome.is_ok());
        let mut bytes = encoder.into_writer().0;
        bytes.put_slice(&self.rest);
        bytes.freeze()
    }
}

pub(super) fn frame(frame: &Frame) -> Bytes {
    match frame {
        Frame::Sync(frame) => sync(frame),
        Frame::Ephemeral(frame) => encode(frame.data.len() + 256, |e| ephemeral(e, frame)),
        _ => encode(256, |e| small(e, frame)),
    }
}

fn sync(frame: &SyncFrame) -> Bytes {
    SharedSync::new(
        frame.request,
        &frame.sender,
        &frame.document,
        frame.database.as_ref(),
        &frame.data,
    )
    .to(&frame.target)
}

fn ephemeral(e: &mut Encoder<Buffer>, frame: &EphemeralFrame) -> Encoding {
    let database = frame.database.as_ref();
    header(
        e,
        "ephemeral",
        4 + u64::from(database.is_some()),
        &frame.sender,
        &frame.target,
    )?;
    scope(e, &frame.document, database)?;
    e.str("count")?.u64(frame.count)?;
    e.str("sessionId")?.str(&frame.session)?;
    e.str("data")?.bytes(&frame.data)?.ok()
}

fn small(e: &mut Encoder<Buffer>, frame: &Frame) -> Encoding {
    match frame {
        // These have encodings of their own.
        Frame::Sync(_) | Frame::Ephemeral(_) => Ok(()),
        Frame::Join {
            sender,
            metadata,
            versions,
        } => {
            e.map(4)?.str("type")?.str("join")?;
            e.str("senderId")?.str(sender.as_str())?;
            peer_metadata(e, metadata)?;
            texts(e, "supportedProtocolVersions", versions)
        }
        Frame::Peer {
            sender,
            target,
            metadata,
            version,
        } => {
            header(e, frame.kind(), 2, sender, target)?;
            peer_metadata(e, metadata)?;
            e.str("selectedProtocolVersion")?.str(version)?.ok()
        }
        Frame::Error {
            sender,
            target,
            message,
        } => {
            header(e, frame.kind(), 1, sender, target)?;
            e.str("message")?.str(message)?.ok()
        }
        Frame::Announced {
            sender,
            target,
            database,
        } => {
            header(
                e,
                frame.kind(),
                u64::from(database.is_some()),
                sender,
                target,
            )?;
            if let Some(database) = database {
                e.str("databaseId")?.str(&database.to_string())?;
            }
            Ok(())
        }
        Frame::Unavailable {
            sender,
            target,
            document,
            database,
        } => {
            let fields = 1 + u64::from(database.is_some());
            header(e, frame.kind(), fields, sender, target)?;
            scope(e, document, database.as_ref())
        }
        Frame::RemoteSubscriptionChange {
            sender,
            target,
            add,
            remove,
        } => {
            header(e, frame.kind(), 2, sender, target)?;
            texts(e, "add", add)?;
            texts(e, "remove", remove)
        }
        Frame::RemoteHeadsChanged {
            sender,
            target,
            document,
            heads,
        } => {
            header(e, frame.kind(), 2, sender, target)?;
            scope(e, document, None)?;
            e.str("newHeads")?.map(heads.len() as u64)?;
            for (storage, remote) in heads {
                e.str(storage)?.map(2)?;
                texts(e, "heads", &remote.heads)?;
                e.str("timestamp")?.u64(remote.timestamp)?;
            }
            Ok(())
        }
        Frame::Leave { sender } => {
            e.map(2)?.str("type")?.str("leave")?;
            e.str("senderId")?.str(sender.as_str())?.ok()
        }
        Frame::Refused {
            sender,
            target,
            document,
            database,
            message,
        } => {
            let fields = 2 + u64::from(database.is_some());
            header(e, frame.kind(), fields, sender, target)?;
            scope(e, document, database.as_ref())?;
            e.str("message")?.str(message)?.ok()
        }
        Frame::Unknown { sender, kind } => {
            e.map(1 + u64::from(sender.is_some()))?;
            e.str("type")?.str(kind)?;
            match sender {
                Some(sender) => e.str("senderId")?.str(sender.as_str())?.ok(),
                None => Ok(()),
            }
        }
    }
}

/// Begins the map of a frame that has `fields` besides its type, sender and target.
fn header(
    e: &mut Encoder<Buffer>,
    kind: &str,
    fields: u64,
    sender: &PeerId,
    target: &PeerId,
) -> Encoding {
    e.map(3 + fields)?.str("type")?.str(kind)?;
    e.str("senderId")?.str(sender.as_str())?;
    e.str("targetId")?.str(target.as_str())?.ok()
}

fn scope(
    e: &mut Encoder<Buffer>,
    document: &DocumentId,
    database: Option<&DatabaseId>,
) -> Encoding {
    e.str("documentId")?.str(&document.to_string())?;
    match database {
        Some(database) => e.str("databaseId")?.str(&database.to_string())?.ok(),
        None => Ok(()),
    }
}

fn peer_metadata(e: &mut Encoder<Buffer>, metadata: &PeerMetadata) -> Encoding {
    let fields =
        1 + u64::from(metadata.storage_id.is_some()) + u64::from(metadata.headwater.is_some());
    e.str("peerMetadata")?.map(fields)?;
    if let Some(storage) = &metadata.storage_id {
        e.str("storageId")?.str(storage)?;
    }
    e.str("isEphemeral")?.bool(metadata.is_ephemeral)?;
    if let Some(headwater) = &metadata.headwater {
        e.str("headwater")?.map(2)?;
        e.str("version")?.u64(headwater.version)?;
        e.str("durable")?.bool(headwater.durable)?;
    }
    Ok(())
}

fn texts(e: &mut Encoder<Buffer>, key: &str, texts: &[String]) -> Encoding {
    e.str(key)?.array(texts.len() as u64)?;
    for text in texts {
        e.str(text)?;
    }
    Ok(())
}
