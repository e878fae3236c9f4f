//! Visits: when the engine's own threads may be in Python, and when they must not.
//!
//! Such a thread is in OpenSSL most of the time, whose locks are the whole process's. A child that is forked while
//! one of them is held would wait for it for ever. So a fork waits until nobody is inside, and whoever comes
//! meanwhile waits for the fork. Numbers alone are used for it, since a lock of ours could be held as well.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use pyo3::prelude::*;

/// Threads that are inside.
static INSIDE: AtomicUsize = AtomicUsize::new(0);

/// Forks that are under way.
static FORKS: AtomicUsize = AtomicUsize::new(0);

/// How long a fork waits at most: a visit may run code of the user's, which may wait for the forking thread.
const PATIENCE: Duration = Duration::from_secs(1);

/// Between two looks. A fork takes longer than this, and a visit is longer than this only if it is slow anyway.
const PAUSE: Duration = Duration::from_micros(200);

/// One visit, inside Python.
///
/// # Drop
///
/// Ends it.
pub(super) struct Visit(());

impl Visit {
    /// Begins one, after the forks that are under way.
    pub(super) fn begin() -> Self {
        loop {
            while FORKS.load(Ordering::SeqCst) > 0 {
                thread::sleep(PAUSE);
            }
            INSIDE.fetch_add(1, Ordering::SeqCst);
            if FORKS.load(Ordering::SeqCst) == 0 {
                return Self(());
            }
            INSIDE.fetch_sub(1, Ordering::SeqCst);
        }
    }
}

impl Drop for Visit {
    fn drop(&mut self) {
        INSIDE.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Waits until nobody is inside, and lets nobody in. Detached meanwhile: those inside need the GIL to leave.
pub(super) fn before_fork(py: Python<'_>) {
    FORKS.fetch_add(1, Ordering::SeqCst);
    let limit = Instant::now() + PATIENCE;
    py.detach(|| {
        while INSIDE.load(Ordering::SeqCst) > 0 && Instant::now() < limit {
            thread::sleep(PAUSE);
        }
    });
}

/// The fork is over.
pub(super) fn after_fork_in_parent() {
    FORKS.fetch_sub(1, Ordering::SeqCst);
}

/// The threads that were inside are the parent's.
pub(super) fn after_fork_in_child() {
    INSIDE.store(0, Ordering::SeqCst);
    FORKS.store(0, Ordering::SeqCst);
}
