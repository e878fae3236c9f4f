//! Life: what Python asks of the library for the whole process.

use std::sync::atomic::{AtomicI64, Ordering};

use pyo3::exceptions::PyImportError;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::PyDict;

use super::running;
use crate::ledger::{ITEMS, held};
use crate::visits;

/// The first interpreter that loads the module keeps it for itself: classes and caches of the native half are the
/// whole process's, and an interpreter must not see objects of another.
///
/// # Errors
///
/// `ImportError` in any other interpreter of the process.
#[allow(unsafe_code)] // pyo3 has no safe binding for either
pub(super) fn claim(py: Python<'_>) -> PyResult<()> {
    static OWNER: AtomicI64 = AtomicI64::new(NOBODY);
    // SAFETY: attached, so there is a current interpreter, and it lives.
    let this = unsafe { ffi::PyInterpreterState_GetID(ffi::PyInterpreterState_Get()) };
    if this < 0 {
        return Err(PyErr::fetch(py));
    }
    match OWNER.compare_exchange(NOBODY, this, Ordering::Relaxed, Ordering::Relaxed) {
        Err(owner) if owner != this => Err(PyImportError::new_err(
            "the module serves another interpreter of this process",
        )),
        _ => Ok(()),
    }
}

/// No interpreter has this number.
const NOBODY: i64 = -1;

/// How much the library holds in this process.
#[pyfunction]
pub(super) fn ledger(py: Python<'_>) -> PyResult<Bound<'_, PyDict>> {
    let counts = PyDict::new(py);
    for (item, name) in ITEMS {
        counts.set_item(name, held(item))?;
    }
    Ok(counts)
}

/// Waits for the engine's own threads to leave OpenSSL and the resolver, and keeps them outside. Detached
/// meanwhile: some need the GIL to leave.
#[pyfunction]
pub(super) fn before_fork(py: Python<'_>) {
    py.detach(visits::before_fork);
}

/// Lets the engine's own threads go where they want again.
#[pyfunction]
pub(super) fn after_fork_in_parent() {
    visits::after_fork();
}

/// Fails what the forking thread's loop waits for.
#[pyfunction]
pub(super) fn after_fork_in_child(py: Python<'_>) -> PyResult<()> {
    running::leave_behind(py)
}
