//! Awaiting: what an async caller gets to await for a part of its exchange.
//!
//! The part, where it is here; a look for it, where it may be about to come; else a waiter of the loop's. Who drives the
//! exchange meanwhile is decided here: the caller's thread on a quiet loop, a task of the runtime's else.

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use pyo3::exceptions::{PyRuntimeError, PyStopIteration};
use pyo3::intern;
use pyo3::prelude::*;

use super::call_out::CallOut;
use super::exchange::AsyncExchange;
use super::port::Shared;
use super::running::{self, Current};
use crate::cell::{Failure, Part, Want};
use crate::connect::Look;

/// Looking for an answer takes less by far: other threads of Python's wanted the interpreter for longer than they are
/// asked to. A caller beside such threads had better let go of it once, when its loop sleeps.
const CONTENDED: Duration = Duration::from_millis(1);

impl AsyncExchange {
    /// Something to await for the part: the part itself if it is here, else a waiter of the running
    /// loop. On a quiet loop the exchange is polled at once, on this thread. If the caller comes alone and the answer is about
    /// to come, it is looked for, once the loop's other tasks have had a turn: in which the server has one as well.
    pub(super) fn wait(slf: &Bound<'_, Self>, want: Want) -> PyResult<Py<PyAny>> {
        let py = slf.py();
        let this = slf.get();
        let cell = this.handle.cell(py)?;
        if let Some(part) = cell.try_take(want) {
            return this.ready(py, part);
        }
        let current = running::current(py)?;
        if cell.is_fresh() && current.is_cancelled(py)? {
            // The cancellation arrives at this await, which nothing else ends: no byte has been sent.
            return this.listen(py, &current, want, false);
        }
        let quiet = current.shared.is_quiet();
        if quiet {
            let set = current.shared.poll_set();
            // Only an answer is worth looking for: what is sent is with the kernel at once, or has to wait for the peer.
            if want == Want::Head && current.comes_alone(py)? {
                let (part, is_near) = Look::Patiently.before(|| cell.try_drive(want, set));
                if let Some(part) = part {
                    return this.ready(py, part);
                }
                if is_near {
                    let near = Near::new(slf.clone().unbind(), want, Arc::clone(&current.shared));
                    return current.after_others(py, Bound::new(py, near)?.as_any());
                }
            } else if let Some(part) = cell.try_drive(want, set) {
                return this.ready(py, part);
            }
        } else {
            current.shared.streak.breaks();
        }
        this.listen(py, &current, want, !quiet)
    }

    /// A waiter of the running loop; `spawns`: for what the runtime drives from now on.
    fn listen<'py>(
        &self,
        py: Python<'py>,
        current: &Current<'py>,
        want: Want,
        spawns: bool,
    ) -> PyResult<Py<PyAny>> {
        let cell = self.handle.cell(py)?;
        let (awaitable, key) = self.handle.register(py, current)?;
        cell.listen(want, current.shared.clone(), key);
        if spawns {
            cell.spawn();
        }
        Ok(awaitable.unbind())
    }

    /// Looks for a part that may be about to come. Something to await, as of [`AsyncExchange::wait`].
    fn look(&self, py: Python<'_>, want: Want, shared: &Shared) -> PyResult<Py<PyAny>> {
        let cell = self.handle.cell(py)?;
        let quiet = shared.is_quiet();
        // Not if somebody else has come meanwhile.
        if quiet && shared.streak.is_long() {
            let set = shared.poll_set();
            let began = Instant::now();
            // Others of Python's threads go on meanwhile.
            let part = py.detach(|| Look::Patiently.run(|| cell.try_drive(want, set)));
            if began.elapsed() > CONTENDED {
                shared.streak.breaks();
            }
            if let Some(part) = part {
                let value = self.handle.value(py, part)?;
                return Ok(Py::new(py, Ready::new(value))?.into_any());
            }
        }
        self.listen(py, &running::current(py)?, want, !quiet)
    }

    fn ready(&self, py: Python<'_>, part: Result<Part, Failure>) -> PyResult<Py<PyAny>> {
        let value = self.handle.value(py, part)?;
        let ready = Bound::new(py, Ready::new(value))?.into_any();
        if self.turns.are_due() {
            return running::current(py)?.after_others(py, &ready);
        }
        Ok(ready.unbind())
    }
}

/// A part that is here. Awaiting it does not suspend.
#[pyclass(frozen, module = "httpcore_hyper._rust")]
pub(super) struct Ready(Mutex<Option<Py<PyAny>>>);

impl Ready {
    pub(super) fn new(value: Py<PyAny>) -> Self {
        Self(Mutex::new(Some(value)))
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

    fn __next__(&self) -> PyResult<Py<PyAny>> {
        let value = self.0.lock().take();
        // In a tuple of its own: a value that is a tuple would else become several arguments.
        Err(match value {
            Some(value) => PyStopIteration::new_err((value,)),
            None => PyRuntimeError::new_err("cannot reuse already awaited part"),
        })
    }
}

/// A part that may be about to come. It is looked for when this is awaited, and waited for if it does not.
///
/// # Drop
///
/// Loses nothing: the part is the exchange's until it is awaited.
#[pyclass(frozen, module = "httpcore_hyper._rust")]
pub(super) struct Near {
    exchange: Py<AsyncExchange>,
    want: Want,
    /// The port of the loop that it is awaited on.
    shared: Arc<Shared>,
}

impl Near {
    pub(super) fn new(exchange: Py<AsyncExchange>, want: Want, shared: Arc<Shared>) -> Self {
        Self {
            exchange,
            want,
            shared,
        }
    }
}

#[pymethods]
impl Near {
    fn __await__(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        let found = self.exchange.get().look(py, self.want, &self.shared)?;
        let awaited = found.bind(py).call_out0(intern!(py, "__await__"))?;
        Ok(awaited.unbind())
    }
}
