//! The process, and the forks that make another one of it.
//!
//! A forked child has all memory of its parent and one of its threads. A lock may be held there for ever, and
//! the sockets and epoll sets are shared with the parent. So the child leaves all of it alone: what carries
//! another generation was made by an ancestor, and is neither used nor dropped.

use std::fmt;
use std::mem::ManuallyDrop;
use std::sync::atomic::{AtomicU64, Ordering};

/// Counts the forks between the first process that loaded the library and this one.
static GENERATION: AtomicU64 = AtomicU64::new(0);

/// The generation of this process. What carries another one was made by an ancestor.
pub fn generation() -> u64 {
    GENERATION.load(Ordering::Relaxed)
}

/// Arranges that a forked child counts one generation more, and begins with an empty ledger and without
/// visits. Idempotent.
#[cfg(unix)]
#[allow(unsafe_code)] // pthread_atfork has no safe binding
pub fn watch_forks() {
    use std::sync::Once;

    /// Runs in the child, where every lock may be held for ever: stores to atomics, and nothing else.
    extern "C" fn in_child() {
        GENERATION.fetch_add(1, Ordering::Relaxed);
        crate::ledger::clear();
        crate::visits::clear();
    }

    static WATCH: Once = Once::new();
    WATCH.call_once(|| {
        // SAFETY: the handler is an `extern "C" fn()` that lives as long as the program, takes no
        // lock and allocates nothing, as the child side of a fork demands.
        let failed = unsafe { libc::pthread_atfork(None, None, Some(in_child)) };
        assert_eq!(failed, 0, "pthread_atfork fails only when memory is out");
    });
}

/// Without fork there is one generation.
#[cfg(not(unix))]
pub fn watch_forks() {}

/// A value of the process that made it. A forked child inherits the memory and cannot have the value.
///
/// # Drop
///
/// Drops the value, in its own process. In a forked child it is leaked: dropping it would wait for locks of
/// threads that do not exist, and edit the parent's epoll set.
pub struct ForkLocal<T> {
    generation: u64,
    value: ManuallyDrop<T>,
}

impl<T> ForkLocal<T> {
    /// A value of this process.
    pub fn new(value: T) -> Self {
        Self {
            generation: generation(),
            value: ManuallyDrop::new(value),
        }
    }

    /// Whether an ancestor of this process made it.
    pub fn is_inherited(&self) -> bool {
        self.generation != generation()
    }

    /// The value; `None` in a forked child.
    pub fn get(&self) -> Option<&T> {
        (!self.is_inherited()).then(|| &*self.value)
    }

    /// The value, made anew in a forked child. The inherited one is leaked.
    pub fn renewed(&mut self, make: impl FnOnce() -> T) -> &mut T {
        if self.is_inherited() {
            *self = Self::new(make());
        }
        &mut self.value
    }
}

impl<T> Drop for ForkLocal<T> {
    #[allow(unsafe_code)] // ManuallyDrop::drop, to leak what a fork made foreign
    fn drop(&mut self) {
        if !self.is_inherited() {
            // SAFETY: dropped once, here, and not used afterwards.
            unsafe { ManuallyDrop::drop(&mut self.value) };
        }
    }
}

impl<T> fmt::Debug for ForkLocal<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ForkLocal")
            .field("inherited", &self.is_inherited())
            .finish_non_exhaustive()
    }
}
