//! The lock and the hand-over between threads, in every interleaving that loom finds.
//!
//! `RUSTFLAGS="--cfg loom" cargo test --no-default-features --release --lib pool::`

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use loom::future::block_on;
use loom::thread;

use super::origin;
use crate::pool::{Acquire, Counts, Limits, Pool, Shareable, Sharing};

impl Shareable for () {
    fn share(&self) -> Option<Self> {
        Some(())
    }
}

fn pool() -> Arc<Pool<(), ()>> {
    sharing_pool(Sharing::Never)
}

fn sharing_pool(sharing: Sharing) -> Arc<Pool<(), ()>> {
    Pool::new(Limits {
        max_connections: 1,
        max_keepalive_connections: 1,
        keepalive_expiry: None,
        sharing,
    })
}

fn poll_once(acquire: &mut Acquire<(), ()>) -> bool {
    let polled = Pin::new(acquire).poll(&mut Context::from_waker(Waker::noop()));
    matches!(polled, Poll::Ready(Ok(_)))
}

#[test]
fn waiter_gets_the_lease_that_another_thread_drops() {
    loom::model(|| {
        let pool = pool();
        let mut held = pool.acquire(origin("a"), ());
        let Poll::Ready(Ok(lease)) =
            Pin::new(&mut held).poll(&mut Context::from_waker(Waker::noop()))
        else {
            panic!("the first request is granted at once");
        };
        let waiting = pool.acquire(origin("a"), ());
        let other = thread::spawn(move || drop(lease));
        let lease = block_on(waiting).expect("nobody closes the pool");
        drop(lease);
        other.join().expect("the other thread does not panic");
        assert_eq!(pool.counts(), Counts::default());
    });
}

#[test]
fn waiter_that_leaves_while_it_is_served_loses_no_slot() {
    loom::model(|| {
        let pool = pool();
        let mut held = pool.acquire(origin("a"), ());
        let Poll::Ready(Ok(mut lease)) =
            Pin::new(&mut held).poll(&mut Context::from_waker(Waker::noop()))
        else {
            panic!("the first request is granted at once");
        };
        let leaving = pool.acquire(origin("a"), ());
        let mut staying = pool.acquire(origin("a"), ());
        let other = thread::spawn(move || {
            lease.park(());
            drop(lease);
        });
        drop(leaving);
        other.join().expect("the other thread does not panic");
        assert!(poll_once(&mut staying));
        drop(staying);
        assert_eq!(pool.counts().active_requests, 0);
    });
}

#[test]
fn pool_that_closes_while_a_lease_drops_counts_nothing_twice() {
    loom::model(|| {
        let pool = pool();
        let lease = pool.acquire(origin("a"), ());
        let mut waiting = pool.acquire(origin("a"), ());
        let other = thread::spawn(move || drop(lease));
        let _owners = pool.close();
        other.join().expect("the other thread does not panic");
        // Served or failed, whichever came first; never left waiting.
        let outcome = Pin::new(&mut waiting).poll(&mut Context::from_waker(Waker::noop()));
        assert!(outcome.is_ready());
        drop(outcome);
        drop(waiting);
        assert_eq!(pool.counts(), Counts::default());
    });
}

#[test]
fn request_that_joins_a_connection_is_served_by_what_another_thread_makes_of_it() {
    loom::model(|| {
        let pool = sharing_pool(Sharing::Always);
        let mut leading = pool.acquire(origin("a"), ());
        let Poll::Ready(Ok(mut lease)) =
            Pin::new(&mut leading).poll(&mut Context::from_waker(Waker::noop()))
        else {
            panic!("the first request is granted at once");
        };
        let joining = pool.acquire(origin("a"), ());
        let id = lease.id();
        let other = {
            let pool = Arc::clone(&pool);
            thread::spawn(move || {
                lease.share(());
                pool.limit(id, 1);
                drop(lease);
            })
        };
        let lease = block_on(joining).expect("nobody closes the pool");
        other.join().expect("the other thread does not panic");
        assert_eq!(pool.counts().active_requests, 1);
        drop(lease);
        assert_eq!(pool.counts().active_requests, 0);
    });
}
