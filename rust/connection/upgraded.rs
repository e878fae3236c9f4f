//! Upgraded: a connection that has left HTTP (101, or a CONNECT that succeeded), as a plain byte stream.
//!
//! Reading and writing are independent: each takes the lock for one poll only, so that a read that waits
//! never delays a write. Nothing of HTTP is known here any more.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};

use bytes::{Buf, Bytes, BytesMut};
use parking_lot::Mutex;
use tokio::io::ReadBuf;

use super::NetworkStream;

/// The most that one read asks the kernel for, whatever its caller allows.
const MAX_READ: usize = 256 * 1024;

/// The stream, for as long as the response that it came with is open.
///
/// # Drop
///
/// Closes the socket, as [`Upgraded::close`] does.
#[derive(Debug)]
pub struct Upgraded<S> {
    state: Mutex<State<S>>,
}

#[derive(Debug)]
struct State<S> {
    /// `None` once it is closed.
    stream: Option<S>,
    /// Came with the response head, or was read for somebody who has gone: the first to be read.
    leading: Bytes,
    /// The stream was taken, and another is to take its place.
    is_out: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

impl<S> Upgraded<S> {
    pub(super) fn new(stream: S, leading: Bytes) -> Self {
        Self {
            state: Mutex::new(State {
                stream: Some(stream),
                leading,
                is_out: false,
                reader: None,
                writer: None,
            }),
        }
    }

    /// Gives bytes back that were read and not used: they are read again, before all others.
    pub fn unread(&self, bytes: Bytes) {
        let mut state = self.state.lock();
        if state.leading.is_empty() {
            state.leading = bytes;
        } else {
            let mut joined = BytesMut::from(&*bytes);
            joined.extend_from_slice(&state.leading);
            state.leading = joined.freeze();
        }
        if let Some(reader) = state.reader.take() {
            reader.wake();
        }
    }

    /// Takes the stream out, to put another over it, with the bytes that were read from it and not used. Whoever
    /// reads or writes meanwhile fails; [`Upgraded::put`] ends that.
    ///
    /// # Errors
    ///
    /// `NotConnected` once the stream is closed, or while somebody else has it.
    pub fn take(&self) -> io::Result<(S, Vec<u8>)> {
        let mut state = self.state.lock();
        let stream = state.stream.take().ok_or_else(closed)?;
        state.is_out = true;
        Ok((stream, std::mem::take(&mut state.leading).into()))
    }

    /// Puts a stream in the place of the one that was taken. If it was closed meanwhile, drops the stream.
    pub fn put(&self, stream: S) {
        let mut state = self.state.lock();
        if std::mem::take(&mut state.is_out) {
            state.stream = Some(stream);
        }
    }

    /// What `look` sees in the stream; `None` while there is none.
    pub fn look<T>(&self, look: impl FnOnce(&S) -> T) -> Option<T> {
        self.state.lock().stream.as_ref().map(look)
    }

    /// Closes the socket. Whoever reads or writes is woken, and fails.
    pub fn close(&self) {
        let mut state = self.state.lock();
        let stream = state.stream.take();
        state.is_out = false;
        state.leading = Bytes::new();
        let waiting = [state.reader.take(), state.writer.take()];
        drop(state);
        drop(stream);
        for waker in waiting.into_iter().flatten() {
            waker.wake();
        }
    }
}

fn closed() -> io::Error {
    io::Error::new(io::ErrorKind::NotConnected, "The stream has been closed.")
}

impl<S: NetworkStream> Upgraded<S> {
    /// Up to `max` bytes, empty at the end of the stream.
    ///
    /// # Errors
    ///
    /// The socket's; `NotConnected` once the stream is closed.
    pub fn poll_read(&self, cx: &mut Context<'_>, max: usize) -> Poll<io::Result<Bytes>> {
        let mut state = self.state.lock();
        if !state.leading.is_empty() && max > 0 {
            let length = max.min(state.leading.len());
            return Poll::Ready(Ok(state.leading.split_to(length)));
        }
        let Some(stream) = &mut state.stream else {
            return Poll::Ready(Err(closed()));
        };
        let mut space = vec![0; max.min(MAX_READ)];
        let mut buffer = ReadBuf::new(&mut space);
        if Pin::new(stream).poll_read(cx, &mut buffer)?.is_pending() {
            state.reader = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let length = buffer.filled().len();
        space.truncate(length);
        Poll::Ready(Ok(space.into()))
    }

    /// Ready once all of `bytes` is with the kernel. What is left in it after an error was not sent.
    ///
    /// # Errors
    ///
    /// The socket's; `NotConnected` once the stream is closed.
    pub fn poll_write(&self, cx: &mut Context<'_>, bytes: &mut Bytes) -> Poll<io::Result<()>> {
        let mut state = self.state.lock();
        loop {
            let Some(stream) = &mut state.stream else {
                return Poll::Ready(Err(closed()));
            };
            let mut stream = Pin::new(stream);
            let polled = if bytes.is_empty() {
                stream.as_mut().poll_flush(cx).map_ok(|()| 0)
            } else {
                stream.as_mut().poll_write(cx, bytes)
            };
            if polled.is_pending() {
                state.writer = Some(cx.waker().clone());
            }
            match ready!(polled)? {
                0 if bytes.is_empty() => return Poll::Ready(Ok(())),
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                written => bytes.advance(written),
            }
        }
    }
}
