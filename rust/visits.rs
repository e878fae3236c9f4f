//! Visits: stays in libraries whose locks are the whole process's, and the forks and the exit that wait for their end.
//!
//! OpenSSL has such locks, so has the C library's resolver, and so has what rustls computes with. A child that is
//! forked while another thread holds one of them would wait for it for ever. So a fork waits until nobody is inside,
//! and whoever comes meanwhile waits for the fork. Numbers alone are used for it, since a lock of ours could be held as
//! well.
//!
//! As the process exits, OpenSSL and AWS-LC free what their threads share. A thread that needs it then makes AWS-LC
//! abort, and reads freed memory in OpenSSL. So the exit waits as well, for those that may be about to, and nobody begins
//! a visit any more.

use std::cell::Cell;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// Where a visit leads.
#[derive(Clone, Copy, Debug)]
pub enum Library {
    /// By Python's `ssl`. Its turns are short, unless they run code of the user's. A visit begins with the wait for
    /// the interpreter, which may have ended: [`Visit::enter`] says when that is over.
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

    /// Whether an exit has to wait from the visit's first moment on.
    fn exposes_at_once(self) -> bool {
        matches!(self, Self::Cryptography)
    }
}

/// Threads that are inside, by library.
static INSIDE: [AtomicUsize; Library::ALL.len()] =
    [const { AtomicUsize::new(0) }; Library::ALL.len()];

/// Forks that are under way.
static FORKS: AtomicUsize = AtomicUsize::new(0);

/// Threads that the process's exit could hurt.
static EXPOSED: AtomicUsize = AtomicUsize::new(0);

/// The process is about to be gone.
static EXITS: AtomicBool = AtomicBool::new(false);

thread_local! {
    /// Visits of this thread's that have begun and not ended.
    static DEPTH: Cell<usize> = const { Cell::new(0) };

    /// Whether this thread is one of the exposed: its innermost visit decides.
    static IS_EXPOSED: Cell<bool> = const { Cell::new(false) };
}

/// How long an exit waits for the exposed, at most: some may be held up by code of the user's.
const EXIT_PATIENCE: Duration = Duration::from_millis(200);

/// Between two looks. A fork takes longer than this, and so does a visit that is worth waiting for.
const PAUSE: Duration = Duration::from_micros(200);

/// One visit.
///
/// # Drop
///
/// Ends it.
#[derive(Debug)]
pub struct Visit {
    library: Library,
    /// What the visit around this one made of it.
    was_exposed: bool,
}

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
            if is_within || FORKS.load(Ordering::SeqCst) == 0 {
                break;
            }
            inside.fetch_sub(1, Ordering::SeqCst);
        }
        if EXITS.load(Ordering::SeqCst) {
            stay();
        }
        Self {
            library,
            was_exposed: expose(library.exposes_at_once()),
        }
    }

    /// What the visitor had to wait for first is over: from now on an exit waits for this visit.
    pub fn enter(&self) {
        expose(true);
    }
}

impl Drop for Visit {
    fn drop(&mut self) {
        expose(self.was_exposed);
        INSIDE[self.library as usize].fetch_sub(1, Ordering::SeqCst);
        DEPTH.set(DEPTH.get() - 1);
    }
}

/// Makes this thread one that an exit waits for, or one that it does not; tells which it was. Never returns to what an
/// exit that does not wait any more could hurt.
fn expose(is_exposed: bool) -> bool {
    let was_exposed = IS_EXPOSED.replace(is_exposed);
    if is_exposed && !was_exposed {
        EXPOSED.fetch_add(1, Ordering::SeqCst);
        if EXITS.load(Ordering::SeqCst) {
            stay();
        }
    } else if was_exposed && !is_exposed {
        EXPOSED.fetch_sub(1, Ordering::SeqCst);
    }
    was_exposed
}

/// Stays in this place until the process is gone, and has no exit wait for it.
pub fn stay() -> ! {
    if IS_EXPOSED.replace(false) {
        EXPOSED.fetch_sub(1, Ordering::SeqCst);
    }
    loop {
        thread::park();
    }
}

/// Arranges that the process's exit waits for the exposed. Idempotent.
///
/// What is arranged last is done first at an exit. So it must be called when AWS-LC has been loaded, which is when we
/// are, and again when OpenSSL has been initialised.
#[cfg(unix)]
#[allow(unsafe_code)] // atexit has no safe binding
pub fn watch_exit(library: Library) {
    use std::sync::Once;

    extern "C" fn at_exit() {
        if !EXITS.swap(true, Ordering::SeqCst) {
            wait_for(&EXPOSED, Instant::now() + EXIT_PATIENCE);
        }
    }

    static WATCHES: [Once; Library::ALL.len()] = [const { Once::new() }; Library::ALL.len()];
    WATCHES[library as usize].call_once(|| {
        // SAFETY: the handler is an `extern "C" fn()` that lives as long as the program and does not unwind.
        let failed = unsafe { libc::atexit(at_exit) };
        assert_eq!(failed, 0, "atexit fails only when memory is out");
    });
}

/// Elsewhere threads end before libraries do.
#[cfg(not(unix))]
pub fn watch_exit(_library: Library) {}

fn wait_for(count: &AtomicUsize, end: Instant) {
    while count.load(Ordering::SeqCst) > 0 && Instant::now() < end {
        thread::sleep(PAUSE);
    }
}

/// Before a fork: waits until nobody is inside, and lets nobody in until [`after_fork`].
pub fn before_fork() {
    FORKS.fetch_add(1, Ordering::SeqCst);
    let began = Instant::now();
    for library in Library::ALL {
        wait_for(&INSIDE[library as usize], began + library.patience());
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
    EXPOSED.store(0, Ordering::SeqCst);
}
