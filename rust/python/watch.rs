//! Watch: whether some attributes of classes and modules are still what they were.
//!
//! A pool has to know, for each request, whether anybody has put something of their own on httpcore's way from a pool
//! to a socket. It is a loop over two dozen dictionaries, so it runs here.

use pyo3::prelude::*;
use pyo3::types::{PyAnyMethods, PyMapping, PyString};

/// Attributes, with the values that they had when the watch was made.
#[pyclass(frozen, module = "httpcore_hyper._rust")]
pub(super) struct Watch {
    watched: Vec<Watched>,
}

struct Watched {
    /// The owner's `__dict__`, which shows every later change.
    namespace: Py<PyMapping>,
    name: Py<PyString>,
    /// `None` where the owner itself has no such attribute.
    value: Option<Py<PyAny>>,
}

#[pymethods]
impl Watch {
    #[new]
    fn new(attributes: Vec<(Py<PyMapping>, Py<PyString>)>, py: Python<'_>) -> PyResult<Self> {
        let watched = attributes
            .into_iter()
            .map(|(namespace, name)| {
                let value = look_up(namespace.bind(py), name.bind(py))?.map(Bound::unbind);
                Ok(Watched {
                    namespace,
                    name,
                    value,
                })
            })
            .collect::<PyResult<_>>()?;
        Ok(Self { watched })
    }

    /// The place in the list of the first attribute that is another object now.
    fn first_changed(&self, py: Python<'_>) -> PyResult<Option<usize>> {
        for (place, watched) in self.watched.iter().enumerate() {
            let (namespace, name) = (watched.namespace.bind(py), watched.name.bind(py));
            let is_same = match &watched.value {
                // What was missing is looked for, which raises nothing where it still is.
                None => !namespace.contains(name)?,
                Some(value) => look_up(namespace, name)?.is_some_and(|now| now.is(value)),
            };
            if !is_same {
                return Ok(Some(place));
            }
        }
        Ok(None)
    }
}

fn look_up<'py>(
    namespace: &Bound<'py, PyMapping>,
    name: &Bound<'py, PyString>,
) -> PyResult<Option<Bound<'py, PyAny>>> {
    match namespace.as_any().get_item(name) {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.is_instance_of::<pyo3::exceptions::PyKeyError>(namespace.py()) => {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}
