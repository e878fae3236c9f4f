//! ExchangeCell: one exchange, shared by the caller who wants its parts and the task that drives it.
//!
//! Everything is behind one lock that is held for at most one poll. Cancel and close take the exchange
//! out and drop it on the caller's own thread: when they return, the slot is free and the socket is
//! closed. Nothing of Python is known here; a finished part is announced to a `Listener` as plain data.

mod operation;
mod progress;
#[cfg(test)]
mod tests;

use std::cell::RefCell;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Instant;

use bytes::Bytes;
use parking_lot::{Mutex, MutexGuard};
use tokio::runtime::Handle;

use crate::connect::{Leg, SocketView, Stream};
use crate::connection::{HeaderList, ResponseHead, Upgraded};
use crate::error::{Error, Kind};
use crate::exchange::{Engine, Exchange, Interrupt, Owner};
use crate::ledger::{Entry, Item};
use crate::poll_set::PollSet;
use crate::request::{Request, RequestBody};
use crate::runtime::spawn;
pub use operation::{Operation, Task};
use progress::{Progress, Stage, Wanted};

/// The part of the exchange that a caller waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Want {
    /// A connection. Of a stepwise exchange only, like [`Want::Gone`].
    Acquired,
    /// This leg of the way to an open connection is behind it, after one attempt. If that failed, the first leg is
    /// next.
    Gone(Leg),
    /// All that was handed over is with the kernel.
    Sent,
    /// The response head, with as much of the body as is there.
    Head,
    /// More of the body.
    Body,
}

/// A part, as it was wanted.
#[derive(Debug)]
pub enum Part {
    /// See [`Want::Acquired`].
    Acquired {
        /// It has yet to be opened.
        connects: bool,
    },
    /// See [`Want::Gone`].
    Gone {
        /// What an HTTP proxy has said, if that was the leg.
        answer: Option<ResponseHead>,
    },
    /// Of an operation that put TLS over its stream.
    Secured,
    /// See [`Want::Sent`].
    Sent {
        /// The server takes the rest of a pushed body; else its answer is to be read.
        takes_more: bool,
    },
    /// See [`Want::Head`]. `ended` means that `body` is all of it.
    Head {
        /// Status line and headers.
        head: ResponseHead,
        /// What had arrived by the time the part was taken.
        body: Vec<Bytes>,
        /// No more will come, and the connection is settled.
        ended: bool,
    },
    /// See [`Want::Body`]. Empty at the end of the body.
    Body(Vec<Bytes>),
}

/// Why there is no part.
#[derive(Debug)]
pub enum Failure {
    /// The exchange failed.
    Error(Error),
    /// The library has a bug: a panic, as its message and backtrace.
    Panic(String),
    /// The handle was closed, so there is nothing left to wait for.
    Closed,
}

/// Where finished parts are announced; called under the source's lock, so it must only enqueue.
pub trait Listener: Send + Sync {
    /// The part that the caller registered for under `key` can be taken.
    fn announce(&self, source: Arc<dyn Source>, key: usize);
}

/// Has finished parts: an exchange, or an operation on an upgraded stream.
pub trait Source: Send + Sync {
    /// Takes an announced part. `None` when it was not for this `key`: the caller has gone.
    fn take_announced(&self, key: usize) -> Option<Result<Part, Failure>>;
}

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
    /// What a wake-up means that comes before there is a task: see the constants below.
    caller: AtomicU8,
    engine: Arc<Engine>,
    _entry: Entry,
}

/// The caller is not polling: a wake-up starts the driving task.
const AWAY: u8 = 0;
/// The caller polls at this moment, on its own thread: a wake-up is noted for it.
const POLLING: u8 = 1;
/// A wake-up was noted: the caller polls once more.
const WOKEN: u8 = 2;

/// How often a caller polls again for wake-ups that come while it polls (hyper wakes its own task, and a
/// fast peer may answer at once) before it leaves the exchange to the driving task.
const CALLER_POLLS: u8 = 4;

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
                caller: AtomicU8::new(AWAY),
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
        let mut progress = self.progress.lock();
        if progress
            .wanted
            .as_ref()
            .is_none_or(|wanted| wanted.want != want)
        {
            progress.wanted = Some(Wanted {
                want,
                since: Instant::now(),
                listener: None,
                announced: false,
            });
        }
        if !progress.has(want) {
            let _ = progress.advance(cx);
        }
        match progress.take(want) {
            Some(part) => {
                progress.wanted = None;
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

    /// Polls the exchange once on the calling thread, and leaves it to the runtime to go on.
    ///
    /// For a caller on an otherwise quiet loop: the request's bytes leave without a hop to another
    /// thread. The task is spawned by the first wake-up, unless that comes from `set`, which the caller's loop watches:
    /// then the loop's thread goes on itself, up to the end of the response or of what came with its head.
    pub fn try_drive(
        self: &Arc<Self>,
        want: Want,
        set: &Arc<PollSet>,
    ) -> Option<Result<Part, Failure>> {
        let mut progress = self.progress.lock();
        if self.is_spawned(&progress) {
            return progress.take(want);
        }
        progress.wanted = Some(Wanted {
            want,
            since: Instant::now(),
            listener: None,
            announced: false,
        });
        self.poll_here(progress, set, |progress| {
            let part = progress.take(want);
            if part.is_some() {
                progress.wanted = None;
            }
            part
        })
    }

    /// Polls on the thread of the caller's loop, after a wake-up from `set`. What is finished then is announced.
    fn drive_on(self: &Arc<Self>, set: &Arc<PollSet>) {
        let progress = self.progress.lock();
        if self.is_spawned(&progress) {
            return;
        }
        self.poll_here(progress, set, |progress| {
            progress.announce(self);
            (progress.wanted.as_ref())
                .is_none_or(|wanted| wanted.announced)
                .then_some(())
        });
    }

    /// Whether there is a task. Asked under the lock: once that has polled, nobody else may, or the wake-up would be
    /// another one's.
    fn is_spawned(&self, _locked: &MutexGuard<'_, Progress>) -> bool {
        self.spawned.load(Ordering::Acquire)
    }

    /// Polls on a thread that is in no runtime, until `done` gives something or there is nothing to do but wait. Leaves
    /// the rest to the task where there is more to read, which nobody may be waiting for.
    fn poll_here<T>(
        self: &Arc<Self>,
        mut progress: MutexGuard<'_, Progress>,
        set: &Arc<PollSet>,
        mut done: impl FnMut(&mut Progress) -> Option<T>,
    ) -> Option<T> {
        let waker = Waker::from(Arc::clone(self));
        let _context = self.engine.runtime.enter();
        for _ in 0..CALLER_POLLS {
            self.caller.store(POLLING, Ordering::Release);
            let _ = set.polling(|| progress.advance(&mut Context::from_waker(&waker)));
            let finished = done(&mut progress);
            let quiet = self.caller.swap(AWAY, Ordering::AcqRel) == POLLING;
            if finished.is_some() {
                // A wake-up was for what comes after this part.
                if !quiet || progress.stage == Stage::Body {
                    self.spawn();
                }
                return finished;
            }
            if quiet {
                return None;
            }
        }
        self.spawn();
        None
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

    /// Hands over one more chunk of a pushed body.
    ///
    /// # Errors
    ///
    /// See [`Exchange::push`]; on an error the exchange is over.
    pub fn push(&self, chunk: Bytes) -> Result<(), Failure> {
        self.send(|exchange| exchange.push(chunk), true)
    }

    /// Says that a pushed body has ended.
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
                progress.unpark();
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
        let part = progress.take(want)?;
        progress.wanted = None;
        Some(part)
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

/// The waker of the first poll on the caller's thread: its wake-up starts the driving task.
impl Wake for ExchangeCell {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        let polling =
            self.caller
                .compare_exchange(POLLING, WOKEN, Ordering::AcqRel, Ordering::Acquire);
        if polling == Err(AWAY) && !defer(self) {
            self.spawn();
        }
    }
}

thread_local! {
    /// Those whose sockets have news, while the thread of a loop takes these.
    static WOKEN_HERE: RefCell<Option<Vec<Arc<ExchangeCell>>>> = const { RefCell::new(None) };
}

/// Has the thread that takes the news of a poll set go on with the exchange. False on any other thread.
fn defer(cell: &Arc<ExchangeCell>) -> bool {
    WOKEN_HERE.with_borrow_mut(|woken| match woken {
        Some(woken) => {
            woken.push(Arc::clone(cell));
            true
        }
        None => false,
    })
}

/// Takes the news of a poll set, on the thread of the loop that watches it, and goes on with the exchanges that waited
/// for them there.
pub fn take_news(set: &Arc<PollSet>) {
    WOKEN_HERE.set(Some(Vec::new()));
    set.look();
    for cell in WOKEN_HERE.take().unwrap_or_default() {
        cell.drive_on(set);
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
