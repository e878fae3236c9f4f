//! Ready: what an awaiter gets whose part is here, or may be in a moment.

use std::sync::Arc;

use parking_lot::Mutex;
use pyo3::exceptions::{PyRuntimeError, PyStopIteration};
use pyo3::intern;
use pyo3::prelude::*;

use super::call_out::CallOut;
use super::exchange::AsyncExchange;
use super::port::Shared;
use crate::cell::Want;

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
