//! Exchange: the two handles that Python holds on a request in flight, one for each door.
//!
//! Their methods are equal; `AsyncExchange` returns something to await where `Exchange` returns the
//! value. Dropping either ends the exchange. What there is to await is `awaiting`'s.

use std::sync::Arc;

use pyo3::prelude::*;

use super::block_on::Callers;
use super::convert::{self, HeaderForm};
use super::exceptions::Exceptions;
use super::network_stream::{AsyncNetworkStream, Network, NetworkStream};
use super::running::Current;
use super::turns::Turns;
use crate::cell::{ExchangeCell, Failure, Part, Want};
use crate::connect::Leg;
use crate::error::{Error, Kind};
use crate::process::ForkLocal;

/// What both handles hold.
pub(super) struct Handle {
    cell: ForkLocal<Held>,
    exceptions: Arc<Exceptions>,
    headers: HeaderForm,
}

/// # Drop
///
/// Ends the exchange.
struct Held(Arc<ExchangeCell>);

impl Drop for Held {
    fn drop(&mut self) {
        self.0.close();
    }
}

impl Handle {
    /// `headers` are those of the response.
    pub(super) fn new(
        cell: Arc<ExchangeCell>,
        exceptions: Arc<Exceptions>,
        headers: HeaderForm,
    ) -> Self {
        Self {
            cell: ForkLocal::new(Held(cell)),
            exceptions,
            headers,
        }
    }

    /// The cell, if it belongs to this process.
    pub(super) fn cell(&self, py: Python<'_>) -> PyResult<&Arc<ExchangeCell>> {
        match self.cell.get() {
            Some(held) => Ok(&held.0),
            None => Err(self.raise(py, left_behind())),
        }
    }

    fn push(&self, py: Python<'_>, chunk: &Bound<'_, PyAny>) -> PyResult<()> {
        let cell = self.cell(py)?;
        let chunk = convert::bytes(chunk)?;
        cell.push(chunk).map_err(|failure| self.raise(py, failure))
    }

    fn finish(&self, py: Python<'_>) -> PyResult<()> {
        let cell = self.cell(py)?;
        cell.finish().map_err(|failure| self.raise(py, failure))
    }

    pub(super) fn value(&self, py: Python<'_>, part: Result<Part, Failure>) -> PyResult<Py<PyAny>> {
        match part {
            Ok(part) => convert::part(py, part, self.headers),
            Err(failure) => Err(self.raise(py, failure)),
        }
    }

    /// A waiter of the running loop: what the caller awaits, and the key of its announcement.
    pub(super) fn register<'py>(
        &self,
        py: Python<'py>,
        current: &Current<'py>,
    ) -> PyResult<(Bound<'py, PyAny>, usize)> {
        current.register(py, &self.exceptions, self.headers)
    }

    fn raise(&self, py: Python<'_>, failure: Failure) -> PyErr {
        self.exceptions.of_failure(py, failure)
    }

    fn network_stream(&self, py: Python<'_>) -> PyResult<Network> {
        let cell = self.cell(py)?;
        Ok(Network::of(cell, Arc::clone(&self.exceptions)))
    }

    fn stream_id(&self, py: Python<'_>) -> PyResult<Option<u32>> {
        Ok(self.cell(py)?.stream_id())
    }

    fn trailers(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        let trailers = self.cell(py)?.take_trailers();
        convert::trailers(py, trailers.as_ref())
    }

    fn close(&self) {
        if let Some(held) = self.cell.get() {
            held.0.close();
        }
    }
}

/// What a forked child is told of the parent's requests.
pub(super) fn left_behind() -> Failure {
    Failure::Error(Error::message(
        Kind::Read,
        "The request was in flight when the process forked; it belongs to the parent.",
    ))
}

/// A request in flight, for asyncio and trio.
#[pyclass(frozen, module = "httpcore_hyper._rust")]
pub(super) struct AsyncExchange {
    pub(super) handle: Handle,
    pub(super) turns: Turns,
}

impl AsyncExchange {
    pub(super) fn new(handle: Handle) -> Self {
        Self {
            handle,
            turns: Turns::default(),
        }
    }
}

#[pymethods]
impl AsyncExchange {
    fn acquire(slf: &Bound<'_, Self>) -> PyResult<Py<PyAny>> {
        Self::wait(slf, Want::Acquired)
    }

    fn connect(slf: &Bound<'_, Self>) -> PyResult<Py<PyAny>> {
        Self::wait(slf, Want::Gone(Leg::Socket))
    }

    fn secure_proxy(slf: &Bound<'_, Self>) -> PyResult<Py<PyAny>> {
        Self::wait(slf, Want::Gone(Leg::ProxyTls))
    }

    fn ask_proxy(slf: &Bound<'_, Self>) -> PyResult<Py<PyAny>> {
        Self::wait(slf, Want::Gone(Leg::Ask))
    }

    fn proxy_answer(slf: &Bound<'_, Self>) -> PyResult<Py<PyAny>> {
        Self::wait(slf, Want::Gone(Leg::Answer))
    }

    fn agree(slf: &Bound<'_, Self>) -> PyResult<Py<PyAny>> {
        Self::wait(slf, Want::Gone(Leg::Agreement))
    }

    fn secure(slf: &Bound<'_, Self>) -> PyResult<Py<PyAny>> {
        Self::wait(slf, Want::Gone(Leg::OriginTls))
    }

    fn send(slf: &Bound<'_, Self>) -> PyResult<Py<PyAny>> {
        Self::wait(slf, Want::Sent)
    }

    fn write(slf: &Bound<'_, Self>, chunk: &Bound<'_, PyAny>) -> PyResult<Py<PyAny>> {
        slf.get().handle.push(slf.py(), chunk)?;
        Self::wait(slf, Want::Sent)
    }

    fn finish(slf: &Bound<'_, Self>) -> PyResult<Py<PyAny>> {
        slf.get().handle.finish(slf.py())?;
        Self::wait(slf, Want::Sent)
    }

    fn head(slf: &Bound<'_, Self>) -> PyResult<Py<PyAny>> {
        Self::wait(slf, Want::Head)
    }

    fn read(slf: &Bound<'_, Self>) -> PyResult<Py<PyAny>> {
        Self::wait(slf, Want::Body)
    }

    fn network_stream(&self, py: Python<'_>) -> PyResult<AsyncNetworkStream> {
        Ok(AsyncNetworkStream::new(self.handle.network_stream(py)?))
    }

    fn stream_id(&self, py: Python<'_>) -> PyResult<Option<u32>> {
        self.handle.stream_id(py)
    }

    fn trailers(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        self.handle.trailers(py)
    }

    fn close(&self) {
        self.handle.close();
    }
}

/// A request in flight, run by the thread that waits for it.
#[pyclass(frozen, module = "httpcore_hyper._rust")]
pub(super) struct Exchange {
    handle: Handle,
    callers: Arc<Callers>,
}

impl Exchange {
    pub(super) fn new(handle: Handle, callers: Arc<Callers>) -> Self {
        Self { handle, callers }
    }

    fn wait(&self, py: Python<'_>, want: Want) -> PyResult<Py<PyAny>> {
        let cell = self.handle.cell(py)?;
        let part = self.callers.wait(py, cell, want)?;
        self.handle.value(py, part)
    }
}

#[pymethods]
impl Exchange {
    fn acquire(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        self.wait(py, Want::Acquired)
    }

    fn connect(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        self.wait(py, Want::Gone(Leg::Socket))
    }

    fn secure_proxy(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        self.wait(py, Want::Gone(Leg::ProxyTls))
    }

    fn ask_proxy(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        self.wait(py, Want::Gone(Leg::Ask))
    }

    fn proxy_answer(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        self.wait(py, Want::Gone(Leg::Answer))
    }

    fn agree(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        self.wait(py, Want::Gone(Leg::Agreement))
    }

    fn secure(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        self.wait(py, Want::Gone(Leg::OriginTls))
    }

    fn send(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        self.wait(py, Want::Sent)
    }

    fn write(&self, py: Python<'_>, chunk: &Bound<'_, PyAny>) -> PyResult<Py<PyAny>> {
        self.handle.push(py, chunk)?;
        self.wait(py, Want::Sent)
    }

    fn finish(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        self.handle.finish(py)?;
        self.wait(py, Want::Sent)
    }

    fn head(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        self.wait(py, Want::Head)
    }

    fn read(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        self.wait(py, Want::Body)
    }

    fn network_stream(&self, py: Python<'_>) -> PyResult<NetworkStream> {
        let network = self.handle.network_stream(py)?;
        Ok(NetworkStream::new(network, Arc::clone(&self.callers)))
    }

    fn stream_id(&self, py: Python<'_>) -> PyResult<Option<u32>> {
        self.handle.stream_id(py)
    }

    fn trailers(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        self.handle.trailers(py)
    }

    fn close(&self) {
        self.handle.close();
    }
}
