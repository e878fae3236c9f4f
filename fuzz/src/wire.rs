//! Wire: a peer in memory, whose bytes arrive when and in the pieces that a property wants.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll};

use httpcore_hyper::connection::NetworkStream;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// What the peer does next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Arrival {
    Bytes(Vec<u8>),
    /// What follows comes after a wait.
    Pause,
    /// The peer's FIN. Nothing follows it.
    End,
    /// Reading fails. Nothing follows it.
    Failure(io::ErrorKind),
}

#[derive(Debug, Default)]
struct State {
    incoming: VecDeque<Arrival>,
    outgoing: Vec<u8>,
    /// How many bytes the next writes take, in turn; zero is a wait. Empty: all of them.
    writes: Vec<usize>,
    turn: usize,
    /// So many bytes are taken, and then writing fails.
    fails: Option<(usize, io::ErrorKind)>,
    vectored: bool,
}

/// The test's hold of a stream, and the stream itself: the two are clones of each other.
#[derive(Debug, Clone, Default)]
pub struct Wire(Arc<Mutex<State>>);

impl Wire {
    /// `vectored` says which of hyper's two ways to write is taken.
    pub fn new(vectored: bool) -> Self {
        let wire = Self::default();
        wire.state().vectored = vectored;
        wire
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().expect("no property panics under this lock")
    }

    pub fn arrives(&self, arrivals: impl IntoIterator<Item = Arrival>) {
        self.state().incoming.extend(arrivals);
    }

    /// Everything that is still to come comes without further waits.
    pub fn hurry(&self) {
        self.state()
            .incoming
            .retain(|arrival| *arrival != Arrival::Pause);
    }

    pub fn takes(&self, writes: Vec<usize>) {
        self.state().writes = writes;
    }

    pub fn fails_after(&self, bytes: usize, kind: io::ErrorKind) {
        self.state().fails = Some((bytes, kind));
    }

    pub fn has_arrivals(&self) -> bool {
        !self.state().incoming.is_empty()
    }

    pub fn written(&self) -> Vec<u8> {
        self.state().outgoing.clone()
    }
}

/// Bytes as they are, or cut after each of `sizes` in turn, with a wait between two pieces.
pub fn pieces(bytes: &[u8], sizes: &[usize]) -> Vec<Arrival> {
    let mut arrivals = Vec::new();
    let mut rest = bytes;
    let mut turns = sizes.iter().copied().cycle();
    while !rest.is_empty() {
        let size = turns.next().unwrap_or(rest.len()).clamp(1, rest.len());
        let (piece, behind) = rest.split_at(size);
        if !arrivals.is_empty() {
            arrivals.push(Arrival::Pause);
        }
        arrivals.push(Arrival::Bytes(piece.to_vec()));
        rest = behind;
    }
    arrivals
}

impl NetworkStream for Wire {
    /// Bytes that are only on their way count as well: a property is about what can be known.
    fn is_readable(&self) -> bool {
        let state = self.state();
        state
            .incoming
            .iter()
            .any(|arrival| *arrival != Arrival::Pause)
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let mut state = self.state();
        match state.incoming.front_mut() {
            None => Poll::Pending,
            Some(Arrival::Pause) => {
                state.incoming.pop_front();
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            Some(Arrival::Bytes(bytes)) => {
                let taken = bytes.len().min(buffer.remaining());
                buffer.put_slice(&bytes[..taken]);
                bytes.drain(..taken);
                if bytes.is_empty() {
                    state.incoming.pop_front();
                }
                Poll::Ready(Ok(()))
            }
            Some(Arrival::End) => Poll::Ready(Ok(())),
            Some(Arrival::Failure(kind)) => Poll::Ready(Err((*kind).into())),
        }
    }
}

impl State {
    fn write(&mut self, cx: &mut Context<'_>, slices: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let mut room = match self.writes.as_slice() {
            [] => usize::MAX,
            writes => {
                let room = writes[self.turn % writes.len()];
                self.turn += 1;
                room
            }
        };
        if room == 0 {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        if let Some((bytes, kind)) = self.fails {
            room = room.min(bytes.saturating_sub(self.outgoing.len()));
            if room == 0 {
                return Poll::Ready(Err(kind.into()));
            }
        }
        let before = self.outgoing.len();
        for slice in slices {
            let taken = slice.len().min(room);
            self.outgoing.extend_from_slice(&slice[..taken]);
            room -= taken;
        }
        Poll::Ready(Ok(self.outgoing.len() - before))
    }
}

impl AsyncWrite for Wire {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.state().write(cx, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.state().write(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.state().vectored
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
