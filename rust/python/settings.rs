//! Settings: what a pool keeps of its options, and the engines that it has in this process.
//!
//! A pool makes its engine on first use. In a forked child the engine belongs to the parent: it is leaked there, and the
//! next request makes a new one.

use std::borrow::Cow;
use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use pyo3::exceptions::PyOSError;
use pyo3::prelude::*;
use pyo3::types::PyList;

use super::convert::{self, HeaderForm};
use super::exceptions::Exceptions;
use super::exchange::Handle;
use super::network_stream::Network;
use super::outgoing::{Extensions, Outgoing};
use super::ssl;
use crate::cell::ExchangeCell;
use crate::connect::{Connector, Versions, http_proxy};
use crate::connection::RequestHead;
use crate::exchange::Engine;
use crate::pool::{ConnectionInfo, Counts, Limits, Sharing, Status};
use crate::process::ForkLocal;
use crate::request::Request;

/// What both doors share: the settings, and the engine of this process.
///
/// `D` is what a door needs beside the engine.
pub(super) struct Settings<D> {
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
pub(super) struct Running<D> {
    engine: Arc<Engine>,
    pub(super) door: D,
}

impl<D> Settings<D> {
    #[allow(clippy::too_many_arguments)] // httpcore's own list of options
    pub(super) fn new(
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
    pub(super) fn running(
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
    pub(super) fn close(&self) {
        let mut engines = self.retired();
        engines.extend(self.take());
        for running in engines {
            running.engine.close();
        }
    }

    /// Lets the engine go when its requests in flight have finished. Those in its queue fail with `Moved`.
    pub(super) fn retire(&self) {
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
    pub(super) fn counts(&self) -> (usize, usize, usize, usize) {
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
    pub(super) fn take_closed(&self) -> usize {
        let engines = self.engines();
        let closed = engines
            .iter()
            .map(|running| running.engine.pool.take_closed());
        closed.sum()
    }

    pub(super) fn connections<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        let infos = self
            .engines()
            .iter()
            .flat_map(|running| running.engine.pool.connections())
            .map(|info| describe(&info))
            .collect::<Vec<_>>();
        PyList::new(py, infos)
    }

    pub(super) fn connection(&self, id: u64) -> Option<Description> {
        let engines = self.engines();
        let mut found = engines
            .iter()
            .filter_map(|running| running.engine.pool.connection(id));
        found.next().map(|info| describe(&info))
    }

    /// A look at the socket of an open connection.
    pub(super) fn network_stream(&self, id: u64) -> Option<(Network, D)>
    where
        D: Clone,
    {
        self.engines().iter().find_map(|running| {
            let view = running.engine.views.find(id)?;
            let network = Network::viewed(view, Arc::clone(&self.exceptions));
            Some((network, running.door.clone()))
        })
    }

    pub(super) fn start(
        &self,
        py: Python<'_>,
        running: &Running<D>,
        outgoing: Outgoing<'_>,
        extensions: &Extensions<'_, '_>,
        stepwise: bool,
        form: HeaderForm,
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
        Ok(Handle::new(cell, Arc::clone(&self.exceptions), form))
    }
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
pub(super) type Description = (u64, String, &'static str, &'static str, u64, usize);

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
