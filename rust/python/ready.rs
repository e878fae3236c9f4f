//! Ready: what an awaiter gets whose part is here.

use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;
use pyo3::exceptions::{PyRuntimeError, PyStopIteration};
use pyo3::prelude::*;

/// A part that is here, for asyncio. Awaiting it suspends at most once, and waits for nothing.
#[pyclass(frozen, module = "httpcore_hyper._rust")]
pub(super) struct Ready {
    value: Mutex<Option<Py<PyAny>>>,
    /// The awaiter lets the loop's other tasks have their turn first.
    passes: AtomicBool,
}

impl Ready {
    /// One that was there already: awaiting it does not suspend.
    pub(super) fn new(value: Py<PyAny>) -> Self {
        Self {
            value: Mutex::new(Some(value)),
            passes: AtomicBool::new(false),
        }
    }

    /// One that the loop was kept for: its other tasks have their turn before the awaiter goes on.
    ///
    /// # Cancel safety
    ///
    /// The part of an awaiter that is cancelled meanwhile is dropped, as one that a future brought would be.
    pub(super) fn after_others(value: Py<PyAny>) -> Self {
        Self {
            passes: AtomicBool::new(true),
            ..Self::new(value)
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

    /// `None` is what `asyncio.sleep(0)` yields: the task is called again in the loop's next round.
    fn __next__(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        if self.passes.swap(false, Ordering::Relaxed) {
            return Ok(py.None());
        }
        let value = self.value.lock().take();
        // In a tuple of its own: a value that is a tuple would else become several arguments.
        Err(match value {
            Some(value) => PyStopIteration::new_err((value,)),
            None => PyRuntimeError::new_err("cannot reuse already awaited part"),
        })
    }
}
