//! Opening: the way of an exchange to a connected stream: acquire, connect.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use super::engine::{Owner, Parked};
use super::{Connecting, Exchange, Step, misuse};
use crate::connect::{Destination, Leg, Way};
use crate::error::{Kind, Result};
use crate::pool::Lease;

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
                Step::Underway { .. } => self.go_on(),
                Step::Connect { .. } => ready!(self.poll_connect(cx))?,
                Step::Connected { .. } => self.begin()?,
                Step::Begin { .. } => ready!(self.poll_begin(cx, waiting))?,
                Step::Reuse { .. } => ready!(self.poll_reuse(cx))?,
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
        let Poll::Ready(lease) = Pin::new(&mut *acquire).poll(cx) else {
            // Whoever waits for a connection that another request opens waits for a connect. Each of the two
            // waits has all of its time: what "moves" is which of them it is.
            let (timeout, kind) = if acquire.is_joined() {
                (self.timeouts.connect, Kind::ConnectTimeout)
            } else {
                (self.timeouts.pool, Kind::PoolTimeout)
            };
            let moved = u64::from(acquire.is_joined());
            return self.poll_quiet(cx, waiting, moved, timeout, kind).map(Err);
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
        match lease.take() {
            None => {}
            Some(Parked::Http1 {
                mut connection,
                watchdog,
            }) => {
                if !connection.http.is_stale() {
                    self.watchdog = watchdog;
                    return self.begin_http1(connection, lease, outgoing);
                }
                drop((connection, watchdog));
                self.engine.pool.count_closed(1);
                lease.connecting();
            }
            Some(Parked::Http2(connection)) => {
                self.step = Step::Reuse {
                    connection,
                    lease,
                    outgoing,
                    turns: 0,
                };
                return Ok(());
            }
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
        let leg = match attempts {
            Attempts::One => Leg::Socket,
            Attempts::AsConfigured => Leg::OriginTls,
        };
        self.step = Step::Connect {
            connect: self.towards(&lease, None, leg),
            leg,
            lease,
            outgoing,
        };
    }

    /// Takes the next leg of a way.
    pub(super) fn go_on(&mut self) {
        let Step::Underway {
            way,
            leg,
            lease,
            outgoing,
        } = std::mem::replace(&mut self.step, Step::Failed)
        else {
            unreachable!("called between two legs only");
        };
        let leg = leg.next().expect("at its end a way is an open connection");
        self.step = Step::Connect {
            connect: self.towards(&lease, Some(way), leg),
            leg,
            lease,
            outgoing,
        };
    }

    /// One leg of a way; without one to go on from, the first leg or all of them.
    fn towards(&self, lease: &Lease<Parked, Owner>, way: Option<Way>, leg: Leg) -> Connecting {
        let connector = Arc::clone(&self.engine.connector);
        let views = Arc::clone(&self.engine.views);
        let runtime = self.engine.runtime.clone();
        let id = lease.id();
        let to = Destination {
            origin: lease.origin().clone(),
            server_name: self.server_name.clone(),
            timeouts: self.timeouts,
        };
        Box::pin(async move {
            let seen = move |view| Box::new(views.enter(id, view)) as Box<dyn Send>;
            if way.is_none() && leg.next().is_none() {
                connector.connect(&to, &seen, &runtime).await
            } else {
                connector.take(leg, way, &to, &seen, &runtime).await
            }
        })
    }

    pub(super) fn poll_connect(&mut self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        let Step::Connect { connect, .. } = &mut self.step else {
            return Poll::Ready(Err(misuse()));
        };
        let reached = ready!(connect.as_mut().poll(cx));
        let Step::Connect {
            leg,
            mut lease,
            outgoing,
            ..
        } = std::mem::replace(&mut self.step, Step::Failed)
        else {
            unreachable!("matched above");
        };
        Poll::Ready(match reached {
            Ok(way) if leg.next().is_some() => {
                self.step = Step::Underway {
                    way,
                    leg,
                    lease,
                    outgoing,
                };
                Ok(())
            }
            Ok(way) => {
                let stream = way.into_stream();
                if !self.engine.connector.speaks_http2(lease.origin(), &stream) {
                    lease.connected();
                }
                self.step = Step::Connected {
                    stream,
                    lease,
                    outgoing,
                };
                Ok(())
            }
            Err(error) => {
                self.step = Step::Disconnected { lease, outgoing };
                Err(error)
            }
        })
    }
}
