//! HTTP/2 by the `h2` crate: one connection, many exchanges at a time.
//!
//! `h2` is driven by a task of its own, and in between by whoever has something to send at once: both poll it under
//! one lock. Frames on the wire are `frames`, one exchange is `stream`, what is said in it `head`, and what an error
//! means `failure`. Which request gets which connection is not known here.

mod failure;
mod frames;
mod head;
mod stream;
#[cfg(test)]
mod tests;

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use h2::client::{Builder, Connection, SendRequest};
use parking_lot::Mutex;

use super::NetworkStream;
use super::recorder::MAX_HEAD_SIZE;
use crate::error::{Error, Kind, Result};
use crate::poll_set::polling_for_runtime;
pub use failure::Unprocessed;
use frames::{Frames, FramesIo};
pub use stream::{Http2Stream, Refused};

/// What the peer may send on one stream, and on all of them together, before somebody reads it: so much memory a
/// connection may hold. Several streams that nobody reads leave room for the others.
const STREAM_WINDOW: u32 = 2 * 1024 * 1024;
const CONNECTION_WINDOW: u32 = 16 * 1024 * 1024;

/// httpcore's limit on streams at a time, whatever the peer allows.
const MAX_STREAMS: usize = 100;

/// What is buffered of one stream's body before the socket takes it.
const SEND_BUFFER: usize = 256 * 1024;

/// `h2` ends a connection for too many small DATA frames that nobody has read yet: each costs up to 256 of these. A
/// chatty stream may be ahead of its reader by as many as fit in its window.
const DATA_FRAME_BUDGET: usize = 256 * 64 * 1024;

/// How many streams that were given up are remembered, and for how long, so that frames that were on their way are
/// understood. A client that closes responses by the thousand is no fault of its server's.
const REMEMBERED_RESETS: usize = 16 * 1024;
const REMEMBERED_FOR: Duration = Duration::from_secs(10);

/// How often in its life a connection answers by RST_STREAM what it does not understand, which frames on a stream that
/// was forgotten are as well, before it is given up: so many answers may wait for a server that does not read them.
const ERRORS: usize = 64 * 1024;

/// A connection's news for its pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Notice {
    /// So many streams at a time it takes from now on.
    Streams(usize),
    /// It takes no more: it is closed, or its server has said so.
    Over,
}

type Listener = Box<dyn Fn(Notice) + Send + Sync>;

/// An HTTP/2 connection.
///
/// # Drop
///
/// The last handle closes the socket at once, whatever was in flight. An [`Http2Stream`] is a handle as well.
pub struct Http2<S: NetworkStream> {
    shared: Arc<Shared<S>>,
}

impl<S: NetworkStream> Clone for Http2<S> {
    fn clone(&self) -> Self {
        Self {
            shared: Arc::clone(&self.shared),
        }
    }
}

impl<S: NetworkStream> fmt::Debug for Http2<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Http2").finish_non_exhaustive()
    }
}

struct Shared<S: NetworkStream> {
    driver: Mutex<Driver<S>>,
    send: SendRequest<Bytes>,
    frames: Arc<Mutex<Frames<S>>>,
    listener: Listener,
    /// Streams that are open.
    streams: AtomicUsize,
    /// The id of the next stream, as far as that can be told before it is opened.
    next_id: AtomicU32,
}

struct Driver<S: NetworkStream> {
    /// `None` once it has ended.
    connection: Option<Connection<FramesIo<S>, Bytes>>,
    /// Wakes the driving task.
    task: Option<Waker>,
    /// What the listener was told last.
    told: Option<Notice>,
}

impl<S: NetworkStream> Http2<S> {
    /// Begins HTTP/2 on a connected stream: writes its preface. Its first stream has the id `first_id`, which is odd.
    /// `listener` is told what becomes of the connection; it is called without any lock of this room.
    ///
    /// # Errors
    ///
    /// `Write`.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future closes the stream.
    pub async fn handshake(
        stream: S,
        first_id: u32,
        listener: impl Fn(Notice) + Send + Sync + 'static,
    ) -> Result<Self> {
        let frames = Arc::new(Mutex::new(Frames::new(stream)));
        let mut builder = Builder::new();
        // Other ids than 1 are for tests, and so is `h2`'s setting.
        #[cfg(test)]
        builder.initial_stream_id(first_id);
        let shaken = builder
            .initial_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            // As a response's head may be over HTTP/1.1; it is no longer than a `usize`'s half on any machine.
            .max_header_list_size(MAX_HEAD_SIZE as u32)
            .enable_push(false)
            .initial_max_send_streams(MAX_STREAMS)
            .max_send_buffer_size(SEND_BUFFER)
            .max_concurrent_reset_streams(REMEMBERED_RESETS)
            .reset_stream_duration(REMEMBERED_FOR)
            .max_local_error_reset_streams(Some(ERRORS))
            .data_frame_budget(DATA_FRAME_BUDGET)
            .handshake::<_, Bytes>(FramesIo(Arc::clone(&frames)))
            .await;
        let (send, connection) = shaken.map_err(|error| match error.into_io() {
            Some(error) => Error::io(Kind::Write, error),
            None => Error::message(Kind::LocalProtocol, "HTTP/2 cannot begin"),
        })?;
        Ok(Self {
            shared: Arc::new(Shared {
                driver: Mutex::new(Driver {
                    connection: Some(connection),
                    task: None,
                    told: None,
                }),
                send,
                frames,
                listener: Box::new(listener),
                streams: AtomicUsize::new(0),
                next_id: AtomicU32::new(first_id),
            }),
        })
    }

    /// What drives the connection, for a task of its own. It ends with the connection and keeps nothing open. Nothing is
    /// read before it is polled.
    pub fn driving(&self) -> impl Future<Output = ()> + Send + use<S> {
        Drive(Arc::downgrade(&self.shared))
    }

    /// Whether it takes no more streams, as far as is known.
    pub fn is_over(&self) -> bool {
        self.shared.driver.lock().told == Some(Notice::Over)
    }

    /// Whether the peer may have sent something that nobody has looked at: a connection that was idle is looked at
    /// before it is used again. Never of one with open streams, which is being read.
    pub fn is_unread(&self) -> bool {
        self.shared.streams.load(Ordering::Relaxed) == 0 && self.shared.frames.lock().is_readable()
    }

    /// One turn, on this thread.
    pub fn drive(&self) {
        self.shared.drive(None);
    }

    /// The id that the next stream will have, unless another one is opened before it.
    pub fn next_id(&self) -> u32 {
        self.shared.next_id.load(Ordering::Relaxed)
    }

    /// Takes no more streams; those that are open go on.
    pub fn retire(&self) {
        self.shared.tell(Notice::Over);
    }

    /// For how long nothing has come from the server.
    pub fn silence(&self) -> Duration {
        self.shared.frames.lock().seen.last_read.elapsed()
    }
}

impl<S: NetworkStream> Shared<S> {
    /// One turn of `h2`'s. `task` is the driving task, if that is who calls. True once the connection has ended.
    fn drive(&self, task: Option<&Waker>) -> bool {
        let mut driver = self.driver.lock();
        if let Some(task) = task {
            driver.task = Some(task.clone());
        }
        // Whoever polls in between leaves the task registered: it is the one who always comes back.
        let waker = driver.task.clone().unwrap_or_else(|| Waker::noop().clone());
        let mut ended = None;
        let mut cx = Context::from_waker(&waker);
        // It is the task that has to be woken, whoever polls: the socket stays with the runtime.
        if let Some(connection) = &mut driver.connection
            && polling_for_runtime(|| Pin::new(connection).poll(&mut cx)).is_ready()
        {
            // Whoever has a stream has been told why.
            ended = driver.connection.take();
        }
        let is_over = driver.connection.is_none();
        drop(driver);
        drop(ended);
        self.look(is_over);
        is_over
    }

    /// Tells the listener what is new.
    fn look(&self, is_over: bool) {
        let (settings, going) = {
            let frames = self.frames.lock();
            (
                frames.seen.settings,
                frames.seen.goaway.is_some() || frames.seen.eof,
            )
        };
        if is_over || going {
            self.tell(Notice::Over);
        } else if settings {
            let most = self.send.current_max_send_streams();
            self.tell(Notice::Streams(most.min(MAX_STREAMS)));
        }
    }

    fn tell(&self, notice: Notice) {
        let mut driver = self.driver.lock();
        if driver.told == Some(notice) || driver.told == Some(Notice::Over) {
            return;
        }
        driver.told = Some(notice);
        drop(driver);
        (self.listener)(notice);
    }

    /// A response has come and the peer's SETTINGS have not: then it has no limits of its own.
    fn settle(&self) {
        let told = self.driver.lock().told;
        if told.is_none() {
            self.tell(Notice::Streams(MAX_STREAMS));
        }
    }
}

impl<S: NetworkStream> Drop for Shared<S> {
    fn drop(&mut self) {
        let driver = self.driver.get_mut();
        driver.connection = None;
        // It finds nothing left to drive, and ends.
        if let Some(task) = driver.task.take() {
            task.wake();
        }
    }
}

/// The driving task. It keeps nothing open.
struct Drive<S: NetworkStream>(Weak<Shared<S>>);

impl<S: NetworkStream> Future for Drive<S> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        match self.0.upgrade() {
            Some(shared) if !shared.drive(Some(cx.waker())) => Poll::Pending,
            _ => Poll::Ready(()),
        }
    }
}
