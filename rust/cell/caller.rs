//! Caller: an exchange that is driven on its caller's own thread, before there is a task for it or in that one's place.
//!
//! A request's bytes leave without a hop to another thread, and where the caller's loop watches the socket the answer
//! comes without one as well. Whatever takes longer, or would make the caller wait, is left to the task.

use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Wake, Waker};

use parking_lot::MutexGuard;

use super::progress::{Progress, Stage};
use super::{ExchangeCell, Failure, Part, Want};
use crate::poll_set::{PollSet, polling_for_runtime};

/// What a wake-up means that comes before there is a task: one of the states below.
#[derive(Default)]
pub(super) struct Caller(AtomicU8);

/// The caller is not polling: a wake-up starts the driving task.
const AWAY: u8 = 0;
/// The caller polls at this moment, on its own thread: a wake-up is noted for it.
const POLLING: u8 = 1;
/// A wake-up was noted: the caller polls once more.
const WOKEN: u8 = 2;

/// How often a caller polls again for wake-ups that come while it polls (hyper wakes its own task, and a
/// fast peer may answer at once) before it leaves the exchange to the driving task.
const CALLER_POLLS: u8 = 4;

impl ExchangeCell {
    /// Polls the exchange once on the calling thread, and leaves it to the runtime to go on.
    ///
    /// For a caller on an otherwise quiet loop: the request's bytes leave without a hop to another
    /// thread. The task is spawned by the first wake-up, unless that comes from `set`, which the caller's loop watches:
    /// then the loop's thread goes on itself, up to the end of the response or of what came with its head.
    pub fn try_drive(
        self: &Arc<Self>,
        want: Want,
        set: &Arc<PollSet>,
    ) -> Option<Result<Part, Failure>> {
        let mut progress = self.progress.lock();
        if !self.is_spawned(&progress) {
            progress.want(want);
            return self.poll_here(progress, set, |progress| progress.hand_over(want));
        }
        if progress.pushed {
            progress.want(want);
            self.poll_for_task(&mut progress);
        }
        progress.hand_over(want)
    }

    /// Polls in the place of the task, which sleeps: what was pushed leaves without a hop to another thread. The task is
    /// woken as if it had polled itself.
    fn poll_for_task(&self, progress: &mut Progress) {
        let Some(task) = progress.parked.clone() else {
            return; // it is awake, and about to poll
        };
        let _context = self.engine.runtime.enter();
        let driven = polling_for_runtime(|| progress.advance(&mut Context::from_waker(&task)));
        if driven.is_ready() {
            progress.unpark();
        }
    }

    /// Polls on the thread of the caller's loop, after a wake-up from `set`. What is finished then is announced.
    fn drive_on(self: &Arc<Self>, set: &Arc<PollSet>) {
        let progress = self.progress.lock();
        if self.is_spawned(&progress) {
            return;
        }
        self.poll_here(progress, set, |progress| {
            progress.announce(self);
            (progress.wanted.as_ref())
                .is_none_or(|wanted| wanted.announced)
                .then_some(())
        });
    }

    /// Whether there is a task. Asked under the lock: once that has polled, nobody else may, or the wake-up would be
    /// another one's.
    fn is_spawned(&self, _locked: &MutexGuard<'_, Progress>) -> bool {
        self.spawned.load(Ordering::Acquire)
    }

    /// Polls on a thread that is in no runtime, until `done` gives something or there is nothing to do but wait. Leaves
    /// the rest to the task where there is more to read, which nobody may be waiting for.
    fn poll_here<T>(
        self: &Arc<Self>,
        mut progress: MutexGuard<'_, Progress>,
        set: &Arc<PollSet>,
        mut done: impl FnMut(&mut Progress) -> Option<T>,
    ) -> Option<T> {
        let waker = Waker::from(Arc::clone(self));
        let _context = self.engine.runtime.enter();
        for _ in 0..CALLER_POLLS {
            self.caller.0.store(POLLING, Ordering::Release);
            let _ = set.polling(|| progress.advance(&mut Context::from_waker(&waker)));
            let finished = done(&mut progress);
            let quiet = self.caller.0.swap(AWAY, Ordering::AcqRel) == POLLING;
            if finished.is_some() {
                // A wake-up was for what comes after this part.
                if !quiet || progress.stage == Stage::Body {
                    self.spawn();
                }
                return finished;
            }
            if quiet {
                return None;
            }
        }
        self.spawn();
        None
    }
}

/// The waker of the first poll on the caller's thread: its wake-up starts the driving task.
impl Wake for ExchangeCell {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        let polling =
            self.caller
                .0
                .compare_exchange(POLLING, WOKEN, Ordering::AcqRel, Ordering::Acquire);
        if polling == Err(AWAY) && !defer(self) {
            self.spawn();
        }
    }
}

thread_local! {
    /// Those whose sockets have news, while the thread of a loop takes these.
    static WOKEN_HERE: RefCell<Option<Vec<Arc<ExchangeCell>>>> = const { RefCell::new(None) };
}

/// Has the thread that takes the news of a poll set go on with the exchange. False on any other thread.
fn defer(cell: &Arc<ExchangeCell>) -> bool {
    WOKEN_HERE.with_borrow_mut(|woken| match woken {
        Some(woken) => {
            woken.push(Arc::clone(cell));
            true
        }
        None => false,
    })
}

/// Takes the news of a poll set, on the thread of the loop that watches it, and goes on with the exchanges that waited
/// for them there.
pub fn take_news(set: &Arc<PollSet>) {
    WOKEN_HERE.set(Some(Vec::new()));
    set.look();
    for cell in WOKEN_HERE.take().unwrap_or_default() {
        cell.drive_on(set);
    }
}
