//! Modules: the Python code that the native half calls, imported once.

use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyString;

use super::call_out::import;

/// What has to be written in Python for asyncio.
pub(super) fn asyncio_waiting(py: Python<'_>) -> PyResult<&Bound<'_, PyAny>> {
    static MODULE: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    module(py, &MODULE, "httpcore_hyper._waiter")
}

/// What has to be written in Python for trio. Imported only where trio runs.
pub(super) fn trio_waiting(py: Python<'_>) -> PyResult<&Bound<'_, PyAny>> {
    static MODULE: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    module(py, &MODULE, "httpcore_hyper._trio")
}

/// What tells tasks and runs of trio apart.
pub(super) fn trio_lowlevel(py: Python<'_>) -> PyResult<&Bound<'_, PyAny>> {
    static MODULE: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    module(py, &MODULE, "trio.lowlevel")
}

/// TLS by Python's `ssl`.
pub(super) fn ssl(py: Python<'_>) -> PyResult<&Bound<'_, PyAny>> {
    static MODULE: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    module(py, &MODULE, "httpcore_hyper._ssl")
}

/// What time a thread has computed for.
pub(super) fn time(py: Python<'_>) -> PyResult<&Bound<'_, PyAny>> {
    static MODULE: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    module(py, &MODULE, "time")
}

/// How many threads there are.
pub(super) fn threading(py: Python<'_>) -> PyResult<&Bound<'_, PyAny>> {
    static MODULE: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    module(py, &MODULE, "threading")
}

fn module<'py>(
    py: Python<'py>,
    once: &'static PyOnceLock<Py<PyAny>>,
    name: &str,
) -> PyResult<&'py Bound<'py, PyAny>> {
    let module = once.get_or_try_init(py, || -> PyResult<Py<PyAny>> {
        Ok(import(py, &PyString::new(py, name))?.unbind())
    })?;
    Ok(module.bind(py))
}
