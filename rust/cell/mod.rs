//! ExchangeCell: one exchange, shared by the caller who wants its parts and the task that drives it.
//!
//! Everything is behind one lock that is held for at most one poll. Cancel and close take the exchange
//! out and drop it on the caller's own thread: when they return, the slot is free and the socket is
//! closed. Nothing of Python is known here; a finished part is announced to a `Listener` as plain data.

mod caller;
mod operation;
mod part;
mod progress;
#[cfg(test)]
mod tests;

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::runtime::Handle;

use crate::connect::{SocketView, Stream};
use crate::connection::{HeaderList, Upgraded};
use crate::error::{Error, Kind};
use crate::exchange::{Engine, Exchange, Interrupt, Owner};
use crate::ledger::{Entry, Item};
use crate::request::{Request, RequestBody};
use crate::runtime::spawn;
use caller::Caller;
pub use caller::take_news;
pub use operation::{Operation, Task};
pub use part::{Failure, Listener, Part, Source, Want};
use progress::{GLANCE, Progress, READ_AHEAD, Stage, Wanted};

/// One exchange with its task and its caller.
///
/// # Drop
///
/// The last reference drops the exchange. The handle does not count on it and closes the cell: the
/// driving task holds a reference as well.
pub struct ExchangeCell {
    progress: Mutex<Progress>,
    /// The driving task exists (or existed): a wake-up of the first poll has nothing left to do.
    spawned: AtomicBool,
    /// What a wake-up means that comes before there is a task.
    caller: Caller,
    engine: Arc<Engine>,
    _entry: Entry,
}

impl ExchangeCell {
    /// Queues the request with the pool of `engine`.
    ///
    /// `stepwise`: it goes no further than to the part that is wanted, so that something can happen between
    /// two of them. Its write errors are told, once, and do not end it.
    pub fn start(engine: Arc<Engine>, request: Request, stepwise: bool) -> Arc<Self> {
        let body_open = matches!(request.body, RequestBody::Pushed);
        Arc::new_cyclic(|cell: &std::sync::Weak<Self>| {
            let owner: Owner = cell.clone();
            let exchange = Exchange::start(Arc::clone(&engine), request, owner);
            Self {
                progress: Mutex::new(Progress::new(exchange, body_open, stepwise)),
                spawned: AtomicBool::new(false),
                caller: Caller::default(),
                engine,
                _entry: Entry::new(Item::Exchange),
            }
        })
    }

    /// Polls for a part on behalf of a caller who drives the exchange itself.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future that polls loses nothing: the part stays here until it is taken.
    pub fn poll_part(&self, cx: &mut Context<'_>, want: Want) -> Poll<Result<Part, Failure>> {
        self.poll_up_to(cx, want, READ_AHEAD)
    }

    /// Looks for a part as [`ExchangeCell::poll_part`] does, on a thread that others wait for: reads hardly more of a body
    /// than came with its head, and wakes nobody. Whoever goes on waiting polls again.
    pub fn glance(&self, want: Want) -> Option<Result<Part, Failure>> {
        match self.poll_up_to(&mut Context::from_waker(Waker::noop()), want, GLANCE) {
            Poll::Ready(part) => Some(part),
            Poll::Pending => None,
        }
    }

    fn poll_up_to(
        &self,
        cx: &mut Context<'_>,
        want: Want,
        ahead: usize,
    ) -> Poll<Result<Part, Failure>> {
        let mut progress = self.progress.lock();
        progress.want(want);
        if !progress.has(want) {
            let _ = progress.advance_up_to(cx, ahead);
        }
        match progress.hand_over(want) {
            Some(part) => {
                // Nobody sleeps: a wake-up would only cost the next caller a look.
                progress.parked = None;
                Poll::Ready(part)
            }
            None => {
                progress.parked = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }

    /// Whether the exchange has not been driven yet: it holds a place in the queue and has done nothing.
    pub fn is_fresh(&self) -> bool {
        !self.progress.lock().driven
    }

    /// Takes the part if it is here already. Never drives the exchange.
    pub fn try_take(&self, want: Want) -> Option<Result<Part, Failure>> {
        self.progress.lock().take(want)
    }

    /// Announces the part to `listener` once it can be taken, which may be before this returns.
    ///
    /// Only one part can be waited for at a time; a second registration replaces the first.
    pub fn listen(self: &Arc<Self>, want: Want, listener: Arc<dyn Listener>, key: usize) {
        let mut progress = self.progress.lock();
        let since = progress
            .wanted
            .as_ref()
            .map_or_else(Instant::now, |wanted| wanted.since);
        progress.wanted = Some(Wanted {
            want,
            since,
            listener: Some((listener, key)),
            announced: false,
        });
        progress.announce(self);
        progress.allow();
    }

    /// Has the runtime drive the exchange from now on.
    pub fn spawn(self: &Arc<Self>) {
        if !self.spawned.swap(true, Ordering::AcqRel) {
            spawn(&self.engine.runtime, Drive(Arc::clone(self)));
        }
    }

    /// The connection's socket, and the byte stream that the connection has become with the response, if it
    /// has. `None` before the connection is open and after the exchange is closed.
    pub fn network(&self) -> Option<(SocketView, Option<Arc<Upgraded<Stream>>>)> {
        let progress = self.progress.lock();
        let exchange = progress.exchange.as_ref()?;
        Some((exchange.view()?, exchange.upgraded()))
    }

    /// The id of its HTTP/2 stream; see [`Exchange::stream_id`].
    pub fn stream_id(&self) -> Option<u32> {
        self.progress.lock().exchange.as_ref()?.stream_id()
    }

    /// What came behind the response's body; see [`Exchange::take_trailers`].
    pub fn take_trailers(&self) -> Option<HeaderList> {
        self.progress.lock().exchange.as_mut()?.take_trailers()
    }

    /// Where its timers belong to.
    pub fn runtime(&self) -> &Handle {
        &self.engine.runtime
    }

    /// Hands over one more chunk of a pushed body. It goes on with whoever waits for [`Want::Sent`] next.
    ///
    /// # Errors
    ///
    /// See [`Exchange::push`]; on an error the exchange is over.
    pub fn push(&self, chunk: Bytes) -> Result<(), Failure> {
        self.send(|exchange| exchange.push(chunk), true)
    }

    /// Says that a pushed body has ended. It goes on as after [`ExchangeCell::push`].
    ///
    /// # Errors
    ///
    /// See [`Exchange::finish`]; on an error the exchange is over.
    pub fn finish(&self) -> Result<(), Failure> {
        self.send(Exchange::finish, false)
    }

    fn send(
        &self,
        step: impl FnOnce(&mut Exchange) -> crate::error::Result<()>,
        body_open: bool,
    ) -> Result<(), Failure> {
        let mut progress = self.progress.lock();
        if let Some(failure) = progress.failure.take() {
            progress.failure = Some(Failure::Closed);
            return Err(failure);
        }
        let Some(exchange) = progress.exchange.as_mut() else {
            return Err(Failure::Closed);
        };
        match step(exchange) {
            Ok(()) => {
                progress.stage = Stage::Sending;
                progress.body_open = body_open;
                progress.pushed = true;
                Ok(())
            }
            Err(error) => {
                let ended = progress.exchange.take();
                progress.failure = Some(Failure::Closed);
                progress.unpark();
                drop(progress);
                drop(ended);
                Err(Failure::Error(error))
            }
        }
    }

    /// Ends the exchange, whatever it is doing. The slot is free and the socket idle or closed when
    /// this returns. Idempotent.
    pub fn close(self: &Arc<Self>) {
        self.end(Failure::Closed);
    }

    fn end(self: &Arc<Self>, failure: Failure) {
        let mut progress = self.progress.lock();
        let ended = progress.exchange.take();
        if ended.is_some() || !matches!(failure, Failure::Closed) {
            progress.failure = Some(failure);
        }
        let body = std::mem::take(&mut progress.body);
        progress.buffered = 0;
        progress.head = None;
        // Whoever else waits for a part learns of the end here: there may be no task to tell.
        progress.announce(self);
        progress.unpark();
        drop(progress);
        drop((ended, body));
    }
}

impl Source for ExchangeCell {
    fn take_announced(&self, key: usize) -> Option<Result<Part, Failure>> {
        let mut progress = self.progress.lock();
        let wanted = progress.wanted.as_ref()?;
        if wanted.listener.as_ref()?.1 != key {
            return None;
        }
        let want = wanted.want;
        progress.hand_over(want)
    }
}

impl Interrupt for ExchangeCell {
    fn interrupt(self: Arc<Self>) {
        self.end(Failure::Error(Error::message(
            Kind::Read,
            "The connection pool was closed while the request was in flight.",
        )));
    }
}

impl std::fmt::Debug for ExchangeCell {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ExchangeCell").finish_non_exhaustive()
    }
}

/// The task that drives an exchange and reads ahead of its caller.
struct Drive(Arc<ExchangeCell>);

impl Future for Drive {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let cell = &self.0;
        let mut progress = cell.progress.lock();
        let driven = progress.advance(cx);
        progress.announce(cell);
        // Replaces what an earlier poll left, so that push, take and close find this task, if there is one.
        progress.parked = driven.is_pending().then(|| cx.waker().clone());
        driven
    }
}
