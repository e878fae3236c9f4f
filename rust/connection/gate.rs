//! Gate: keeps a task from waking itself while it polls.
//!
//! hyper's connection and its request and body futures talk through channels, and wake each other's task
//! when they do. Driven inline they are one task: each such wake-up would poll everything once more, for
//! nothing. Behind the gate a wake-up that comes while the exchange polls is noted, and the exchange looks
//! again before it goes to sleep; one that comes later wakes the task.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Wake, Waker};

use parking_lot::Mutex;

/// Nobody polls: a wake-up goes to the task.
const OPEN: u8 = 0;
/// The task polls: a wake-up is noted.
const SHUT: u8 = 1;
/// A wake-up was noted.
const KNOCKED: u8 = 2;

/// See the module.
#[derive(Debug)]
pub(super) struct Gate {
    state: AtomicU8,
    task: Mutex<Option<Waker>>,
}

impl Gate {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self {
            state: AtomicU8::new(OPEN),
            task: Mutex::new(None),
        })
    }

    /// The task begins to poll.
    pub(super) fn shut(&self, task: &Waker) {
        let mut known = self.task.lock();
        if !known.as_ref().is_some_and(|known| known.will_wake(task)) {
            *known = Some(task.clone());
        }
        self.state.store(SHUT, Ordering::Release);
    }

    /// The task has polled. Returns whether somebody has knocked meanwhile: then it has to look again, or
    /// to wake itself.
    pub(super) fn open(&self) -> bool {
        self.state.swap(OPEN, Ordering::AcqRel) == KNOCKED
    }

    /// Nobody is behind the gate any more: later wake-ups go nowhere.
    pub(super) fn leave(&self) {
        let _former = self.task.lock().take();
    }
}

impl Wake for Gate {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        let shut = self
            .state
            .compare_exchange(SHUT, KNOCKED, Ordering::AcqRel, Ordering::Acquire);
        if shut == Err(OPEN) {
            let task = self.task.lock().clone();
            if let Some(task) = task {
                task.wake();
            }
        }
    }
}
