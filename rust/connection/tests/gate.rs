//! The gate: wake-ups of a poll by itself are kept, all others reach the task.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use super::super::Http1;
use super::super::gate::Gatekeeper;
use super::Socket;

#[derive(Default)]
struct Count(AtomicUsize);

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

fn counted() -> (Arc<Count>, Waker) {
    let count = Arc::<Count>::default();
    (Arc::clone(&count), Waker::from(count))
}

#[test]
fn a_poll_that_wakes_itself_is_polled_again() {
    let gate = Gatekeeper::new();
    let (woken, waker) = counted();
    let mut polls = 0;
    let polled = gate.poll(&mut Context::from_waker(&waker), |cx| {
        polls += 1;
        if polls == 1 {
            cx.waker().wake_by_ref();
        }
        Poll::<()>::Pending
    });
    assert!(polled.is_pending());
    assert_eq!((polls, woken.0.load(Ordering::Relaxed)), (2, 0));
}

#[test]
fn a_poll_that_never_stops_waking_itself_gives_way() {
    let gate = Gatekeeper::new();
    let (woken, waker) = counted();
    let polled = gate.poll(&mut Context::from_waker(&waker), |cx| {
        cx.waker().wake_by_ref();
        Poll::<()>::Pending
    });
    assert!(polled.is_pending());
    assert_eq!(woken.0.load(Ordering::Relaxed), 1);
}

#[test]
fn a_wake_up_between_polls_reaches_the_last_task() {
    let gate = Gatekeeper::new();
    let (first, first_waker) = counted();
    let (last, last_waker) = counted();
    for waker in [&first_waker, &last_waker] {
        let polled = gate.poll(&mut Context::from_waker(waker), |_| Poll::<()>::Pending);
        assert!(polled.is_pending());
    }
    gate.waker().wake();
    assert_eq!(first.0.load(Ordering::Relaxed), 0);
    assert_eq!(last.0.load(Ordering::Relaxed), 1);
    gate.rest();
    gate.waker().wake();
    assert_eq!(last.0.load(Ordering::Relaxed), 1, "at rest nobody is woken");
}

#[test]
fn no_wake_up_from_another_thread_is_lost() {
    // Each round ends only if the wake-up, whenever it comes, leads to another poll.
    const ROUNDS: usize = 2000;
    super::run(async {
        let gate = Gatekeeper::new();
        for _ in 0..ROUNDS {
            let (wakers, waiting) = std::sync::mpsc::channel::<Waker>();
            let done = Arc::new(AtomicUsize::new(0));
            let waker = {
                let done = Arc::clone(&done);
                tokio::task::spawn_blocking(move || {
                    let waker = waiting.recv().expect("the poll sends its waker");
                    done.store(1, Ordering::Release);
                    waker.wake();
                })
            };
            let mut wakers = Some(wakers);
            std::future::poll_fn(|cx| {
                gate.poll(cx, |cx| {
                    if let Some(wakers) = wakers.take() {
                        wakers.send(cx.waker().clone()).expect("the thread waits");
                    }
                    if done.load(Ordering::Acquire) == 1 {
                        Poll::Ready(())
                    } else {
                        Poll::Pending
                    }
                })
            })
            .await;
            waker.await.expect("the thread does not panic");
        }
    });
}

#[test]
fn a_connection_may_move_between_threads() {
    fn assert_send<T: Send>() {}
    assert_send::<Http1<Socket>>();
}
