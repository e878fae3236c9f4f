//! Convert: Python values copied once on the way in, built once on the way out.

use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::ffi;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use pyo3::types::{PyBool, PyByteArray, PyBytes, PyDict, PyList, PyString, PyTuple};

use super::ssl;
use crate::cell::Part;
use crate::connect::{Credentials, HttpProxy, Protocol, Proxy, SocketOption, SocketOptionValue};
use crate::connection::{HeaderList, ResponseHead};
use crate::heap;
use crate::origin::{Origin, default_port};
use crate::timeouts::Timeouts;

/// Below this a copy is cheaper than keeping the Python object alive and giving its reference back.
const SHARE_FROM: usize = 16 * 1024;

/// A part of this size comes from a download, and more of them follow.
const LARGE_PART: usize = 64 * 1024;

/// The bytes of a `bytes` object, shared if they are many. `bytearray`, `memoryview` and whatever else
/// has a buffer is copied, since it may change under us.
pub(super) fn bytes(value: &Bound<'_, PyAny>) -> PyResult<Bytes> {
    if let Ok(exact) = value.cast::<PyBytes>() {
        let slice = exact.as_bytes();
        return Ok(if slice.len() < SHARE_FROM {
            Bytes::copy_from_slice(slice)
        } else {
            Bytes::from_owner(PyBackedBytes::from(exact.clone()))
        });
    }
    if value.is_instance_of::<PyString>() {
        return Err(PyTypeError::new_err(
            "a bytes-like object is required, not 'str'",
        ));
    }
    // The buffer protocol is outside the stable ABI of CPython 3.10, so `memoryview` reads it for us.
    let view = value
        .py()
        .import("builtins")?
        .getattr(intern!(value.py(), "memoryview"))?
        .call1((value,))?;
    let copy = view.call_method0(intern!(value.py(), "tobytes"))?;
    Ok(Bytes::copy_from_slice(copy.cast::<PyBytes>()?.as_bytes()))
}

/// The origin of a URL's parts, with the port filled in.
///
/// As in httpcore, a port of `None` or 0 means the scheme's own.
pub(super) fn origin(scheme: &[u8], host: &[u8], port: Option<i64>) -> PyResult<Origin> {
    let port = match port {
        None | Some(0) => default_port(scheme).into(),
        Some(port) => u32::try_from(port)
            .map_err(|_| PyValueError::new_err(format!("port {port} is out of range")))?,
    };
    Ok(Origin {
        scheme: Bytes::copy_from_slice(scheme),
        host: Bytes::copy_from_slice(host),
        port,
    })
}

/// Headers, pairs of `bytes` as httpcore's models make them.
pub(super) fn header_pairs<'py>(
    headers: &Bound<'py, PyList>,
) -> PyResult<Vec<(Bound<'py, PyBytes>, Bound<'py, PyBytes>)>> {
    let mut pairs = Vec::with_capacity(headers.len());
    for header in headers.iter() {
        let pair = header.cast::<PyTuple>()?;
        pairs.push((
            pair.get_item(0)?.cast_into::<PyBytes>()?,
            pair.get_item(1)?.cast_into::<PyBytes>()?,
        ));
    }
    Ok(pairs)
}

pub(super) fn slices<'a>(
    pairs: &'a [(Bound<'_, PyBytes>, Bound<'_, PyBytes>)],
) -> Vec<(&'a [u8], &'a [u8])> {
    let pairs = pairs.iter();
    pairs
        .map(|(name, value)| (name.as_bytes(), value.as_bytes()))
        .collect()
}

/// The `Settings` of `_proxy.py`.
pub(super) fn proxy(settings: &Bound<'_, PyAny>) -> PyResult<Proxy> {
    let py = settings.py();
    let bytes_of = |name: &Bound<'_, PyString>| bytes(&settings.getattr(name)?);
    let is_socks: bool = settings.getattr(intern!(py, "is_socks"))?.extract()?;
    let protocol = if is_socks {
        let auth: Option<(PyBackedBytes, PyBackedBytes)> =
            settings.getattr(intern!(py, "auth"))?.extract()?;
        Protocol::Socks5(auth.map(|(user, password)| Credentials {
            user: Bytes::copy_from_slice(&user),
            password: Bytes::copy_from_slice(&password),
        }))
    } else {
        let headers: Vec<(PyBackedBytes, PyBackedBytes)> =
            settings.getattr(intern!(py, "headers"))?.extract()?;
        let sessions = settings.getattr(intern!(py, "sessions"))?;
        Protocol::Http(HttpProxy {
            headers: (headers.iter())
                .map(|(name, value)| (Bytes::copy_from_slice(name), Bytes::copy_from_slice(value)))
                .collect(),
            tls: Some(ssl::Context::chosen(&sessions)?),
        })
    };
    Ok(Proxy {
        origin: Origin {
            scheme: bytes_of(intern!(py, "scheme"))?,
            host: bytes_of(intern!(py, "host"))?,
            port: settings.getattr(intern!(py, "port"))?.extract()?,
        },
        protocol,
    })
}

/// The `timeout` extension: a mapping with up to four of the keys, each a number of seconds or `None`.
pub(super) fn timeouts(extension: Option<&Bound<'_, PyAny>>) -> PyResult<Timeouts> {
    let Some(extension) = extension else {
        return Ok(Timeouts::default());
    };
    let py = extension.py();
    let one = |key: &Bound<'_, PyString>| -> PyResult<Option<Duration>> {
        let value = match extension.cast::<PyDict>() {
            Ok(dict) => dict.get_item(key)?,
            Err(_) => Some(extension.call_method1(intern!(py, "get"), (key,))?),
        };
        match value {
            Some(value) if !value.is_none() => seconds(&value),
            _ => Ok(None),
        }
    };
    Ok(Timeouts {
        connect: one(intern!(py, "connect"))?,
        read: one(intern!(py, "read"))?,
        write: one(intern!(py, "write"))?,
        pool: one(intern!(py, "pool"))?,
    })
}

/// A number of seconds. What is too large for the clock, infinity included, is no limit at all.
pub(super) fn seconds(value: &Bound<'_, PyAny>) -> PyResult<Option<Duration>> {
    let seconds: f64 = value.extract()?;
    if seconds.is_nan() {
        return Err(PyValueError::new_err("a timeout may not be NaN"));
    }
    if seconds < 0.0 {
        // The socket module's words.
        return Err(PyValueError::new_err("Timeout value out of range"));
    }
    Ok(Duration::try_from_secs_f64(seconds).ok())
}

/// One `setsockopt` tuple: `(level, option, int)`, `(level, option, bytes)` or
/// `(level, option, None, length)`.
pub(super) fn socket_option(option: &Bound<'_, PyAny>) -> PyResult<SocketOption> {
    let parts: Vec<Bound<'_, PyAny>> = option.try_iter()?.collect::<PyResult<_>>()?;
    let (level, name, value) = match parts.as_slice() {
        [level, name, value]
            if value.is_instance_of::<PyBytes>() || value.is_instance_of::<PyByteArray>() =>
        {
            (
                level,
                name,
                SocketOptionValue::Bytes(bytes(value)?.to_vec()),
            )
        }
        [level, name, value] => (level, name, SocketOptionValue::Int(value.extract()?)),
        [level, name, value, length] if value.is_none() => {
            (level, name, SocketOptionValue::Null(length.extract()?))
        }
        _ => {
            return Err(PyTypeError::new_err(format!(
                "a socket option is (level, option, value), not {option}"
            )));
        }
    };
    Ok(SocketOption {
        level: level.extract()?,
        name: name.extract()?,
        value,
    })
}

/// A path as `os.fspath` gives it.
pub(super) fn path(value: &Bound<'_, PyAny>) -> PyResult<PathBuf> {
    value.extract()
}

/// Whom a certificate must name: text, or ASCII bytes as `ssl` takes them as well.
pub(super) fn server_name(value: &Bound<'_, PyAny>) -> PyResult<String> {
    if let Ok(bytes) = value.cast::<PyBytes>() {
        let text = str::from_utf8(bytes.as_bytes());
        return Ok(text
            .map_err(|_| PyValueError::new_err("a server name is ASCII"))?
            .to_owned());
    }
    value.extract()
}

/// How the headers of a response are to look in Python.
#[derive(Clone, Copy, Debug)]
pub(super) enum HeaderForm {
    /// Names and values, httpcore's form.
    Pairs,
    /// Between the two the name in lower case: what an httpx's `Headers` keeps.
    Lines,
}

/// What a part looks like in Python; see `_rust.pyi`.
pub(super) fn part(py: Python<'_>, part: Part, form: HeaderForm) -> PyResult<Py<PyAny>> {
    match part {
        Part::Acquired { connects } => Ok(PyBool::new(py, connects).to_owned().into_any().unbind()),
        Part::Gone { answer: None } | Part::Secured => Ok(py.None()),
        Part::Gone {
            answer: Some(answer),
        } => {
            let answer = (
                PyBytes::new(py, &answer.version),
                answer.status,
                PyBytes::new(py, answer.reason.as_deref().unwrap_or_default()),
                headers(py, &answer.headers, HeaderForm::Pairs)?,
            );
            Ok(answer.into_pyobject(py)?.into_any().unbind())
        }
        Part::Sent { takes_more } => Ok(PyBool::new(py, takes_more).to_owned().into_any().unbind()),
        Part::Body(frames) if frames.is_empty() => Ok(py.None()),
        Part::Body(frames) => Ok(join(py, &frames)?.into_any().unbind()),
        Part::Head { head, body, ended } => {
            let first = if body.is_empty() {
                py.None().into_bound(py)
            } else {
                join(py, &body)?.into_any()
            };
            let head = (
                head.status,
                headers(py, &head.headers, form)?,
                extensions(py, &head)?,
                first,
                PyBool::new(py, ended),
            );
            Ok(head.into_pyobject(py)?.into_any().unbind())
        }
    }
}

/// Trailers as a header list; empty for none.
pub(super) fn trailers(py: Python<'_>, trailers: Option<&HeaderList>) -> PyResult<Py<PyAny>> {
    let list = match trailers {
        Some(trailers) => headers(py, trailers, HeaderForm::Pairs)?,
        None => PyList::empty(py),
    };
    Ok(list.into_any().unbind())
}

fn headers<'py>(
    py: Python<'py>,
    headers: &HeaderList,
    form: HeaderForm,
) -> PyResult<Bound<'py, PyList>> {
    let list = PyList::empty(py);
    for (name, value) in headers.iter() {
        let kept = (PyBytes::new(py, name), PyBytes::new(py, value));
        match form {
            HeaderForm::Pairs => list.append(kept)?,
            HeaderForm::Lines => {
                let lower = match name.iter().any(u8::is_ascii_uppercase) {
                    true => PyBytes::new(py, &name.to_ascii_lowercase()),
                    false => kept.0.clone(),
                };
                list.append((kept.0, lower, kept.1))?;
            }
        }
    }
    Ok(list)
}

fn extensions<'py>(py: Python<'py>, head: &ResponseHead) -> PyResult<Bound<'py, PyDict>> {
    let extensions = PyDict::new(py);
    extensions.set_item(intern!(py, "http_version"), PyBytes::new(py, &head.version))?;
    if let Some(reason) = &head.reason {
        extensions.set_item(intern!(py, "reason_phrase"), PyBytes::new(py, reason))?;
    }
    if let Some(id) = head.stream_id {
        extensions.set_item(intern!(py, "stream_id"), id)?;
    }
    Ok(extensions)
}

/// One `bytes` object over all frames, with a single copy into memory that was not cleared first.
#[allow(unsafe_code)] // pyo3's safe constructor zeroes the memory, a tenth of a download's time
fn join<'py>(py: Python<'py>, frames: &[Bytes]) -> PyResult<Bound<'py, PyBytes>> {
    let length: usize = frames.iter().map(Bytes::len).sum();
    if length >= LARGE_PART {
        heap::expect_large_blocks();
    }
    let size = ffi::Py_ssize_t::try_from(length)
        .map_err(|_| PyValueError::new_err("a body part is larger than Python's bytes can be"))?;
    // SAFETY: a null source asks for an uninitialised object of `size` bytes. The call returns a new
    // reference or null with an exception set, which is what `from_owned_ptr_or_err` takes.
    let joined = unsafe {
        Bound::from_owned_ptr_or_err(py, ffi::PyBytes_FromStringAndSize(std::ptr::null(), size))?
    };
    // SAFETY: the object was made above, nobody else has seen it, and it is exactly `length` bytes
    // long; the frames' lengths sum up to `length`, so each copy stays inside. Sources and target are
    // different allocations.
    unsafe {
        let mut at = ffi::PyBytes_AsString(joined.as_ptr()).cast::<u8>();
        for frame in frames {
            std::ptr::copy_nonoverlapping(frame.as_ptr(), at, frame.len());
            at = at.add(frame.len());
        }
    }
    Ok(joined.cast_into()?)
}
