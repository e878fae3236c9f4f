//! Visits: stays in libraries whose locks are the whole process's, and the forks that wait for their end.
//!
//! OpenSSL has such locks, and so has the C library's resolver. A child that is forked while another thread holds
//! one of them would wait for it for ever. So a fork waits until nobody is inside, and whoever comes meanwhile
//! waits for the fork. Numbers alone are used for it, since a lock of ours could be held as well.

use std::sync::atomic::{AtomicUsize, Ordering};
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
}

impl Library {
    const ALL: [Self; 2] = [Self::OpenSsl, Self::Resolver];

    /// How long a fork waits for those inside, at most.
    fn patience(self) -> Duration {
        match self {
            Self::OpenSsl => Duration::from_secs(1),
            Self::Resolver => Duration::from_millis(50),
        }
    }
}

/// Threads that are inside, by library.
static INSIDE: [AtomicUsize; Library::ALL.len()] = [const { AtomicUsize::new(0) }; 2];

/// Forks that are under way.
static FORKS: AtomicUsize = AtomicUsize::new(0);

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
    /// Begins one, after the forks that are under way. Not for a thread that others wait for: a fork may wait for
    /// them.
    pub fn begin(library: Library) -> Self {
        let inside = &INSIDE[library as usize];
        loop {
            while FORKS.load(Ordering::SeqCst) > 0 {
                thread::sleep(PAUSE);
            }
            inside.fetch_add(1, Ordering::SeqCst);
            if FORKS.load(Ordering::SeqCst) == 0 {
                return Self(library);
            }
            inside.fetch_sub(1, Ordering::SeqCst);
        }
    }
}

impl Drop for Visit {
    fn drop(&mut self) {
        INSIDE[self.0 as usize].fetch_sub(1, Ordering::SeqCst);
    }
}

/// Before a fork: waits until nobody is inside, and lets nobody in until [`after_fork`].
pub fn before_fork() {
    FORKS.fetch_add(1, Ordering::SeqCst);
    let began = Instant::now();
    for library in Library::ALL {
        let inside = &INSIDE[library as usize];
        while inside.load(Ordering::SeqCst) > 0 && began.elapsed() < library.patience() {
            thread::sleep(PAUSE);
        }
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
