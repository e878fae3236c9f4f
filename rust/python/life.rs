//! Life: what Python asks of the library for the whole process.

use pyo3::prelude::*;
use pyo3::types::PyDict;

use super::{running, visits};
use crate::ledger::{ITEMS, held};

/// How much the library holds in this process.
#[pyfunction]
pub(super) fn ledger(py: Python<'_>) -> PyResult<Bound<'_, PyDict>> {
    let counts = PyDict::new(py);
    for (item, name) in ITEMS {
        counts.set_item(name, held(item))?;
    }
    Ok(counts)
}

/// Waits for the engine's own threads to leave Python, and keeps them outside.
#[pyfunction]
pub(super) fn before_fork(py: Python<'_>) {
    visits::before_fork(py);
}

/// Lets the engine's own threads into Python again.
#[pyfunction]
pub(super) fn after_fork_in_parent() {
    visits::after_fork_in_parent();
}

/// The same in the child, where it also fails what the forking thread's loop waits for.
#[pyfunction]
pub(super) fn after_fork_in_child(py: Python<'_>) -> PyResult<()> {
    visits::after_fork_in_child();
    running::leave_behind(py)
}
