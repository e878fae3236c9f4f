//! Ready: what an awaiter gets whose part was there already.

use parking_lot::Mutex;
use pyo3::exceptions::{PyRuntimeError, PyStopIteration};
use pyo3::prelude::*;

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
            Some(value) => PyStopIteration::new_err((value,)),
            None => PyRuntimeError::new_err("cannot reuse already awaited part"),
        })
    }
}
