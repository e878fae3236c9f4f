//! Outgoing: the request body as hyper pulls it and as the exchange pushes it.
//!
//! The exchange owns the bytes and counts them against Content-Length; hyper only frames them. hyper's
//! own ways with a body that does not fit are to cut it or to pad nothing, both silently.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use parking_lot::Mutex;

use super::head::Framing;
use super::io::Wire;
use crate::error::{Error, Kind, Result};

/// What is to be sent of the body.
#[derive(Debug, Default)]
pub(super) struct Outgoing {
    /// Handed over by the exchange, not yet taken by hyper. Never empty.
    chunk: Option<Bytes>,
    /// No more will be handed over.
    ended: bool,
    /// Of a sized body, what has not been handed over yet.
    remaining: Option<u64>,
    /// hyper has let go of the body: it has all of it.
    pub(super) released: bool,
}

impl Outgoing {
    pub(super) fn new(framing: Framing) -> Self {
        Self {
            chunk: None,
            ended: false,
            remaining: match framing {
                Framing::None => Some(0),
                Framing::ContentLength(length) => Some(length),
                Framing::Chunked => None,
            },
            released: false,
        }
    }

    /// One more chunk; the former one must have been taken.
    pub(super) fn push(&mut self, chunk: Bytes) -> Result<()> {
        if chunk.is_empty() {
            return Ok(());
        }
        if let Some(remaining) = &mut self.remaining {
            *remaining = remaining.checked_sub(chunk.len() as u64).ok_or_else(|| {
                Error::message(
                    Kind::LocalProtocol,
                    "Too much data for declared Content-Length",
                )
            })?;
        }
        debug_assert!(
            self.chunk.is_none(),
            "the exchange waits until a chunk is sent"
        );
        self.chunk = Some(chunk);
        Ok(())
    }

    pub(super) fn end(&mut self) -> Result<()> {
        if self.remaining.is_some_and(|remaining| remaining > 0) {
            return Err(Error::message(
                Kind::LocalProtocol,
                "Too little data for declared Content-Length",
            ));
        }
        self.ended = true;
        Ok(())
    }

    /// Whether hyper has taken all that it can have by now.
    pub(super) fn is_taken(&self) -> bool {
        self.chunk.is_none() && (self.released || !self.ended)
    }

    fn is_sized(&self) -> bool {
        self.remaining.is_some()
    }
}

/// hyper's half of an [`Outgoing`].
///
/// # Drop
///
/// hyper drops it when it has all of the body, or when it has given up on it.
#[derive(Debug)]
pub(super) struct HyperBody<S>(pub(super) Arc<Mutex<Wire<S>>>);

impl<S> Body for HyperBody<S> {
    type Data = Bytes;
    /// A body does not fail: the exchange that pushes it does.
    type Error = std::convert::Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
    ) -> Poll<Option<std::result::Result<Frame<Bytes>, Self::Error>>> {
        let mut wire = self.0.lock();
        if wire.broken {
            // Nobody reads it any more. hyper must not think that it has ended.
            return Poll::Pending;
        }
        match wire.outgoing.chunk.take() {
            Some(chunk) => Poll::Ready(Some(Ok(Frame::data(chunk)))),
            None if wire.outgoing.ended => Poll::Ready(None),
            // The exchange drives the connection after each push; no waker is needed.
            None => Poll::Pending,
        }
    }

    fn is_end_stream(&self) -> bool {
        let wire = self.0.lock();
        let outgoing = &wire.outgoing;
        // Before its head is out a chunked body has not ended even if it is empty: hyper would take the
        // chunked framing back, and the peer would wait for the last chunk for ever.
        let may_end = outgoing.is_sized() || wire.is_head_out();
        may_end && outgoing.ended && outgoing.chunk.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        // The synthetic head has the framing; hyper looks there first.
        SizeHint::default()
    }
}

impl<S> Drop for HyperBody<S> {
    fn drop(&mut self) {
        self.0.lock().outgoing.released = true;
    }
}
