//! Pool: the native half of the pools, one class for each door.
//!
//! A pool keeps its settings and makes its engine on first use. In a forked child the engine belongs to
//! the parent: it is leaked there, and the next request makes a new one.

use std::borrow::Cow;
use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use pyo3::exceptions::PyOSError;
use pyo3::prelude::*;
use pyo3::types::PyList;

use super::block_on::Callers;
use super::convert;
use super::exceptions::Exceptions;
use super::exchange::{AsyncExchange, Exchange, Handle};
use super::models::Models;
use super::network_stream::{AsyncNetworkStream, Network, NetworkStream};
use super::plain;
use super::ssl;
use crate::cell::ExchangeCell;
use crate::connect::{Connector, Versions, http_proxy};
use crate::connection::RequestHead;
use crate::exchange::Engine;
use crate::pool::{ConnectionInfo, Counts, Limits, Sharing, Status};
use crate::process::ForkLocal;
use crate::request::{Request, RequestBody};
use crate::runtime;

/// What both doors share: the settings, and the engine of this process.
///
/// `D` is what a door needs beside the engine.
struct Settings<D> {
    exceptions: Arc<Exceptions>,
    limits: Limits,
    connector: Connector,
    /// Locked while attached only, so that no other thread holds it when the process forks.
    engines: Mutex<ForkLocal<Engines<D>>>,
}

struct Engines<D> {
    connector: Arc<Connector>,
    current: Option<Arc<Running<D>>>,
    /// Closed engines whose requests have not been closed yet: they still count as active.
    retired: Vec<Weak<Running<D>>>,
}

/// An engine with its door. Declared in this order: connections close before their runtime goes.
struct Running<D> {
    engine: Arc<Engine>,
    door: D,
}

impl<D> Settings<D> {
    #[allow(clippy::too_many_arguments)] // httpcore's own list of options
    fn new(
        flavour: &Bound<'_, PyAny>,
        max_connections: usize,
        max_keepalive_connections: usize,
        keepalive_expiry: Option<&Bound<'_, PyAny>>,
        retries: u32,
        local_address: Option<String>,
        uds: Option<&Bound<'_, PyAny>>,
        socket_options: Option<&Bound<'_, PyAny>>,
        tls: &Bound<'_, PyAny>,
        http1: bool,
        http2: bool,
        proxy: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Self> {
        let (versions, sharing) = match (http1, http2) {
            (_, false) => (Versions::Http1, Sharing::Never),
            (true, true) => (Versions::Both, Sharing::Secure),
            (false, true) => (Versions::Http2, Sharing::Always),
        };
        let socket_options = match socket_options {
            Some(options) => options
                .try_iter()?
                .map(|option| convert::socket_option(&option?))
                .collect::<PyResult<_>>()?,
            None => Vec::new(),
        };
        let limits = Limits {
            max_connections,
            max_keepalive_connections: max_keepalive_connections.min(max_connections),
            keepalive_expiry: keepalive_expiry.map_or(Ok(None), convert::seconds)?,
            sharing,
        };
        let connector = Connector {
            versions,
            retries,
            local_address,
            uds: uds.map(convert::path).transpose()?,
            socket_options,
            tls: Some(ssl::Context::chosen(tls)?),
            proxy: proxy.map(convert::proxy).transpose()?,
            ..Connector::default()
        };
        Ok(Self {
            exceptions: Arc::new(Exceptions::of(flavour)?),
            limits,
            engines: Mutex::new(ForkLocal::new(Engines::new(&connector))),
            connector,
        })
    }

    /// What this process has of the pool; in a forked child that is nothing at first.
    fn with_engines<T>(&self, look: impl FnOnce(&mut Engines<D>) -> T) -> T {
        let mut engines = self.engines.lock();
        look(engines.renewed(|| Engines::new(&self.connector)))
    }

    /// The engine of this process, made if there is none.
    fn running(
        &self,
        open: impl FnOnce() -> std::io::Result<(tokio::runtime::Handle, D)>,
    ) -> PyResult<Arc<Running<D>>> {
        self.with_engines(|engines| {
            if let Some(running) = &engines.current {
                return Ok(Arc::clone(running));
            }
            let (runtime, door) = open().map_err(PyOSError::new_err)?;
            let running = Arc::new(Running {
                engine: Arc::new(Engine {
                    pool: crate::pool::Pool::new(self.limits),
                    connector: Arc::clone(&engines.connector),
                    runtime,
                    views: Arc::default(),
                }),
                door,
            });
            engines.current = Some(Arc::clone(&running));
            Ok(running)
        })
    }

    /// Closes every connection and lets the engine go; the next request makes a new one.
    fn close(&self) {
        let mut engines = self.retired();
        engines.extend(self.take());
        for running in engines {
            running.engine.close();
        }
    }

    /// Lets the engine go when its requests in flight have finished. Those in its queue fail with `Moved`.
    fn retire(&self) {
        if let Some(running) = self.take() {
            running.engine.pool.retire();
        }
    }

    fn take(&self) -> Option<Arc<Running<D>>> {
        self.with_engines(|engines| {
            let running = engines.current.take();
            engines.retired.retain(|engine| engine.strong_count() > 0);
            engines.retired.extend(running.as_ref().map(Arc::downgrade));
            running
        })
    }

    fn retired(&self) -> Vec<Arc<Running<D>>> {
        self.with_engines(|engines| engines.retired.iter().filter_map(Weak::upgrade).collect())
    }

    /// The engines that still have something to count.
    fn engines(&self) -> Vec<Arc<Running<D>>> {
        let mut engines = self.retired();
        engines.extend(self.with_engines(|engines| engines.current.clone()));
        engines
    }

    /// Active and queued requests, active and idle connections.
    fn counts(&self) -> (usize, usize, usize, usize) {
        self.engines()
            .iter()
            .map(|running| running.engine.pool.counts())
            .fold((0, 0, 0, 0), |sum, counts: Counts| {
                (
                    sum.0 + counts.active_requests,
                    sum.1 + counts.queued_requests,
                    sum.2 + counts.active_connections,
                    sum.3 + counts.idle_connections,
                )
            })
    }

    /// Idle connections that were closed since this was last asked.
    fn take_closed(&self) -> usize {
        let engines = self.engines();
        let closed = engines
            .iter()
            .map(|running| running.engine.pool.take_closed());
        closed.sum()
    }

    fn connections<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        let infos = self
            .engines()
            .iter()
            .flat_map(|running| running.engine.pool.connections())
            .map(|info| describe(&info))
            .collect::<Vec<_>>();
        PyList::new(py, infos)
    }

    fn connection(&self, id: u64) -> Option<Description> {
        let engines = self.engines();
        let mut found = engines
            .iter()
            .filter_map(|running| running.engine.pool.connection(id));
        found.next().map(|info| describe(&info))
    }

    /// A look at the socket of an open connection.
    fn network_stream(&self, id: u64) -> Option<(Network, D)>
    where
        D: Clone,
    {
        self.engines().iter().find_map(|running| {
            let view = running.engine.views.find(id)?;
            let network = Network::viewed(view, Arc::clone(&self.exceptions));
            Some((network, running.door.clone()))
        })
    }

    fn start(
        &self,
        py: Python<'_>,
        running: &Running<D>,
        outgoing: Outgoing<'_>,
        extensions: &Extensions<'_, '_>,
        stepwise: bool,
    ) -> PyResult<Handle> {
        let Outgoing {
            method,
            scheme,
            host,
            port,
            target,
            headers,
            body,
        } = outgoing;
        let origin = convert::origin(scheme, host, port)?;
        let proxy = (self.connector.proxy.as_ref()).and_then(|proxy| proxy.forwards(&origin));
        let (target, headers) = match proxy {
            Some(proxy) => (
                http_proxy::absolute(scheme, host, port, target),
                proxy.merged(headers),
            ),
            None => (Cow::Borrowed(target), headers),
        };
        let request = Request {
            origin,
            server_name: (extensions.server_name.map(convert::server_name)).transpose()?,
            head: RequestHead::render(method, &target, headers.into_iter())
                .map_err(|error| self.exceptions.of_error(py, &error))?,
            body,
            timeouts: convert::timeouts(extensions.timeout)?,
        };
        let cell = ExchangeCell::start(Arc::clone(&running.engine), request, stepwise);
        Ok(Handle::new(cell, Arc::clone(&self.exceptions)))
    }
}

/// What httpcore's `Request` holds, without an object of that class.
pub(super) struct Outgoing<'a> {
    pub(super) method: &'a [u8],
    pub(super) scheme: &'a [u8],
    pub(super) host: &'a [u8],
    pub(super) port: Option<i64>,
    pub(super) target: &'a [u8],
    pub(super) headers: Vec<(&'a [u8], &'a [u8])>,
    pub(super) body: RequestBody,
}

/// Those of a request's extensions that the engine heeds itself.
pub(super) struct Extensions<'a, 'py> {
    pub(super) timeout: Option<&'a Bound<'py, PyAny>>,
    /// `sni_hostname`.
    pub(super) server_name: Option<&'a Bound<'py, PyAny>>,
}

impl<D> Engines<D> {
    fn new(connector: &Connector) -> Self {
        Self {
            connector: Arc::new(connector.renewed()),
            current: None,
            retired: Vec::new(),
        }
    }
}

/// `(id, origin, version, status, request_count, requests)`; see `_rust.pyi`.
type Description = (u64, String, &'static str, &'static str, u64, usize);

fn describe(info: &ConnectionInfo) -> Description {
    let status = match info.status {
        Status::Connecting => "CONNECTING",
        Status::Active => "ACTIVE",
        Status::Idle => "IDLE",
    };
    let version = if info.shared { "HTTP/2" } else { "HTTP/1.1" };
    (
        info.id,
        info.origin.to_string(),
        version,
        status,
        info.request_count,
        info.requests,
    )
}

/// The native half of an async pool: sockets on the shared runtime.
#[pyclass(frozen, module = "httpcore_hyper._rust")]
pub(super) struct AsyncPool {
    settings: Settings<()>,
}

/// The native half of a sync pool: sockets on a runtime that the callers drive.
#[pyclass(frozen, module = "httpcore_hyper._rust")]
pub(super) struct Pool {
    settings: Settings<Arc<Callers>>,
}

/// The methods that both classes have. Only `exchange` differs, in how the runtime is had.
macro_rules! pool_methods {
    ($pool:ident, $exchange:ident, $stream:ident, $open:expr, $handle:expr, $view:expr) => {
        #[pymethods]
        impl $pool {
            #[new]
            #[pyo3(signature = (
                flavour, *, tls, max_connections, max_keepalive_connections, keepalive_expiry=None,
                retries=0, local_address=None, uds=None, socket_options=None, http1=true, http2=false,
                proxy=None
            ))]
            #[allow(clippy::too_many_arguments)] // httpcore's own list of options
            fn new(
                flavour: &Bound<'_, PyAny>,
                tls: &Bound<'_, PyAny>,
                max_connections: usize,
                max_keepalive_connections: usize,
                keepalive_expiry: Option<&Bound<'_, PyAny>>,
                retries: u32,
                local_address: Option<String>,
                uds: Option<&Bound<'_, PyAny>>,
                socket_options: Option<&Bound<'_, PyAny>>,
                http1: bool,
                http2: bool,
                proxy: Option<&Bound<'_, PyAny>>,
            ) -> PyResult<Self> {
                Ok(Self {
                    settings: Settings::new(
                        flavour,
                        max_connections,
                        max_keepalive_connections,
                        keepalive_expiry,
                        retries,
                        local_address,
                        uds,
                        socket_options,
                        tls,
                        http1,
                        http2,
                        proxy,
                    )?,
                })
            }

            #[pyo3(signature = (
                method, scheme, host, port, target, headers, body, timeout, server_name=None,
                stepwise=false
            ))]
            #[allow(clippy::too_many_arguments)] // the parts of httpcore's Request
            fn exchange(
                &self,
                py: Python<'_>,
                method: &[u8],
                scheme: &[u8],
                host: &[u8],
                port: Option<i64>,
                target: &[u8],
                headers: &Bound<'_, PyList>,
                body: Option<&Bound<'_, PyAny>>,
                timeout: Option<&Bound<'_, PyAny>>,
                server_name: Option<&Bound<'_, PyAny>>,
                stepwise: bool,
            ) -> PyResult<$exchange> {
                let running = self.settings.running($open)?;
                let pairs = convert::header_pairs(headers)?;
                let outgoing = Outgoing {
                    method,
                    scheme,
                    host,
                    port,
                    target,
                    headers: convert::slices(&pairs),
                    body: match body {
                        Some(body) => RequestBody::Whole(convert::bytes(body)?),
                        None => RequestBody::Pushed,
                    },
                };
                let extensions = Extensions { timeout, server_name };
                let handle = (self.settings).start(py, &running, outgoing, &extensions, stepwise)?;
                Ok(($handle)(handle, &running))
            }

            #[allow(clippy::too_many_arguments)] // those of httpcore's `request`
            fn plain_exchange(
                &self,
                py: Python<'_>,
                method: &Bound<'_, PyAny>,
                url: &Bound<'_, PyAny>,
                headers: &Bound<'_, PyAny>,
                content: &Bound<'_, PyAny>,
                timeout: Option<&Bound<'_, PyAny>>,
                server_name: Option<&Bound<'_, PyAny>>,
            ) -> PyResult<Option<$exchange>> {
                let extensions = Extensions { timeout, server_name };
                plain::send(method, url, headers, content, |outgoing| {
                    let running = self.settings.running($open)?;
                    let handle = (self.settings).start(py, &running, outgoing, &extensions, false)?;
                    Ok(($handle)(handle, &running))
                })
            }

            fn model_exchange(
                &self,
                models: &Models,
                request: &Bound<'_, PyAny>,
            ) -> PyResult<Option<$exchange>> {
                models.send(request, |outgoing, extensions| {
                    let running = self.settings.running($open)?;
                    let handle =
                        (self.settings).start(request.py(), &running, outgoing, extensions, false)?;
                    Ok(($handle)(handle.with_lines(), &running))
                })
            }

            fn close(&self) {
                self.settings.close();
            }

            fn retire(&self) {
                self.settings.retire();
            }

            fn counts(&self) -> (usize, usize, usize, usize) {
                self.settings.counts()
            }

            fn take_closed(&self) -> usize {
                self.settings.take_closed()
            }

            fn connections<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
                self.settings.connections(py)
            }

            fn connection(&self, id: u64) -> Option<Description> {
                self.settings.connection(id)
            }

            fn network_stream(&self, id: u64) -> Option<$stream> {
                self.settings.network_stream(id).map($view)
            }
        }
    };
}

pool_methods!(
    AsyncPool,
    AsyncExchange,
    AsyncNetworkStream,
    || Ok((runtime::shared()?, ())),
    |handle, _: &Running<()>| AsyncExchange::new(handle),
    |(network, ())| AsyncNetworkStream::new(network)
);

pool_methods!(
    Pool,
    Exchange,
    NetworkStream,
    || {
        let callers = Arc::new(Callers::new()?);
        Ok((callers.handle(), callers))
    },
    |handle, running: &Running<Arc<Callers>>| Exchange::new(handle, Arc::clone(&running.door)),
    |(network, callers)| NetworkStream::new(network, callers)
);
