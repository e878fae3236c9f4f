//! Opening: the way of an exchange to an open connection: acquire, connect, hand the request over.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use parking_lot::Mutex;

use super::engine::{Multiplexed, Open, Owner, Parked};
use super::link::Link;
use super::{Connecting, Exchange, Outgoing, Step, misuse};
use crate::connect::{Destination, Leg, Way};
use crate::connection::{Http1, Http2, Notice, Refused};
use crate::error::{Kind, Result};
use crate::pool::Lease;
use crate::request::RequestBody;
use crate::runtime;

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

    /// Begins HTTP on a connected stream.
    fn begin(&mut self) -> Result<()> {
        let Step::Connected {
            stream,
            lease,
            outgoing,
        } = std::mem::replace(&mut self.step, Step::Failed)
        else {
            unreachable!("called between connecting and HTTP only");
        };
        let view = stream.view();
        if self.engine.connector.speaks_http2(lease.origin(), &stream) {
            let (pool, id) = (Arc::downgrade(&self.engine.pool), lease.id());
            let listener = move |notice| {
                // A pool that is gone has no connections.
                if let Some(pool) = pool.upgrade() {
                    match notice {
                        Notice::Streams(most) => pool.limit(id, most),
                        Notice::Over => pool.withdraw(id),
                    }
                }
            };
            self.step = Step::Begin {
                begin: Box::pin(Http2::handshake(stream, listener)),
                view,
                lease,
                outgoing,
            };
            return Ok(());
        }
        let registered = self.engine.views.enter(lease.id(), view);
        let http = Http1::handshake(stream)?;
        self.begin_http1(Box::new(Open { http, registered }), lease, outgoing)
    }

    fn begin_http1(
        &mut self,
        mut connection: Box<Open>,
        lease: Lease<Parked, Owner>,
        outgoing: Outgoing,
    ) -> Result<()> {
        let body = match outgoing.body {
            RequestBody::Whole(body) => Some(body),
            RequestBody::Pushed => None,
        };
        connection.http.begin(outgoing.head, body)?;
        self.step = Step::Open {
            link: Link::Http1(connection),
            lease,
        };
        Ok(())
    }

    /// The connection's preface is written; from here on others can have it too.
    fn poll_begin(&mut self, cx: &mut Context<'_>, waiting: Option<Instant>) -> Poll<Result<()>> {
        let Step::Begin { begin, .. } = &mut self.step else {
            return Poll::Ready(Err(misuse()));
        };
        let Poll::Ready(begun) = begin.as_mut().poll(cx) else {
            let write = self.timeouts.write;
            return self
                .poll_quiet(cx, waiting, 0, write, Kind::WriteTimeout)
                .map(Err);
        };
        self.quiet = None;
        let Step::Begin {
            view,
            mut lease,
            outgoing,
            ..
        } = std::mem::replace(&mut self.step, Step::Failed)
        else {
            unreachable!("matched above");
        };
        let http = begun?;
        let connection = Arc::new(Multiplexed {
            http,
            registered: self.engine.views.enter(lease.id(), view),
            watchdogs: Mutex::default(),
        });
        lease.share(Parked::Http2(Arc::clone(&connection)));
        // Not before: what it tells the pool is of a connection that is shared.
        runtime::spawn(&self.engine.runtime, connection.http.driving());
        Poll::Ready(self.open_stream(connection, lease, outgoing))
    }

    /// Has what an idle connection's server sent meanwhile looked at: it may have closed it.
    fn poll_reuse(&mut self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        let Step::Reuse {
            connection, turns, ..
        } = &mut self.step
        else {
            return Poll::Ready(Err(misuse()));
        };
        if *turns < MOST_TURNS && !connection.http.is_over() && connection.http.is_unread() {
            *turns += 1;
            connection.http.drive();
            if connection.http.is_unread() {
                // The runtime has yet to see what there is to read.
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
        }
        let Step::Reuse {
            connection,
            lease,
            outgoing,
            ..
        } = std::mem::replace(&mut self.step, Step::Failed)
        else {
            unreachable!("matched above");
        };
        Poll::Ready(self.open_stream(connection, lease, outgoing))
    }

    /// Opens a stream; on a connection that takes no more, goes back for another one, with the old turn.
    fn open_stream(
        &mut self,
        connection: Arc<Multiplexed>,
        lease: Lease<Parked, Owner>,
        outgoing: Outgoing,
    ) -> Result<()> {
        let body = match &outgoing.body {
            RequestBody::Whole(body) => Some(body.clone()),
            RequestBody::Pushed => None,
        };
        let scheme = &lease.origin().scheme;
        match connection.http.begin(scheme, &outgoing.head, body) {
            Ok(stream) => {
                if let Some(watchdog) = connection.watchdogs.lock().pop() {
                    self.watchdog = watchdog;
                }
                self.step = Step::Open {
                    link: Link::http2(stream, connection),
                    lease,
                };
                self.again = (!self.is_second).then_some(outgoing);
                Ok(())
            }
            Err(Refused::Illegal(error)) => Err(error),
            Err(Refused::Over) => {
                drop(connection);
                self.queue_again(lease, outgoing);
                Ok(())
            }
        }
    }

    /// Takes the request back to the pool's queue, if nothing of it was consumed. False if it cannot be sent again.
    pub(super) fn start_again(&mut self) -> bool {
        let Step::Open { link, .. } = &self.step else {
            return false;
        };
        if link.is_body_begun() {
            return false;
        }
        let Some(mut outgoing) = self.again.take() else {
            return false;
        };
        if matches!(outgoing.body, RequestBody::Pushed) {
            // All of it was pushed: nothing.
            outgoing.body = RequestBody::Whole(bytes::Bytes::new());
        }
        let Step::Open { link, lease } = std::mem::replace(&mut self.step, Step::Failed) else {
            unreachable!("matched above");
        };
        drop(link);
        self.is_second = true;
        self.queue_again(lease, outgoing);
        true
    }

    fn queue_again(&mut self, lease: Lease<Parked, Owner>, outgoing: Outgoing) {
        let (origin, ticket) = (lease.origin().clone(), lease.ticket());
        drop(lease);
        let owner = self.owner.clone();
        self.step = Step::Acquire {
            acquire: self.engine.pool.acquire_again(origin, owner, ticket),
            outgoing,
        };
    }
}

/// How many turns a connection that was idle gets to read what its server sent meanwhile. One that always has more to
/// say is alive.
const MOST_TURNS: u8 = 16;
