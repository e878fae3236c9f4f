//! Stream: a TLS session over a connected stream, as a byte stream again.
//!
//! A session's turn may block (Python does its cryptography, a verdict is asked for): it runs on a thread of
//! the runtime's that may, and the session is away meanwhile. Whoever reads or writes in that time waits for
//! its return. A turn that does not block is taken at once. Nothing here knows what a session does.

use std::fmt;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};

use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::runtime::Handle;

use super::{Secured, Session, Turn};
use crate::connection::NetworkStream;
use crate::runtime::spawn_turn;

/// The most of a body that one turn takes: four records. While they leave for a slow peer nothing moves as
/// far as a write timeout can see, so that it must not be much.
const MAX_OUTGOING: usize = 64 * 1024;

/// How much is read for one turn: at first as much as a small response, then up to the most as long as
/// reads fill it. A turn costs a hop to another thread, so that a download gains by few and large ones.
const MIN_READ: usize = 8 * 1024;
const MAX_READ: usize = 256 * 1024;

/// A TLS session over a stream.
///
/// Closing it says nothing to the peer: httpcore closes sockets, not sessions.
///
/// # Drop
///
/// Closes the stream at once. A turn that is under way ends on its own, unheard.
pub struct TlsStream<S> {
    stream: S,
    session: Place,
    secured: Secured,
    /// What was agreed on by ALPN.
    protocol: Option<Vec<u8>>,
    runtime: Handle,
    /// In the clear, for the reader. The first `taken` bytes are out.
    opened: Vec<u8>,
    taken: usize,
    /// For the peer. The first `sent` bytes are out.
    sealed: Vec<u8>,
    sent: usize,
    /// What the session could not take yet.
    outgoing: Vec<u8>,
    /// The peer sends no more, behind what is opened.
    closed: bool,
    /// The session is over, behind what is opened. Told to the reader and the writer.
    failure: Option<super::Failure>,
    next_read: usize,
}

/// Where the session is.
enum Place {
    Here(Box<dyn Session>),
    Away(Arc<Mutex<Away>>),
    /// It never came back: its thread was not run any more, or it panicked.
    Lost,
}

/// A session that takes its turn on another thread.
struct Away {
    back: Back,
    /// Those who wait for it: the reader and the writer.
    wakers: Vec<Waker>,
}

enum Back {
    NotYet,
    Done(Box<dyn Session>, Turn),
    Never,
}

/// Says that the session is lost, unless it was brought back.
struct Errand(Arc<Mutex<Away>>);

impl Errand {
    fn end(&self, back: Back) {
        let mut away = self.0.lock();
        if matches!(away.back, Back::NotYet) {
            away.back = back;
        }
        let wakers = std::mem::take(&mut away.wakers);
        drop(away);
        wakers.into_iter().for_each(Waker::wake);
    }
}

impl Drop for Errand {
    fn drop(&mut self) {
        self.end(Back::Never);
    }
}

impl<S> fmt::Debug for TlsStream<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsStream")
            .field("closed", &self.closed)
            .finish_non_exhaustive()
    }
}

impl<S: NetworkStream> TlsStream<S> {
    /// Opens a session, on a thread that may block, and shakes hands. `received` came from the peer before.
    ///
    /// # Errors
    ///
    /// The stream's, or a [`Failure`](super::Failure) inside an `io::Error`.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future closes the stream.
    pub async fn handshake(
        stream: S,
        open: impl FnOnce() -> Result<Box<dyn Session>, super::Failure> + Send + 'static,
        received: Vec<u8>,
        runtime: &Handle,
    ) -> io::Result<Self> {
        let opening = spawn_turn(runtime, move || {
            let mut session = open()?;
            let mut turn = Turn {
                received,
                ..Turn::default()
            };
            session.turn(&mut turn);
            Ok::<_, super::Failure>((session, turn))
        });
        let (session, mut turn) = opening.await.map_err(io::Error::other)??;
        let mut this = Self {
            stream,
            secured: session.secured(),
            protocol: None,
            session: Place::Here(session),
            runtime: runtime.clone(),
            opened: Vec::new(),
            taken: 0,
            sealed: Vec::new(),
            sent: 0,
            outgoing: Vec::new(),
            closed: false,
            failure: None,
            next_read: MIN_READ,
        };
        loop {
            let shaken = turn.is_shaken;
            this.came_back(turn);
            let flushed = poll_fn(|cx| this.poll_sealed_out(cx)).await;
            // What fails behind the handshake is the reader's to find.
            if let Some(failure) = this.failure.take_if(|_| !shaken) {
                // Whether the alert got through is of no interest.
                return Err(failure.into());
            }
            flushed.map_err(|error| this.lost(error))?;
            if shaken {
                if let Place::Here(session) = &this.session {
                    this.protocol = session.protocol();
                }
                return Ok(this);
            }
            turn = match poll_fn(|cx| this.poll_handshake_turn(cx)).await {
                Ok(turn) => turn,
                Err(error) => return Err(this.lost(error)),
            };
        }
    }

    /// The protocol that was agreed on by ALPN.
    pub fn protocol(&self) -> Option<&[u8]> {
        self.protocol.as_deref()
    }

    /// The stream as seen by those who know the kind of its session.
    pub fn secured(&self) -> &Secured {
        &self.secured
    }

    /// What lies under the session.
    pub fn get_ref(&self) -> &S {
        &self.stream
    }

    /// What it means that the stream failed within the handshake.
    fn lost(&self, error: io::Error) -> io::Error {
        match &self.session {
            Place::Here(session) if !session.is_lost_for_good() => {
                super::Failure::unproven(format!("the server left the handshake: {error}")).into()
            }
            _ => error,
        }
    }

    fn poll_handshake_turn(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Turn>> {
        if let Place::Here(_) = self.session {
            ready!(self.poll_receive(cx))?;
        }
        self.poll_back(cx)
    }

    /// Waits for the session's return, if it is away, and takes what it brings.
    fn poll_here(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Place::Here(_) = self.session {
            return Poll::Ready(Ok(()));
        }
        let turn = ready!(self.poll_back(cx))?;
        self.came_back(turn);
        Poll::Ready(Ok(()))
    }

    fn poll_back(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Turn>> {
        let Place::Away(away) = &self.session else {
            return Poll::Ready(Err(lost()));
        };
        let mut state = away.lock();
        match std::mem::replace(&mut state.back, Back::Never) {
            Back::NotYet => {
                state.back = Back::NotYet;
                if !state.wakers.iter().any(|waker| waker.will_wake(cx.waker())) {
                    state.wakers.push(cx.waker().clone());
                }
                Poll::Pending
            }
            Back::Done(session, turn) => {
                drop(state);
                self.session = Place::Here(session);
                Poll::Ready(Ok(turn))
            }
            Back::Never => {
                drop(state);
                self.session = Place::Lost;
                Poll::Ready(Err(lost()))
            }
        }
    }

    fn came_back(&mut self, turn: Turn) {
        append(&mut self.opened, &mut self.taken, turn.opened);
        append(&mut self.sealed, &mut self.sent, turn.sealed);
        self.outgoing = turn.outgoing;
        self.closed |= turn.is_closed;
        self.failure = self.failure.take().or(turn.failure);
    }

    /// Has the session take a turn: here, or on a thread that may block. It must be here.
    fn begin_turn(&mut self, received: Vec<u8>, ended: bool) {
        let Place::Here(mut session) = std::mem::replace(&mut self.session, Place::Lost) else {
            return;
        };
        let mut turn = Turn {
            received,
            ended,
            outgoing: std::mem::take(&mut self.outgoing),
            ..Turn::default()
        };
        if !session.blocks() {
            session.turn(&mut turn);
            self.session = Place::Here(session);
            self.came_back(turn);
            return;
        }
        let away = Arc::new(Mutex::new(Away {
            back: Back::NotYet,
            wakers: Vec::new(),
        }));
        let errand = Errand(Arc::clone(&away));
        self.session = Place::Away(away);
        spawn_turn(&self.runtime, move || {
            session.turn(&mut turn);
            errand.end(Back::Done(session, turn));
        });
    }

    /// Reads from the peer and has the session take its turn with it.
    fn poll_receive(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut received = vec![0; self.next_read];
        let mut buffer = ReadBuf::new(&mut received);
        ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buffer))?;
        let length = buffer.filled().len();
        self.next_read = if length == received.len() {
            (length * 2).min(MAX_READ)
        } else {
            length.next_power_of_two().clamp(MIN_READ, MAX_READ)
        };
        received.truncate(length);
        self.begin_turn(received, length == 0);
        Poll::Ready(Ok(()))
    }

    /// Hands to the stream below what the session has sealed.
    fn poll_sealed_out(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.sent < self.sealed.len() {
            let stream = Pin::new(&mut self.stream);
            let written = ready!(stream.poll_write(cx, &self.sealed[self.sent..]))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.sent += written;
        }
        self.sealed = Vec::new();
        self.sent = 0;
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn check(&self) -> io::Result<()> {
        match &self.failure {
            Some(failure) => Err(failure.clone().into()),
            None => Ok(()),
        }
    }
}

/// Puts `more` behind what of `buffer` has not been taken.
fn append(buffer: &mut Vec<u8>, taken: &mut usize, more: Vec<u8>) {
    if *taken == buffer.len() {
        *buffer = more;
        *taken = 0;
    } else {
        buffer.extend_from_slice(&more);
    }
}

fn lost() -> io::Error {
    io::Error::other("the TLS session is gone: its runtime has ended, or it panicked")
}

impl<S: NetworkStream> AsyncRead for TlsStream<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        loop {
            if this.taken < this.opened.len() {
                let rest = &this.opened[this.taken..];
                let length = rest.len().min(buffer.remaining());
                buffer.put_slice(&rest[..length]);
                this.taken += length;
                if this.taken == this.opened.len() {
                    this.opened = Vec::new();
                    this.taken = 0;
                }
                return Poll::Ready(Ok(()));
            }
            ready!(this.poll_here(cx))?;
            if this.taken < this.opened.len() {
                continue;
            }
            this.check()?;
            if this.closed {
                return Poll::Ready(Ok(()));
            }
            // An answer of the session's own (a key update). If the peer takes none, reading goes on all the
            // same; a writer finds the error.
            if this.sent < this.sealed.len() {
                let _ = this.poll_sealed_out(cx);
            }
            ready!(this.poll_receive(cx))?;
        }
    }
}

impl<S: NetworkStream> AsyncWrite for TlsStream<S> {
    /// Takes the bytes; they are sealed and sent by and by, at the latest by a flush.
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        ready!(this.poll_here(cx))?;
        this.check()?;
        ready!(this.poll_out(cx))?;
        let length = bytes.len().min(MAX_OUTGOING);
        this.outgoing.extend_from_slice(&bytes[..length]);
        this.begin_turn(Vec::new(), false);
        Poll::Ready(Ok(length))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().poll_out(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}

impl<S: NetworkStream> TlsStream<S> {
    /// Ready when all that was written is with the stream below.
    fn poll_out(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            ready!(self.poll_here(cx))?;
            ready!(self.poll_sealed_out(cx))?;
            self.check()?;
            if self.outgoing.is_empty() {
                return Poll::Ready(Ok(()));
            }
            // The session negotiates anew and has to hear from the peer first. Whoever reads may take that
            // wake-up; there is nobody else to take it while only a writer is here.
            ready!(self.poll_receive(cx))?;
        }
    }
}

impl<S: NetworkStream> NetworkStream for TlsStream<S> {
    /// True as well while the session is away: what it was sent away with came unasked.
    fn is_readable(&self) -> bool {
        self.taken < self.opened.len()
            || self.closed
            || self.failure.is_some()
            || !matches!(self.session, Place::Here(_))
            || self.stream.is_readable()
    }

    fn awaits_rest(&mut self) {
        self.stream.awaits_rest();
    }
}
