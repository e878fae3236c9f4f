//! The four timeouts of a request, and the timer that watches them.
//!
//! Nothing here knows what is being waited for: the exchange names the timeout that fired.

#[cfg(test)]
mod tests;

use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};
use std::time::{Duration, Instant};

use tokio::runtime::Handle;
use tokio::task::unconstrained;
use tokio::time::Sleep;

/// httpcore's `timeout` extension. `None` waits for ever.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Timeouts {
    /// Bounds each attempt to open a connection, name resolution included.
    pub connect: Option<Duration>,
    /// Bounds each wait for bytes: the time to the first byte and every gap after it, never the sum.
    pub read: Option<Duration>,
    /// Bounds each wait for the peer to take bytes.
    pub write: Option<Duration>,
    /// Bounds the wait for a connection to be assigned.
    pub pool: Option<Duration>,
}

/// A timer that outlives the waits it watches.
///
/// Arming a timer costs a lock and, from another thread, a wake-up of the runtime. So an armed timer
/// is left alone when its wait ends; the next wait only moves the deadline, and a timer that fires too
/// early for it is armed again. A connection keeps its watchdog, at rest, from exchange to exchange.
#[derive(Debug, Default)]
pub struct Watchdog {
    sleep: Option<Pin<Box<Sleep>>>,
}

impl Watchdog {
    /// Ready once `deadline` has passed. The task is woken for it.
    ///
    /// A poll with a later deadline than the last one does not disturb the timer.
    pub fn poll_expired(
        &mut self,
        cx: &mut Context<'_>,
        runtime: &Handle,
        deadline: Instant,
    ) -> Poll<()> {
        let at = tokio::time::Instant::from_std(deadline);
        let sleep = self.sleep.get_or_insert_with(|| {
            // A timer belongs to the runtime in whose context it is made.
            let _context = runtime.enter();
            Box::pin(tokio::time::sleep_until(at))
        });
        if sleep.deadline() > at {
            sleep.as_mut().reset(at);
        }
        loop {
            ready!(sleep.as_mut().poll(cx));
            if Instant::now() >= deadline {
                return Poll::Ready(());
            }
            sleep.as_mut().reset(at);
        }
    }

    /// Nobody waits from now on, until the next [`Watchdog::poll_expired`].
    ///
    /// The timer stays armed and forgets whom it was to wake. A connection that kept that would keep the exchange it
    /// has served, by that the pool, and by that itself, until the timer fires.
    pub fn rest(&mut self) {
        if let Some(sleep) = &mut self.sleep {
            // Whatever else the task has done in this turn: a poll that is put off leaves the old waker where it is.
            let sleep = std::pin::pin!(unconstrained(sleep.as_mut()));
            let _ = sleep.poll(&mut Context::from_waker(Waker::noop()));
        }
    }
}

/// One phase of waiting: since when no byte has moved.
#[derive(Debug)]
pub struct Quiet {
    since: Instant,
    moved: u64,
}

impl Quiet {
    /// Starts now; `moved` is the count of bytes so far.
    pub fn start(moved: u64) -> Self {
        Self {
            since: Instant::now(),
            moved,
        }
    }

    /// When the wait is over, given the count of bytes moved so far and since when the caller waits.
    ///
    /// Each byte starts the wait anew. While the caller does not wait (`None`) the clock does not run:
    /// data may lie ready for as long as the caller likes, and the deadline moves on with `now`.
    pub fn deadline(&mut self, moved: u64, waiting: Option<Instant>, timeout: Duration) -> Instant {
        if moved != self.moved {
            self.moved = moved;
            self.since = Instant::now();
        }
        let start = match waiting {
            Some(since) => since.max(self.since),
            None => Instant::now(),
        };
        // An overflow is a timeout beyond the clock's range: as good as none.
        start
            .checked_add(timeout)
            .unwrap_or_else(|| start + FAR_FUTURE)
    }
}

/// Stands for "never" where the clock's arithmetic would overflow: thirty years, tokio's own choice.
const FAR_FUTURE: Duration = Duration::from_secs(60 * 60 * 24 * 365 * 30);
