//! Pool: the native half of the pools, one class for each door. What they do is `settings`'s.

use std::sync::Arc;

use pyo3::prelude::*;
use pyo3::types::PyList;

use super::block_on::Callers;
use super::convert::{self, HeaderForm};
use super::exchange::{AsyncExchange, Exchange};
use super::models::Models;
use super::network_stream::{AsyncNetworkStream, NetworkStream};
use super::outgoing::{Extensions, Outgoing};
use super::plain;
use super::settings::{Description, Running, Settings};
use crate::request::RequestBody;
use crate::runtime;

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

/// The methods that both classes have. Only `begin` differs, in how the runtime is had.
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
                self.begin(py, outgoing, &extensions, stepwise, HeaderForm::Pairs)
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
                    self.begin(py, outgoing, &extensions, false, HeaderForm::Pairs)
                })
            }

            fn model_exchange(
                &self,
                models: &Models,
                request: &Bound<'_, PyAny>,
            ) -> PyResult<Option<$exchange>> {
                models.send(request, |outgoing, extensions| {
                    self.begin(request.py(), outgoing, extensions, false, HeaderForm::Lines)
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

        impl $pool {
            fn begin(
                &self,
                py: Python<'_>,
                outgoing: Outgoing<'_>,
                extensions: &Extensions<'_, '_>,
                stepwise: bool,
                form: HeaderForm,
            ) -> PyResult<$exchange> {
                let running = self.settings.running($open)?;
                let handle =
                    (self.settings).start(py, &running, outgoing, extensions, stepwise, form)?;
                Ok(($handle)(handle, &running))
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
