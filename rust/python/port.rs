//! Port: how a finished part reaches an event loop. The async door.
//!
//! One port for each running loop (asyncio, uvloop) or trio run. Tokio's worker pushes the cell of a
//! finished part and rings a bell, a file descriptor that the loop itself watches, only if the port was
//! idle. The loop's thread then drains the whole batch with the GIL that it holds anyway, and resolves
//! real futures there. What a worker can reach holds no Python object.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyDict;
use pyo3::{PyTraverseError, PyVisit, intern};

use super::bell::Bell;
use super::convert;
use super::exceptions::Exceptions;
use crate::cell::{ExchangeCell, Failure, Listener, Part};
use crate::runtime::generation;

/// The most parts resolved in one go, so that a flood of them cannot starve the loop's other work. The
/// bell rings again for the rest.
const BATCH: usize = 256;

/// What workers and the loop's thread share.
pub(super) struct Shared {
    generation: u64,
    bell: Bell,
    /// The bell has rung and the loop has not come yet.
    rung: AtomicBool,
    /// Cleared when the loop drops its reader: nobody will come again.
    open: AtomicBool,
    announced: Mutex<Vec<(Arc<ExchangeCell>, usize)>>,
    /// Touched by the loop's thread alone, attached. Emptied by `close`, so that a worker that drops the
    /// last reference to the port drops no Python object.
    waiters: Mutex<Waiters>,
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
}

/// Who waits.
enum Wake {
    /// An `asyncio.Future`.
    Future(Py<PyAny>),
    /// A trio task in `wait_task_rescheduled`.
    Task(Py<PyAny>),
}

impl Listener for Shared {
    fn announce(&self, cell: Arc<ExchangeCell>, key: usize) {
        self.announced.lock().push((cell, key));
        if self.open.load(Ordering::Acquire) && !self.rung.swap(true, Ordering::AcqRel) {
            self.bell.ring();
        }
    }
}

impl Shared {
    /// Whether nobody waits at this port: the caller may then drive its exchange itself.
    pub(super) fn is_quiet(&self) -> bool {
        self.waiters.lock().by_key.is_empty()
    }

    fn close(&self) {
        self.open.store(false, Ordering::Release);
        let waiters = std::mem::take(&mut self.waiters.lock().by_key);
        let announced = std::mem::take(&mut *self.announced.lock());
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
        self.shared.bell.fileno()
    }

    /// Resolves what is ready. Called by the loop on its own thread.
    ///
    /// An exception out of a future's callbacks (a signal handler's, say) is raised when the batch is
    /// through, so that no waiter is lost to it.
    fn drain(&self, py: Python<'_>) -> PyResult<()> {
        let shared = &self.shared;
        shared.bell.silence();
        // Before the queue is taken: what is pushed from here on either lands in this batch or rings.
        shared.rung.store(false, Ordering::Release);
        let batch = {
            let mut announced = shared.announced.lock();
            let length = announced.len().min(BATCH);
            let rest = announced.split_off(length);
            std::mem::replace(&mut *announced, rest)
        };
        let mut raised = Ok(());
        for (cell, key) in batch {
            let Some(part) = cell.take_announced(key) else {
                continue;
            };
            let Some(waiter) = shared.waiters.lock().by_key.remove(&key) else {
                continue;
            };
            raised = raised.and(waiter.resolve(py, part));
        }
        if !shared.announced.lock().is_empty() && !shared.rung.swap(true, Ordering::AcqRel) {
            shared.bell.ring();
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
    fn resolve(self, py: Python<'_>, part: Result<Part, Failure>) -> PyResult<()> {
        let value = match part {
            Ok(part) => convert::part(py, part),
            Err(failure) => Err(self.exceptions.of_failure(py, failure)),
        };
        match self.wake {
            Wake::Future(future) => {
                let future = future.bind(py);
                // A cancelled caller closes the exchange itself; its part is dropped.
                if future.call_method0(intern!(py, "done"))?.is_truthy()? {
                    return Ok(());
                }
                match value {
                    Ok(value) => future.call_method1(intern!(py, "set_result"), (value,))?,
                    Err(error) => future
                        .call_method1(intern!(py, "set_exception"), (error.into_value(py),))?,
                };
                Ok(())
            }
            Wake::Task(task) => {
                let reschedule = trio_module(py)?.getattr(intern!(py, "reschedule"))?;
                match value {
                    Ok(value) => reschedule.call1((task, value, py.None()))?,
                    Err(error) => reschedule.call1((task, py.None(), error.into_value(py)))?,
                };
                Ok(())
            }
        }
    }
}

/// The loop or trio run that the calling thread is in, with its port.
pub(super) struct Current<'py> {
    pub(super) shared: Arc<Shared>,
    library: Library<'py>,
}

enum Library<'py> {
    Asyncio(Bound<'py, PyAny>),
    Trio(Bound<'py, PyAny>),
}

thread_local! {
    /// The ports of this thread's loops, by the address of the loop or trio token. An address can be
    /// used again by a later loop; its port is then closed, since the former loop dropped it.
    static PORTS: RefCell<Vec<(usize, Weak<Shared>)>> = const { RefCell::new(Vec::new()) };
}

/// The port of the running loop, opened on first use.
///
/// # Errors
///
/// `RuntimeError` outside asyncio and trio.
pub(super) fn current(py: Python<'_>) -> PyResult<Current<'_>> {
    let library = library(py)?;
    let (Library::Asyncio(run) | Library::Trio(run)) = &library;
    let address = run.as_ptr() as usize;
    let known = PORTS.with_borrow(|ports| {
        ports
            .iter()
            .find(|(of, _)| *of == address)
            .and_then(|(_, port)| port.upgrade())
            .filter(|port| port.open.load(Ordering::Acquire) && port.generation == generation())
    });
    let shared = match known {
        Some(shared) => shared,
        None => open(py, &library, address)?,
    };
    Ok(Current { shared, library })
}

fn open(py: Python<'_>, library: &Library<'_>, address: usize) -> PyResult<Arc<Shared>> {
    let shared = Arc::new(Shared {
        generation: generation(),
        bell: Bell::new()?,
        rung: AtomicBool::new(false),
        open: AtomicBool::new(true),
        announced: Mutex::new(Vec::new()),
        waiters: Mutex::new(Waiters::default()),
    });
    let port = Py::new(
        py,
        Port {
            shared: Arc::clone(&shared),
        },
    )?;
    let watch = intern!(py, "watch");
    match library {
        Library::Asyncio(running) => waiter_module(py)?.call_method1(watch, (running, port))?,
        Library::Trio(_) => trio_module(py)?.call_method1(watch, (port,))?,
    };
    PORTS.with_borrow_mut(|ports| {
        ports.retain(|(of, port)| *of != address && port.strong_count() > 0);
        ports.push((address, Arc::downgrade(&shared)));
    });
    Ok(shared)
}

impl<'py> Current<'py> {
    /// Whether the caller has been cancelled already: what it waits for must then not be started.
    pub(super) fn is_cancelled(&self, py: Python<'py>) -> PyResult<bool> {
        let module = match self.library {
            Library::Asyncio(_) => waiter_module(py)?,
            Library::Trio(_) => trio_module(py)?,
        };
        module
            .call_method0(intern!(py, "is_cancelled"))?
            .is_truthy()
    }

    /// Registers a waiter: what the caller awaits, and the key of its announcement.
    pub(super) fn register(
        &self,
        py: Python<'py>,
        exceptions: &Arc<Exceptions>,
    ) -> PyResult<(Bound<'py, PyAny>, usize)> {
        let (wake, future) = match &self.library {
            Library::Asyncio(running) => {
                let future = running.call_method0(intern!(py, "create_future"))?;
                (Wake::Future(future.clone().unbind()), Some(future))
            }
            Library::Trio(_) => {
                let lowlevel = py.import(intern!(py, "trio.lowlevel"))?;
                let task = lowlevel.call_method0(intern!(py, "current_task"))?;
                (Wake::Task(task.unbind()), None)
            }
        };
        let key = self.shared.waiters.lock().add(Waiter {
            wake,
            exceptions: Arc::clone(exceptions),
        });
        let awaitable = match future {
            Some(future) => future,
            None => {
                let place = Place {
                    shared: Arc::clone(&self.shared),
                    key,
                };
                trio_module(py)?.call_method1(intern!(py, "Waiter"), (Py::new(py, place)?,))?
            }
        };
        Ok((awaitable, key))
    }
}

/// A trio task's place at a port, for the task's abort function.
#[pyclass(frozen, module = "httpcore_hyper._rust")]
pub(super) struct Place {
    shared: Arc<Shared>,
    key: usize,
}

#[pymethods]
impl Place {
    /// Gives the place up: the task was cancelled while it waited, and must not be rescheduled.
    fn leave(&self) {
        let waiter = self.shared.waiters.lock().by_key.remove(&self.key);
        drop(waiter);
    }
}

/// Trio first: in guest mode an asyncio loop runs as well, but the task is trio's.
fn library(py: Python<'_>) -> PyResult<Library<'_>> {
    if is_trio(py)? {
        let lowlevel = py.import(intern!(py, "trio.lowlevel"))?;
        let token = lowlevel.call_method0(intern!(py, "current_trio_token"))?;
        return Ok(Library::Trio(token));
    }
    static RUNNING_LOOP: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let running = RUNNING_LOOP
        .import(py, "asyncio", "_get_running_loop")?
        .call0()?;
    if running.is_none() {
        return Err(PyRuntimeError::new_err(
            "an async pool needs a running asyncio loop or trio run",
        ));
    }
    Ok(Library::Asyncio(running))
}

/// trio names itself to sniffio while one of its tasks runs. Without sniffio there is no trio.
fn is_trio(py: Python<'_>) -> PyResult<bool> {
    static MODULES: PyOnceLock<Py<PyDict>> = PyOnceLock::new();
    let modules = MODULES.get_or_try_init(py, || -> PyResult<Py<PyDict>> {
        let modules = py.import("sys")?.getattr("modules")?;
        Ok(modules.cast_into::<PyDict>()?.unbind())
    })?;
    let Some(sniffio) = modules.bind(py).get_item(intern!(py, "sniffio"))? else {
        return Ok(false);
    };
    let name = sniffio
        .getattr(intern!(py, "thread_local"))?
        .getattr(intern!(py, "name"))?;
    Ok(!name.is_none() && name.eq(intern!(py, "trio"))?)
}

/// What has to be written in Python for asyncio.
fn waiter_module(py: Python<'_>) -> PyResult<&Bound<'_, PyAny>> {
    static MODULE: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    module(py, &MODULE, "httpcore_hyper._waiter")
}

/// What has to be written in Python for trio. Imported only where trio runs.
fn trio_module(py: Python<'_>) -> PyResult<&Bound<'_, PyAny>> {
    static MODULE: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    module(py, &MODULE, "httpcore_hyper._trio")
}

fn module<'py>(
    py: Python<'py>,
    once: &'static PyOnceLock<Py<PyAny>>,
    name: &str,
) -> PyResult<&'py Bound<'py, PyAny>> {
    let module = once.get_or_try_init(py, || -> PyResult<Py<PyAny>> {
        Ok(py.import(name)?.into_any().unbind())
    })?;
    Ok(module.bind(py))
}

/// A part that was there already: awaiting it does not suspend.
#[pyclass(frozen, module = "httpcore_hyper._rust")]
pub(super) struct Ready {
    value: Mutex<Option<Py<PyAny>>>,
}

impl Ready {
    pub(super) fn new(value: Py<PyAny>) -> Self {
        Self {
            value: Mutex::new(Some(value)),
        }
    }
}

#[pymethods]
impl Ready {
    fn __await__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    fn __iter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    fn __next__(&self) -> PyResult<()> {
        let value = self.value.lock().take();
        // In a tuple of its own: a value that is a tuple would else become several arguments.
        Err(match value {
            Some(value) => pyo3::exceptions::PyStopIteration::new_err((value,)),
            None => PyRuntimeError::new_err("cannot reuse already awaited part"),
        })
    }
}
