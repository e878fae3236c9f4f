//! The timer and its rules. Times are real and short: the deadlines are std's, which tokio's paused clock
//! does not move. Nothing is asserted on how late a timer is, only that it is never early.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

use tokio::runtime::Handle;

use super::{FAR_FUTURE, Quiet, Watchdog};

/// Long enough to be pending when it is polled at once, short enough to be waited for.
const SHORT: Duration = Duration::from_millis(20);

/// No test reaches it.
const LONG: Duration = Duration::from_secs(3600);

/// A test that takes longer than this hangs.
const HANGS: Duration = Duration::from_secs(30);

fn poll_once(watchdog: &mut Watchdog, deadline: Instant) -> Poll<()> {
    let mut cx = Context::from_waker(Waker::noop());
    watchdog.poll_expired(&mut cx, &Handle::current(), deadline)
}

async fn expired(watchdog: &mut Watchdog, deadline: Instant) {
    let runtime = Handle::current();
    let fires = poll_fn(|cx| watchdog.poll_expired(cx, &runtime, deadline));
    tokio::time::timeout(HANGS, fires)
        .await
        .expect("the watchdog never fires");
    assert!(Instant::now() >= deadline, "it fired early");
}

/// When the timer itself is set to fire.
fn armed_for(watchdog: &Watchdog) -> Instant {
    let sleep = watchdog.sleep.as_ref().expect("it was polled");
    sleep.deadline().into_std()
}

#[tokio::test]
async fn expires_at_its_deadline_and_not_before() {
    let mut watchdog = Watchdog::default();
    let deadline = Instant::now() + SHORT;
    expired(&mut watchdog, deadline).await;
}

#[tokio::test]
async fn a_watchdog_at_rest_keeps_nobody_and_works_on() {
    struct Sleeper;
    impl Wake for Sleeper {
        fn wake(self: Arc<Self>) {}
    }
    let mut watchdog = Watchdog::default();
    let sleeper = Arc::new(Sleeper);
    let waker = Waker::from(Arc::clone(&sleeper));
    let mut cx = Context::from_waker(&waker);
    let deadline = Instant::now() + SHORT;
    let polled = watchdog.poll_expired(&mut cx, &Handle::current(), deadline);
    assert!(polled.is_pending());
    drop(waker);
    assert_eq!(
        Arc::strong_count(&sleeper),
        2,
        "the timer knows its sleeper"
    );
    // Also where the task has used up its turn.
    while tokio::task::coop::has_budget_remaining() {
        tokio::task::coop::consume_budget().await;
    }
    watchdog.rest();
    assert_eq!(Arc::strong_count(&sleeper), 1);
    expired(&mut watchdog, deadline).await;
    watchdog.rest();
    expired(&mut watchdog, Instant::now() + SHORT).await;
}

#[tokio::test]
async fn a_deadline_that_has_passed_expires() {
    let mut watchdog = Watchdog::default();
    let passed = Instant::now();
    expired(&mut watchdog, passed).await;
}

#[tokio::test]
async fn a_later_deadline_leaves_the_timer_alone_and_is_kept() {
    let mut watchdog = Watchdog::default();
    let early = Instant::now() + SHORT;
    assert!(poll_once(&mut watchdog, early).is_pending());
    let late = early + SHORT;
    assert!(poll_once(&mut watchdog, late).is_pending());
    assert_eq!(armed_for(&watchdog), early);
    expired(&mut watchdog, late).await;
}

#[tokio::test]
async fn an_earlier_deadline_moves_the_timer() {
    let mut watchdog = Watchdog::default();
    assert!(poll_once(&mut watchdog, Instant::now() + LONG).is_pending());
    let near = Instant::now() + SHORT;
    expired(&mut watchdog, near).await;
}

#[tokio::test]
async fn serves_one_wait_after_the_other() {
    let mut watchdog = Watchdog::default();
    // A wait that ended before its deadline, and whose timer then ran out with nobody there.
    let given_up = Instant::now() + SHORT;
    assert!(poll_once(&mut watchdog, given_up).is_pending());
    tokio::time::sleep_until(given_up.into()).await;
    assert!(poll_once(&mut watchdog, Instant::now() + LONG).is_pending());
    // One that expired is followed by one that expires as well.
    for _ in 0..2 {
        let deadline = Instant::now() + SHORT;
        expired(&mut watchdog, deadline).await;
    }
}

#[test]
fn is_armed_from_outside_the_runtime() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .expect("a runtime can be built");
    let mut watchdog = Watchdog::default();
    let deadline = Instant::now() + SHORT;
    let mut cx = Context::from_waker(Waker::noop());
    let polled = watchdog.poll_expired(&mut cx, runtime.handle(), deadline);
    assert!(polled.is_pending());
    runtime.block_on(expired(&mut watchdog, deadline));
}

#[test]
fn silence_leaves_the_deadline_where_it_is() {
    let waiting = Instant::now();
    let mut quiet = Quiet::start(7);
    let deadline = quiet.deadline(7, Some(waiting), LONG);
    assert_eq!(deadline, quiet.since + LONG);
    assert_eq!(quiet.deadline(7, Some(waiting), LONG), deadline);
}

#[test]
fn each_movement_starts_the_wait_anew() {
    let waiting = Instant::now();
    let mut quiet = Quiet::start(0);
    for moved in 1..4 {
        let before = Instant::now();
        let deadline = quiet.deadline(moved, Some(waiting), LONG);
        assert!(deadline >= before + LONG);
        assert_eq!(quiet.deadline(moved, Some(waiting), LONG), deadline);
    }
}

#[test]
fn the_clock_does_not_run_while_nobody_waits() {
    let mut quiet = Quiet::start(0);
    let before = Instant::now();
    assert!(quiet.deadline(0, None, LONG) >= before + LONG);
    // The caller comes back after a while: its wait counts from then, not from the last byte.
    let back = quiet.since + SHORT;
    assert_eq!(quiet.deadline(0, Some(back), LONG), back + LONG);
}

#[test]
fn an_endless_timeout_does_not_overflow() {
    let mut quiet = Quiet::start(0);
    let waiting = quiet.since;
    let deadline = quiet.deadline(0, Some(waiting), Duration::MAX);
    assert_eq!(deadline, waiting + FAR_FUTURE);
}

#[tokio::test]
async fn the_far_future_can_be_armed() {
    let mut watchdog = Watchdog::default();
    let mut quiet = Quiet::start(0);
    let waiting = Some(Instant::now());
    let deadline = quiet.deadline(0, waiting, Duration::MAX);
    assert!(poll_once(&mut watchdog, deadline).is_pending());
    let near = Instant::now() + SHORT;
    expired(&mut watchdog, near).await;
}
