//! Plain: requests of plain values, without httpcore's models.
//!
//! `pool.request("GET", "http://...")` has httpcore check each value, split the URL and put everything into a
//! `Request`, which is a third of the time that such a request takes. Where all values are of Python's own types, and
//! are what nearly everybody sends, the same is done here. Anything else is not looked at further, and httpcore does
//! it, errors included.

use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyList, PyString, PyTuple};

use super::convert;
use super::outgoing::Outgoing;
use crate::request::RequestBody;
use crate::url::Url;

/// Text in ASCII, or bytes.
pub(super) struct Text<'py>(Source<'py>);

enum Source<'py> {
    Text(Bound<'py, PyString>),
    Bytes(Bound<'py, PyBytes>),
}

impl<'py> Text<'py> {
    pub(super) fn of(value: &Bound<'py, PyAny>) -> Option<Self> {
        if let Ok(bytes) = value.cast_exact::<PyBytes>() {
            return Some(Self(Source::Bytes(bytes.clone())));
        }
        let text = value.cast_exact::<PyString>().ok()?;
        let is_ascii = text.to_str().is_ok_and(str::is_ascii);
        is_ascii.then(|| Self(Source::Text(text.clone())))
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        match &self.0 {
            Source::Bytes(bytes) => bytes.as_bytes(),
            // It was there when it was looked at.
            Source::Text(text) => text.to_str().unwrap_or_default().as_bytes(),
        }
    }
}

/// Sends what httpcore would make of the values; `None` if that is for httpcore to say.
pub(super) fn send<'py, T>(
    method: &Bound<'py, PyAny>,
    url: &Bound<'py, PyAny>,
    headers: &Bound<'py, PyAny>,
    content: &Bound<'py, PyAny>,
    send: impl FnOnce(Outgoing<'_>) -> PyResult<T>,
) -> PyResult<Option<T>> {
    let (Some(method), Some(url), Some(given)) = (Text::of(method), Text::of(url), pairs(headers))
    else {
        return Ok(None);
    };
    let Some(url) = Url::plain(url.as_bytes()) else {
        return Ok(None);
    };
    let body = if content.is_none() {
        None
    } else if content.is_exact_instance_of::<PyBytes>() {
        Some(convert::bytes(content)?)
    } else {
        return Ok(None);
    };

    // httpcore's `include_request_headers`.
    let says = |name: &[u8]| {
        given
            .iter()
            .any(|(said, _)| said.as_bytes().eq_ignore_ascii_case(name))
    };
    let (host, length);
    let mut headers: Vec<(&[u8], &[u8])> = Vec::with_capacity(given.len() + 2);
    if !says(b"host") {
        host = url.host_header();
        headers.push((b"Host", &host));
    }
    headers.extend((given.iter()).map(|(name, value)| (name.as_bytes(), value.as_bytes())));
    if let Some(body) = &body
        && !says(b"content-length")
        && !says(b"transfer-encoding")
    {
        length = body.len().to_string();
        headers.push((b"Content-Length", length.as_bytes()));
    }
    let outgoing = Outgoing {
        method: method.as_bytes(),
        scheme: url.scheme,
        host: url.host,
        port: url.port.map(i64::from),
        target: url.target,
        headers,
        body: RequestBody::Whole(body.unwrap_or_default()),
    };
    send(outgoing).map(Some)
}

/// Names and values, from a dictionary, or from a list or tuple of tuples.
fn pairs<'py>(headers: &Bound<'py, PyAny>) -> Option<Vec<(Text<'py>, Text<'py>)>> {
    let pair = |name: &Bound<'py, PyAny>, value: &Bound<'py, PyAny>| {
        Some((Text::of(name)?, Text::of(value)?))
    };
    if headers.is_none() {
        return Some(Vec::new());
    }
    if let Ok(headers) = headers.cast_exact::<PyDict>() {
        return headers
            .iter()
            .map(|(name, value)| pair(&name, &value))
            .collect();
    }
    let of_tuple = |entry: Bound<'py, PyAny>| {
        let entry = entry.cast_exact::<PyTuple>().ok()?;
        match entry.len() {
            2 => pair(&entry.get_item(0).ok()?, &entry.get_item(1).ok()?),
            _ => None,
        }
    };
    if let Ok(headers) = headers.cast_exact::<PyList>() {
        return headers.iter().map(of_tuple).collect();
    }
    let headers = headers.cast_exact::<PyTuple>().ok()?;
    headers.iter().map(of_tuple).collect()
}
