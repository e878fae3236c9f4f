//! Opening: the way of an exchange to an open connection: acquire, connect, hand the request over.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use super::engine::{Open, Owner, Parked};
use super::{Connecting, Exchange, Outgoing, Step, misuse};
use crate::connect::Stream;
use crate::connection::Http1;
use crate::error::{Kind, Result};
use crate::pool::Lease;
use crate::request::RequestBody;

/// How often a connection is tried before an error is one.
#[derive(Clone, Copy, Debug)]
pub(super) enum Attempts {
    One,
    /// With the pool's retries.
    AsConfigured,
}

impl Exchange {
    /// Acquires a connection, connects if there is none, and hands it the request.
    pub(super) fn poll_open(
        &mut self,
        cx: &mut Context<'_>,
        waiting: Option<Instant>,
    ) -> Poll<Result<()>> {
        loop {
            match &mut self.step {
                Step::Acquire { .. } => ready!(self.poll_lease(cx, waiting))?,
                Step::Disconnected { .. } => self.connect(Attempts::AsConfigured),
                Step::Unsecured { .. } => self.secure(),
                Step::Connect { .. } => ready!(self.poll_connect(cx))?,
                Step::Open { .. } => return Poll::Ready(Ok(())),
                Step::Upgraded { .. } | Step::Complete { .. } | Step::Failed => {
                    return Poll::Ready(Err(misuse()));
                }
            }
        }
    }

    pub(super) fn poll_lease(
        &mut self,
        cx: &mut Context<'_>,
        waiting: Option<Instant>,
    ) -> Poll<Result<()>> {
        let Step::Acquire { acquire, .. } = &mut self.step else {
            return Poll::Ready(Err(misuse()));
        };
        let Poll::Ready(lease) = Pin::new(acquire).poll(cx) else {
            let pool = self.timeouts.pool;
            return self
                .poll_quiet(cx, waiting, 0, pool, Kind::PoolTimeout)
                .map(Err);
        };
        self.quiet = None;
        Poll::Ready(self.assigned(lease?))
    }

    /// Uses the idle connection that came with the lease, or turns the lease into a connect if there is
    /// none or its server has closed it meanwhile.
    fn assigned(&mut self, mut lease: Lease<Parked, Owner>) -> Result<()> {
        let Step::Acquire { outgoing, .. } = std::mem::replace(&mut self.step, Step::Failed) else {
            unreachable!("called while acquiring only");
        };
        if let Some(mut parked) = lease.take() {
            if !parked.connection.http.is_stale() {
                self.watchdog = parked.watchdog;
                return self.begin(parked.connection, lease, outgoing);
            }
            drop(parked);
            self.engine.pool.count_closed(1);
            lease.connecting();
        }
        self.step = Step::Disconnected { lease, outgoing };
        Ok(())
    }

    pub(super) fn connect(&mut self, attempts: Attempts) {
        let Step::Disconnected { lease, outgoing } =
            std::mem::replace(&mut self.step, Step::Failed)
        else {
            unreachable!("called between acquiring and connecting only");
        };
        let connector = Arc::clone(&self.engine.connector);
        let runtime = self.engine.runtime.clone();
        let origin = lease.origin().clone();
        let timeout = self.timeouts.connect;
        let server_name = self.server_name.clone();
        let connect: Connecting = match attempts {
            Attempts::One => {
                Box::pin(async move { connector.attempt(&origin, timeout, &runtime).await })
            }
            Attempts::AsConfigured => Box::pin(async move {
                let server_name = server_name.as_deref();
                connector
                    .connect(&origin, server_name, timeout, &runtime)
                    .await
            }),
        };
        self.step = Step::Connect {
            connect,
            lease,
            outgoing,
        };
    }

    pub(super) fn secure(&mut self) {
        let Step::Unsecured {
            stream,
            lease,
            outgoing,
        } = std::mem::replace(&mut self.step, Step::Failed)
        else {
            unreachable!("called between connecting and TLS only");
        };
        let connector = Arc::clone(&self.engine.connector);
        let runtime = self.engine.runtime.clone();
        let origin = lease.origin().clone();
        let timeout = self.timeouts.connect;
        let server_name = self.server_name.clone();
        self.step = Step::Connect {
            connect: Box::pin(async move {
                let server_name = server_name.as_deref();
                connector
                    .secure(stream, &origin, server_name, timeout, &runtime)
                    .await
            }),
            lease,
            outgoing,
        };
    }

    pub(super) fn poll_connect(&mut self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        let Step::Connect { connect, .. } = &mut self.step else {
            return Poll::Ready(Err(misuse()));
        };
        let stream = ready!(connect.as_mut().poll(cx));
        let Step::Connect {
            mut lease,
            outgoing,
            ..
        } = std::mem::replace(&mut self.step, Step::Failed)
        else {
            unreachable!("matched above");
        };
        Poll::Ready(match stream {
            Ok(stream @ Stream::Plain(_)) if lease.origin().is_secure() => {
                self.step = Step::Unsecured {
                    stream,
                    lease,
                    outgoing,
                };
                Ok(())
            }
            Ok(stream) => {
                lease.connected();
                let registered = self.engine.views.enter(lease.id(), stream.view());
                Http1::handshake(stream).and_then(|http| {
                    let connection = Open { http, registered };
                    self.begin(connection, lease, outgoing)
                })
            }
            Err(error) => {
                self.step = Step::Disconnected { lease, outgoing };
                Err(error)
            }
        })
    }

    fn begin(
        &mut self,
        mut connection: Open,
        lease: Lease<Parked, Owner>,
        outgoing: Outgoing,
    ) -> Result<()> {
        let body = match outgoing.body {
            RequestBody::Whole(body) => Some(body),
            RequestBody::Pushed => None,
        };
        connection.http.begin(outgoing.head, body)?;
        self.step = Step::Open { connection, lease };
        Ok(())
    }
}
