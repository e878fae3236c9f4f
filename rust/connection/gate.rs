//! Gate: the waker that hyper gets.
//!
//! Driven inline, hyper's connection wakes the very task that polls it (its channels lie between two
//! halves of one task). Passed on, each such wake-up costs a turn of the runtime. The gate keeps
//! wake-ups back while the connection is being polled, and the driver polls once more instead.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use parking_lot::Mutex;

/// Nobody polls: a wake-up goes to the task.
const AWAY: u8 = 0;
/// A poll is under way: a wake-up is kept.
const POLLING: u8 = 1;
/// A wake-up came during the poll.
const WOKEN: u8 = 2;

/// Polls in a row before a kept wake-up goes to the task after all, so that others get their turn.
const MAX_POLLS: usize = 3;

#[derive(Debug)]
struct Gate {
    state: AtomicU8,
    task: Mutex<Option<Waker>>,
}

/// The driver's side of the gate.
#[derive(Debug)]
pub(super) struct Gatekeeper {
    gate: Arc<Gate>,
    waker: Waker,
}

impl Gatekeeper {
    pub(super) fn new() -> Self {
        let gate = Arc::new(Gate {
            state: AtomicU8::new(AWAY),
            task: Mutex::new(None),
        });
        Self {
            waker: Waker::from(Arc::clone(&gate)),
            gate,
        }
    }

    /// The waker that reaches whoever called [`Gatekeeper::poll`] last.
    pub(super) fn waker(&self) -> Waker {
        self.waker.clone()
    }

    /// Polls `step`, again as long as it woke itself, and leaves the task of `cx` to be woken.
    ///
    /// A wake-up that comes with a ready result is dropped: `step` must look at everything again when
    /// it is polled next.
    pub(super) fn poll<T>(
        &self,
        cx: &mut Context<'_>,
        mut step: impl FnMut(&mut Context<'_>) -> Poll<T>,
    ) -> Poll<T> {
        self.watch(cx.waker());
        for _ in 0..MAX_POLLS {
            self.gate.state.store(POLLING, Ordering::Release);
            let polled = step(&mut Context::from_waker(&self.waker));
            let woken = self.gate.state.swap(AWAY, Ordering::AcqRel) == WOKEN;
            if polled.is_ready() || !woken {
                return polled;
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    fn watch(&self, waker: &Waker) {
        let mut task = self.gate.task.lock();
        if !task.as_ref().is_some_and(|task| task.will_wake(waker)) {
            *task = Some(waker.clone());
        }
    }

    /// Forgets the task: nobody is interested until the next poll.
    pub(super) fn rest(&self) {
        *self.gate.task.lock() = None;
    }
}

impl Wake for Gate {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        let kept = self
            .state
            .compare_exchange(POLLING, WOKEN, Ordering::AcqRel, Ordering::Acquire);
        if kept == Err(AWAY) {
            let task = self.task.lock().clone();
            if let Some(task) = task {
                task.wake();
            }
        }
    }
}
