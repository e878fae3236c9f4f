//! Lull: a moment in which there is nothing to read, and something is about to come.
//!
//! Going to sleep there costs more than it saves: the peer has to wake this core, which takes longer than the wait, for
//! either side. Asking the kernel a little longer keeps both at work. There are three such moments: between two segments
//! of a fast download, and, for a caller who has nothing else to do than to wait for it, before the answer of a server that
//! is near and between the beginning of an answer and the rest of it. Nothing here reads or writes; it says whether asking
//! again pays.

use std::cell::Cell;
use std::time::{Duration, Instant};

/// The smallest read that tells of a fast download: a peer that fills so much between two reads is likely
/// to have more within [`PATIENCE`].
const LARGE_READ: usize = 32 * 1024;

/// How long to ask in a download, and for the rest of an answer. Half of it already ends most of the sleep in a download
/// over loopback; more than this wins nothing. It is also the longest that other tasks of the runtime are held up by it.
const PATIENCE: Duration = Duration::from_micros(20);

/// How long to ask for an answer. A small one of a server on the same machine takes 30 to 50 us.
const ANSWER_PATIENCE: Duration = Duration::from_micros(60);

/// Between two questions: shorter than a system call, so that the peer's core is not slowed down.
const PAUSE_SPINS: u32 = 20;

/// After asking in vain so many lulls are slept through before the next attempt: at first one, then twice
/// as many each time, up to this. On a link that is slower than the machine it comes to next to nothing.
const MOST_SKIPPED: u32 = 1024;

thread_local! {
    /// The thread waits for one exchange, and has nothing more urgent to do.
    static PATIENT: Cell<bool> = const { Cell::new(false) };
}

/// Runs something on a thread that waits for one exchange and has nothing more urgent to do: whoever reads there may ask
/// for an answer that is about to come.
pub fn patiently<T>(run: impl FnOnce() -> T) -> T {
    /// Also when it panics.
    struct End(bool);

    impl Drop for End {
        fn drop(&mut self) {
            PATIENT.set(self.0);
        }
    }

    let _end = End(PATIENT.replace(true));
    run()
}

/// What one socket's reads have shown so far.
#[derive(Debug, Default)]
pub(super) struct Lull {
    /// The last read was a large one.
    large: bool,
    in_download: Attempts,
    /// Something was written since the last read.
    asked: bool,
    for_answer: Attempts,
    /// A response has begun, and the rest of it is waited for.
    begun: bool,
    /// Apart from those for answers: a server may be near whose bodies take long.
    for_rest: Attempts,
}

/// Whether asking has paid.
#[derive(Debug, Default)]
struct Attempts {
    skip: u32,
    skipped: u32,
}

impl Lull {
    /// Takes note of a read that brought `size` bytes.
    pub(super) fn read(&mut self, size: usize) {
        self.large = size >= LARGE_READ;
        self.asked = false;
        self.begun = false;
    }

    /// Takes note of a write.
    pub(super) fn wrote(&mut self) {
        self.asked = true;
    }

    /// Takes note that the next read is for the rest of a response that has begun.
    pub(super) fn awaits_rest(&mut self) {
        self.begun = true;
    }

    /// Whether the next thing to read may be the answer to what was written, or the rest of it, on a thread that waits
    /// for it.
    pub(super) fn awaits_answer(&self) -> bool {
        (self.asked || self.begun) && PATIENT.get()
    }

    /// Asks `again` for a while, should there be a reason to. `None`: there was nothing, and the caller waits as usual.
    pub(super) fn ask<T>(&mut self, again: impl FnMut() -> Option<T>) -> Option<T> {
        let awaits_answer = self.awaits_answer();
        self.begun = false;
        let asked = std::mem::take(&mut self.asked);
        if std::mem::take(&mut self.large) {
            self.in_download.ask(PATIENCE, again)
        } else if !awaits_answer {
            None
        } else if asked {
            self.for_answer.ask(ANSWER_PATIENCE, again)
        } else {
            self.for_rest.ask(PATIENCE, again)
        }
    }
}

impl Attempts {
    fn ask<T>(&mut self, patience: Duration, mut again: impl FnMut() -> Option<T>) -> Option<T> {
        if self.skipped < self.skip {
            self.skipped += 1;
            return None;
        }
        let start = Instant::now();
        while start.elapsed() < patience {
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
