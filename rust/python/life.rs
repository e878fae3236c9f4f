//! Life: what Python asks of the library for the whole process.

use pyo3::prelude::*;
use pyo3::types::PyDict;

use super::running;
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

/// Fails what the forking thread's loop waits for, in the child.
#[pyfunction]
pub(super) fn after_fork_in_child(py: Python<'_>) -> PyResult<()> {
    running::leave_behind(py)
}
