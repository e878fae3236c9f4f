//! Lull: the moment in a fast download in which everything was read and more is on its way.
//!
//! Going to sleep there costs more than it saves: the peer has to wake this core for each of its next
//! segments, and the two end up taking turns. Asking the kernel a little longer keeps both at work, in
//! less CPU time for either side. Nothing here reads or writes; it says whether asking again pays.

use std::time::{Duration, Instant};

/// The smallest read that tells of a fast download: a peer that fills so much between two reads is likely
/// to have more within [`PATIENCE`].
const LARGE_READ: usize = 32 * 1024;

/// How long to ask. Half of it already ends most of the sleep in a download over loopback; more than this
/// wins nothing. It is also the longest that other tasks of the runtime are held up by it.
const PATIENCE: Duration = Duration::from_micros(20);

/// Between two questions: shorter than a system call, so that the peer's core is not slowed down.
const PAUSE_SPINS: u32 = 20;

/// After asking in vain so many lulls are slept through before the next attempt: at first one, then twice
/// as many each time, up to this. On a link that is slower than the machine it comes to next to nothing.
const MOST_SKIPPED: u32 = 1024;

/// What one socket's reads have shown so far.
#[derive(Debug, Default)]
pub(super) struct Lull {
    large: bool,
    skip: u32,
    skipped: u32,
}

impl Lull {
    /// Takes note of a read that brought `size` bytes.
    pub(super) fn read(&mut self, size: usize) {
        self.large = size >= LARGE_READ;
    }

    /// Asks `again` for a while, should the last read have been a large one. `None`: there was nothing,
    /// and the caller waits as usual.
    pub(super) fn ask<T>(&mut self, mut again: impl FnMut() -> Option<T>) -> Option<T> {
        if !std::mem::take(&mut self.large) {
            return None;
        }
        if self.skipped < self.skip {
            self.skipped += 1;
            return None;
        }
        let start = Instant::now();
        while start.elapsed() < PATIENCE {
            for _ in 0..PAUSE_SPINS {
                std::hint::spin_loop();
            }
            if let Some(answer) = again() {
                self.skip = 0;
                return Some(answer);
            }
        }
        self.skipped = 0;
        self.skip = (self.skip * 2).clamp(1, MOST_SKIPPED);
        None
    }
}
