//! Alone: whether the same caller waits again and again, and nobody else.
//!
//! Only such a caller may keep a core busy in the hope of an answer: no other request is delayed by it.

use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};

/// So often a caller comes alone before it is taken to be the only one.
const ALONE: u32 = 16;

/// Who came last, and how often in a row. All of it is a hint: what is lost between two threads costs one of them a look
/// at the clock.
#[derive(Default)]
pub(super) struct Streak {
    last: AtomicUsize,
    length: AtomicU32,
}

impl Streak {
    /// A caller comes, told from others by an address, and nobody else waits.
    pub(super) fn comes(&self, who: usize) {
        if self.last.swap(who, Ordering::Relaxed) != who {
            self.breaks();
        } else if self.length.load(Ordering::Relaxed) < ALONE {
            self.length.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// A caller comes while others wait, or had better not be taken to be alone.
    pub(super) fn breaks(&self) {
        self.length.store(0, Ordering::Relaxed);
    }

    /// Whether nobody else has come for a while.
    pub(super) fn is_long(&self) -> bool {
        self.length.load(Ordering::Relaxed) >= ALONE
    }
}
