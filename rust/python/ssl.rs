//! Ssl: TLS sessions whose cryptography is done by Python's `ssl` module.
//!
//! `httpcore_hyper._ssl` says how; here its objects stand behind the traits of `tls/`. They are called on the
//! runtime's threads for blocking work, which attach to the interpreter for the call.

use std::sync::Arc;

use pyo3::intern;
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use pyo3::types::PyBytes;

use crate::tls::{self, Failure, Hello, Secured, Turn};

/// The `Sessions` of `_ssl.py`: what one pool opens its sessions with.
#[derive(Debug)]
pub(super) struct Context(Py<PyAny>);

impl Context {
    pub(super) fn shared(sessions: &Bound<'_, PyAny>) -> Arc<dyn tls::Context> {
        Arc::new(Self(sessions.clone().unbind()))
    }
}

impl tls::Context for Context {
    fn open(&self, hello: &Hello) -> Result<Box<dyn tls::Session>, Failure> {
        attached(|py| {
            let name = intern!(py, "open");
            let arguments = (&hello.server_name, &hello.protocols);
            let session = self.0.bind(py).call_method1(name, arguments)?;
            let ssl_object = session.getattr(intern!(py, "ssl_object"))?.unbind();
            Ok(Box::new(Session {
                session: session.unbind(),
                secured: Arc::new(SslObject(ssl_object)),
            }) as Box<dyn tls::Session>)
        })
    }
}

/// What `get_extra_info("ssl_object")` gives.
pub(super) struct SslObject(pub(super) Py<PyAny>);

/// A `Session` of `_ssl.py`.
struct Session {
    session: Py<PyAny>,
    secured: Secured,
}

/// `(opened, sealed, unsealed, is_shaken, is_closed, error)`; see `_ssl.py`.
type Out<'py> = (
    PyBackedBytes,
    PyBackedBytes,
    usize,
    bool,
    bool,
    Option<Bound<'py, PyAny>>,
);

impl tls::Session for Session {
    fn turn(&mut self, turn: &mut Turn) {
        let taken = attached(|py| {
            let arguments = (
                PyBytes::new(py, &turn.received),
                turn.ended,
                PyBytes::new(py, &turn.outgoing),
            );
            let out = self
                .session
                .bind(py)
                .call_method1(intern!(py, "turn"), arguments)?;
            let (opened, sealed, unsealed, is_shaken, is_closed, error): Out<'_> = out.extract()?;
            turn.opened = opened.to_vec();
            turn.sealed = sealed.to_vec();
            let taken = turn.outgoing.len().saturating_sub(unsealed);
            turn.outgoing.drain(..taken);
            turn.is_shaken = is_shaken;
            turn.is_closed = is_closed;
            turn.failure = error.map(|error| failure(py, PyErr::from_value(error)));
            Ok(())
        });
        turn.received.clear();
        if let Err(failure) = taken {
            turn.failure = Some(failure);
        }
    }

    fn secured(&self) -> Secured {
        Arc::clone(&self.secured)
    }
}

/// Calls into the interpreter, unless it is ending.
fn attached<T>(call: impl FnOnce(Python<'_>) -> PyResult<T>) -> Result<T, Failure> {
    Python::try_attach(|py| call(py).map_err(|error| failure(py, error)))
        .unwrap_or_else(|| Err(Failure::new("the interpreter is ending")))
}

fn failure(py: Python<'_>, error: PyErr) -> Failure {
    Failure::with_cause(error.value(py).to_string(), Arc::new(error))
}

/// The exception that a failure was made of.
pub(super) fn exception(py: Python<'_>, failure: &Failure) -> Option<PyErr> {
    let error = failure.cause()?.downcast_ref::<PyErr>()?;
    Some(error.clone_ref(py))
}
