//! Wire: the socket as hyper sees it, with our request heads and a record of the response heads.
//!
//! hyper writes a synthetic head, which never leaves: in its place goes the head that `head` rendered.
//! That is sound only under assumptions on how hyper writes, so each has a guard that fails closed. Were
//! a head put in at a wrong place, it would become a part of somebody's body: request smuggling.
//!
//! 1. The first write after arming begins with the whole synthetic head. Its target is a random number,
//!    and it is compared byte by byte; else the exchange fails before a byte leaves.
//! 2. hyper flushes only when its write buffer is empty. So `clean`, set by a flush and cleared by a
//!    write, says that nothing of a former request is left; no request is armed without it.
//! 3. One request per arming. A write in between fails.
//! 4. A write that made no progress is repeated with the same bytes, perhaps with more behind them. hyper
//!    is told of no progress until our head is out.
//! 5. Reads are held until our head is out, so that nothing that came before can end the request unsent.
//!
//! Errors of writing are kept quiet: the peer may have answered before it stopped reading, and httpcore
//! returns that answer. From then on everything written is dropped, and the connection never used again.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};

use bytes::Bytes;
use hyper::rt::{Read, ReadBufCursor, Write};
use parking_lot::Mutex;
use tokio::io::ReadBuf;

use super::NetworkStream;
use super::body::Outgoing;
use super::response::Recorder;

/// What hyper's half and ours share. The lock is never contended: both are polled by one exchange.
#[derive(Debug)]
pub(super) struct Wire<S> {
    pub(super) stream: S,
    phase: Phase,
    /// Nothing that hyper has buffered is waiting to be written. See guard 2.
    pub(super) clean: bool,
    /// Writing failed; writes go nowhere.
    pub(super) broken: bool,
    /// A guard tripped.
    pub(super) violated: bool,
    /// The peer has ended its direction.
    pub(super) ended: bool,
    pub(super) read_error: Option<io::Error>,
    pub(super) recorder: Recorder,
    pub(super) outgoing: Outgoing,
    /// A read that was held back. See guard 5.
    held: Option<Waker>,
    pub(super) bytes_read: u64,
    pub(super) bytes_written: u64,
}

#[derive(Debug)]
enum Phase {
    /// Between two requests.
    Idle,
    /// hyper is about to write its head.
    Armed(Armed),
    /// The head is out; what hyper writes now is the body.
    Body,
}

#[derive(Debug)]
struct Armed {
    synthetic: Bytes,
    head: Bytes,
    /// How much of `head` is out.
    written: usize,
}

impl<S> Wire<S> {
    pub(super) fn new(stream: S) -> Self {
        Self {
            stream,
            phase: Phase::Idle,
            clean: true,
            broken: false,
            violated: false,
            ended: false,
            read_error: None,
            recorder: Recorder::default(),
            outgoing: Outgoing::default(),
            held: None,
            bytes_read: 0,
            bytes_written: 0,
        }
    }

    /// Whether a request may be armed, and what keeps it if not.
    pub(super) fn is_at_rest(&self) -> bool {
        matches!(self.phase, Phase::Idle)
            && self.clean
            && !self.broken
            && !self.violated
            && !self.ended
            && self.read_error.is_none()
    }

    /// Puts `head` in place of the synthetic head that hyper is going to write.
    pub(super) fn arm(&mut self, synthetic: Bytes, head: Bytes, is_head: bool) {
        debug_assert!(self.is_at_rest(), "guards 2 and 3");
        self.phase = Phase::Armed(Armed {
            synthetic,
            head,
            written: 0,
        });
        self.clean = false;
        self.recorder.start(is_head);
    }

    /// The exchange is over and its connection can serve another one.
    pub(super) fn rest(&mut self) {
        self.phase = Phase::Idle;
    }

    pub(super) fn is_head_out(&self) -> bool {
        matches!(self.phase, Phase::Body)
    }

    fn head_is_out(&mut self) {
        self.phase = Phase::Body;
        if let Some(held) = self.held.take() {
            held.wake();
        }
    }

    fn violation(&mut self) -> io::Error {
        self.violated = true;
        io::Error::other("a guard of the request head tripped")
    }

    /// From now on writes go nowhere, and hyper goes on to read.
    fn break_writes(&mut self) {
        self.broken = true;
        self.head_is_out();
    }
}

impl<S: NetworkStream> Wire<S> {
    fn poll_write_slices(
        &mut self,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.clean = false;
        let length = slices.iter().map(|slice| slice.len()).sum();
        if self.broken {
            return Poll::Ready(Ok(length));
        }
        if matches!(self.phase, Phase::Armed(_)) {
            return self.poll_write_armed(cx, slices, length);
        }
        if matches!(self.phase, Phase::Idle) {
            return Poll::Ready(Err(self.violation()));
        }
        match ready!(self.poll_write_stream(cx, slices)) {
            Ok(written) => Poll::Ready(Ok(written)),
            Err(_) => {
                self.break_writes();
                Poll::Ready(Ok(length))
            }
        }
    }

    fn poll_write_armed(
        &mut self,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
        length: usize,
    ) -> Poll<io::Result<usize>> {
        loop {
            let Phase::Armed(armed) = &self.phase else {
                unreachable!("called while armed, and left when the head is out");
            };
            let first: &[u8] = slices.first().map_or(&[], |slice| slice);
            let Some(rest) = first.strip_prefix(&armed.synthetic[..]) else {
                return Poll::Ready(Err(self.violation()));
            };
            let replaced = armed.synthetic.len();
            let unsent = armed.head.slice(armed.written..);
            let mut ours = Vec::with_capacity(slices.len() + 1);
            ours.push(IoSlice::new(&unsent));
            ours.push(IoSlice::new(rest));
            ours.extend(slices[1..].iter().map(|slice| IoSlice::new(slice)));
            let written = match ready!(self.poll_write_stream(cx, &ours)) {
                Ok(written) => written,
                Err(_) => {
                    self.break_writes();
                    return Poll::Ready(Ok(length));
                }
            };
            if written >= unsent.len() {
                self.head_is_out();
                return Poll::Ready(Ok(replaced + written - unsent.len()));
            }
            let Phase::Armed(armed) = &mut self.phase else {
                unreachable!("nothing changed the phase since");
            };
            armed.written += written;
        }
    }

    /// A write of nothing to a stream that takes nothing is an error: it would be tried for ever.
    fn poll_write_stream(
        &mut self,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.stream).poll_write_vectored(cx, slices))?;
        if written == 0 {
            return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
        }
        self.bytes_written += written as u64;
        Poll::Ready(Ok(written))
    }

    fn poll_read_into(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if matches!(self.phase, Phase::Armed(_)) {
            self.held = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let before = buffer.filled().len();
        match ready!(Pin::new(&mut self.stream).poll_read(cx, buffer)) {
            Ok(()) => {
                let new = &buffer.filled()[before..];
                self.ended |= new.is_empty();
                self.bytes_read += new.len() as u64;
                self.recorder.feed(new);
                Poll::Ready(Ok(()))
            }
            Err(error) => {
                // hyper wraps what it is given; the original is kept for the message.
                let told = io::Error::from(error.kind());
                self.read_error.get_or_insert(error);
                Poll::Ready(Err(told))
            }
        }
    }
}

/// hyper's half of a [`Wire`].
#[derive(Debug)]
pub(super) struct HyperIo<S>(pub(super) Arc<Mutex<Wire<S>>>);

impl<S: NetworkStream> Read for HyperIo<S> {
    #[allow(unsafe_code)] // hyper's read buffer has no safe way in but copying
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut cursor: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        // SAFETY: a tokio `ReadBuf` never un-initialises memory, which is what the cursor asks for.
        let mut buffer = ReadBuf::uninit(unsafe { cursor.as_mut() });
        ready!(self.0.lock().poll_read_into(cx, &mut buffer))?;
        let read = buffer.filled().len();
        // SAFETY: the first `read` bytes were filled, hence initialised, by the stream.
        unsafe { cursor.advance(read) };
        Poll::Ready(Ok(()))
    }
}

impl<S: NetworkStream> Write for HyperIo<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.0.lock().poll_write_slices(cx, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.0.lock().poll_write_slices(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut wire = self.0.lock();
        if !wire.broken && Pin::new(&mut wire.stream).poll_flush(cx)?.is_pending() {
            return Poll::Pending;
        }
        // An armed head is not out: hyper has not written anything yet.
        wire.clean = !matches!(wire.phase, Phase::Armed(_));
        Poll::Ready(Ok(()))
    }

    /// Never shuts the socket down: it is closed by being dropped.
    fn poll_shutdown(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
