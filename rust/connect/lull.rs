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
/// to have more within [`REST_PATIENCE`].
const LARGE_READ: usize = 32 * 1024;

/// How long to ask in a download, and for the rest of an answer. Half of it already ends most of the sleep in a download
/// over loopback; more than this wins nothing. It is also the longest that other tasks of the runtime are held up by it.
const REST_PATIENCE: Duration = Duration::from_micros(20);

/// How long to ask for an answer. A small one of a server on the same machine takes 30 to 50 us.
const ANSWER_PATIENCE: Duration = Duration::from_micros(60);

/// Between two questions: shorter than a system call, so that the peer's core is not slowed down.
const PAUSE_SPINS: u32 = 20;

/// After asking in vain so many lulls are slept through before the next attempt: at first one, then twice
/// as many each time, up to this. On a link that is slower than the machine it comes to next to nothing.
const MOST_SKIPPED: u32 = 1024;

/// How a thread looks for an answer that it waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Look {
    /// For a while: it has nothing more urgent to do.
    Patiently,
    /// Once: it comes by between other things.
    InPassing,
}

/// What a thread that reads for one exchange has to do meanwhile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Haste {
    /// Something more urgent.
    Busy,
    /// Something more urgent first, and then such a look: whether that pays is all that it wants to know.
    Later {
        then: Look,
        /// It would.
        pays: bool,
    },
    /// Nothing else than such a look.
    Looks(Look),
}

thread_local! {
    static HASTE: Cell<Haste> = const { Cell::new(Haste::Busy) };
}

impl Look {
    /// Runs something on a thread that waits for one exchange: whoever reads there may ask for an answer that is about to
    /// come.
    pub fn run<T>(self, run: impl FnOnce() -> T) -> T {
        with(Haste::Looks(self), run).0
    }

    /// Runs something on a thread that is going to [`Look::run`] more of it; also gives whether that would ask for an
    /// answer.
    pub fn before<T>(self, run: impl FnOnce() -> T) -> (T, bool) {
        let later = |pays| Haste::Later { then: self, pays };
        let (ran, haste) = with(later(false), run);
        (ran, haste == later(true))
    }
}

fn with<T>(haste: Haste, run: impl FnOnce() -> T) -> (T, Haste) {
    /// Also when it panics.
    struct End(Haste);

    impl Drop for End {
        fn drop(&mut self) {
            HASTE.set(self.0);
        }
    }

    let _end = End(HASTE.replace(haste));
    let ran = run();
    (ran, HASTE.get())
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
    /// Apart from those of a patient look: a server may be near whose answers take longer than one turn of the others.
    in_passing: Attempts,
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
        if size > 0 && self.asked && HASTE.get() == Haste::Looks(Look::InPassing) {
            // Also where the runtime has told of it before anybody asked.
            self.in_passing.skip = 0;
        }
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
    /// for it. Of one that is going to be patient later it is noted whether that will pay.
    pub(super) fn awaits_answer(&mut self) -> bool {
        match HASTE.get() {
            Haste::Busy => false,
            Haste::Looks(Look::Patiently) => self.asked || self.begun,
            // The rest of an answer has come with its beginning by then, or takes its time.
            Haste::Looks(Look::InPassing) => self.asked,
            Haste::Later { then, .. } => {
                if self.asked && self.for_answer(then).are_due() {
                    HASTE.set(Haste::Later { then, pays: true });
                } else {
                    self.asked = false;
                }
                false
            }
        }
    }

    /// Asks `again` for a while, should there be a reason to. `None`: there was nothing, and the caller waits as usual.
    pub(super) fn ask<T>(&mut self, again: impl FnMut() -> Option<T>) -> Option<T> {
        if std::mem::take(&mut self.large) {
            self.asked = false;
            self.begun = false;
            if HASTE.get() == Haste::Looks(Look::InPassing) {
                return None;
            }
            return self.in_download.ask(REST_PATIENCE, again);
        }
        if !self.awaits_answer() {
            return None;
        }
        self.begun = false;
        if !std::mem::take(&mut self.asked) {
            self.for_rest.ask(REST_PATIENCE, again)
        } else if HASTE.get() == Haste::Looks(Look::InPassing) {
            self.in_passing.ask(Duration::ZERO, again)
        } else {
            self.for_answer.ask(ANSWER_PATIENCE, again)
        }
    }

    fn for_answer(&mut self, look: Look) -> &mut Attempts {
        match look {
            Look::Patiently => &mut self.for_answer,
            Look::InPassing => &mut self.in_passing,
        }
    }
}

impl Attempts {
    /// Whether it is time for one: not yet after some in vain. Asked for each moment in which there could be one; once it is
    /// time, as often as one likes.
    fn are_due(&mut self) -> bool {
        let due = self.skipped >= self.skip;
        if !due {
            self.skipped += 1;
        }
        due
    }

    /// Asks again and again for so long; once if that is no time.
    fn ask<T>(&mut self, patience: Duration, mut again: impl FnMut() -> Option<T>) -> Option<T> {
        if !self.are_due() {
            return None;
        }
        let mut answer = None;
        if patience.is_zero() {
            answer = again();
        } else {
            let start = Instant::now();
            while answer.is_none() && start.elapsed() < patience {
                for _ in 0..PAUSE_SPINS {
                    std::hint::spin_loop();
                }
                answer = again();
            }
        }
        if answer.is_some() {
            self.skip = 0;
            return answer;
        }
        self.skipped = 0;
        self.skip = (self.skip * 2).clamp(1, MOST_SKIPPED);
        None
    }
}
