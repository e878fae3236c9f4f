//! Pool: which request gets which connection, and when.
//!
//! `state` decides on `facts`, `lease` is what a request holds, and here the two are put under one lock. The lock is
//! never held while anything foreign is dropped, woken or awaited: a connection's drop closes a socket, an
//! owner's or a waker's may run whatever it likes, this pool included.

mod facts;
mod lease;
mod state;
mod sync;
#[cfg(test)]
mod tests;

use std::future::Future;
use std::mem;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use crate::error::{Error, Kind, Result};
use crate::ledger::{Entry, Item};
use crate::origin::Origin;

pub use facts::{ConnectionInfo, Counts, Limits, Shareable, Sharing, Status};
pub use lease::Lease;
use state::{Acquired, Actions, Grant, State};

use sync::Mutex;

/// The connections of one pool, and the requests that wait for them.
///
/// `C` is a connection between two requests; dropping it closes it. `O` says who a request belongs to.
#[derive(Debug)]
pub struct Pool<C: Shareable, O> {
    state: Mutex<Queueing<C, O>>,
    /// Idle connections that were closed for their age, their server or to make room, since somebody last asked.
    closed: AtomicUsize,
}

/// The state as this room uses it: whoever waits is woken through a [`Waiter`].
type Queueing<C, O> = State<C, O, Arc<Waiter<C, O>>>;

/// Where a queued request finds what it waited for.
#[derive(Debug)]
struct Waiter<C: Shareable, O> {
    slot: Mutex<Slot<C, O>>,
    /// It waits for what a connection becomes, not for one to be assigned.
    joined: AtomicBool,
}

#[derive(Debug)]
enum Slot<C: Shareable, O> {
    /// With the task to wake, once it has polled.
    Waiting(Option<Waker>),
    Granted(Lease<C, O>),
    Failed(Error),
    /// The request has gone, or has taken what was there.
    Empty,
}

impl<C: Shareable, O> Pool<C, O> {
    /// An empty pool.
    pub fn new(limits: Limits) -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::new(State::new(limits)),
            closed: AtomicUsize::new(0),
        })
    }

    /// Asks for a connection to `origin`. The request takes its place in the queue at once.
    pub fn acquire(self: &Arc<Self>, origin: Origin, owner: O) -> Acquire<C, O> {
        self.enqueue(origin, owner, None)
    }

    /// The same for a request that had its turn, as a lease's [`Lease::ticket`]: it keeps its place before all that came
    /// later. Of a retired pool the outcome is an error of `Kind::Moved`.
    pub fn acquire_again(self: &Arc<Self>, origin: Origin, owner: O, ticket: u64) -> Acquire<C, O> {
        if self.state.lock().is_retired() {
            return Acquire::Failed(Error::new(Kind::Moved));
        }
        self.enqueue(origin, owner, Some(ticket))
    }

    fn enqueue(self: &Arc<Self>, origin: Origin, owner: O, turn: Option<u64>) -> Acquire<C, O> {
        let mut waiter = None;
        let (acquired, actions) =
            self.state
                .lock()
                .acquire(Instant::now(), origin, owner, turn, |joined| {
                    let made = Arc::new(Waiter {
                        slot: Mutex::new(Slot::Waiting(None)),
                        joined: AtomicBool::new(joined),
                    });
                    waiter = Some(Arc::clone(&made));
                    made
                });
        self.act(actions);
        match acquired {
            Acquired::Granted(grant) => Acquire::Granted(Lease::new(Arc::clone(self), grant)),
            Acquired::Queued { ticket } => Acquire::Queued(Queued {
                pool: Arc::clone(self),
                waiter: waiter.expect("a waiter is made for whoever is queued"),
                ticket,
                _entry: Entry::new(Item::Queued),
            }),
        }
    }

    /// So many requests a shared connection serves at most from now on.
    pub fn limit(self: &Arc<Self>, id: u64, capacity: usize) {
        let actions = self.state.lock().limit(Instant::now(), id, capacity);
        self.act(actions);
    }

    /// A shared connection takes no more requests.
    pub fn withdraw(self: &Arc<Self>, id: u64) {
        let actions = self.state.lock().withdraw(Instant::now(), id);
        self.act(actions);
    }

    /// Closes the idle connections, fails the queued requests, and takes their slots from the leases.
    ///
    /// Returns the owners of those leases, for the caller to interrupt. The pool stays usable.
    #[must_use = "the owners' exchanges still hold their sockets"]
    pub fn close(&self) -> Vec<O> {
        let remains = self.state.lock().close();
        self.fail(remains.queued, || {
            Error::message(
                Kind::Connect,
                "The connection pool was closed while the request was queued.",
            )
        });
        drop(remains.closed);
        remains.leased
    }

    /// Lets nothing begin any more: idle connections are closed, queued requests fail with
    /// `Kind::Moved`, those in flight finish.
    pub fn retire(&self) {
        let remains = self.state.lock().retire(Instant::now());
        self.fail(remains.queued, || Error::new(Kind::Moved));
        drop(remains.closed);
    }

    /// How much there is of everything.
    pub fn counts(&self) -> Counts {
        self.state.lock().counts()
    }

    /// The connections, in the order they were made.
    pub fn connections(&self) -> Vec<ConnectionInfo> {
        self.state.lock().connections()
    }

    /// One of them, `None` once it is closed.
    pub fn connection(&self, id: u64) -> Option<ConnectionInfo> {
        self.state.lock().connection(id)
    }

    /// How many idle connections were closed since this was last asked, for whoever tells of them.
    pub fn take_closed(&self) -> usize {
        // The number alone is of interest, and nothing else hangs on it.
        self.closed.swap(0, Ordering::Relaxed)
    }

    /// Counts one that its next user found closed by its server.
    pub fn count_closed(&self, number: usize) {
        self.closed.fetch_add(number, Ordering::Relaxed);
    }

    fn release(self: &Arc<Self>, id: u64, ticket: u64, parked: Option<C>) {
        let actions = self
            .state
            .lock()
            .release(Instant::now(), id, ticket, parked);
        self.act(actions);
    }

    /// Does what the state has decided, without the lock.
    fn act(self: &Arc<Self>, actions: Actions<C, O, Arc<Waiter<C, O>>>) {
        // Sockets first: a request that was granted the slot of a closed connection opens one.
        if !actions.closed.is_empty() {
            self.count_closed(actions.closed.len());
        }
        drop((actions.closed, actions.handles, actions.owners));
        for (waiter, joined) in actions.moved {
            waiter.moved(joined);
        }
        for (waiter, grant) in actions.granted {
            waiter.settle(Slot::Granted(Lease::new(Arc::clone(self), grant)));
        }
    }

    fn fail(&self, queued: Vec<(O, Arc<Waiter<C, O>>)>, error: impl Fn() -> Error) {
        for (owner, waiter) in queued {
            drop(owner);
            waiter.settle(Slot::Failed(error()));
        }
    }
}

impl<C: Shareable, O> Waiter<C, O> {
    /// What the request waits for has changed: its timer is another one.
    fn moved(&self, joined: bool) {
        self.joined.store(joined, Ordering::Release);
        let mut slot = self.slot.lock();
        if let Slot::Waiting(waker) = &mut *slot {
            let waker = waker.take();
            drop(slot);
            if let Some(waker) = waker {
                waker.wake();
            }
        }
    }

    /// Leaves the outcome for the request, and wakes it. If it has gone, a lease drops here, which hands
    /// the connection to the next.
    fn settle(&self, outcome: Slot<C, O>) {
        let mut slot = self.slot.lock();
        match &*slot {
            Slot::Waiting(_) => {
                let Slot::Waiting(waker) = mem::replace(&mut *slot, outcome) else {
                    unreachable!("matched above");
                };
                drop(slot);
                if let Some(waker) = waker {
                    waker.wake();
                }
            }
            Slot::Granted(_) | Slot::Failed(_) | Slot::Empty => {
                drop(slot);
                drop(outcome);
            }
        }
    }
}

/// A request for a connection: ready with its lease when it has one.
///
/// # Drop
///
/// Leaves the queue. A lease that was granted meanwhile goes to the next request.
///
/// # Cancel safety
///
/// Polling registers the last task that polled; nothing is lost between polls.
#[derive(Debug)]
pub enum Acquire<C: Shareable, O> {
    /// There was a connection or a free slot at once.
    Granted(Lease<C, O>),
    /// In the queue.
    Queued(Queued<C, O>),
    /// There will be none.
    Failed(Error),
    /// The outcome was returned.
    Done,
}

impl<C: Shareable, O> Acquire<C, O> {
    /// Whether it waits for a connection that another request opens, and not for one to be assigned.
    pub fn is_joined(&self) -> bool {
        match self {
            Acquire::Queued(queued) => queued.waiter.joined.load(Ordering::Acquire),
            Acquire::Granted(_) | Acquire::Failed(_) | Acquire::Done => false,
        }
    }
}

/// A place in the queue.
#[derive(Debug)]
pub struct Queued<C: Shareable, O> {
    pool: Arc<Pool<C, O>>,
    waiter: Arc<Waiter<C, O>>,
    ticket: u64,
    _entry: Entry,
}

/// Nothing in it is pinned.
impl<C: Shareable, O> Unpin for Acquire<C, O> {}

impl<C: Shareable, O> Future for Acquire<C, O> {
    /// An error of `Kind::Connect` when the pool was closed, of `Kind::Moved` when it was retired.
    type Output = Result<Lease<C, O>>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        if let Acquire::Queued(queued) = this {
            let mut slot = queued.waiter.slot.lock();
            if let Slot::Waiting(waker) = &mut *slot {
                let former = waker.replace(cx.waker().clone());
                drop(slot);
                drop(former);
                return Poll::Pending;
            }
        }
        match mem::replace(this, Acquire::Done) {
            Acquire::Granted(lease) => Poll::Ready(Ok(lease)),
            Acquire::Queued(queued) => {
                let outcome = mem::replace(&mut *queued.waiter.slot.lock(), Slot::Empty);
                match outcome {
                    Slot::Granted(lease) => Poll::Ready(Ok(lease)),
                    Slot::Failed(error) => Poll::Ready(Err(error)),
                    Slot::Waiting(_) | Slot::Empty => {
                        unreachable!("a settled slot is emptied here only, once")
                    }
                }
            }
            Acquire::Failed(error) => Poll::Ready(Err(error)),
            Acquire::Done => panic!("polled after it was ready"),
        }
    }
}

impl<C: Shareable, O> Drop for Queued<C, O> {
    fn drop(&mut self) {
        // Out of the queue first: after this nobody new can grant anything to this request. A grant that
        // is on its way finds the slot empty.
        let (left, actions) = self.pool.state.lock().leave(Instant::now(), self.ticket);
        let outcome = mem::replace(&mut *self.waiter.slot.lock(), Slot::Empty);
        drop((left, outcome));
        self.pool.act(actions);
    }
}
