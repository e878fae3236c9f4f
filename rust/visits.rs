//! Visits: stays in libraries whose locks are the whole process's, and the forks and the exit that wait for their end.
//!
//! OpenSSL has such locks, so has the C library's resolver, and so has what rustls computes with. A child that is
//! forked while another thread holds one of them would wait for it for ever. So a fork waits until nobody is inside,
//! and whoever comes meanwhile waits for the fork. Numbers alone are used for it, since a lock of ours could be held as
//! well.
//!
//! As the process exits, AWS-LC frees what its generators of random numbers share, and aborts in a thread that needs it
//! then. So the exit waits as well, and nobody enters it any more.

use std::cell::Cell;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// Where a visit leads.
#[derive(Clone, Copy, Debug)]
pub enum Library {
    /// By Python's `ssl`. Its turns are short, unless they run code of the user's.
    OpenSsl,
    /// `getaddrinfo`. It holds its locks at the beginning and at the end of a look-up, and not while it waits for
    /// a name server, which may take for ever.
    Resolver,
    /// The library under rustls. Its visits are short as well, and may lead on to the ones above.
    Cryptography,
}

impl Library {
    /// In the order in which their ends are waited for: those that lead on to others come last.
    const ALL: [Self; 3] = [Self::OpenSsl, Self::Resolver, Self::Cryptography];

    /// How long a fork waits for those inside, at most.
    fn patience(self) -> Duration {
        match self {
            Self::OpenSsl | Self::Cryptography => Duration::from_secs(1),
            Self::Resolver => Duration::from_millis(50),
        }
    }
}

/// Threads that are inside, by library.
static INSIDE: [AtomicUsize; Library::ALL.len()] =
    [const { AtomicUsize::new(0) }; Library::ALL.len()];

/// Forks that are under way.
static FORKS: AtomicUsize = AtomicUsize::new(0);

/// The process is about to be gone.
static EXITS: AtomicBool = AtomicBool::new(false);

thread_local! {
    /// Visits of this thread's that have begun and not ended.
    static DEPTH: Cell<usize> = const { Cell::new(0) };
}

/// How long an exit waits for those inside, at most: some may be held up by the interpreter, which has ended, and do
/// no harm there.
const EXIT_PATIENCE: Duration = Duration::from_millis(100);

/// Between two looks. A fork takes longer than this, and so does a visit that is worth waiting for.
const PAUSE: Duration = Duration::from_micros(200);

/// One visit.
///
/// # Drop
///
/// Ends it.
#[derive(Debug)]
pub struct Visit(Library);

impl Visit {
    /// Begins one, after the forks that are under way, and never while the process exits. Not for a thread that others
    /// wait for: a fork may wait for them.
    ///
    /// Within another visit it begins at once: whoever waits for that one's end waits for both.
    pub fn begin(library: Library) -> Self {
        let inside = &INSIDE[library as usize];
        let is_within = DEPTH.replace(DEPTH.get() + 1) > 0;
        loop {
            while !is_within && FORKS.load(Ordering::SeqCst) > 0 {
                thread::sleep(PAUSE);
            }
            inside.fetch_add(1, Ordering::SeqCst);
            let is_closed =
                matches!(library, Library::Cryptography) && EXITS.load(Ordering::SeqCst);
            if !is_closed && (is_within || FORKS.load(Ordering::SeqCst) == 0) {
                return Self(library);
            }
            inside.fetch_sub(1, Ordering::SeqCst);
            if is_closed {
                loop {
                    thread::park();
                }
            }
        }
    }
}

impl Drop for Visit {
    fn drop(&mut self) {
        INSIDE[self.0 as usize].fetch_sub(1, Ordering::SeqCst);
        DEPTH.set(DEPTH.get() - 1);
    }
}

/// Arranges that the process's exit waits for those inside. Idempotent.
#[cfg(unix)]
#[allow(unsafe_code)] // atexit has no safe binding
pub fn watch_exit() {
    use std::sync::Once;

    /// Runs before the libraries' own ends, since it is registered after they were loaded.
    extern "C" fn at_exit() {
        EXITS.store(true, Ordering::SeqCst);
        wait_for(Library::Cryptography, Instant::now() + EXIT_PATIENCE);
    }

    static WATCH: Once = Once::new();
    WATCH.call_once(|| {
        // SAFETY: the handler is an `extern "C" fn()` that lives as long as the program and does not unwind.
        let failed = unsafe { libc::atexit(at_exit) };
        assert_eq!(failed, 0, "atexit fails only when memory is out");
    });
}

/// Elsewhere threads end before libraries do.
#[cfg(not(unix))]
pub fn watch_exit() {}

fn wait_for(library: Library, end: Instant) {
    while INSIDE[library as usize].load(Ordering::SeqCst) > 0 && Instant::now() < end {
        thread::sleep(PAUSE);
    }
}

/// Before a fork: waits until nobody is inside, and lets nobody in until [`after_fork`].
pub fn before_fork() {
    FORKS.fetch_add(1, Ordering::SeqCst);
    let began = Instant::now();
    for library in Library::ALL {
        wait_for(library, began + library.patience());
    }
}

/// The fork is over, in the parent.
pub fn after_fork() {
    FORKS.fetch_sub(1, Ordering::SeqCst);
}

/// In the child, where those inside and the other forks are the parent's. Stores to atomics, and nothing else.
pub(crate) fn clear() {
    for count in &INSIDE {
        count.store(0, Ordering::SeqCst);
    }
    FORKS.store(0, Ordering::SeqCst);
}
