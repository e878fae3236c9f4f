//! Turns: a task that finds each part here lets its loop's other tasks have their turn, now and then.
//!
//! Awaiting what is here does not suspend. A task with an upload to a peer that takes all of it, or a download that comes
//! faster than it is looked at, would never suspend, and until its end no other task of the loop would run, no timeout
//! expire and no cancellation arrive. httpcore suspends with every read and write.

use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// How long a task goes on with parts that are here. A turn takes some microseconds of it, if nobody else has anything to
/// do.
const PATIENCE: Duration = Duration::from_millis(1);

/// When one task's others had their last turn, as far as that is known.
#[derive(Default)]
pub(super) struct Turns(Mutex<Option<Instant>>);

impl Turns {
    /// Asked for each part that is here. Whether it is the others' turn before the task goes on.
    pub(super) fn are_due(&self) -> bool {
        let now = Instant::now();
        let mut last = self.0.lock();
        let due = now - *last.get_or_insert(now) >= PATIENCE;
        if due {
            *last = Some(now);
        }
        due
    }
}
