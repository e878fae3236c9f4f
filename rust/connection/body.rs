//! The request body on its way to hyper: pushed at one end, pulled by hyper at the other.
//!
//! Counts what is pushed against the head's framing, before hyper sees it: hyper cuts a long body
//! silently and aborts on a short one. Knows how many bytes each chunk takes on the wire. No I/O.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame};
use parking_lot::Mutex;

use super::framing::Framing;
use crate::error::{Error, Kind, Result};

/// `0\r\n\r\n`: the end of a chunked body without trailers.
const LAST_CHUNK: u64 = 5;
/// The two line ends around a chunk's data.
const CHUNK_LINE_ENDS: u64 = 4;

/// Never sent. Large, since each piece of it costs a turn of hyper's.
static FILLER: &[u8] = &[0; 64 * 1024];

#[derive(Debug, Default)]
struct Queue {
    chunks: VecDeque<Bytes>,
    /// Stands for so many bytes behind the chunks, when it does not matter any more which they are.
    filler: u64,
    finished: bool,
}

/// The end that hyper pulls from. `None` inside: there is no body, and hyper is told so at once.
#[derive(Debug)]
pub(super) struct OutgoingBody {
    queue: Option<Arc<Mutex<Queue>>>,
    framing: Framing,
}

/// What a head promises about its request's body, and how much of that has come.
#[derive(Debug)]
pub(super) struct Promise {
    framing: Framing,
    /// What a Content-Length still promises.
    missing: u64,
    ended: bool,
}

impl Promise {
    pub(super) fn new(framing: Framing) -> Self {
        let missing = match framing {
            Framing::ContentLength(length) => length,
            Framing::None | Framing::Chunked => 0,
        };
        Self {
            framing,
            missing,
            ended: false,
        }
    }

    /// So many bytes come.
    ///
    /// # Errors
    ///
    /// `LocalProtocol` when they are more than the head promised.
    pub(super) fn take(&mut self, length: u64) -> Result<()> {
        if length == 0 {
            return Ok(());
        }
        if self.ended {
            return Err(too_much());
        }
        if self.framing != Framing::Chunked {
            self.missing = self.missing.checked_sub(length).ok_or_else(too_much)?;
        }
        Ok(())
    }

    /// No more come.
    ///
    /// # Errors
    ///
    /// `LocalProtocol` when they were less than the head promised.
    pub(super) fn end(&mut self) -> Result<()> {
        if self.missing > 0 {
            return Err(Error::message(
                Kind::LocalProtocol,
                "Too little data for declared Content-Length",
            ));
        }
        self.ended = true;
        Ok(())
    }

    /// No more are wanted, whatever the head promised. Gives what is missing.
    pub(super) fn abandon(&mut self) -> u64 {
        self.ended = true;
        std::mem::take(&mut self.missing)
    }

    /// Whether it was said that no more come.
    pub(super) fn is_ended(&self) -> bool {
        self.ended
    }
}

/// The end that is pushed to.
#[derive(Debug)]
pub(super) struct BodySender {
    queue: Option<Arc<Mutex<Queue>>>,
    promise: Promise,
}

/// Both ends of the body of one request.
pub(super) fn channel(framing: Framing) -> (BodySender, OutgoingBody) {
    let promise = Promise::new(framing);
    // An empty chunked body is one still: it has an end that must be written.
    let queue = (promise.missing > 0 || framing == Framing::Chunked).then(Arc::default);
    let sender = BodySender {
        queue: queue.clone(),
        promise,
    };
    (sender, OutgoingBody { queue, framing })
}

impl BodySender {
    /// Hands over a chunk; returns how many bytes it takes on the wire.
    ///
    /// # Errors
    ///
    /// `LocalProtocol` when it is more than the head promised.
    pub(super) fn push(&mut self, chunk: Bytes) -> Result<u64> {
        // An empty chunk would read as the end of a chunked body.
        if chunk.is_empty() {
            return Ok(0);
        }
        let length = chunk.len() as u64;
        self.promise.take(length)?;
        let size = match self.promise.framing {
            Framing::Chunked => chunk_size_digits(length) + CHUNK_LINE_ENDS + length,
            Framing::None | Framing::ContentLength(_) => length,
        };
        if let Some(queue) = &self.queue {
            queue.lock().chunks.push_back(chunk);
        }
        Ok(size)
    }

    /// Ends the body; returns how many bytes its end takes on the wire.
    ///
    /// # Errors
    ///
    /// `LocalProtocol` when it is less than the head promised.
    pub(super) fn finish(&mut self) -> Result<u64> {
        let was_ended = self.promise.is_ended();
        self.promise.end()?;
        if was_ended {
            return Ok(0);
        }
        if let Some(queue) = &self.queue {
            queue.lock().finished = true;
        }
        Ok(if self.promise.framing == Framing::Chunked {
            LAST_CHUNK
        } else {
            0
        })
    }

    /// Whether nothing is left to push.
    pub(super) fn is_finished(&self) -> bool {
        let promise = &self.promise;
        promise.ended || promise.framing != Framing::Chunked && promise.missing == 0
    }

    /// Nothing reaches the wire any more, and no more is pushed: hyper is given what it still expects, so
    /// that it goes on to the response.
    pub(super) fn abandon(&mut self) {
        let missing = self.promise.abandon();
        if let Some(queue) = &self.queue {
            let mut queue = queue.lock();
            queue.filler = missing;
            queue.finished = true;
        }
    }

    /// Nobody pulls any more: what is queued and what is still pushed is counted and dropped.
    pub(super) fn discard(&mut self) {
        self.queue = None;
    }
}

fn too_much() -> Error {
    Error::message(
        Kind::LocalProtocol,
        "Too much data for declared Content-Length",
    )
}

fn chunk_size_digits(length: u64) -> u64 {
    u64::from(u64::BITS - length.leading_zeros()).div_ceil(4)
}

impl Body for OutgoingBody {
    type Data = Bytes;
    type Error = Infallible;

    /// No waker is kept: whoever pushes polls the connection afterwards, in the same task.
    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<std::result::Result<Frame<Bytes>, Infallible>>> {
        let Some(queue) = &self.queue else {
            return Poll::Ready(None);
        };
        let mut queue = queue.lock();
        match queue.chunks.pop_front() {
            Some(chunk) => Poll::Ready(Some(Ok(Frame::data(chunk)))),
            None if queue.filler > 0 => {
                let most = FILLER.len() as u64;
                let length = queue.filler.min(most);
                queue.filler -= length;
                // At most the filler's own length, so it fits any size type.
                let filler = Bytes::from_static(FILLER).slice(..length as usize);
                Poll::Ready(Some(Ok(Frame::data(filler))))
            }
            None if queue.finished => Poll::Ready(None),
            None => Poll::Pending,
        }
    }

    /// Never true for a chunked body, not even at its end: asked before the first frame, hyper would
    /// take it for no body and leave out `0\r\n\r\n`, and the server would wait for it for ever.
    fn is_end_stream(&self) -> bool {
        let Some(queue) = &self.queue else {
            return true;
        };
        let queue = queue.lock();
        self.framing != Framing::Chunked
            && queue.finished
            && queue.chunks.is_empty()
            && queue.filler == 0
    }
}
