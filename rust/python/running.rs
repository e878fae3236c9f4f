//! Running: which event loop the calling thread is in, and its port.

use std::cell::RefCell;
use std::sync::{Arc, Weak};

use pyo3::exceptions::PyRuntimeError;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyDict;

use super::call_out::{CallOut, import};
use super::convert::HeaderForm;
use super::exceptions::Exceptions;
use super::modules::{asyncio_waiting, trio_lowlevel, trio_waiting};
use super::port::{Place, Shared, Wake};

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
            .filter(|port| port.is_watched())
    });
    let shared = match known {
        Some(shared) => shared,
        None => open(py, &library, address)?,
    };
    Ok(Current { shared, library })
}

fn open(py: Python<'_>, library: &Library<'_>, address: usize) -> PyResult<Arc<Shared>> {
    let (shared, port) = Shared::open()?;
    let port = Py::new(py, port)?;
    let watch = intern!(py, "watch");
    match library {
        Library::Asyncio(running) => asyncio_waiting(py)?.call_out(watch, (running, port))?,
        Library::Trio(_) => trio_waiting(py)?.call_out(watch, (port,))?,
    };
    PORTS.with_borrow_mut(|ports| {
        ports.retain(|(of, port)| *of != address && port.strong_count() > 0);
        ports.push((address, Arc::downgrade(&shared)));
    });
    Ok(shared)
}

/// In a forked child: fails those who wait in the loop that this thread was in when it forked.
pub(super) fn leave_behind(py: Python<'_>) -> PyResult<()> {
    let ports = PORTS.take();
    let mut raised = Ok(());
    for port in ports.iter().filter_map(|(_, port)| port.upgrade()) {
        raised = raised.and(port.leave_behind(py));
        // No reference to the parent's port is the last one here.
        std::mem::forget(port);
    }
    raised
}

impl<'py> Current<'py> {
    /// Whether the caller has been cancelled already: what it waits for must then not be started.
    pub(super) fn is_cancelled(&self, py: Python<'py>) -> PyResult<bool> {
        match self.library {
            Library::Asyncio(_) => is_in_cancelled_scope(py),
            Library::Trio(_) => trio_waiting(py)?
                .call_out0(intern!(py, "is_cancelled"))?
                .is_truthy(),
        }
    }

    /// Takes note of a caller who comes while nobody waits at the port; whether nobody else has come for a while.
    pub(super) fn comes_alone(&self, py: Python<'py>) -> PyResult<bool> {
        static CURRENT_TASK: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
        let task = match &self.library {
            Library::Asyncio(running) => CURRENT_TASK
                .import(py, "asyncio", "current_task")?
                .call1((running,))?,
            Library::Trio(_) => trio_lowlevel(py)?.call_out0(intern!(py, "current_task"))?,
        };
        let streak = &self.shared.streak;
        streak.comes(task.as_ptr().addr());
        Ok(streak.is_long())
    }

    /// Something to await that lets the loop's other tasks have their turn before it awaits what is given.
    pub(super) fn after_others(
        &self,
        py: Python<'py>,
        what: &Bound<'py, PyAny>,
    ) -> PyResult<Py<PyAny>> {
        let waiting = match &self.library {
            Library::Asyncio(_) => asyncio_waiting(py)?,
            Library::Trio(_) => trio_waiting(py)?,
        };
        let after = waiting.call_out1(intern!(py, "AfterOthers"), what)?;
        Ok(after.unbind())
    }

    /// Registers a waiter: what the caller awaits, and the key of its announcement.
    pub(super) fn register(
        &self,
        py: Python<'py>,
        exceptions: &Arc<Exceptions>,
        headers: HeaderForm,
    ) -> PyResult<(Bound<'py, PyAny>, usize)> {
        let (wake, future) = match &self.library {
            Library::Asyncio(running) => {
                let future = running.call_out0(intern!(py, "create_future"))?;
                (Wake::Future(future.clone().unbind()), Some(future))
            }
            Library::Trio(_) => {
                let task = trio_lowlevel(py)?.call_out0(intern!(py, "current_task"))?;
                (Wake::Task(task.unbind()), None)
            }
        };
        let key = self.shared.add(wake, exceptions, headers);
        let awaitable = match future {
            Some(future) => future,
            None => {
                let place = Place::new(&self.shared, key);
                trio_waiting(py)?.call_out(intern!(py, "Waiter"), (Py::new(py, place)?,))?
            }
        };
        Ok((awaitable, key))
    }
}

/// Trio first: in guest mode an asyncio loop runs as well, but the task is trio's.
fn library(py: Python<'_>) -> PyResult<Library<'_>> {
    if is_trio(py)? {
        let token = trio_lowlevel(py)?.call_out0(intern!(py, "current_trio_token"))?;
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

/// Whether the caller is in a cancelled scope of anyio, on asyncio. Without scopes asyncio delivers a cancellation before
/// the caller runs on.
fn is_in_cancelled_scope(py: Python<'_>) -> PyResult<bool> {
    // The first scope imports the module that they live in. anyio itself is there wherever httpcore is.
    let scopes = modules(py)?.get_item(intern!(py, "anyio._backends._asyncio"))?;
    let Some(scopes) = scopes else {
        return Ok(false);
    };
    // Half of what the question takes by the public way is to find this class.
    let question = intern!(py, "current_effective_deadline");
    if let Some(backend) = scopes.getattr_opt(intern!(py, "backend_class"))?
        && backend.hasattr(question)?
    {
        let deadline: f64 = backend.call_out0(question)?.extract()?;
        return Ok(deadline == f64::NEG_INFINITY);
    }
    asyncio_waiting(py)?
        .call_out0(intern!(py, "is_cancelled"))?
        .is_truthy()
}

/// `sys.modules`.
fn modules(py: Python<'_>) -> PyResult<&Bound<'_, PyDict>> {
    static MODULES: PyOnceLock<Py<PyDict>> = PyOnceLock::new();
    let modules = MODULES.get_or_try_init(py, || -> PyResult<Py<PyDict>> {
        let modules = import(py, intern!(py, "sys"))?.getattr("modules")?;
        Ok(modules.cast_into::<PyDict>()?.unbind())
    })?;
    Ok(modules.bind(py))
}

/// trio names itself to sniffio while one of its tasks runs. Without sniffio there is no trio.
fn is_trio(py: Python<'_>) -> PyResult<bool> {
    let Some(sniffio) = modules(py)?.get_item(intern!(py, "sniffio"))? else {
        return Ok(false);
    };
    // Empty while another thread is still importing it: then trio cannot run here.
    let Some(local) = sniffio.getattr_opt(intern!(py, "thread_local"))? else {
        return Ok(false);
    };
    let name = local.getattr(intern!(py, "name"))?;
    Ok(!name.is_none() && name.eq(intern!(py, "trio"))?)
}
