//! Beginning: from a connected stream, or an HTTP/2 connection that is there, to a request on it.

use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use parking_lot::Mutex;

use super::engine::{Multiplexed, Open, Owner, Parked};
use super::link::Link;
use super::{Exchange, Outgoing, Step, misuse};
use crate::connection::{Http1, Http2, Notice, Refused, Unprocessed};
use crate::error::{Kind, Result};
use crate::pool::Lease;
use crate::request::RequestBody;
use crate::runtime;

/// How many turns a connection that was idle gets to read what its server sent meanwhile. One that always has more to
/// say is alive.
const MOST_TURNS: u8 = 16;

/// How often one request may be sent again, by what its servers said of it.
///
/// Who refuses a stream has no room, and would be pressed by more than one more try. A goodbye ends its connection, so
/// the next try meets another one; a server that is being replaced opens some only to say goodbye on them too, and one
/// that does nothing else must not be asked for ever.
#[derive(Debug)]
pub(super) struct Resends {
    refused: u8,
    goodbyes: u8,
}

impl Default for Resends {
    fn default() -> Self {
        Self {
            refused: 1,
            goodbyes: 8,
        }
    }
}

impl Resends {
    /// Whether one more is left; it is taken then.
    fn take(&mut self, unprocessed: Unprocessed) -> bool {
        let left = match unprocessed {
            Unprocessed::Refused => &mut self.refused,
            Unprocessed::Goodbye => &mut self.goodbyes,
        };
        let is_left = *left > 0;
        *left = left.saturating_sub(1);
        is_left
    }
}

impl Exchange {
    /// Begins HTTP on a connected stream.
    pub(super) fn begin(&mut self) -> Result<()> {
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
                begin: Box::pin(Http2::handshake(stream, self.first_stream(), listener)),
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

    pub(super) fn begin_http1(
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
    pub(super) fn poll_begin(
        &mut self,
        cx: &mut Context<'_>,
        waiting: Option<Instant>,
    ) -> Poll<Result<()>> {
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
    pub(super) fn poll_reuse(&mut self, cx: &mut Context<'_>) -> Poll<Result<()>> {
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
    pub(super) fn open_stream(
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
                self.again = Some(outgoing);
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
    pub(super) fn start_again(&mut self, unprocessed: Unprocessed) -> bool {
        let Step::Open { link, .. } = &self.step else {
            return false;
        };
        if link.is_body_begun() || !self.resends.take(unprocessed) {
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
        self.is_resending = true;
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
