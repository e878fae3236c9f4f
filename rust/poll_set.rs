//! PollSet: sockets that a caller's event loop watches itself.
//!
//! A runtime that waits for a socket wakes a thread of its own first, and that one the caller's. For a caller who has
//! but one request in flight these two wake-ups are most of its time. So the sockets of such a caller leave the runtime
//! and come into a poll set, which the caller's loop watches as one descriptor nested in its own; whoever polls a
//! socket next, a task of the runtime's or a caller on another loop, takes it along again. The set also has a bell,
//! by which other threads wake the loop. Nothing here reads or writes a socket.

use std::cell::RefCell;
use std::collections::HashMap;
use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use mio::unix::SourceFd;
use mio::{Events, Interest, Registry, Token};
use parking_lot::Mutex;

use crate::ledger::{Entry, Item};
use crate::process::generation;

/// How many events one look takes from the kernel; there are more looks for the rest.
const EVENTS: usize = 256;

/// The bell's place among the sockets, whose numbers begin above it.
const BELL: Token = Token(0);

/// Sockets, and a bell, behind one descriptor that is readable while any of them has news.
///
/// # Drop
///
/// Closes the descriptor. Sockets that are still registered keep it open.
pub struct PollSet {
    generation: u64,
    /// Locked for a look, by the loop's thread alone.
    looking: Mutex<(mio::Poll, Events)>,
    registry: Registry,
    bell: mio::Waker,
    descriptor: RawFd,
    last: AtomicUsize,
    sockets: Mutex<HashMap<Token, Arc<Mutex<State>>>>,
    _entries: [Entry; 3],
}

impl std::fmt::Debug for PollSet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PollSet").finish_non_exhaustive()
    }
}

/// What is known of a registered socket.
#[derive(Debug)]
struct State {
    /// There may be something to read.
    ready: bool,
    /// The peer will send no more, which is told once: from then on there is always something, if only the end.
    ended: bool,
    /// Who wants to know.
    waker: Option<Waker>,
}

thread_local! {
    /// The set whose loop's thread polls here on a caller's behalf.
    static HERE: RefCell<Option<Arc<PollSet>>> = const { RefCell::new(None) };
}

impl PollSet {
    /// An empty set.
    ///
    /// # Errors
    ///
    /// No descriptors are left.
    pub fn new() -> io::Result<Self> {
        let poll = mio::Poll::new()?;
        let registry = poll.registry().try_clone()?;
        let bell = mio::Waker::new(&registry, BELL)?;
        Ok(Self {
            generation: generation(),
            descriptor: poll.as_raw_fd(),
            looking: Mutex::new((poll, Events::with_capacity(EVENTS))),
            registry,
            bell,
            last: AtomicUsize::new(BELL.0),
            sockets: Mutex::new(HashMap::new()),
            // The set's own descriptor, the registry's copy of it, and the bell's.
            _entries: [(); 3].map(|()| Entry::new(Item::Descriptor)),
        })
    }

    /// What the loop watches for being readable.
    pub fn fileno(&self) -> RawFd {
        self.descriptor
    }

    /// Makes the descriptor readable, from any thread.
    pub fn ring(&self) {
        // It fails only if the kernel has no memory left for an event, and then the loop is not woken.
        let _ = self.bell.wake();
    }

    /// Takes the news of the bell and of all sockets, and wakes whoever waits for these.
    pub fn look(&self) {
        let mut looking = self.looking.lock();
        let (poll, events) = &mut *looking;
        loop {
            match poll.poll(events, Some(Duration::ZERO)) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // Nothing else can fail with a descriptor of ours.
                _ => break,
            }
        }
        for event in &*events {
            // The bell is none of them: it has done its work by waking the loop.
            let state = self.sockets.lock().get(&event.token()).cloned();
            let ended = event.is_read_closed() || event.is_error();
            let waker = state.and_then(|state| state.lock().told(ended));
            if let Some(waker) = waker {
                waker.wake();
            }
        }
    }

    /// Runs `poll`, on the thread of the set's loop: the sockets that it finds empty are this set's from there on.
    pub fn polling<T>(self: &Arc<Self>, poll: impl FnOnce() -> T) -> T {
        during(Some(Arc::clone(self)), poll)
    }

    /// Whether the set was made by the process that forked this one: it is that one's still.
    pub fn is_inherited(&self) -> bool {
        self.generation != generation()
    }
}

/// Runs `poll` on behalf of a task of the runtime's, also on a thread of a loop's.
pub fn polling_for_runtime<T>(poll: impl FnOnce() -> T) -> T {
    during(None, poll)
}

fn during<T>(set: Option<Arc<PollSet>>, poll: impl FnOnce() -> T) -> T {
    /// Also when it panics.
    struct End(Option<Arc<PollSet>>);

    impl Drop for End {
        fn drop(&mut self) {
            HERE.set(self.0.take());
        }
    }

    let _end = End(HERE.replace(set));
    poll()
}

/// The set of the loop on whose behalf this thread polls.
pub fn here() -> Option<Arc<PollSet>> {
    HERE.with_borrow(Clone::clone)
}

/// A socket in a set.
///
/// # Drop
///
/// Takes it out. To be dropped before the socket is closed.
#[derive(Debug)]
pub struct Registered {
    set: Arc<PollSet>,
    token: Token,
    descriptor: RawFd,
    state: Arc<Mutex<State>>,
}

impl Registered {
    /// Puts a socket into the set, taken to be readable until it has been read.
    pub fn new(set: Arc<PollSet>, descriptor: RawFd) -> io::Result<Self> {
        let token = Token(set.last.fetch_add(1, Ordering::Relaxed).wrapping_add(1));
        let state = Arc::new(Mutex::new(State {
            ready: true,
            ended: false,
            waker: None,
        }));
        set.sockets.lock().insert(token, Arc::clone(&state));
        let registered = Self {
            set,
            token,
            descriptor,
            state,
        };
        let registry = &registered.set.registry;
        registry.register(&mut SourceFd(&descriptor), token, Interest::READABLE)?;
        Ok(registered)
    }

    /// Whether it is in this set.
    pub fn is_of(&self, set: &Arc<PollSet>) -> bool {
        Arc::ptr_eq(&self.set, set)
    }

    /// Whether there may be something to read, as far as the set has been told.
    pub fn is_ready(&self) -> bool {
        let state = self.state.lock();
        state.ready || state.ended
    }

    /// Ready if there may be something to read. Taken for read then: whoever leaves something says so by
    /// [`Registered::left`].
    pub fn poll_ready(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = self.state.lock();
        if std::mem::take(&mut state.ready) || state.ended {
            return Poll::Ready(());
        }
        match &mut state.waker {
            Some(waker) => waker.clone_from(cx.waker()),
            vacant => *vacant = Some(cx.waker().clone()),
        }
        Poll::Pending
    }

    /// Not all was read, or may not have been.
    pub fn left(&self) {
        self.state.lock().ready = true;
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        if self.set.is_inherited() {
            return;
        }
        self.set.sockets.lock().remove(&self.token);
        // It fails if it was never registered, and is out then as well.
        let _ = (self.set.registry).deregister(&mut SourceFd(&self.descriptor));
    }
}

impl State {
    fn told(&mut self, ended: bool) -> Option<Waker> {
        self.ready = true;
        self.ended |= ended;
        self.waker.take()
    }
}
