//! Ssl: TLS sessions whose cryptography is done by Python's `ssl` module.
//!
//! `httpcore_hyper._ssl` says how; here its objects stand behind the traits of `tls/`. They are called on the
//! runtime's threads for blocking work, which attach to the interpreter for the call.

use std::sync::Arc;

use pyo3::exceptions::PyValueError;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use pyo3::types::PyBytes;

use super::call_out::{CallOut, import};
use super::modules;
use crate::tls::{self, Complaint, Failure, Hello, Reason, Secured, Turn};
use crate::visits::{Library, Visit, watch_exit};

/// The number that OpenSSL has for what went wrong in TLS itself.
const SSL_ERROR_SSL: i32 = 1;

/// The `Sessions` of `_ssl.py`: what one pool opens its sessions with.
#[derive(Debug)]
pub(super) struct Context(Py<PyAny>);

impl Context {
    /// Sessions by Python's `ssl` alone.
    pub(super) fn shared(sessions: &Bound<'_, PyAny>) -> Arc<dyn tls::Context> {
        Arc::new(Self(sessions.clone().unbind()))
    }

    /// Sessions as `tls=` asks for them: `"auto"`, `"python"` or `"rustls"`.
    pub(super) fn chosen(sessions: &Bound<'_, PyAny>) -> PyResult<Arc<dyn tls::Context>> {
        let py = sessions.py();
        let policy: String = sessions.getattr(intern!(py, "policy"))?.extract()?;
        match policy.as_str() {
            "auto" => Ok(Self::proving(sessions, tls::Policy::Auto)),
            "rustls" if cfg!(feature = "rustls") => {
                Ok(Self::proving(sessions, tls::Policy::Rustls))
            }
            "rustls" => Err(PyValueError::new_err("this build is one without rustls")),
            _ => Ok(Self::shared(sessions)),
        }
    }

    #[cfg(feature = "rustls")]
    fn proving(sessions: &Bound<'_, PyAny>, policy: tls::Policy) -> Arc<dyn tls::Context> {
        let judge = Self(sessions.clone().unbind());
        Arc::new(tls::Proving::new(judge, policy))
    }

    #[cfg(not(feature = "rustls"))]
    fn proving(sessions: &Bound<'_, PyAny>, _policy: tls::Policy) -> Arc<dyn tls::Context> {
        Self::shared(sessions)
    }
}

#[cfg(feature = "rustls")]
impl tls::Judge for Context {
    fn look(&self) -> tls::Look {
        let looked = attached(|py| {
            let look = self.0.bind(py).call_out0(intern!(py, "look"))?;
            let (objection, verifies, attributes) = look.extract()?;
            Ok(tls::Look {
                objection,
                verifies,
                attributes,
            })
        });
        // A context that cannot be looked at is none that could be replaced.
        looked.unwrap_or_else(|failure| tls::Look {
            objection: Some(failure.to_string()),
            verifies: true,
            attributes: Vec::new(),
        })
    }

    fn trusting(&self, authority: &[u8]) -> Result<Box<dyn tls::Context>, Failure> {
        attached(|py| {
            let name = intern!(py, "trusting");
            let sessions = self
                .0
                .bind(py)
                .call_out(name, (PyBytes::new(py, authority),))?;
            Ok(Box::new(Self(sessions.unbind())) as Box<dyn tls::Context>)
        })
    }

    fn explain(&self, reason: &str) {
        // A log that fails is no reason to fail.
        let _ = attached(|py| {
            self.0
                .bind(py)
                .call_out(intern!(py, "explain"), (reason,))?;
            Ok(())
        });
    }
}

/// What `get_extra_info("ssl_object")` gives, and the name of what does the cryptography.
pub(super) fn ssl_object(py: Python<'_>, secured: &Secured) -> PyResult<(Py<PyAny>, &'static str)> {
    if let Some(object) = secured.downcast_ref::<SslObject>() {
        return Ok((object.0.clone_ref(py), "python"));
    }
    #[cfg(feature = "rustls")]
    if let Some(facts) = secured.downcast_ref::<tls::Facts>()
        && let Some(known) = facts.known()
    {
        let class = modules::ssl(py)?.getattr(intern!(py, "RustlsObject"))?;
        let protocol = known.protocol.as_deref().map(String::from_utf8_lossy);
        let leaf = known.chain.first().map(|leaf| PyBytes::new(py, leaf));
        let (name, bits) = known.cipher;
        let about = (
            name,
            bits,
            protocol,
            leaf,
            &facts.server_name,
            facts.verifies,
        );
        return Ok((class.call1(about)?.unbind(), "rustls"));
    }
    Ok((py.None(), "rustls"))
}

impl tls::Context for Context {
    fn open(&self, hello: &Hello) -> Result<Box<dyn tls::Session>, Failure> {
        attached(|py| {
            let name = intern!(py, "open");
            let arguments = (&hello.server_name, &hello.protocols);
            let session = self.0.bind(py).call_out(name, arguments)?;
            let ssl_object = session.getattr(intern!(py, "ssl_object"))?.unbind();
            Ok(Box::new(Session {
                session: session.unbind(),
                secured: Arc::new(SslObject(ssl_object)),
                protocol: None,
            }) as Box<dyn tls::Session>)
        })
    }
}

/// What `get_extra_info("ssl_object")` gives.
struct SslObject(Py<PyAny>);

/// A `Session` of `_ssl.py`.
struct Session {
    session: Py<PyAny>,
    secured: Secured,
    /// What was agreed on by ALPN, looked up in the turn that ends the handshake. The outer `None`: it has not.
    protocol: Option<Option<Vec<u8>>>,
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
                .call_out(intern!(py, "turn"), arguments)?;
            let (opened, sealed, unsealed, is_shaken, is_closed, error): Out<'_> = out.extract()?;
            turn.opened = opened.to_vec();
            turn.sealed = sealed.to_vec();
            let taken = turn.outgoing.len().saturating_sub(unsealed);
            turn.outgoing.drain(..taken);
            if is_shaken && self.protocol.is_none() {
                let object = self.session.bind(py).getattr(intern!(py, "ssl_object"))?;
                let agreed = object.call_out0(intern!(py, "selected_alpn_protocol"))?;
                let agreed: Option<String> = agreed.extract()?;
                self.protocol = Some(agreed.map(String::into_bytes));
            }
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

    fn protocol(&self) -> Option<Vec<u8>> {
        self.protocol.clone().flatten()
    }

    fn secured(&self) -> Secured {
        Arc::clone(&self.secured)
    }
}

/// Calls into the interpreter, unless it is ending.
fn attached<T>(call: impl FnOnce(Python<'_>) -> PyResult<T>) -> Result<T, Failure> {
    // Whoever has a context has initialised OpenSSL.
    watch_exit(Library::OpenSsl);
    let visit = Visit::begin(Library::OpenSsl);
    let called = Python::try_attach(|py| {
        visit.enter();
        call(py).map_err(|error| failure(py, error))
    });
    called.unwrap_or_else(|| Err(Failure::new("the interpreter is ending")))
}

fn failure(py: Python<'_>, error: PyErr) -> Failure {
    let complaint = complaint(py, &error).unwrap_or(Complaint::Other);
    Failure::with_cause(error.value(py).to_string(), Arc::new(error), complaint)
}

fn complaint(py: Python<'_>, error: &PyErr) -> PyResult<Complaint> {
    let ssl = import(py, intern!(py, "ssl"))?;
    let rejected = ssl.getattr(intern!(py, "SSLCertVerificationError"))?;
    if error.value(py).is_instance(&rejected)? {
        return Ok(Complaint::Certificate);
    }
    let reason: Option<String> = error.value(py).getattr(intern!(py, "reason"))?.extract()?;
    Ok(match reason.as_deref() {
        Some("BAD_SIGNATURE") => Complaint::Signature,
        _ => Complaint::Other,
    })
}

/// The exception that a failure was made of; else one of `ssl`'s, in OpenSSL's words where it has some.
pub(super) fn exception(py: Python<'_>, failure: &Failure) -> PyResult<PyErr> {
    if let Some(error) = failure
        .cause()
        .and_then(|cause| cause.downcast_ref::<PyErr>())
    {
        return Ok(error.clone_ref(py));
    }
    let ssl = modules::ssl(py)?;
    let error = match failure.reason() {
        Some(Reason::Alert(code)) => ssl.call_out(intern!(py, "alerted"), (code,))?,
        Some(Reason::Named(name)) => ssl.call_out(intern!(py, "named"), (name,))?,
        None => {
            let class = import(py, intern!(py, "ssl"))?.getattr(intern!(py, "SSLError"))?;
            class.call1((SSL_ERROR_SSL, failure.to_string()))?
        }
    };
    Ok(PyErr::from_value(error))
}
