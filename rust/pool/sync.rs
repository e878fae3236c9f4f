//! The one lock that the pool uses, so that loom can put its own in its place.

#[cfg(not(loom))]
pub(super) use parking_lot::Mutex;

#[cfg(loom)]
use loom::sync::MutexGuard;

/// loom's mutex with parking_lot's face: poisoning tells nothing here, loom fails at the first panic.
#[cfg(loom)]
#[derive(Debug)]
pub(super) struct Mutex<T>(loom::sync::Mutex<T>);

#[cfg(loom)]
impl<T> Mutex<T> {
    pub(super) fn new(value: T) -> Self {
        Self(loom::sync::Mutex::new(value))
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, T> {
        self.0
            .lock()
            .expect("no thread panics while it holds the lock")
    }
}
