//! The rules of the pool, one test each, on the pool as its users see it.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use super::origin;
use crate::error::Kind;
use crate::pool::{Acquire, Counts, Lease, Limits, Pool, Shareable, Sharing, Status};

/// A connection that counts how many of its kind are open.
#[derive(Debug)]
struct Socket(Arc<AtomicUsize>);

impl Socket {
    fn open(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::SeqCst);
        Self(Arc::clone(count))
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Shareable for Socket {
    fn share(&self) -> Option<Self> {
        Some(Self::open(&self.0))
    }
}

type TestPool = Arc<Pool<Socket, &'static str>>;

fn pool(max_connections: usize, max_keepalive_connections: usize) -> (TestPool, Arc<AtomicUsize>) {
    let limits = Limits {
        max_connections,
        max_keepalive_connections,
        keepalive_expiry: None,
        sharing: Sharing::Never,
    };
    (Pool::new(limits), Arc::new(AtomicUsize::new(0)))
}

#[derive(Default)]
struct Woken(AtomicUsize);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

fn poll(
    acquire: &mut Acquire<Socket, &'static str>,
) -> Poll<crate::error::Result<Lease<Socket, &'static str>>> {
    Pin::new(acquire).poll(&mut Context::from_waker(Waker::noop()))
}

fn granted(acquire: Acquire<Socket, &'static str>) -> Lease<Socket, &'static str> {
    let mut acquire = acquire;
    match poll(&mut acquire) {
        Poll::Ready(Ok(lease)) => lease,
        other => panic!("not granted: {other:?}"),
    }
}

/// A request from its lease to an idle connection.
fn serve(pool: &TestPool, host: &'static str, open: &Arc<AtomicUsize>) {
    let mut lease = granted(pool.acquire(origin(host), "someone"));
    let socket = lease.take().unwrap_or_else(|| Socket::open(open));
    lease.connected();
    lease.park(socket);
}

fn counts(pool: &TestPool) -> (usize, usize, usize, usize) {
    let Counts {
        active_requests,
        queued_requests,
        active_connections,
        idle_connections,
    } = pool.counts();
    (
        active_requests,
        queued_requests,
        active_connections,
        idle_connections,
    )
}

fn hosts(pool: &TestPool) -> Vec<String> {
    let infos = pool.connections();
    infos
        .iter()
        .map(|info| String::from_utf8_lossy(&info.origin.host).into_owned())
        .collect()
}

#[test]
fn slot_is_taken_before_the_connection_opens() {
    let (pool, _) = pool(1, 1);
    let mut lease = granted(pool.acquire(origin("a"), "first"));
    assert!(lease.take().is_none());
    assert_eq!(pool.connections()[0].status, Status::Connecting);
    assert_eq!(counts(&pool), (1, 0, 1, 0));
    lease.connected();
    assert_eq!(pool.connections()[0].status, Status::Active);
}

#[test]
fn dropped_lease_frees_its_slot() {
    let (pool, _) = pool(1, 1);
    drop(granted(pool.acquire(origin("a"), "first")));
    assert_eq!(counts(&pool), (0, 0, 0, 0));
}

#[test]
fn parked_connection_is_active_until_the_lease_drops() {
    let (pool, open) = pool(1, 1);
    let mut lease = granted(pool.acquire(origin("a"), "first"));
    lease.connected();
    lease.park(Socket::open(&open));
    assert_eq!(counts(&pool), (1, 0, 1, 0));
    drop(lease);
    assert_eq!(counts(&pool), (0, 0, 0, 1));
    assert_eq!(open.load(Ordering::SeqCst), 1);
}

#[test]
fn idle_connection_serves_its_origin_again() {
    let (pool, open) = pool(10, 10);
    for _ in 0..3 {
        serve(&pool, "a", &open);
    }
    assert_eq!(open.load(Ordering::SeqCst), 1);
    assert_eq!(pool.connections()[0].request_count, 3);
}

#[test]
fn first_idle_connection_in_creation_order_is_chosen() {
    let (pool, open) = pool(10, 10);
    let mut first = granted(pool.acquire(origin("a"), "first"));
    let mut second = granted(pool.acquire(origin("a"), "second"));
    let ids = (first.id(), second.id());
    second.park(Socket::open(&open));
    drop(second);
    first.park(Socket::open(&open));
    drop(first);
    assert_eq!(granted(pool.acquire(origin("a"), "third")).id(), ids.0);
}

#[test]
fn first_idle_connection_of_any_origin_makes_room() {
    let (pool, open) = pool(2, 2);
    serve(&pool, "a", &open);
    serve(&pool, "b", &open);
    let lease = granted(pool.acquire(origin("c"), "third"));
    assert_eq!(hosts(&pool), ["b", "c"]);
    assert_eq!(open.load(Ordering::SeqCst), 1);
    drop(lease);
}

#[test]
fn requests_are_served_in_the_order_they_came() {
    let (pool, open) = pool(1, 1);
    let mut lease = granted(pool.acquire(origin("a"), "first"));
    let mut second = pool.acquire(origin("b"), "second");
    let mut third = pool.acquire(origin("a"), "third");
    assert!(poll(&mut second).is_pending() && poll(&mut third).is_pending());
    lease.park(Socket::open(&open));
    drop(lease);
    // The idle connection suits the third, but the second is first.
    assert_eq!(open.load(Ordering::SeqCst), 0);
    assert!(poll(&mut third).is_pending());
    drop(granted(second));
    drop(granted(third));
    assert_eq!(counts(&pool), (0, 0, 0, 0));
}

#[test]
fn released_connection_goes_to_one_waiter() {
    let (pool, open) = pool(1, 1);
    let mut lease = granted(pool.acquire(origin("a"), "first"));
    let mut waiting: Vec<_> = (0..5).map(|_| pool.acquire(origin("a"), "next")).collect();
    lease.park(Socket::open(&open));
    drop(lease);
    let ready = waiting
        .iter_mut()
        .filter_map(|acquire| match poll(acquire) {
            Poll::Ready(lease) => Some(lease),
            Poll::Pending => None,
        });
    let leases: Vec<_> = ready.collect();
    assert_eq!(leases.len(), 1);
    assert_eq!(counts(&pool), (1, 4, 1, 0));
}

#[test]
fn waiter_that_left_is_not_served() {
    let (pool, _) = pool(1, 1);
    let lease = granted(pool.acquire(origin("a"), "first"));
    drop(pool.acquire(origin("a"), "second"));
    assert_eq!(counts(&pool), (1, 0, 1, 0));
    drop(lease);
    assert_eq!(counts(&pool), (0, 0, 0, 0));
}

#[test]
fn waiter_that_leaves_when_it_is_served_passes_the_slot_on() {
    let (pool, open) = pool(1, 1);
    let mut lease = granted(pool.acquire(origin("a"), "first"));
    let second = pool.acquire(origin("a"), "second");
    let third = pool.acquire(origin("a"), "third");
    lease.park(Socket::open(&open));
    drop(lease);
    // The second has the lease and has not looked yet.
    drop(second);
    assert!(granted(third).take().is_some());
}

#[test]
fn waiter_is_woken_once_and_by_its_last_task() {
    let (pool, _) = pool(1, 1);
    let lease = granted(pool.acquire(origin("a"), "first"));
    let mut acquire = pool.acquire(origin("a"), "second");
    let (former, latter) = (Arc::new(Woken::default()), Arc::new(Woken::default()));
    for task in [&former, &latter] {
        let waker = Waker::from(Arc::clone(task));
        assert!(
            Pin::new(&mut acquire)
                .poll(&mut Context::from_waker(&waker))
                .is_pending()
        );
    }
    drop(lease);
    assert_eq!(former.0.load(Ordering::SeqCst), 0);
    assert_eq!(latter.0.load(Ordering::SeqCst), 1);
    drop(granted(acquire));
}

#[test]
fn keepalive_limit_counts_idle_connections_only() {
    let (pool, open) = pool(10, 1);
    let mut leases: Vec<_> = (0..4)
        .map(|_| granted(pool.acquire(origin("a"), "someone")))
        .collect();
    let mut last = leases.pop().expect("four leases");
    last.park(Socket::open(&open));
    drop(last);
    assert_eq!(counts(&pool), (3, 0, 3, 1));
    for mut lease in leases {
        lease.park(Socket::open(&open));
    }
    assert_eq!(counts(&pool), (0, 0, 0, 1));
    assert_eq!(open.load(Ordering::SeqCst), 1);
}

#[test]
fn no_keepalive_closes_on_release() {
    let (pool, open) = pool(10, 0);
    serve(&pool, "a", &open);
    assert_eq!(counts(&pool), (0, 0, 0, 0));
    assert_eq!(open.load(Ordering::SeqCst), 0);
}

#[test]
fn expiry_of_zero_closes_on_release() {
    let limits = Limits {
        max_connections: 10,
        max_keepalive_connections: 10,
        keepalive_expiry: Some(Duration::ZERO),
        sharing: Sharing::Never,
    };
    let pool: TestPool = Pool::new(limits);
    let open = Arc::new(AtomicUsize::new(0));
    serve(&pool, "a", &open);
    assert_eq!(open.load(Ordering::SeqCst), 0);
}

#[test]
fn dead_idle_connection_keeps_its_turn() {
    let (pool, open) = pool(1, 1);
    serve(&pool, "a", &open);
    let mut lease = granted(pool.acquire(origin("a"), "first"));
    drop(lease.take());
    lease.connecting();
    let info = &pool.connections()[0];
    assert_eq!((info.status, info.request_count), (Status::Connecting, 1));
    assert!(poll(&mut pool.acquire(origin("a"), "second")).is_pending());
}

#[test]
fn close_ends_everything_and_the_pool_stays_usable() {
    let (pool, open) = pool(2, 2);
    serve(&pool, "a", &open);
    let mut held = granted(pool.acquire(origin("b"), "held"));
    let also_held = granted(pool.acquire(origin("a"), "also held"));
    let mut queued = pool.acquire(origin("a"), "queued");
    assert!(poll(&mut queued).is_pending());

    assert_eq!(pool.close(), ["also held", "held"]);
    match poll(&mut queued) {
        Poll::Ready(Err(error)) => assert_eq!(error.kind(), Kind::Connect),
        other => panic!("not failed: {other:?}"),
    }
    // The requests are there until they are closed, their connections are not.
    assert_eq!(counts(&pool), (2, 0, 0, 0));
    held.connected();
    held.park(Socket::open(&open));
    drop(held);
    drop(also_held);
    assert_eq!(counts(&pool), (0, 0, 0, 0));
    assert_eq!(open.load(Ordering::SeqCst), 0);
    serve(&pool, "a", &open);
    assert_eq!(counts(&pool), (0, 0, 0, 1));
}

#[test]
fn retired_pool_finishes_what_is_in_flight() {
    let (pool, open) = pool(2, 2);
    serve(&pool, "a", &open);
    let mut held = granted(pool.acquire(origin("b"), "held"));
    let also_held = granted(pool.acquire(origin("b"), "also held"));
    let mut queued = pool.acquire(origin("a"), "queued");
    pool.retire();
    match poll(&mut queued) {
        Poll::Ready(Err(error)) => assert_eq!(error.kind(), Kind::Moved),
        other => panic!("not failed: {other:?}"),
    }
    assert_eq!(counts(&pool), (2, 0, 2, 0));
    held.park(Socket::open(&open));
    drop((held, also_held));
    assert_eq!(counts(&pool), (0, 0, 0, 0));
    assert_eq!(open.load(Ordering::SeqCst), 0);
}

/// A connection whose end asks the pool, as a finaliser of Python's might.
#[derive(Debug)]
struct Nosy(Arc<Mutex<Option<NosyPool>>>);

impl Shareable for Nosy {
    fn share(&self) -> Option<Self> {
        None
    }
}

type NosyPool = Arc<Pool<Nosy, ()>>;

impl Drop for Nosy {
    fn drop(&mut self) {
        let pool = self
            .0
            .lock()
            .expect("nothing panics under this lock")
            .clone();
        if let Some(pool) = pool {
            let _ = pool.counts();
            let mut acquire = pool.acquire(origin("nosy"), ());
            let _ = Pin::new(&mut acquire).poll(&mut Context::from_waker(Waker::noop()));
        }
    }
}

#[test]
fn closing_a_connection_may_come_back_to_the_pool() {
    let pool: NosyPool = Pool::new(Limits {
        max_connections: 1,
        max_keepalive_connections: 1,
        keepalive_expiry: None,
        sharing: Sharing::Never,
    });
    let found = Arc::new(Mutex::new(Some(Arc::clone(&pool))));
    for host in ["a", "b", "a"] {
        let mut acquire = pool.acquire(origin(host), ());
        let Poll::Ready(Ok(mut lease)) =
            Pin::new(&mut acquire).poll(&mut Context::from_waker(Waker::noop()))
        else {
            panic!("an idle connection always makes room");
        };
        lease.park(Nosy(Arc::clone(&found)));
    }
    let _ = pool.close();
    *found.lock().expect("nothing panics under this lock") = None;
    assert_eq!(pool.counts(), Counts::default());
}
