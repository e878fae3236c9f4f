//! The wrapper between hyper and the stream: sends our request head in place of hyper's, records the
//! response head, and remembers what hyper's errors do not tell.
//!
//! hyper is given a synthetic head; the first write after [`Wire::arm`] must begin with exactly that
//! head, which is swallowed and replaced. Everything this rests on is checked before a byte leaves:
//! were hyper to write anything else, our head could land inside the previous body, and that is
//! request smuggling. Nothing of HTTP beyond heads is known here.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};

use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::recorder::Recorder;

/// As many slices as hyper hands over at once (64), and one for our head.
const MAX_SLICES: usize = 65;
/// On a stream without vectored writes, up to this much body is copied behind the head: one write
/// (and later one TLS record) instead of two.
const JOINED_BODY: usize = 16 * 1024;

/// The stream and what passed through it. Shared by hyper (as [`HeadIo`]) and the driver.
pub(super) struct Wire<S> {
    pub(super) stream: S,
    phase: Phase,
    synthetic: Vec<u8>,
    head: Vec<u8>,
    head_written: usize,
    /// Framed body bytes that were handed over and that hyper has not written yet.
    budget: u64,
    /// Whether hyper flushed after its last write: its buffer is empty.
    clean: bool,
    /// Before the first head is out nothing is read: hyper takes bytes on an unused connection for an
    /// answer to nothing, and gives the request back.
    fresh: bool,
    held: Option<Waker>,
    pub(super) recorder: Recorder,
    /// Bytes for hyper that it has not taken yet.
    pub(super) passed: Vec<u8>,
    pub(super) violation: Option<&'static str>,
    /// The write side failed. What is written now vanishes, so that hyper goes on reading: a server
    /// that refuses a body answers early and closes.
    pub(super) broken: bool,
    /// Why, until somebody asks.
    pub(super) write_error: Option<io::Error>,
    pub(super) eof: bool,
    pub(super) read_error: Option<io::Error>,
    pub(super) read: u64,
    pub(super) written: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Between requests: hyper has nothing to write.
    Idle,
    /// A request was handed to hyper; its head is not out yet.
    Armed,
    /// The head is out. What hyper writes now is the body.
    Body,
}

impl<S> Wire<S> {
    pub(super) fn new(stream: S) -> Self {
        Self {
            stream,
            phase: Phase::Idle,
            synthetic: Vec::new(),
            head: Vec::new(),
            head_written: 0,
            budget: 0,
            clean: true,
            fresh: true,
            held: None,
            recorder: Recorder::default(),
            passed: Vec::new(),
            violation: None,
            broken: false,
            write_error: None,
            eof: false,
            read_error: None,
            read: 0,
            written: 0,
        }
    }

    /// Expects `synthetic` as the next bytes that hyper writes, to send `head` in their place.
    ///
    /// # Errors
    ///
    /// The rule that is broken, when the request before is not completely out.
    pub(super) fn arm(&mut self, synthetic: Vec<u8>, head: Vec<u8>) -> Result<(), &'static str> {
        if self.phase != Phase::Idle {
            return Err("a request was begun before the last one ended");
        }
        if !self.clean || self.broken || self.budget > 0 {
            return Err("a request was begun behind unwritten bytes of the last one");
        }
        self.phase = Phase::Armed;
        self.synthetic = synthetic;
        self.head = head;
        self.head_written = 0;
        self.recorder.start();
        Ok(())
    }

    /// Allows hyper to write that many bytes of body.
    pub(super) fn allow(&mut self, body: u64) {
        self.budget += body;
    }

    /// Whether the head and all allowed bytes are out and flushed.
    pub(super) fn is_sent(&self) -> bool {
        self.phase == Phase::Body && self.budget == 0 && self.clean
    }

    /// Ends the exchange. Only now may the next one be armed.
    pub(super) fn disarm(&mut self) {
        self.phase = Phase::Idle;
        // An idle connection keeps no heads.
        self.synthetic = Vec::new();
        self.head = Vec::new();
        self.head_written = 0;
        self.passed = Vec::new();
    }

    fn violate(&mut self, rule: &'static str) -> io::Error {
        self.violation = Some(rule);
        io::Error::other(rule)
    }

    /// Makes the rest of the request vanish, and lets the response be read.
    fn break_writes(&mut self, error: io::Error) {
        self.broken = true;
        self.write_error = Some(error);
        self.head_out();
    }

    fn head_out(&mut self) {
        self.phase = Phase::Body;
        self.fresh = false;
        if let Some(held) = self.held.take() {
            held.wake();
        }
    }
}

impl<S: AsyncWrite + Unpin> Wire<S> {
    /// The one way out, for both of hyper's write strategies.
    fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let total: usize = bufs.iter().map(|buf| buf.len()).sum();
        if self.broken || total == 0 {
            return Poll::Ready(Ok(total));
        }
        let swallowed = match self.phase {
            Phase::Idle => return Poll::Ready(Err(self.violate("hyper wrote without a request"))),
            Phase::Armed => self.synthetic.len(),
            Phase::Body => 0,
        };
        if swallowed > 0 && !bufs[0].starts_with(&self.synthetic) {
            let rule = "hyper's head is not the one it was given";
            return Poll::Ready(Err(self.violate(rule)));
        }
        if (total - swallowed) as u64 > self.budget {
            let rule = "hyper wrote more body than it was given";
            return Poll::Ready(Err(self.violate(rule)));
        }
        // Cleared before anything is tried: a write that is pending has left bytes behind as well.
        self.clean = false;
        loop {
            let head = &self.head[self.head_written..];
            let first = &bufs[0][swallowed..];
            let written = ready!(write_some(&mut self.stream, cx, head, first, &bufs[1..]));
            let written = match written {
                Ok(0) => Err(io::ErrorKind::WriteZero.into()),
                written => written,
            };
            let written = match written {
                Ok(written) => written,
                Err(error) => {
                    self.break_writes(error);
                    return Poll::Ready(Ok(total));
                }
            };
            self.written += written as u64;
            let of_head = written.min(head.len());
            self.head_written += of_head;
            // While a part of our head is missing, hyper is told of no progress and offers the same
            // bytes again.
            if self.head_written == self.head.len() {
                if self.phase == Phase::Armed {
                    self.head_out();
                }
                let of_body = written - of_head;
                self.budget -= of_body as u64;
                return Poll::Ready(Ok(swallowed + of_body));
            }
        }
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.broken
            && let Err(error) = ready!(Pin::new(&mut self.stream).poll_flush(cx))
        {
            self.break_writes(error);
        }
        // hyper flushes with an empty buffer only; but a head of ours that is half out is not clean.
        if self.phase != Phase::Armed {
            self.clean = true;
        }
        Poll::Ready(Ok(()))
    }
}

/// Writes a part of `head`, `first` and `rest`, in this order.
fn write_some<S: AsyncWrite + Unpin>(
    stream: &mut S,
    cx: &mut Context<'_>,
    head: &[u8],
    first: &[u8],
    rest: &[IoSlice<'_>],
) -> Poll<io::Result<usize>> {
    let stream = Pin::new(stream);
    let parts = [head, first].into_iter();
    let parts = parts.chain(rest.iter().map(|slice| &**slice));
    let mut parts = parts.filter(|part| !part.is_empty());
    if stream.is_write_vectored() {
        let mut slices = [IoSlice::new(&[]); MAX_SLICES];
        let mut count = 0;
        for (slot, part) in slices.iter_mut().zip(parts) {
            *slot = IoSlice::new(part);
            count += 1;
        }
        return stream.poll_write_vectored(cx, &slices[..count]);
    }
    if head.is_empty() || first.is_empty() {
        return stream.poll_write(cx, parts.next().unwrap_or_default());
    }
    let joined = [head, &first[..first.len().min(JOINED_BODY)]].concat();
    stream.poll_write(cx, &joined)
}

impl<S: AsyncRead + Unpin> Wire<S> {
    fn poll_read(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.fresh {
            self.held = Some(cx.waker().clone());
            return Poll::Pending;
        }
        while self.passed.is_empty() {
            let before = buf.filled().len();
            match ready!(Pin::new(&mut self.stream).poll_read(cx, buf)) {
                Ok(()) => {
                    let bytes = &buf.filled()[before..];
                    self.read += bytes.len() as u64;
                    self.eof |= bytes.is_empty();
                    if let Some((size, short)) = self.recorder.read_whole(bytes) {
                        let bytes = &mut buf.filled_mut()[before..];
                        bytes[..short.len()].copy_from_slice(short);
                        bytes.copy_within(size.., short.len());
                        let length = bytes.len() - size + short.len();
                        buf.set_filled(before + length);
                        return Poll::Ready(Ok(()));
                    }
                    let Some(passed) = self.recorder.feed(bytes) else {
                        return Poll::Ready(Ok(()));
                    };
                    // Should it be empty, more is read: hyper would take nothing for the end.
                    self.passed = passed;
                    buf.set_filled(before);
                }
                // A TLS peer that closed without saying so. What the framing needs is still checked.
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                    self.eof = true;
                    return Poll::Ready(Ok(()));
                }
                Err(error) => {
                    let kind = error.kind();
                    self.read_error = Some(error);
                    return Poll::Ready(Err(kind.into()));
                }
            }
        }
        let length = self.passed.len().min(buf.remaining());
        buf.put_slice(&self.passed[..length]);
        self.passed.drain(..length);
        Poll::Ready(Ok(()))
    }
}

/// hyper's handle to the wire.
pub(super) struct HeadIo<S>(pub(super) Arc<Mutex<Wire<S>>>);

impl<S: AsyncRead + Unpin> AsyncRead for HeadIo<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.0.lock().poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for HeadIo<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.0.lock().poll_write(cx, &[IoSlice::new(buf)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.0.lock().poll_write(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.0.lock().stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.lock().poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0.lock().stream).poll_shutdown(cx)
    }
}
