//! Unread: whether a response's body can be read past what httpx puts around it.
//!
//! Only looks. What is read, and what a response remembers of it, is `_async/reading.py`'s.

use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyBytes, PyList, PyTuple, PyType};

use super::watch::Watch;

/// The classes that a response of one httpx consists of at one door, and who may have replaced what they do.
#[pyclass(frozen, module = "httpcore_hyper._rust")]
pub(super) struct Unread {
    response: Py<PyType>,
    headers: Py<PyType>,
    /// What httpx's client puts around a body.
    bound: Py<PyType>,
    body: Py<PyType>,
    watch: Py<Watch>,
}

#[pymethods]
impl Unread {
    #[new]
    fn new(
        response: Py<PyType>,
        headers: Py<PyType>,
        bound: Py<PyType>,
        body: Py<PyType>,
        watch: Py<Watch>,
    ) -> Self {
        Self {
            response,
            headers,
            bound,
            body,
            watch,
        }
    }

    /// Our body, if all of it is here and httpx would add nothing to it and take nothing away; else `None`.
    fn body<'py>(&self, response: &Bound<'py, PyAny>) -> PyResult<Option<Bound<'py, PyAny>>> {
        let py = response.py();
        if !response.get_type().is(&self.response)
            || response.getattr_opt(intern!(py, "_content"))?.is_some()
            || response.getattr_opt(intern!(py, "_decoder"))?.is_some()
            || !is_false(&response.getattr(intern!(py, "is_stream_consumed"))?)
            || !is_false(&response.getattr(intern!(py, "is_closed"))?)
            || !self.is_as_sent(&response.getattr(intern!(py, "headers"))?)?
            || self.watch.get().first_changed(py)?.is_some()
        {
            return Ok(None);
        }
        self.ours(response)
    }
}

impl Unread {
    /// The whole body of a response, as it came from us or with httpx's own around it.
    fn ours<'py>(&self, response: &Bound<'py, PyAny>) -> PyResult<Option<Bound<'py, PyAny>>> {
        let py = response.py();
        let mut stream = response.getattr(intern!(py, "stream"))?;
        if stream.get_type().is(&self.bound) {
            // httpx's writes the time into the response; httpx2's keeps it.
            if let Some(told) = stream.getattr_opt(intern!(py, "_response"))?
                && !told.is(response)
            {
                return Ok(None);
            }
            stream = stream.getattr(intern!(py, "_stream"))?;
        }
        let is_whole = stream.get_type().is(&self.body)
            && stream.getattr(intern!(py, "_ended"))?.is_truthy()?;
        Ok(is_whole.then_some(stream))
    }

    /// Whether the bytes are the content: nothing has to be decoded.
    fn is_as_sent(&self, headers: &Bound<'_, PyAny>) -> PyResult<bool> {
        if !headers.get_type().is(&self.headers) {
            return Ok(false);
        }
        let list = headers.getattr(intern!(headers.py(), "_list"))?;
        let Ok(list) = list.cast::<PyList>() else {
            return Ok(false);
        };
        Ok(list.iter().all(|line| is_of_no_coding(&line)))
    }
}

/// Whether a line of `Headers._list` is another one than Content-Encoding.
fn is_of_no_coding(line: &Bound<'_, PyAny>) -> bool {
    // Between the name of the wire and the value is the name in lower case.
    let name = line
        .cast::<PyTuple>()
        .ok()
        .and_then(|line| line.get_item(1).ok());
    name.is_some_and(|name| {
        let name = name.cast::<PyBytes>();
        name.is_ok_and(|name| name.as_bytes() != b"content-encoding")
    })
}

fn is_false(value: &Bound<'_, PyAny>) -> bool {
    value.cast::<PyBool>().is_ok_and(|value| !value.is_true())
}
