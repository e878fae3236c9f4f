//! Unread: whether a response's body can be read past what httpx puts around it.
//!
//! Only looks. What is read, and what a response remembers of it, is `_async/reading.py`'s.

use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyBytes, PyDict, PyList, PyString, PyTuple, PyType};

use super::watch::Watch;

/// The classes that a response of one httpx consists of at one door, and what httpx would do to read it.
#[pyclass(frozen, module = "httpcore_hyper._rust")]
pub(super) struct Unread {
    response: Py<PyType>,
    headers: Py<PyType>,
    /// What httpx's client puts around a body.
    bound: Py<PyType>,
    body: Py<PyType>,
    /// What a response has in its own dictionary only if somebody wants to be asked.
    foreign: Vec<Py<PyString>>,
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
        foreign: Vec<Py<PyString>>,
        watch: Py<Watch>,
    ) -> Self {
        Self {
            response,
            headers,
            bound,
            body,
            foreign,
            watch,
        }
    }

    /// Whether a body with these lines is the content as it is: nothing has to be decoded. The lines are those of
    /// `Headers._list`.
    #[staticmethod]
    fn is_content(lines: &Bound<'_, PyAny>) -> bool {
        (lines.cast::<PyList>()).is_ok_and(|lines| lines.iter().all(|line| is_of_no_coding(&line)))
    }

    /// Our body, if all of it is here and httpx would only decode it; else `None`.
    fn body<'py>(&self, response: &Bound<'py, PyAny>) -> PyResult<Option<Bound<'py, PyAny>>> {
        let py = response.py();
        if !response.get_type().is(&self.response) {
            return Ok(None);
        }
        let own = response.getattr(intern!(py, "__dict__"))?;
        let own = own.cast::<PyDict>()?;
        for name in &self.foreign {
            if own.contains(name)? {
                return Ok(None);
            }
        }
        if response.getattr_opt(intern!(py, "_content"))?.is_some()
            || response.getattr_opt(intern!(py, "_decoder"))?.is_some()
            || !is_false(own, intern!(py, "is_stream_consumed"))?
            || !is_false(own, intern!(py, "is_closed"))?
        {
            return Ok(None);
        }
        let headers = own.get_item(intern!(py, "headers"))?;
        if !headers.is_some_and(|headers| headers.get_type().is(&self.headers))
            || self.watch.get().first_changed(py)?.is_some()
        {
            return Ok(None);
        }
        self.ours(response, own)
    }
}

impl Unread {
    /// The whole body of a response, as it came from us or with httpx's own around it.
    fn ours<'py>(
        &self,
        response: &Bound<'py, PyAny>,
        own: &Bound<'py, PyDict>,
    ) -> PyResult<Option<Bound<'py, PyAny>>> {
        let py = response.py();
        let Some(mut stream) = own.get_item(intern!(py, "stream"))? else {
            return Ok(None);
        };
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

fn is_false(own: &Bound<'_, PyDict>, name: &Bound<'_, PyString>) -> PyResult<bool> {
    let value = own.get_item(name)?;
    Ok(value.is_some_and(|value| value.cast::<PyBool>().is_ok_and(|value| !value.is_true())))
}
