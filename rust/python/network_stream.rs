//! Network stream: what Python holds of the socket under a response.
//!
//! For every response it tells about the socket. Reading and writing are for connections that have left
//! HTTP (101, CONNECT); on others they are refused, since the engine reads and writes those itself. Each
//! read or write is an operation of its own, so that none waits for another.

use std::net::SocketAddr;
use std::os::fd::IntoRawFd;
use std::sync::Arc;

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use tokio::runtime::Handle as Runtime;

use super::block_on::Callers;
use super::convert;
use super::convert::HeaderForm;
use super::exceptions::Exceptions;
use super::exchange::left_behind;
use super::running;
use super::ssl::{Context, ssl_object};
use crate::cell::{ExchangeCell, Failure, Operation, Task};
use crate::connect::{Address, SocketView, Stream};
use crate::connection::Upgraded;
use crate::error::{Error, Kind};
use crate::process::ForkLocal;
use crate::tls::Hello;

/// What both doors hold. In a forked child it is of no use: the socket is the parent's.
pub(super) struct Network {
    socket: ForkLocal<Socket>,
    exceptions: Arc<Exceptions>,
}

struct Socket {
    view: Option<SocketView>,
    upgraded: Option<(Arc<Upgraded<Stream>>, Runtime)>,
}

impl Network {
    /// The stream under an exchange.
    pub(super) fn of(cell: &ExchangeCell, exceptions: Arc<Exceptions>) -> Self {
        let (view, upgraded) = cell.network().unzip();
        let upgraded = upgraded.flatten();
        Self {
            socket: ForkLocal::new(Socket {
                view,
                upgraded: upgraded.map(|stream| (stream, cell.runtime().clone())),
            }),
            exceptions,
        }
    }

    /// The stream under a connection of the pool, to look at only.
    pub(super) fn viewed(view: SocketView, exceptions: Arc<Exceptions>) -> Self {
        Self {
            socket: ForkLocal::new(Socket {
                view: Some(view),
                upgraded: None,
            }),
            exceptions,
        }
    }

    fn view(&self, py: Python<'_>) -> PyResult<&SocketView> {
        if let Some(view) = self.socket.get().and_then(|socket| socket.view.as_ref()) {
            return Ok(view);
        }
        Err(os_error(
            py,
            &std::io::Error::from_raw_os_error(libc::EBADF),
        ))
    }

    fn operation(
        &self,
        py: Python<'_>,
        task: Task,
        timeout: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Arc<Operation>> {
        let kind = match task {
            Task::Read(_) => Kind::Read,
            Task::Write(_) => Kind::Write,
            Task::StartTls(..) => Kind::Connect,
        };
        let timeout = timeout.map_or(Ok(None), convert::seconds)?;
        let Some(socket) = self.socket.get() else {
            return Err(self.exceptions.of_failure(py, left_behind()));
        };
        match &socket.upgraded {
            Some((stream, runtime)) => Ok(Operation::new(
                Arc::clone(stream),
                runtime.clone(),
                task,
                timeout,
            )),
            None => Err(self.exceptions.of_failure(
                py,
                Failure::Error(Error::message(
                    kind,
                    "The connection speaks HTTP: it is read and written through its response.",
                )),
            )),
        }
    }

    /// See `ssl::ssl_object`.
    fn tls(&self, py: Python<'_>) -> PyResult<Option<(Py<PyAny>, &'static str)>> {
        let Some(socket) = self.socket.get() else {
            return Ok(None);
        };
        // Of an upgraded stream as it is now: TLS may have been put over it since.
        let upgraded = socket.upgraded.as_ref();
        let now = upgraded.and_then(|(stream, _)| stream.look(Stream::view));
        let view = now.as_ref().or(socket.view.as_ref());
        let secured = view.and_then(SocketView::secured);
        secured.map(|secured| ssl_object(py, secured)).transpose()
    }

    fn close(&self) {
        let Some(socket) = self.socket.get() else {
            return;
        };
        match (&socket.upgraded, &socket.view) {
            (Some((stream, _)), _) => stream.close(),
            // The exchange finds its connection closed, and ends.
            (None, Some(view)) => view.shut_down(),
            (None, None) => {}
        }
    }

    fn address(
        &self,
        py: Python<'_>,
        ask: impl FnOnce(&SocketView) -> std::io::Result<Address>,
    ) -> PyResult<Py<PyAny>> {
        let address = ask(self.view(py)?).map_err(|error| os_error(py, &error))?;
        match address {
            Address::Inet(SocketAddr::V4(v4)) => Ok((v4.ip().to_string(), v4.port())
                .into_pyobject(py)?
                .into_any()
                .unbind()),
            Address::Inet(SocketAddr::V6(v6)) => {
                Ok(
                    (v6.ip().to_string(), v6.port(), v6.flowinfo(), v6.scope_id())
                        .into_pyobject(py)?
                        .into_any()
                        .unbind(),
                )
            }
            Address::Unix(path) => Ok(path.into_os_string().into_pyobject(py)?.into_any().unbind()),
        }
    }

    fn duplicate(&self, py: Python<'_>) -> PyResult<i32> {
        let owned = self.view(py)?.duplicate();
        Ok(owned.map_err(|error| os_error(py, &error))?.into_raw_fd())
    }

    fn is_readable(&self) -> bool {
        let view = self.socket.get().and_then(|socket| socket.view.as_ref());
        view.is_none_or(SocketView::is_readable)
    }
}

fn os_error(py: Python<'_>, error: &std::io::Error) -> PyErr {
    super::exceptions::os_error(py, error).map_or_else(|raised| raised, PyErr::from_value)
}

/// The most bytes to read: a positive number, as sockets take it.
fn limit(max_bytes: i64) -> PyResult<usize> {
    usize::try_from(max_bytes).map_err(|_| PyValueError::new_err("negative buffersize in read"))
}

/// The methods of both doors.
macro_rules! network_stream_methods {
    ($stream:ident, $operation:ident) => {
        #[pymethods]
        impl $stream {
            #[pyo3(signature = (max_bytes, timeout=None))]
            fn read(
                &self,
                py: Python<'_>,
                max_bytes: i64,
                timeout: Option<&Bound<'_, PyAny>>,
            ) -> PyResult<$operation> {
                let task = Task::Read(limit(max_bytes)?);
                Ok(self.begin(self.network.operation(py, task, timeout)?))
            }

            #[pyo3(signature = (buffer, timeout=None))]
            fn write(
                &self,
                py: Python<'_>,
                buffer: &Bound<'_, PyAny>,
                timeout: Option<&Bound<'_, PyAny>>,
            ) -> PyResult<$operation> {
                let task = Task::Write(convert::bytes(buffer)?);
                Ok(self.begin(self.network.operation(py, task, timeout)?))
            }

            #[pyo3(signature = (sessions, server_name, timeout=None))]
            fn start_tls(
                &self,
                py: Python<'_>,
                sessions: &Bound<'_, PyAny>,
                server_name: Option<&Bound<'_, PyAny>>,
                timeout: Option<&Bound<'_, PyAny>>,
            ) -> PyResult<$operation> {
                let hello = Hello {
                    server_name: server_name.map(convert::server_name).transpose()?,
                    protocols: Vec::new(),
                };
                let task = Task::StartTls(Context::shared(sessions), hello);
                Ok(self.begin(self.network.operation(py, task, timeout)?))
            }

            fn ssl_object(&self, py: Python<'_>) -> PyResult<Option<Py<PyAny>>> {
                Ok(self.network.tls(py)?.map(|(object, _)| object))
            }

            fn tls_backend(&self, py: Python<'_>) -> PyResult<Option<&'static str>> {
                Ok(self.network.tls(py)?.map(|(_, backend)| backend))
            }

            fn client_addr(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
                self.network.address(py, SocketView::local_addr)
            }

            fn server_addr(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
                self.network.address(py, SocketView::peer_addr)
            }

            fn is_readable(&self) -> bool {
                self.network.is_readable()
            }

            fn duplicate(&self, py: Python<'_>) -> PyResult<i32> {
                self.network.duplicate(py)
            }

            fn close(&self) {
                self.network.close();
            }
        }
    };
}

/// The stream under a response, for asyncio and trio.
#[pyclass(frozen, module = "httpcore_hyper._rust")]
pub(super) struct AsyncNetworkStream {
    network: Network,
}

network_stream_methods!(AsyncNetworkStream, AsyncOperation);

impl AsyncNetworkStream {
    pub(super) fn new(network: Network) -> Self {
        Self { network }
    }

    fn begin(&self, operation: Arc<Operation>) -> AsyncOperation {
        AsyncOperation {
            operation: ForkLocal::new(operation),
            exceptions: Arc::clone(&self.network.exceptions),
        }
    }
}

/// A read or write, for asyncio and trio.
#[pyclass(frozen, module = "httpcore_hyper._rust")]
pub(super) struct AsyncOperation {
    operation: ForkLocal<Arc<Operation>>,
    exceptions: Arc<Exceptions>,
}

#[pymethods]
impl AsyncOperation {
    fn outcome(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        let Some(operation) = self.operation.get() else {
            return Err(self.exceptions.of_failure(py, left_behind()));
        };
        let current = running::current(py)?;
        let (awaitable, key) = current.register(py, &self.exceptions, HeaderForm::Pairs)?;
        operation.spawn(current.shared.clone(), key);
        Ok(awaitable.unbind())
    }

    fn close(&self) {
        if let Some(operation) = self.operation.get() {
            operation.close();
        }
    }
}

/// The stream under a response, for threads.
#[pyclass(frozen, module = "httpcore_hyper._rust")]
pub(super) struct NetworkStream {
    network: Network,
    callers: Arc<Callers>,
}

network_stream_methods!(NetworkStream, BlockingOperation);

impl NetworkStream {
    pub(super) fn new(network: Network, callers: Arc<Callers>) -> Self {
        Self { network, callers }
    }

    fn begin(&self, operation: Arc<Operation>) -> BlockingOperation {
        BlockingOperation {
            operation: ForkLocal::new(operation),
            exceptions: Arc::clone(&self.network.exceptions),
            callers: Arc::clone(&self.callers),
        }
    }
}

/// A read or write, run by the thread that waits for it.
#[pyclass(frozen, module = "httpcore_hyper._rust", name = "Operation")]
pub(super) struct BlockingOperation {
    operation: ForkLocal<Arc<Operation>>,
    exceptions: Arc<Exceptions>,
    callers: Arc<Callers>,
}

#[pymethods]
impl BlockingOperation {
    fn outcome(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        let Some(operation) = self.operation.get() else {
            return Err(self.exceptions.of_failure(py, left_behind()));
        };
        match self.callers.wait_for(py, |cx| operation.poll_outcome(cx))? {
            Ok(part) => convert::part(py, part, HeaderForm::Pairs),
            Err(failure) => Err(self.exceptions.of_failure(py, failure)),
        }
    }

    fn close(&self) {
        if let Some(operation) = self.operation.get() {
            operation.close();
        }
    }
}
