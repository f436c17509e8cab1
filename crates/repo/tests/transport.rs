//! What a connection that breaks does to the peer that has it.

use futures::{Sink, Stream};
use headwater::transport::TransportError;
use headwater::{Options, Peer};
use headwater_sync::connection::{Incoming, Transmit};
use headwater_sync::frame::{Frame, PeerId, PeerMetadata};
use std::pin::Pin;
use std::task::{Context, Poll};

/// Receives one join, and cannot send. Like the adapters of the futures crate it may not be used once it has failed.
struct Broken {
    join: Option<Frame>,
    failed: bool,
}

impl Stream for Broken {
    type Item = Result<Incoming, TransportError>;

    fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        match self.join.take() {
            Some(join) => Poll::Ready(Some(Ok(Incoming::Binary(join.encode())))),
            None => Poll::Pending,
        }
    }
}

impl Sink<Transmit> for Broken {
    type Error = TransportError;

    fn poll_ready(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        assert!(!self.failed, "used after it had failed");
        Poll::Ready(Ok(()))
    }

    fn start_send(mut self: Pin<&mut Self>, _: Transmit) -> Result<(), Self::Error> {
        self.failed = true;
        Err(TransportError::Broken("broken pipe".to_owned()))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.poll_ready(cx)
    }

    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.poll_ready(cx)
    }
}

/// It panicked, and a link whose task has panicked never connects again.
#[tokio::test]
async fn a_connection_whose_sending_fails_ends_with_the_error() {
    let peer = Peer::open(Options::memory()).await.unwrap();
    let db = peer.create(None).await.unwrap();
    let join = Frame::Join {
        sender: PeerId::new("client"),
        metadata: PeerMetadata::default(),
        versions: vec!["1".to_owned()],
    };
    let transport = Broken {
        join: Some(join),
        failed: false,
    };
    let ended = peer.serve_database(db.id(), transport).await.unwrap();
    assert!(ended.to_string().contains("broken pipe"), "{ended}");
}
