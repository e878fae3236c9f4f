//! Pool: any sequence of what the users of a pool may do.
//!
//! - Connections never pass their limit, idle ones never theirs.
//! - A connection is in one place at a time: idle, with one lease, or dropped.
//! - Nobody waits while there is room, requests are served in the order they came, and whoever is served or
//!   failed has been woken.
//! - When everybody has gone nothing is left.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use arbitrary::Arbitrary;
use bytes::Bytes;
use httpcore_hyper::error::{Kind, Result};
use httpcore_hyper::origin::Origin;
use httpcore_hyper::pool::{Acquire, Counts, Lease, Limits, Pool, Shareable, Sharing};

#[derive(Debug, Arbitrary)]
pub struct Input {
    max_connections: u8,
    max_keepalive: u8,
    /// Idle connections expire at once; else never.
    expires: bool,
    operations: Vec<Operation>,
}

#[derive(Debug, Clone, Copy, Arbitrary)]
enum Operation {
    Acquire {
        origin: u8,
    },
    /// The n-th request that has no lease yet looks for one.
    Poll {
        n: u8,
    },
    /// It goes away.
    Leave {
        n: u8,
    },
    /// The n-th lease uses the connection that came with it, or opens one.
    Use {
        n: u8,
    },
    /// It finds that connection dead, and opens another.
    Replace {
        n: u8,
    },
    /// It gives the connection back.
    Park {
        n: u8,
    },
    /// It ends.
    Release {
        n: u8,
    },
    Close,
    Retire,
}

/// A connection that counts how many of it there are.
#[derive(Debug)]
struct Connection {
    origin: Origin,
    alive: Arc<AtomicUsize>,
}

impl Connection {
    fn new(origin: Origin, alive: &Arc<AtomicUsize>) -> Self {
        alive.fetch_add(1, Ordering::Relaxed);
        Self {
            origin,
            alive: Arc::clone(alive),
        }
    }
}

/// HTTP/1.1: one request at a time.
impl Shareable for Connection {
    fn share(&self) -> Option<Self> {
        None
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.alive.fetch_sub(1, Ordering::Relaxed);
    }
}

#[derive(Debug, Default)]
struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

struct Request {
    origin: Origin,
    acquire: Acquire<Connection, ()>,
    woken: Arc<Woken>,
    /// It waits to be woken.
    waits: bool,
    /// It was in the queue when the pool was closed or retired.
    failed: Option<Kind>,
}

struct Holding {
    lease: Lease<Connection, ()>,
    state: Using,
}

enum Using {
    /// Nobody has looked whether a connection came with it.
    Untouched,
    Connected(Connection),
    /// The lease has it back.
    Parked,
}

struct Run {
    pool: Arc<Pool<Connection, ()>>,
    limits: Limits,
    alive: Arc<AtomicUsize>,
    /// In the order they came.
    requests: Vec<Request>,
    leases: Vec<Holding>,
}

const ORIGINS: [&str; 3] = ["a", "b", "c"];
/// More find nothing new.
const MAX_OPERATIONS: usize = 200;

pub fn check(input: Input) {
    let max_connections = 1 + usize::from(input.max_connections % 4);
    let limits = Limits {
        max_connections,
        max_keepalive_connections: usize::from(input.max_keepalive % 5).min(max_connections),
        keepalive_expiry: input.expires.then_some(Duration::ZERO),
        sharing: Sharing::Never,
    };
    let mut run = Run {
        pool: Pool::new(limits),
        limits,
        alive: Arc::default(),
        requests: Vec::new(),
        leases: Vec::new(),
    };
    for operation in input.operations.into_iter().take(MAX_OPERATIONS) {
        run.step(operation);
        run.check();
    }
    run.requests.clear();
    run.check();
    run.leases.clear();
    run.check();
    assert!(run.pool.close().is_empty());
    assert_eq!(run.pool.counts(), Counts::default());
    assert_eq!(run.alive.load(Ordering::Relaxed), 0);
}

/// The index that `n` means, where there is anything.
fn nth<T>(list: &[T], n: u8) -> Option<usize> {
    usize::from(n).checked_rem(list.len())
}

impl Run {
    fn step(&mut self, operation: Operation) {
        match operation {
            Operation::Acquire { origin } => self.acquire(origin),
            Operation::Poll { n } => {
                if let Some(at) = nth(&self.requests, n) {
                    self.poll(at);
                }
            }
            Operation::Leave { n } => {
                if let Some(at) = nth(&self.requests, n) {
                    self.requests.remove(at);
                }
            }
            Operation::Use { n } => {
                if let Some(at) = nth(&self.leases, n) {
                    self.leases[at].connect(&self.alive);
                }
            }
            Operation::Replace { n } => {
                if let Some(at) = nth(&self.leases, n) {
                    self.leases[at].replace(&self.alive);
                }
            }
            Operation::Park { n } => {
                if let Some(at) = nth(&self.leases, n) {
                    self.leases[at].park();
                }
            }
            Operation::Release { n } => {
                if let Some(at) = nth(&self.leases, n) {
                    self.leases.remove(at);
                }
            }
            Operation::Close => {
                self.fails(Kind::Connect);
                let leased = self.pool.counts().active_connections;
                assert_eq!(self.pool.close().len(), leased);
                assert_eq!(self.pool.counts().active_connections, 0);
                assert_eq!(self.pool.counts().idle_connections, 0);
            }
            Operation::Retire => {
                self.fails(Kind::Moved);
                self.pool.retire();
                assert_eq!(self.pool.counts().idle_connections, 0);
            }
        }
    }

    fn acquire(&mut self, origin: u8) {
        let origin = Origin {
            scheme: Bytes::from_static(b"http"),
            host: Bytes::from_static(ORIGINS[usize::from(origin) % ORIGINS.len()].as_bytes()),
            port: 80,
        };
        self.requests.push(Request {
            acquire: self.pool.acquire(origin.clone(), ()),
            origin,
            woken: Arc::default(),
            waits: false,
            failed: None,
        });
    }

    /// Those in the queue are the last that came.
    fn granted(&self) -> usize {
        let live = self
            .requests
            .iter()
            .filter(|request| request.failed.is_none());
        live.count() - self.pool.counts().queued_requests
    }

    /// The indices of the requests that are in the queue.
    fn queued(&self) -> Vec<usize> {
        let live = (0..self.requests.len()).filter(|at| self.requests[*at].failed.is_none());
        live.skip(self.granted()).collect()
    }

    /// What is in the queue is about to fail.
    fn fails(&mut self, kind: Kind) {
        for at in self.queued() {
            self.requests[at].failed = Some(kind);
        }
    }

    fn poll(&mut self, at: usize) {
        let waits = self.queued().contains(&at);
        let request = &mut self.requests[at];
        request.woken = Arc::default();
        let waker = Waker::from(Arc::clone(&request.woken));
        let polled = Pin::new(&mut request.acquire).poll(&mut Context::from_waker(&waker));
        request.waits = polled.is_pending();
        assert_eq!(request.waits, waits, "first come, first served");
        if let Poll::Ready(outcome) = polled {
            let request = self.requests.remove(at);
            self.settled(&request, outcome);
        }
    }

    fn settled(&mut self, request: &Request, outcome: Result<Lease<Connection, ()>>) {
        match outcome {
            Ok(lease) => {
                assert_eq!(request.failed, None);
                assert_eq!(*lease.origin(), request.origin);
                self.leases.push(Holding {
                    lease,
                    state: Using::Untouched,
                });
            }
            Err(error) => assert_eq!(request.failed, Some(error.kind())),
        }
    }

    fn check(&self) {
        let counts = self.pool.counts();
        let connections = counts.active_connections + counts.idle_connections;
        assert!(connections <= self.limits.max_connections);
        assert!(counts.idle_connections <= self.limits.max_keepalive_connections);
        let infos = self.pool.connections();
        assert_eq!(infos.len(), connections);
        assert!(infos.windows(2).all(|pair| pair[0].id < pair[1].id));
        if counts.queued_requests > 0 {
            assert_eq!(
                connections, self.limits.max_connections,
                "somebody waits, and there is room"
            );
            assert_eq!(
                counts.idle_connections, 0,
                "somebody waits, and one is idle"
            );
        }
        let granted = self.granted();
        assert_eq!(counts.active_requests, self.leases.len() + granted);

        let queued = self.queued();
        for (at, request) in self.requests.iter().enumerate() {
            let woken = request.woken.0.load(Ordering::Relaxed);
            if request.waits && !queued.contains(&at) {
                assert!(woken, "served or failed, and not told");
            }
        }

        let alive = self.alive.load(Ordering::Relaxed);
        let is =
            |wanted: fn(&Using) -> bool| self.leases.iter().filter(|h| wanted(&h.state)).count();
        let held = is(|state| matches!(state, Using::Connected(_) | Using::Parked));
        let untouched = is(|state| matches!(state, Using::Untouched));
        // With a lease that nobody has looked into there may be one or not.
        let least = counts.idle_connections + held;
        assert!((least..=least + granted + untouched).contains(&alive));
    }
}

impl Holding {
    fn connect(&mut self, alive: &Arc<AtomicUsize>) {
        if matches!(self.state, Using::Connected(_)) {
            return;
        }
        let origin = self.lease.origin().clone();
        let connection = self.lease.take();
        assert!(connection.is_some() || matches!(self.state, Using::Untouched));
        let connection = connection.unwrap_or_else(|| Connection::new(origin.clone(), alive));
        assert_eq!(connection.origin, origin, "it leads somewhere else");
        self.lease.connected();
        self.state = Using::Connected(connection);
    }

    fn replace(&mut self, alive: &Arc<AtomicUsize>) {
        if matches!(self.state, Using::Connected(_)) {
            self.lease.connecting();
            self.state = Using::Connected(Connection::new(self.lease.origin().clone(), alive));
            self.lease.connected();
        }
    }

    fn park(&mut self) {
        match std::mem::replace(&mut self.state, Using::Untouched) {
            Using::Connected(connection) => {
                self.lease.park(connection);
                self.state = Using::Parked;
            }
            state => self.state = state,
        }
    }
}
