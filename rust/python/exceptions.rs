//! Exceptions: each kind of failure becomes one exception class of httpcore.
//!
//! The classes belong to Python (httpx maps them by identity) and come with the flavour that a pool was
//! made for. No class of our own leaves the library.

use std::io;

use pyo3::exceptions::{PyException, PyOSError, PyRuntimeError};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::PyType;

use super::call_out::import;
use super::ssl;
use crate::cell::Failure;
use crate::error::{Cause, Error, Kind};
use crate::tls;

pyo3::create_exception!(
    httpcore_hyper._rust,
    Moved,
    PyException,
    "The pool no longer serves this request and has sent nothing of it. Never leaves the pool."
);

/// The exception classes of one flavour (httpcore or a fork of it).
#[derive(Debug)]
pub(super) struct Exceptions {
    pool_timeout: Py<PyType>,
    connect_timeout: Py<PyType>,
    read_timeout: Py<PyType>,
    write_timeout: Py<PyType>,
    connect: Py<PyType>,
    read: Py<PyType>,
    write: Py<PyType>,
    local_protocol: Py<PyType>,
    remote_protocol: Py<PyType>,
    proxy: Py<PyType>,
}

impl Exceptions {
    /// Reads the classes off a module object, under httpcore's names.
    pub(super) fn of(module: &Bound<'_, PyAny>) -> PyResult<Self> {
        let class = |name: &str| -> PyResult<Py<PyType>> {
            Ok(module.getattr(name)?.cast_into::<PyType>()?.unbind())
        };
        Ok(Self {
            pool_timeout: class("PoolTimeout")?,
            connect_timeout: class("ConnectTimeout")?,
            read_timeout: class("ReadTimeout")?,
            write_timeout: class("WriteTimeout")?,
            connect: class("ConnectError")?,
            read: class("ReadError")?,
            write: class("WriteError")?,
            local_protocol: class("LocalProtocolError")?,
            remote_protocol: class("RemoteProtocolError")?,
            proxy: class("ProxyError")?,
        })
    }

    fn class<'py>(&self, py: Python<'py>, kind: Kind) -> Bound<'py, PyType> {
        let class = match kind {
            Kind::PoolTimeout => &self.pool_timeout,
            Kind::ConnectTimeout => &self.connect_timeout,
            Kind::ReadTimeout => &self.read_timeout,
            Kind::WriteTimeout => &self.write_timeout,
            Kind::Connect => &self.connect,
            Kind::Read => &self.read,
            Kind::Write => &self.write,
            Kind::LocalProtocol => &self.local_protocol,
            Kind::RemoteProtocol => &self.remote_protocol,
            Kind::Proxy => &self.proxy,
            Kind::Moved => return py.get_type::<Moved>(),
        };
        class.bind(py).clone()
    }

    /// The exception for `error`. Its first argument is the underlying exception where there is one, as
    /// httpcore's `map_exceptions` leaves it.
    pub(super) fn of_error(&self, py: Python<'_>, error: &Error) -> PyErr {
        let class = self.class(py, error.kind());
        match self.argument(py, error) {
            Ok(Some(argument)) => {
                let raised = PyErr::from_type(class, (argument.clone_ref(py),));
                self.over(py, raised, &argument)
            }
            Ok(None) => PyErr::from_type(class, ()),
            Err(raised) => raised,
        }
    }

    fn argument(&self, py: Python<'_>, error: &Error) -> PyResult<Option<Py<PyAny>>> {
        Ok(match error.cause() {
            Cause::Io(error) => match tls::Failure::inside(error) {
                None => Some(os_error(py, error)?.unbind()),
                Some(failure) => {
                    let raised = ssl::exception(py, failure)?;
                    if !raised.is_instance_of::<PyOSError>(py) {
                        // Not of the network: a name that no certificate can have. httpcore lets it through.
                        return Err(raised);
                    }
                    Some(raised.into_value(py).into_any())
                }
            },
            Cause::Resolve { code, message } => {
                let gaierror = import(py, intern!(py, "socket"))?.getattr("gaierror")?;
                Some(gaierror.call1((code, message))?.unbind())
            }
            Cause::Message(message) => Some(message.into_pyobject(py)?.into_any().unbind()),
            // What the socket module says of a timeout; asyncio and trio say nothing at all.
            Cause::None => match error.kind() {
                Kind::ConnectTimeout | Kind::ReadTimeout | Kind::WriteTimeout => {
                    Some("timed out".into_pyobject(py)?.into_any().unbind())
                }
                _ => None,
            },
        })
    }

    /// As httpcore's pools raise: what lies under an exception is its context, and not printed with it.
    fn over(&self, py: Python<'_>, raised: PyErr, under: &Py<PyAny>) -> PyErr {
        if under.bind(py).is_instance_of::<PyException>() {
            raised.set_cause(py, None);
            raised.set_context(py, Some(PyErr::from_value(under.bind(py).clone())));
        }
        raised
    }

    /// The exception for whatever ended an exchange.
    pub(super) fn of_failure(&self, py: Python<'_>, failure: Failure) -> PyErr {
        match failure {
            Failure::Error(error) => self.of_error(py, &error),
            Failure::Closed => PyErr::from_type(
                self.read.bind(py).clone(),
                ("The response has been closed.",),
            ),
            Failure::Panic(text) => {
                PyRuntimeError::new_err(format!("httpcore_hyper panicked, which is a bug: {text}"))
            }
        }
    }
}

/// `OSError(errno, text)`, which Python turns into the subclass for that number.
pub(super) fn os_error<'py>(py: Python<'py>, error: &io::Error) -> PyResult<Bound<'py, PyAny>> {
    let class = py.get_type::<PyOSError>();
    match error.raw_os_error() {
        Some(code) => {
            let text = import(py, intern!(py, "os"))?.call_method1("strerror", (code,))?;
            class.call1((code, text))
        }
        None => class.call1((error.to_string(),)),
    }
}
