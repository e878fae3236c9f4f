//! Operation: one read or write on an upgraded stream, or TLS put over it, with its timeout.
//!
//! Each belongs to one caller; several run at a time on one stream. What a cancelled read had got already
//! goes back to the stream, so that no byte is lost.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::runtime::Handle;

use super::{Failure, Listener, Part, Source};
use crate::connect::{Stream, start_tls};
use crate::connection::Upgraded;
use crate::error::{Error, Kind};
use crate::ledger::{Entry, Item};
use crate::runtime::spawn;
use crate::timeouts::Watchdog;
use crate::tls::{self, Hello};

/// What to do with the stream.
#[derive(Debug)]
pub enum Task {
    /// Read some bytes, at most this many. Gives [`Part::Body`], empty at the end of the stream.
    Read(usize),
    /// Write all of these. Gives [`Part::Sent`].
    Write(Bytes),
    /// Put TLS over it, in place: whoever holds the stream reads and writes through TLS afterwards. Gives
    /// [`Part::Secured`]. After a failure or a cancellation the stream is closed.
    StartTls(Arc<dyn tls::Context>, Hello),
}

type Shaking = Pin<Box<dyn Future<Output = crate::error::Result<Stream>> + Send>>;

/// One task under way.
///
/// # Drop
///
/// The last reference drops it. A caller who goes does not count on that and calls [`Operation::close`]: the
/// driving task holds a reference as well.
pub struct Operation {
    stream: Arc<Upgraded<Stream>>,
    runtime: Handle,
    state: Mutex<State>,
    _entry: Entry,
}

struct State {
    task: Task,
    /// The handshake of [`Task::StartTls`], once it has begun.
    shaking: Option<Shaking>,
    timeout: Option<Duration>,
    since: Instant,
    watchdog: Watchdog,
    outcome: Option<Result<Part, Failure>>,
    listener: Option<(Arc<dyn Listener>, usize)>,
    closed: bool,
    parked: Option<Waker>,
}

impl Operation {
    /// Begins with the next poll. `timeout` bounds each wait for the peer.
    pub fn new(
        stream: Arc<Upgraded<Stream>>,
        runtime: Handle,
        task: Task,
        timeout: Option<Duration>,
    ) -> Arc<Self> {
        Arc::new(Self {
            stream,
            runtime,
            state: Mutex::new(State {
                task,
                shaking: None,
                timeout,
                since: Instant::now(),
                watchdog: Watchdog::default(),
                outcome: None,
                listener: None,
                closed: false,
                parked: None,
            }),
            _entry: Entry::new(Item::Operation),
        })
    }

    /// Polls on behalf of a caller who drives the operation itself.
    pub fn poll_outcome(&self, cx: &mut Context<'_>) -> Poll<Result<Part, Failure>> {
        self.advance(&mut self.state.lock(), cx)
    }

    /// Has the runtime drive it, and announces the outcome to `listener`.
    pub fn spawn(self: &Arc<Self>, listener: Arc<dyn Listener>, key: usize) {
        self.state.lock().listener = Some((listener, key));
        spawn(&self.runtime, Drive(Arc::clone(self)));
    }

    /// The caller has gone. What was read for it is the next reader's.
    pub fn close(&self) {
        let mut state = self.state.lock();
        state.closed = true;
        let outcome = state.outcome.take();
        let parked = state.parked.take();
        // Given up in the middle of it, the stream is of no use to anybody.
        let shaking = state.shaking.take();
        drop(state);
        if shaking.is_some() {
            self.stream.close();
        }
        if let Some(Ok(Part::Body(parts))) = outcome {
            for part in parts.into_iter().rev() {
                self.stream.unread(part);
            }
        }
        if let Some(task) = parked {
            task.wake();
        }
    }

    fn advance(&self, state: &mut State, cx: &mut Context<'_>) -> Poll<Result<Part, Failure>> {
        if state.closed {
            return Poll::Ready(Err(Failure::Closed));
        }
        if let Task::StartTls(context, hello) = &state.task {
            if state.shaking.is_none() {
                let (context, hello) = (Arc::clone(context), hello.clone());
                state.shaking = Some(self.start_tls(context, hello, state.timeout));
            }
            return self.poll_tls(state, cx);
        }
        let (polled, kinds) = match &mut state.task {
            Task::StartTls(..) => unreachable!("returned above"),
            Task::Read(max) => (
                self.stream.poll_read(cx, *max).map_ok(|bytes| {
                    let empty = bytes.is_empty();
                    Part::Body(if empty { Vec::new() } else { vec![bytes] })
                }),
                (Kind::Read, Kind::ReadTimeout),
            ),
            Task::Write(bytes) => {
                let before = bytes.len();
                let polled = self
                    .stream
                    .poll_write(cx, bytes)
                    .map_ok(|()| Part::Sent { takes_more: true });
                if bytes.len() != before {
                    state.since = Instant::now();
                }
                (polled, (Kind::Write, Kind::WriteTimeout))
            }
        };
        if let Poll::Ready(outcome) = polled {
            return Poll::Ready(outcome.map_err(|error| Failure::Error(Error::io(kinds.0, error))));
        }
        let Some(timeout) = state.timeout else {
            return Poll::Pending;
        };
        let Some(deadline) = state.since.checked_add(timeout) else {
            return Poll::Pending;
        };
        state
            .watchdog
            .poll_expired(cx, &self.runtime, deadline)
            .map(|()| Err(Failure::Error(Error::new(kinds.1))))
    }
}

impl Operation {
    fn start_tls(
        &self,
        context: Arc<dyn tls::Context>,
        hello: Hello,
        timeout: Option<Duration>,
    ) -> Shaking {
        let runtime = self.runtime.clone();
        let taken = self.stream.take();
        Box::pin(async move {
            let (stream, received) = taken.map_err(|error| Error::io(Kind::Connect, error))?;
            start_tls(stream, context, hello, received, timeout, &runtime).await
        })
    }

    fn poll_tls(&self, state: &mut State, cx: &mut Context<'_>) -> Poll<Result<Part, Failure>> {
        let Some(shaking) = &mut state.shaking else {
            unreachable!("called once it has begun");
        };
        let shaken = std::task::ready!(shaking.as_mut().poll(cx));
        state.shaking = None;
        Poll::Ready(match shaken {
            Ok(stream) => {
                self.stream.put(stream);
                Ok(Part::Secured)
            }
            Err(error) => {
                self.stream.close();
                Err(Failure::Error(error))
            }
        })
    }
}

impl Source for Operation {
    fn take_announced(&self, key: usize) -> Option<Result<Part, Failure>> {
        let mut state = self.state.lock();
        if state.closed || state.listener.as_ref()?.1 != key {
            return None;
        }
        state.outcome.take()
    }
}

impl std::fmt::Debug for Operation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Operation").finish_non_exhaustive()
    }
}

/// The task that drives an operation whose caller does not.
struct Drive(Arc<Operation>);

impl Future for Drive {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let operation = &self.0;
        let mut state = operation.state.lock();
        match operation.advance(&mut state, cx) {
            Poll::Pending => {
                state.parked = Some(cx.waker().clone());
                Poll::Pending
            }
            Poll::Ready(outcome) => {
                state.parked = None;
                if !state.closed {
                    state.outcome = Some(outcome);
                    if let Some((listener, key)) = &state.listener {
                        listener.announce(Arc::clone(operation) as Arc<dyn Source>, *key);
                    }
                }
                Poll::Ready(())
            }
        }
    }
}
