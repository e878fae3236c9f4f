//! Exchange: the two handles that Python holds on a request in flight, one for each door.
//!
//! Their methods are equal; `AsyncExchange` returns something to await where `Exchange` returns the
//! value. Dropping either ends the exchange.

use std::sync::Arc;
use std::time::{Duration, Instant};

use pyo3::prelude::*;

use super::block_on::Callers;
use super::convert::{self, HeaderForm};
use super::exceptions::Exceptions;
use super::network_stream::{AsyncNetworkStream, Network, NetworkStream};
use super::port::Shared;
use super::ready::{Near, Ready};
use super::running::{self, Current};
use super::turns::Turns;
use crate::cell::{ExchangeCell, Failure, Part, Want};
use crate::connect::{Leg, before_patience, patiently};
use crate::error::{Error, Kind};
use crate::process::ForkLocal;

/// Looking for an answer takes less by far: other threads of Python's wanted the interpreter for longer than they are
/// asked to. A caller beside such threads had better let go of it once, when its loop sleeps.
const CONTENDED: Duration = Duration::from_millis(1);

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
    fn cell(&self, py: Python<'_>) -> PyResult<&Arc<ExchangeCell>> {
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

    fn value(&self, py: Python<'_>, part: Result<Part, Failure>) -> PyResult<Py<PyAny>> {
        match part {
            Ok(part) => convert::part(py, part, self.headers),
            Err(failure) => Err(self.raise(py, failure)),
        }
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
    handle: Handle,
    turns: Turns,
}

impl AsyncExchange {
    pub(super) fn new(handle: Handle) -> Self {
        Self {
            handle,
            turns: Turns::default(),
        }
    }

    /// Something to await for the part: the part itself if it is here, else a waiter of the running
    /// loop. On a quiet loop the exchange is polled at once, on this thread. If the caller comes alone and the answer is about
    /// to come, it is looked for, once the loop's other tasks have had a turn: in which the server has one as well.
    fn wait(slf: &Bound<'_, Self>, want: Want) -> PyResult<Py<PyAny>> {
        let py = slf.py();
        let this = slf.get();
        let cell = this.handle.cell(py)?;
        if let Some(part) = cell.try_take(want) {
            return this.ready(py, part);
        }
        let current = running::current(py)?;
        if cell.is_fresh() && current.is_cancelled(py)? {
            // The cancellation arrives at this await, which nothing else ends: no byte has been sent.
            return this.listen(py, &current, want, false);
        }
        let quiet = current.shared.is_quiet();
        if quiet {
            let set = current.shared.poll_set();
            // Only an answer is worth looking for: what is sent is with the kernel at once, or has to wait for the peer.
            if want == Want::Head && current.comes_alone(py)? {
                let (part, is_near) = before_patience(|| cell.try_drive(want, set));
                if let Some(part) = part {
                    return this.ready(py, part);
                }
                if is_near {
                    let near = Near::new(slf.clone().unbind(), want, Arc::clone(&current.shared));
                    return current.after_others(py, Bound::new(py, near)?.as_any());
                }
            } else if let Some(part) = cell.try_drive(want, set) {
                return this.ready(py, part);
            }
        } else {
            current.shared.streak.breaks();
        }
        this.listen(py, &current, want, !quiet)
    }

    /// A waiter of the running loop; `spawns`: for what the runtime drives from now on.
    fn listen(
        &self,
        py: Python<'_>,
        current: &Current<'_>,
        want: Want,
        spawns: bool,
    ) -> PyResult<Py<PyAny>> {
        let cell = self.handle.cell(py)?;
        let (awaitable, key) =
            current.register(py, &self.handle.exceptions, self.handle.headers)?;
        cell.listen(want, current.shared.clone(), key);
        if spawns {
            cell.spawn();
        }
        Ok(awaitable.unbind())
    }

    /// Looks for a part that may be about to come. Something to await, as of [`AsyncExchange::wait`].
    pub(super) fn look(&self, py: Python<'_>, want: Want, shared: &Shared) -> PyResult<Py<PyAny>> {
        let cell = self.handle.cell(py)?;
        let quiet = shared.is_quiet();
        // Not if somebody else has come meanwhile.
        if quiet && shared.streak.is_long() {
            let set = shared.poll_set();
            let began = Instant::now();
            // Others of Python's threads go on meanwhile.
            let part = py.detach(|| patiently(|| cell.try_drive(want, set)));
            if began.elapsed() > CONTENDED {
                shared.streak.breaks();
            }
            if let Some(part) = part {
                let value = self.handle.value(py, part)?;
                return Ok(Py::new(py, Ready::new(value))?.into_any());
            }
        }
        self.listen(py, &running::current(py)?, want, !quiet)
    }

    fn ready(&self, py: Python<'_>, part: Result<Part, Failure>) -> PyResult<Py<PyAny>> {
        let value = self.handle.value(py, part)?;
        let ready = Bound::new(py, Ready::new(value))?.into_any();
        if self.turns.are_due() {
            return running::current(py)?.after_others(py, &ready);
        }
        Ok(ready.unbind())
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
