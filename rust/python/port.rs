//! Port: how a finished part reaches an event loop. The async door.
//!
//! One port for each running loop (asyncio, uvloop) or trio run. Tokio's worker pushes the cell of a
//! finished part and rings a bell, a file descriptor that the loop itself watches, only if the port was
//! idle. The loop's thread then drains the whole batch with the GIL that it holds anyway, and resolves
//! real futures there. What a worker can reach holds no Python object.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;
use pyo3::prelude::*;
use pyo3::{PyTraverseError, PyVisit, intern};

use super::alone::Streak;
use super::call_out::CallOut;
use super::convert::{self, HeaderForm};
use super::exceptions::Exceptions;
use super::exchange::left_behind;
use super::fair::take_turns;
use super::modules::trio_waiting;
use crate::cell::{Failure, Listener, Part, Source, take_news};
use crate::ledger::{Entry, Item};
use crate::poll_set::PollSet;
use crate::process::{ForkLocal, generation};

/// The most parts resolved in one go, so that a flood of them cannot starve the loop's other work. The
/// bell rings again for the rest.
const BATCH: usize = 256;

/// What workers and the loop's thread share.
pub(super) struct Shared {
    generation: u64,
    /// What the loop watches: the bell, and sockets of exchanges that are driven on its thread.
    set: Arc<PollSet>,
    /// The bell has rung and the loop has not come yet.
    rung: AtomicBool,
    /// Cleared when the loop drops its reader: nobody will come again.
    open: AtomicBool,
    announced: Mutex<Vec<(Arc<dyn Source>, usize)>>,
    /// Touched by the loop's thread alone, attached. Emptied by `close`, so that a worker that drops the
    /// last reference to the port drops no Python object.
    waiters: Mutex<Waiters>,
    /// Who has waited at this port so far.
    pub(super) streak: Streak,
}

/// Who waits, by keys that are never used twice: a late announcement finds nobody, rather than somebody
/// else.
#[derive(Default)]
struct Waiters {
    last: usize,
    by_key: HashMap<usize, Waiter>,
}

struct Waiter {
    wake: Wake,
    exceptions: Arc<Exceptions>,
    headers: HeaderForm,
    _entry: ForkLocal<Entry>,
}

/// Who waits.
pub(super) enum Wake {
    /// An `asyncio.Future`.
    Future(Py<PyAny>),
    /// A trio task in `wait_task_rescheduled`.
    Task(Py<PyAny>),
}

impl Listener for Shared {
    fn announce(&self, source: Arc<dyn Source>, key: usize) {
        {
            let mut announced = self.announced.lock();
            // Looked at under the lock, since `close` empties the queue for the last time: what is kept after that
            // would keep the port, and the port it.
            if !self.open.load(Ordering::Acquire) {
                return;
            }
            announced.push((source, key));
        }
        if !self.rung.swap(true, Ordering::AcqRel) {
            self.set.ring();
        }
    }
}

impl Shared {
    /// A port, and the end of it that a loop is going to watch.
    pub(super) fn open() -> std::io::Result<(Arc<Self>, Port)> {
        let shared = Arc::new(Self {
            generation: generation(),
            set: Arc::new(PollSet::new()?),
            rung: AtomicBool::new(false),
            open: AtomicBool::new(true),
            announced: Mutex::new(Vec::new()),
            waiters: Mutex::new(Waiters::default()),
            streak: Streak::default(),
        });
        let port = Port {
            shared: Arc::clone(&shared),
        };
        Ok((shared, port))
    }

    /// Whether a loop of this process still watches the port.
    pub(super) fn is_watched(&self) -> bool {
        self.open.load(Ordering::Acquire) && !self.is_inherited()
    }

    /// The sockets that the loop watches itself.
    pub(super) fn poll_set(&self) -> &Arc<PollSet> {
        &self.set
    }

    fn is_inherited(&self) -> bool {
        self.generation != generation()
    }

    /// In a forked child: whoever waited at the parent's port waits in vain, and is told so.
    pub(super) fn leave_behind(&self, py: Python<'_>) -> PyResult<()> {
        let waiters = std::mem::take(&mut self.waiters.lock().by_key);
        let mut raised = Ok(());
        for waiter in waiters.into_values() {
            raised = raised.and(match waiter.has_gone(py) {
                Ok(false) => waiter.leave_behind(py),
                Ok(true) => Ok(()),
                Err(error) => Err(error),
            });
        }
        raised
    }

    /// Somebody waits from now on, under the returned key.
    pub(super) fn add(
        &self,
        wake: Wake,
        exceptions: &Arc<Exceptions>,
        headers: HeaderForm,
    ) -> usize {
        self.waiters.lock().add(Waiter {
            wake,
            exceptions: Arc::clone(exceptions),
            headers,
            _entry: ForkLocal::new(Entry::new(Item::Waiter)),
        })
    }

    /// Whether nobody waits at this port: the caller may then drive its exchange itself.
    pub(super) fn is_quiet(&self) -> bool {
        self.waiters.lock().by_key.is_empty()
    }

    fn close(&self) {
        self.open.store(false, Ordering::Release);
        let waiters = std::mem::take(&mut self.waiters.lock().by_key);
        // The workers' half is left alone in a forked child: one of them may have held its lock.
        let announced = match self.is_inherited() {
            true => Vec::new(),
            false => std::mem::take(&mut *self.announced.lock()),
        };
        // Dropped after both locks: a future's end may run Python code that comes back here.
        drop((waiters, announced));
    }
}

/// The loop's end of a port: a file descriptor to watch and what to call when it is readable.
#[pyclass(frozen, module = "httpcore_hyper._rust")]
pub(super) struct Port {
    shared: Arc<Shared>,
}

#[pymethods]
impl Port {
    /// The file descriptor that becomes readable when parts are ready.
    fn fileno(&self) -> i32 {
        self.shared.set.fileno()
    }

    /// Resolves what is ready. Called by the loop on its own thread.
    ///
    /// An exception on the way, out of a future's callbacks or a signal handler, is raised when the batch is
    /// through, so that no waiter is lost to it.
    fn drain(&self, py: Python<'_>) -> PyResult<()> {
        let shared = &self.shared;
        if shared.is_inherited() {
            // The bell is the parent's as well, and it may be ringing for it.
            return shared.leave_behind(py);
        }
        let mut raised = take_turns(py);
        // Nobody has to ring for what is announced on this thread meanwhile.
        shared.rung.store(true, Ordering::Release);
        take_news(&shared.set);
        // Before the queue is taken: what is pushed from here on either lands in this batch or rings.
        shared.rung.store(false, Ordering::Release);
        let batch = {
            let mut announced = shared.announced.lock();
            let length = announced.len().min(BATCH);
            let rest = announced.split_off(length);
            std::mem::replace(&mut *announced, rest)
        };
        for (source, key) in batch {
            let Some(waiter) = shared.waiters.lock().by_key.remove(&key) else {
                continue;
            };
            // A cancelled caller ends what it waited for itself. Its part is left where it is: what was
            // read from an upgraded stream is the next reader's.
            match waiter.has_gone(py) {
                Ok(false) => {}
                Ok(true) => continue,
                Err(error) => {
                    raised = raised.and(Err(error));
                    continue;
                }
            }
            let Some(part) = source.take_announced(key) else {
                shared.waiters.lock().by_key.insert(key, waiter);
                continue;
            };
            raised = raised.and(waiter.resolve(py, part));
        }
        if !shared.announced.lock().is_empty() && !shared.rung.swap(true, Ordering::AcqRel) {
            shared.set.ring();
        }
        raised
    }

    /// Nobody watches the descriptor any more: waiters are dropped, later parts are discarded.
    fn close(&self) {
        self.shared.close();
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        // A lock that is held means that a waiter is just being added or removed: all are in use.
        if let Some(waiters) = self.shared.waiters.try_lock() {
            for waiter in waiters.by_key.values() {
                match &waiter.wake {
                    Wake::Future(object) | Wake::Task(object) => visit.call(object)?,
                }
            }
        }
        Ok(())
    }

    fn __clear__(&self) {
        self.shared.close();
    }
}

/// The loop let go of its reader: it was closed, or collected.
impl Drop for Port {
    fn drop(&mut self) {
        self.shared.close();
        if self.shared.is_inherited() {
            // What workers have announced is not to be dropped here.
            std::mem::forget(Arc::clone(&self.shared));
        }
    }
}

impl Waiters {
    fn add(&mut self, waiter: Waiter) -> usize {
        self.last = self.last.wrapping_add(1);
        self.by_key.insert(self.last, waiter);
        self.last
    }
}

impl Waiter {
    fn has_gone(&self, py: Python<'_>) -> PyResult<bool> {
        match &self.wake {
            Wake::Future(future) => future.bind(py).call_out0(intern!(py, "done"))?.is_truthy(),
            // A trio task that goes takes its place away.
            Wake::Task(_) => Ok(false),
        }
    }

    /// Tells it that it waits in vain. asyncio does not complain if nobody hears of it.
    fn leave_behind(self, py: Python<'_>) -> PyResult<()> {
        let future = match &self.wake {
            Wake::Future(future) => Some(future.clone_ref(py)),
            Wake::Task(_) => None,
        };
        self.resolve(py, Err(left_behind()))?;
        if let Some(future) = future {
            future.bind(py).call_out0(intern!(py, "exception"))?;
        }
        Ok(())
    }

    fn resolve(self, py: Python<'_>, part: Result<Part, Failure>) -> PyResult<()> {
        let value = match part {
            Ok(part) => convert::part(py, part, self.headers),
            Err(failure) => Err(self.exceptions.of_failure(py, failure)),
        };
        match self.wake {
            Wake::Future(future) => {
                let future = future.bind(py);
                match value {
                    Ok(value) => future.call_out1(intern!(py, "set_result"), value.bind(py))?,
                    Err(error) => {
                        future.call_out1(intern!(py, "set_exception"), error.value(py))?
                    }
                };
                Ok(())
            }
            Wake::Task(task) => {
                let outcome = match value {
                    Ok(value) => (task, value, py.None()),
                    Err(error) => (task, py.None(), error.into_value(py).into_any()),
                };
                trio_waiting(py)?.call_out(intern!(py, "reschedule"), outcome)?;
                Ok(())
            }
        }
    }
}

/// A trio task's place at a port, for the task's abort function.
#[pyclass(frozen, module = "httpcore_hyper._rust")]
pub(super) struct Place {
    shared: Arc<Shared>,
    key: usize,
}

impl Place {
    pub(super) fn new(shared: &Arc<Shared>, key: usize) -> Self {
        Self {
            shared: Arc::clone(shared),
            key,
        }
    }
}

#[pymethods]
impl Place {
    /// Gives the place up: the task was cancelled while it waited, and must not be rescheduled.
    fn leave(&self) {
        let waiter = self.shared.waiters.lock().by_key.remove(&self.key);
        drop(waiter);
    }
}
