//! Frames: the connection's bytes on their way to and from `h2`, looked at frame by frame.
//!
//! `h2` tells neither when the peer's SETTINGS have come nor which streams a GOAWAY leaves alive, and it ends a
//! connection at its 101st empty DATA frame, over all of its life: a server may send one every few seconds to keep
//! a quiet stream alive. So frame headers are read here as well, and an empty DATA frame that says nothing is
//! left out. Nothing is decided here, and no byte is added.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_util::io::poll_read_buf;

use crate::connection::NetworkStream;

/// RFC 9113 section 4.1.
const HEADER: usize = 9;
const DATA: u8 = 0x0;
const SETTINGS: u8 = 0x4;
const GOAWAY: u8 = 0x7;
const END_STREAM: u8 = 0x1;
const ACK: u8 = 0x1;
const PADDED: u8 = 0x8;

/// The last stream and the error code, with which a GOAWAY begins.
const GOAWAY_FIXED: usize = 8;

/// How much is read at once: at first as much as a few small responses, then up to the most as long as reads fill
/// it.
const MIN_READ: usize = 16 * 1024;
const MAX_READ: usize = 256 * 1024;

/// A stream under `h2`, with what was seen on it.
#[derive(Debug)]
pub(super) struct Frames<S> {
    stream: S,
    /// Read and not handed on yet: `[start..checked]` is for `h2`, behind it is the beginning of a frame header.
    buffer: Vec<u8>,
    start: usize,
    checked: usize,
    /// Of the frame at `checked`: how much of its payload is still to come.
    payload: usize,
    /// The same frame is a GOAWAY, and this is the beginning of it.
    going: Option<Vec<u8>>,
    /// The same frame is the peer's SETTINGS.
    setting: bool,
    next_read: usize,
    pub(super) seen: Seen,
}

/// What was seen so far.
#[derive(Debug)]
pub(super) struct Seen {
    /// When something came from the peer; at first, when the connection began.
    pub(super) last_read: Instant,
    /// The peer's SETTINGS have come.
    pub(super) settings: bool,
    /// The last one.
    pub(super) goaway: Option<Goaway>,
    /// The peer sends no more.
    pub(super) eof: bool,
    /// The socket's own words.
    pub(super) read_error: Option<(io::ErrorKind, String)>,
    pub(super) write_error: Option<(io::ErrorKind, String)>,
}

/// What a GOAWAY says; RFC 9113 section 6.8.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Goaway {
    /// Streams above it have not been and will not be looked at.
    pub(super) last_stream: u32,
    pub(super) code: u32,
}

impl<S> Frames<S> {
    pub(super) fn new(stream: S) -> Self {
        Self {
            stream,
            buffer: Vec::new(),
            start: 0,
            checked: 0,
            payload: 0,
            going: None,
            setting: false,
            next_read: MIN_READ,
            seen: Seen {
                last_read: Instant::now(),
                settings: false,
                goaway: None,
                eof: false,
                read_error: None,
                write_error: None,
            },
        }
    }

    /// How much memory it holds for what comes.
    #[cfg(test)]
    pub(super) fn held(&self) -> usize {
        self.buffer.capacity()
    }

    /// Looks at the bytes behind `checked`, and closes the gaps that left-out frames leave.
    fn check(&mut self) {
        let mut from = self.checked;
        loop {
            if self.payload > 0 {
                let length = self.payload.min(self.buffer.len() - from);
                if length == 0 {
                    break;
                }
                if let Some(going) = &mut self.going {
                    let wanted = GOAWAY_FIXED.saturating_sub(going.len()).min(length);
                    going.extend_from_slice(&self.buffer[from..from + wanted]);
                }
                self.pass(from, length);
                from += length;
                self.payload -= length;
            } else {
                let Some(header) = self.buffer.get(from..from + HEADER) else {
                    break;
                };
                let length = usize::from(header[0]) << 16
                    | usize::from(header[1]) << 8
                    | usize::from(header[2]);
                let (kind, flags) = (header[3], header[4]);
                let says_nothing =
                    kind == DATA && length == 0 && flags & (END_STREAM | PADDED) == 0;
                if !says_nothing {
                    self.payload = length;
                    self.going = (kind == GOAWAY).then(Vec::new);
                    self.setting = kind == SETTINGS && flags & ACK == 0;
                    self.pass(from, HEADER);
                }
                from += HEADER;
            }
            if self.payload == 0 {
                self.end_frame();
            }
        }
        let rest = self.buffer.len() - from;
        self.buffer.copy_within(from.., self.checked);
        self.buffer.truncate(self.checked + rest);
    }

    /// So many bytes may go on.
    fn pass(&mut self, from: usize, length: usize) {
        if from != self.checked {
            self.buffer.copy_within(from..from + length, self.checked);
        }
        self.checked += length;
    }

    fn end_frame(&mut self) {
        self.seen.settings |= std::mem::take(&mut self.setting);
        if let Some(going) = self.going.take()
            && let [a, b, c, d, e, f, g, h] = going[..]
        {
            self.seen.goaway = Some(Goaway {
                // The highest bit is reserved.
                last_stream: u32::from_be_bytes([a & 0x7f, b, c, d]),
                code: u32::from_be_bytes([e, f, g, h]),
            });
        }
    }
}

impl<S: NetworkStream> Frames<S> {
    /// Whether a read would give something: what is held here, or what the kernel has.
    pub(super) fn is_readable(&self) -> bool {
        self.start < self.checked || self.stream.is_readable()
    }

    fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        target: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        while self.start == self.checked {
            if self.seen.eof {
                // A frame header that was cut short is for `h2` to complain of.
                self.checked = self.buffer.len();
                if self.start == self.checked {
                    return Poll::Ready(Ok(()));
                }
                break;
            }
            self.buffer.drain(..self.start);
            (self.start, self.checked) = (0, 0);
            ready!(self.poll_fill(cx))?;
            self.check();
        }
        let length = target.remaining().min(self.checked - self.start);
        target.put_slice(&self.buffer[self.start..self.start + length]);
        self.start += length;
        Poll::Ready(Ok(()))
    }

    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.buffer.reserve(self.next_read);
        let polled = poll_read_buf(Pin::new(&mut self.stream), cx, &mut self.buffer);
        if self.buffer.is_empty() {
            // A connection on which nothing comes holds no buffer.
            self.buffer = Vec::new();
        }
        match ready!(polled) {
            Err(error) => {
                self.seen.read_error = Some((error.kind(), error.to_string()));
                Poll::Ready(Err(error))
            }
            Ok(read) => {
                self.seen.last_read = Instant::now();
                self.seen.eof = read == 0;
                // There may have been more room than that.
                self.next_read = if read >= self.next_read {
                    (self.next_read * 2).min(MAX_READ)
                } else {
                    (self.next_read / 2).max(MIN_READ)
                };
                Poll::Ready(Ok(()))
            }
        }
    }

    fn wrote(&mut self, polled: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        match &polled {
            Poll::Ready(Err(error)) => {
                self.seen.write_error = Some((error.kind(), error.to_string()));
            }
            Poll::Ready(Ok(_)) | Poll::Pending => {}
        }
        polled
    }
}

/// The end that `h2` has.
#[derive(Debug)]
pub(super) struct FramesIo<S>(pub(super) Arc<Mutex<Frames<S>>>);

impl<S: NetworkStream> AsyncRead for FramesIo<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.0.lock().poll_read(cx, buffer)
    }
}

impl<S: NetworkStream> AsyncWrite for FramesIo<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let mut frames = self.0.lock();
        let polled = Pin::new(&mut frames.stream).poll_write(cx, bytes);
        frames.wrote(polled)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let mut frames = self.0.lock();
        let polled = Pin::new(&mut frames.stream).poll_write_vectored(cx, slices);
        frames.wrote(polled)
    }

    fn is_write_vectored(&self) -> bool {
        self.0.lock().stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0.lock().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0.lock().stream).poll_shutdown(cx)
    }
}
