//! ExchangeCell: one exchange, shared by the caller who wants its parts and the task that drives it.
//!
//! Everything is behind one lock that is held for at most one poll. Cancel and close take the exchange
//! out and drop it on the caller's own thread: when they return, the slot is free and the socket is
//! closed. Nothing of Python is known here; a finished part is announced to a `Listener` as plain data.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Instant;

use bytes::Bytes;
use parking_lot::Mutex;

use crate::connection::ResponseHead;
use crate::error::{Error, Kind};
use crate::exchange::{Engine, Exchange, Interrupt, Owner};
use crate::request::{Request, RequestBody};

/// How far a task reads ahead of its caller. With hyper's own buffer (256 KiB) and what is handed out
/// at a time this stays below the promised 1 MiB per connection; half of it costs a tenth of the
/// download rate.
const READ_AHEAD: usize = 512 * 1024;

/// The most body bytes handed out at a time: one large copy is as fast as several, and the caller's
/// loop is not held up for longer than this takes to copy.
const MAX_PART: usize = 256 * 1024;

/// The part of the exchange that a caller waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Want {
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
    /// See [`Want::Sent`].
    Sent,
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

/// Where finished parts are announced; called under the cell's lock, so it must only enqueue.
pub trait Listener: Send + Sync {
    /// The part that the caller registered for under `key` can be taken.
    fn announce(&self, cell: Arc<ExchangeCell>, key: usize);
}

/// One exchange with its task and its caller.
///
/// # Drop
///
/// The last reference drops the exchange. The handle does not count on it and closes the cell: the
/// driving task holds a reference as well.
pub struct ExchangeCell {
    inner: Mutex<Inner>,
    /// The driving task exists (or existed): a wake-up of the first poll has nothing left to do.
    spawned: AtomicBool,
    /// What a wake-up means that comes before there is a task: see the constants below.
    caller: AtomicU8,
    engine: Arc<Engine>,
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

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Sending,
    Head,
    Body,
    Ended,
}

struct Inner {
    /// `None` once closed or failed.
    exchange: Option<Exchange>,
    stage: Stage,
    driven: bool,
    /// The caller pushes the body and has not said that it ends.
    body_open: bool,
    head: Option<ResponseHead>,
    body: VecDeque<Bytes>,
    /// Invariant: the sum of the lengths in `body`.
    buffered: usize,
    /// Raised when its place is reached: after the body bytes that came before it.
    failure: Option<Failure>,
    wanted: Option<Wanted>,
    /// The driving task, parked until the caller pushes, takes or closes.
    parked: Option<Waker>,
}

struct Wanted {
    want: Want,
    since: Instant,
    /// `None` for a caller who polls by itself.
    listener: Option<(Arc<dyn Listener>, usize)>,
    /// A part is announced once; what arrives until it is taken comes along.
    announced: bool,
}

impl ExchangeCell {
    /// Queues the request with the pool of `engine`.
    pub fn start(engine: Arc<Engine>, request: Request) -> Arc<Self> {
        let body_open = matches!(request.body, RequestBody::Pushed);
        Arc::new_cyclic(|cell: &std::sync::Weak<Self>| {
            let owner: Owner = cell.clone();
            Self {
                inner: Mutex::new(Inner {
                    exchange: Some(Exchange::start(Arc::clone(&engine), request, owner)),
                    stage: Stage::Sending,
                    driven: false,
                    body_open,
                    head: None,
                    body: VecDeque::new(),
                    buffered: 0,
                    failure: None,
                    wanted: None,
                    parked: None,
                }),
                spawned: AtomicBool::new(false),
                caller: AtomicU8::new(AWAY),
                engine,
            }
        })
    }

    /// Polls for a part on behalf of a caller who drives the exchange itself.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future that polls loses nothing: the part stays here until it is taken.
    pub fn poll_part(&self, cx: &mut Context<'_>, want: Want) -> Poll<Result<Part, Failure>> {
        let mut inner = self.inner.lock();
        if inner
            .wanted
            .as_ref()
            .is_none_or(|wanted| wanted.want != want)
        {
            inner.wanted = Some(Wanted {
                want,
                since: Instant::now(),
                listener: None,
                announced: false,
            });
        }
        if !inner.has(want) {
            let _ = inner.advance(cx);
        }
        match inner.take(want) {
            Some(part) => {
                inner.wanted = None;
                // Nobody sleeps: a wake-up would only cost the next caller a look.
                inner.parked = None;
                Poll::Ready(part)
            }
            None => {
                inner.parked = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }

    /// Whether the exchange has not been driven yet: it holds a place in the queue and has done nothing.
    pub fn is_fresh(&self) -> bool {
        !self.inner.lock().driven
    }

    /// Takes the part if it is here already. Never drives the exchange.
    pub fn try_take(&self, want: Want) -> Option<Result<Part, Failure>> {
        self.inner.lock().take(want)
    }

    /// Polls the exchange once on the calling thread, and leaves it to the runtime to go on.
    ///
    /// For a caller on an otherwise quiet loop: the request's bytes leave without a hop to another
    /// thread. The task is spawned by the first wake-up.
    pub fn try_drive(self: &Arc<Self>, want: Want) -> Option<Result<Part, Failure>> {
        if self.spawned.load(Ordering::Acquire) {
            return self.try_take(want);
        }
        let waker = Waker::from(Arc::clone(self));
        // The caller's thread is in no runtime.
        let _context = self.engine.runtime.enter();
        let mut inner = self.inner.lock();
        inner.wanted = Some(Wanted {
            want,
            since: Instant::now(),
            listener: None,
            announced: false,
        });
        for _ in 0..CALLER_POLLS {
            self.caller.store(POLLING, Ordering::Release);
            let _ = inner.advance(&mut Context::from_waker(&waker));
            let part = inner.take(want);
            let quiet = self.caller.swap(AWAY, Ordering::AcqRel) == POLLING;
            if part.is_some() {
                inner.wanted = None;
                if !quiet {
                    // The wake-up was for what comes after this part.
                    self.spawn();
                }
                return part;
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
        let mut inner = self.inner.lock();
        let since = inner
            .wanted
            .as_ref()
            .map_or_else(Instant::now, |wanted| wanted.since);
        inner.wanted = Some(Wanted {
            want,
            since,
            listener: Some((listener, key)),
            announced: false,
        });
        inner.announce(self);
    }

    /// Has the runtime drive the exchange from now on.
    pub fn spawn(self: &Arc<Self>) {
        if !self.spawned.swap(true, Ordering::AcqRel) {
            self.engine.runtime.spawn(Drive(Arc::clone(self)));
        }
    }

    /// Takes an announced part. `None` when it was not for this `key`: the caller has gone.
    pub fn take_announced(&self, key: usize) -> Option<Result<Part, Failure>> {
        let mut inner = self.inner.lock();
        let wanted = inner.wanted.as_ref()?;
        if wanted.listener.as_ref()?.1 != key {
            return None;
        }
        let want = wanted.want;
        let part = inner.take(want)?;
        inner.wanted = None;
        Some(part)
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
        let mut inner = self.inner.lock();
        if let Some(failure) = inner.failure.take() {
            inner.failure = Some(Failure::Closed);
            return Err(failure);
        }
        let Some(exchange) = inner.exchange.as_mut() else {
            return Err(Failure::Closed);
        };
        match step(exchange) {
            Ok(()) => {
                inner.stage = Stage::Sending;
                inner.body_open = body_open;
                inner.unpark();
                Ok(())
            }
            Err(error) => {
                let ended = inner.exchange.take();
                inner.failure = Some(Failure::Closed);
                inner.unpark();
                drop(inner);
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
        let mut inner = self.inner.lock();
        let ended = inner.exchange.take();
        if ended.is_some() || !matches!(failure, Failure::Closed) {
            inner.failure = Some(failure);
        }
        let body = std::mem::take(&mut inner.body);
        inner.buffered = 0;
        inner.head = None;
        // Whoever else waits for a part learns of the end here: there may be no task to tell.
        inner.announce(self);
        inner.unpark();
        drop(inner);
        drop((ended, body));
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
        if polling == Err(AWAY) {
            self.spawn();
        }
    }
}

/// The task that drives an exchange and reads ahead of its caller.
struct Drive(Arc<ExchangeCell>);

impl Future for Drive {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let cell = &self.0;
        let mut inner = cell.inner.lock();
        let driven = inner.advance(cx);
        inner.announce(cell);
        // Replaces what an earlier poll left, so that push, take and close find this task, if there is one.
        inner.parked = driven.is_pending().then(|| cx.waker().clone());
        driven
    }
}

impl Inner {
    /// Drives the exchange as far as it goes now. Ready when there is nothing left to drive.
    fn advance(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.driven = true;
        match catch_unwind(AssertUnwindSafe(|| self.advance_or_fail(cx))) {
            Ok(Poll::Pending) => Poll::Pending,
            Ok(Poll::Ready(Ok(()))) => Poll::Ready(()),
            Ok(Poll::Ready(Err(error))) => {
                self.exchange = None;
                self.failure = Some(Failure::Error(error));
                Poll::Ready(())
            }
            Err(_panic) => {
                self.exchange = None;
                self.failure = Some(Failure::Panic(crate::panics::last()));
                Poll::Ready(())
            }
        }
    }

    fn advance_or_fail(&mut self, cx: &mut Context<'_>) -> Poll<crate::error::Result<()>> {
        let Some(exchange) = self.exchange.as_mut() else {
            return Poll::Ready(Ok(()));
        };
        let waiting = self.wanted.as_ref().map(|wanted| wanted.since);
        loop {
            match self.stage {
                Stage::Sending => {
                    std::task::ready!(exchange.poll_sent(cx, waiting))?;
                    self.stage = Stage::Head;
                }
                // httpcore's order: the response is read when the whole body was written.
                Stage::Head if self.body_open => return Poll::Pending,
                Stage::Head => {
                    self.head = Some(std::task::ready!(exchange.poll_head(cx, waiting))?);
                    self.stage = Stage::Body;
                }
                // Looked at before every poll: hyper wakes its own task, and would else read for ever.
                Stage::Body if self.buffered >= READ_AHEAD => return Poll::Pending,
                Stage::Body => match std::task::ready!(exchange.poll_body(cx, waiting))? {
                    Some(frame) => {
                        self.buffered += frame.len();
                        self.body.push_back(frame);
                    }
                    None => self.stage = Stage::Ended,
                },
                Stage::Ended => return Poll::Ready(Ok(())),
            }
        }
    }

    fn has(&self, want: Want) -> bool {
        self.failure.is_some()
            || match want {
                Want::Sent => self.stage != Stage::Sending,
                Want::Head => self.head.is_some(),
                Want::Body => !self.body.is_empty() || self.stage == Stage::Ended,
            }
    }

    fn take(&mut self, want: Want) -> Option<Result<Part, Failure>> {
        if want == Want::Head && self.head.is_some() {
            let head = self.head.take()?;
            let body = self.take_body();
            return Some(Ok(Part::Head {
                head,
                body,
                ended: self.stage == Stage::Ended && self.body.is_empty(),
            }));
        }
        if want == Want::Body && !self.body.is_empty() {
            return Some(Ok(Part::Body(self.take_body())));
        }
        if let Some(failure) = self.failure.take() {
            // Whoever asks again learns that it is over.
            self.failure = Some(Failure::Closed);
            return Some(Err(failure));
        }
        match want {
            Want::Sent if self.stage != Stage::Sending => Some(Ok(Part::Sent)),
            Want::Body if self.stage == Stage::Ended => Some(Ok(Part::Body(Vec::new()))),
            _ => None,
        }
    }

    /// Takes frames up to [`MAX_PART`], and lets a task that stopped reading ahead go on.
    fn take_body(&mut self) -> Vec<Bytes> {
        let was_full = self.buffered >= READ_AHEAD;
        let mut part = Vec::new();
        let mut length = 0;
        while let Some(frame) = self.body.front() {
            if !part.is_empty() && length + frame.len() > MAX_PART {
                break;
            }
            length += frame.len();
            part.extend(self.body.pop_front());
        }
        self.buffered -= length;
        if was_full && self.buffered < READ_AHEAD {
            self.unpark();
        }
        part
    }

    fn announce(&mut self, cell: &Arc<ExchangeCell>) {
        let Some(want) = self.wanted.as_ref().map(|wanted| wanted.want) else {
            return;
        };
        if !self.has(want) {
            return;
        }
        if let Some(wanted) = self.wanted.as_mut().filter(|wanted| !wanted.announced)
            && let Some((listener, key)) = &wanted.listener
        {
            listener.announce(Arc::clone(cell), *key);
            wanted.announced = true;
        }
    }

    fn unpark(&mut self) {
        if let Some(task) = self.parked.take() {
            task.wake();
        }
    }
}
