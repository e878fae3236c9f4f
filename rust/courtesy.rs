//! Courtesy: a thread gives its core away for a moment, as long as it is this process that gets it.
//!
//! Threads that want one interpreter can take turns on a core without a wake-up, if each gives the core away when it has let
//! go of the interpreter. A stranger gets it too, and keeps it for some milliseconds, where a thread that had slept would have
//! been preferred when it was woken: with four threads beside a process that never sleeps a pool had a quarter of its rate.
//! So it is measured how much of the time that was given away the process had itself. If it was not most of it, nobody gives
//! way for a while. What the process does on other cores meanwhile counts as well: there a stranger may pass unnoticed.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Where the time has been ours, one in so many is measured: asking for it costs as much as giving way.
const SAMPLED: u32 = 16;

/// What is judged is so much time that was given away: some slices of a stranger's.
const JUDGED: Duration = Duration::from_millis(10);

/// Or so many measurements: where hardly any time is given away, no stranger takes it.
const JUDGED_AT_LEAST: u32 = 1000;

/// After a stranger so many occasions are passed over, and twice as many each time, up to the second.
const FEWEST_SKIPPED: u32 = 256;
const MOST_SKIPPED: u32 = 64 * 1024;

/// Whether giving way has been worth it. All of it is a hint, which threads share without a lock.
#[derive(Debug, Default)]
pub struct Courtesy {
    given: AtomicU32,
    /// The last judgement was good.
    proven: AtomicBool,
    /// What has been measured since: how often, and for how many nanoseconds a thread was away and this process had a core.
    measured: AtomicU32,
    away: AtomicU64,
    ours: AtomicU64,
    skip: AtomicU32,
    skipped: AtomicU32,
}

impl Courtesy {
    /// Whether this is an occasion to give way. Never where the time of a process cannot be asked for.
    pub fn is_due(&self) -> bool {
        let skip = self.skip.load(Ordering::Relaxed);
        cfg!(unix) && (skip == 0 || self.skipped.fetch_add(1, Ordering::Relaxed) >= skip)
    }

    /// Gives the core to whoever waits for it. Returns at once if nobody does.
    pub fn give_way(&self) {
        let given = self.given.fetch_add(1, Ordering::Relaxed);
        if self.proven.load(Ordering::Relaxed) && !given.is_multiple_of(SAMPLED) {
            return std::thread::yield_now();
        }
        let (began, before) = (Instant::now(), process_time());
        std::thread::yield_now();
        self.learn(began.elapsed(), process_time().saturating_sub(before));
    }

    /// Learns how long a thread was away, and how much of that the process had.
    fn learn(&self, away: Duration, ours: Duration) {
        let add = |sum: &AtomicU64, time: Duration| {
            let nanos = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX / 2);
            sum.fetch_add(nanos, Ordering::Relaxed)
                .saturating_add(nanos)
        };
        let (away, ours) = (add(&self.away, away), add(&self.ours, ours));
        let measured = self.measured.fetch_add(1, Ordering::Relaxed) + 1;
        if u128::from(away) < JUDGED.as_nanos() && measured < JUDGED_AT_LEAST {
            return;
        }
        // Three quarters: the kernel takes its part, and so does whoever counts the time.
        let worth_it = ours >= away / 4 * 3;
        let skip = if worth_it {
            0
        } else {
            (self.skip.load(Ordering::Relaxed) * 2).clamp(FEWEST_SKIPPED, MOST_SKIPPED)
        };
        self.proven.store(worth_it, Ordering::Relaxed);
        self.skip.store(skip, Ordering::Relaxed);
        for counter in [&self.skipped, &self.measured] {
            counter.store(0, Ordering::Relaxed);
        }
        for sum in [&self.away, &self.ours] {
            sum.store(0, Ordering::Relaxed);
        }
    }
}

/// How long the threads of this process have been on a core, together.
#[cfg(unix)]
#[allow(unsafe_code)] // the clock has no safe binding in std
fn process_time() -> Duration {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: the call writes one plain value on this stack. Where there is no such clock it stays zero, and no time is ever
    // the process's own.
    unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &raw mut time) };
    let seconds = u64::try_from(time.tv_sec).unwrap_or_default();
    Duration::from_secs(seconds)
        + Duration::from_nanos(u64::try_from(time.tv_nsec).unwrap_or_default())
}

/// Nobody gives way here.
#[cfg(not(unix))]
fn process_time() -> Duration {
    Duration::ZERO
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    const SLICE: Duration = Duration::from_millis(3);

    /// How many occasions are passed over before the next that is taken.
    fn passed_over(courtesy: &Courtesy) -> usize {
        (0..).take_while(|_| !courtesy.is_due()).count()
    }

    /// Some slices are given away, of which the process had so much.
    fn judge(courtesy: &Courtesy, ours: Duration) {
        for _ in 0..=JUDGED.as_nanos() / SLICE.as_nanos() {
            courtesy.learn(SLICE, ours);
        }
    }

    #[test]
    fn a_stranger_ends_it_for_a_while_and_for_longer_each_time() {
        let courtesy = Courtesy::default();
        assert_eq!(passed_over(&courtesy), 0);
        let mut skip = FEWEST_SKIPPED;
        for _ in 0..12 {
            judge(&courtesy, SLICE / 2);
            assert_eq!(passed_over(&courtesy), skip as usize);
            assert!(!courtesy.proven.load(Ordering::Relaxed), "all are measured");
            skip = (skip * 2).min(MOST_SKIPPED);
        }
    }

    #[test]
    fn one_slice_of_a_stranger_does_not() {
        let courtesy = Courtesy::default();
        courtesy.learn(SLICE, Duration::ZERO);
        assert_eq!(passed_over(&courtesy), 0);
    }

    #[test]
    fn it_goes_on_where_the_time_was_ours() {
        let courtesy = Courtesy::default();
        judge(&courtesy, Duration::ZERO);
        judge(&courtesy, 2 * SLICE);
        assert_eq!(passed_over(&courtesy), 0);
        assert!(courtesy.proven.load(Ordering::Relaxed));
    }

    #[test]
    fn time_that_nobody_took_is_judged_in_the_end() {
        let courtesy = Courtesy::default();
        for _ in 0..JUDGED_AT_LEAST {
            courtesy.learn(Duration::from_micros(1), Duration::from_micros(1));
        }
        assert!(courtesy.proven.load(Ordering::Relaxed));
    }

    #[test]
    fn the_time_of_the_process_goes_on_while_it_computes() {
        let before = process_time();
        while process_time() == before {}
    }
}
