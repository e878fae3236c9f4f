//! Models: httpx's requests, read where their values are kept.
//!
//! httpx asks its models by properties, which encode a URL's parts and copy the headers for each request. Here the same
//! values are taken from what the properties look at. `_models.py` sees to it that this is what they look at: a class
//! that is another one, or keeps its values elsewhere, never comes here.

use std::borrow::Cow;

use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyList, PyTuple, PyType};

use super::convert;
use super::outgoing::{Extensions, Outgoing};
use super::plain::Text;
use crate::origin::is_served;
use crate::request::RequestBody;

/// The classes of one httpx. Its subclasses' objects are not read: they may say otherwise.
#[pyclass(frozen, module = "httpcore_hyper._rust")]
pub(super) struct Models {
    request: Py<PyType>,
    url: Py<PyType>,
    headers: Py<PyType>,
    stream: Py<PyType>,
}

#[pymethods]
impl Models {
    #[new]
    fn new(request: Py<PyType>, url: Py<PyType>, headers: Py<PyType>, stream: Py<PyType>) -> Self {
        Self {
            request,
            url,
            headers,
            stream,
        }
    }

    /// What `send` is given, for those who want to know whether it is right.
    fn read<'py>(&self, request: &Bound<'py, PyAny>) -> PyResult<Option<Read<'py>>> {
        let py = request.py();
        self.send(request, |outgoing, _| {
            let RequestBody::Whole(body) = &outgoing.body else {
                unreachable!("a body that is read here is a whole one")
            };
            let headers = (outgoing.headers.iter())
                .map(|(name, value)| (PyBytes::new(py, name), PyBytes::new(py, value)));
            Ok((
                PyBytes::new(py, outgoing.method),
                PyBytes::new(py, outgoing.scheme),
                PyBytes::new(py, outgoing.host),
                outgoing.port,
                PyBytes::new(py, outgoing.target),
                headers.collect(),
                PyBytes::new(py, body),
            ))
        })
    }
}

type Pair<'py> = (Bound<'py, PyBytes>, Bound<'py, PyBytes>);

/// `(method, scheme, host, port, target, headers, body)`.
type Read<'py> = (
    Bound<'py, PyBytes>,
    Bound<'py, PyBytes>,
    Bound<'py, PyBytes>,
    Option<i64>,
    Bound<'py, PyBytes>,
    Vec<Pair<'py>>,
    Bound<'py, PyBytes>,
);

impl Models {
    /// Sends a request of these classes; `None` for one that httpx has to take apart itself.
    pub(super) fn send<'py, T>(
        &self,
        request: &Bound<'py, PyAny>,
        send: impl FnOnce(Outgoing<'_>, &Extensions<'_, '_>) -> PyResult<T>,
    ) -> PyResult<Option<T>> {
        if !request.get_type().is(&self.request) {
            return Ok(None);
        }
        let py = request.py();
        let extensions = request.getattr(intern!(py, "extensions"))?;
        let Ok(extensions) = extensions.cast_exact::<PyDict>() else {
            return Ok(None);
        };
        let extension = |name| {
            let value = extensions.get_item(name)?;
            Ok::<_, PyErr>(value.filter(|value| !value.is_none()))
        };
        if extensions.contains(intern!(py, "target"))? || extension(intern!(py, "trace"))?.is_some()
        {
            return Ok(None);
        }
        let Some(body) = self.body(request)? else {
            return Ok(None);
        };
        let Some(method) = Text::of(&request.getattr(intern!(py, "method"))?) else {
            return Ok(None);
        };
        let Some(url) = self.url(&request.getattr(intern!(py, "url"))?)? else {
            return Ok(None);
        };
        let Some(headers) = self.headers(&request.getattr(intern!(py, "headers"))?)? else {
            return Ok(None);
        };
        let outgoing = Outgoing {
            method: method.as_bytes(),
            scheme: url.scheme.as_bytes(),
            host: url.host.as_bytes(),
            port: url.port,
            target: &url.target(),
            headers: convert::slices(&headers),
            body: RequestBody::Whole(body),
        };
        let timeout = extension(intern!(py, "timeout"))?;
        let server_name = match extension(intern!(py, "sni_hostname"))? {
            Some(name) if name.is_truthy()? => Some(name),
            _ => None,
        };
        let extensions = Extensions {
            timeout: timeout.as_ref(),
            server_name: server_name.as_ref(),
        };
        send(outgoing, &extensions).map(Some)
    }

    /// A body that is all there.
    fn body(&self, request: &Bound<'_, PyAny>) -> PyResult<Option<bytes::Bytes>> {
        let py = request.py();
        let stream = request.getattr(intern!(py, "stream"))?;
        if !stream.get_type().is(&self.stream) {
            return Ok(None);
        }
        let content = stream.getattr_opt(intern!(py, "_stream"))?;
        match content {
            Some(content) if content.is_exact_instance_of::<PyBytes>() => {
                convert::bytes(&content).map(Some)
            }
            _ => Ok(None),
        }
    }

    /// A URL that the engine serves.
    fn url<'py>(&self, url: &Bound<'py, PyAny>) -> PyResult<Option<Parts<'py>>> {
        if !url.get_type().is(&self.url) {
            return Ok(None);
        }
        let parts = url.getattr(intern!(url.py(), "_uri_reference"))?;
        let Ok(parts) = parts.cast::<PyTuple>() else {
            return Ok(None);
        };
        let text = |place| Ok::<_, PyErr>(Text::of(&parts.get_item(place)?));
        let (Some(scheme), Some(host), Some(path)) = (text(0)?, text(2)?, text(4)?) else {
            return Ok(None);
        };
        let query = parts.get_item(5)?;
        let query = match query.is_none() {
            true => None,
            false => match Text::of(&query) {
                Some(query) => Some(query),
                None => return Ok(None),
            },
        };
        if !is_served(scheme.as_bytes()) {
            return Ok(None);
        }
        Ok(Some(Parts {
            scheme,
            host,
            port: parts.get_item(3)?.extract()?,
            path,
            query,
        }))
    }

    fn headers<'py>(&self, headers: &Bound<'py, PyAny>) -> PyResult<Option<Vec<Pair<'py>>>> {
        if !headers.get_type().is(&self.headers) {
            return Ok(None);
        }
        let list = headers.getattr(intern!(headers.py(), "_list"))?;
        let Ok(list) = list.cast::<PyList>() else {
            return Ok(None);
        };
        let pair = |header: Bound<'py, PyAny>| {
            let header = header.cast_into::<PyTuple>().ok()?;
            let part = |place| header.get_item(place).ok()?.cast_into::<PyBytes>().ok();
            // Between the two is the name in lower case.
            Some((part(0)?, part(2)?))
        };
        Ok(list.iter().map(pair).collect())
    }
}

/// Of httpx's `ParseResult`.
struct Parts<'py> {
    scheme: Text<'py>,
    host: Text<'py>,
    port: Option<i64>,
    path: Text<'py>,
    query: Option<Text<'py>>,
}

impl Parts<'_> {
    /// httpx's `URL.raw_path`.
    fn target(&self) -> Cow<'_, [u8]> {
        let path = match self.path.as_bytes() {
            b"" => b"/",
            path => path,
        };
        match &self.query {
            None => Cow::Borrowed(path),
            Some(query) => Cow::Owned([path, b"?", query.as_bytes()].concat()),
        }
    }
}
