//! Exchange: one request/response pair, a straight line: acquire -> connect -> send -> head -> body.
//!
//! It owns everything that the pair holds (the place in the queue, the lease, the connection) and is
//! driven from outside, by whichever task or thread polls it. It knows neither tasks nor Python; what
//! shares it between a task and a caller is `cell`. `engine` is what all exchanges of a pool share, `opening`
//! the way to an open connection, `beginning` HTTP on it, `link` that connection, whichever protocol it speaks, `step`
//! how far the exchange has come.

mod beginning;
mod engine;
mod link;
mod opening;
mod step;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::connect::{Leg, SocketView, Stream};
use crate::connection::{HeaderList, ResponseHead, Upgraded};
use crate::error::{Error, Kind, Result};
use crate::request::Request;
use crate::timeouts::{Quiet, Timeouts, Watchdog};
use beginning::Resends;
use engine::Tunnel;
pub use engine::{Engine, Interrupt, Multiplexed, Open, Owner, Parked};
use link::Link;
use opening::Attempts;
use step::{Connecting, Outgoing, Step};

/// One request/response pair in flight.
///
/// The order of calls is `poll_acquired` and `poll_leg` for each leg of the way, which may be left out; `poll_sent`,
/// then for a pushed body `push` and `poll_sent` for each chunk, `finish` and `poll_sent`; `poll_head`; `poll_body` until
/// `None`. After an error only dropping is left, but for those of `poll_leg`: they lead back to the first leg.
///
/// `waiting` says since when the caller waits for this step, `None` while nobody does: the timeouts of
/// a read run only for a caller who waits.
///
/// # Drop
///
/// Gives the slot back. The connection survives as idle only if the response was read to its end and
/// the connection can carry another request; else its socket is closed before `drop` returns.
#[derive(Debug)]
pub struct Exchange {
    engine: Arc<Engine>,
    timeouts: Timeouts,
    server_name: Option<String>,
    owner: Owner,
    step: Step,
    resends: Resends,
    /// It is being sent again, and not all of it has gone yet.
    is_resending: bool,
    /// What to send then.
    again: Option<Outgoing>,
    trailers: Option<HeaderList>,
    watchdog: Watchdog,
    quiet: Option<Quiet>,
}

impl Exchange {
    /// Takes a place in the pool's queue. Nothing is sent before the first poll.
    pub fn start(engine: Arc<Engine>, request: Request, owner: Owner) -> Self {
        let Request {
            origin,
            server_name,
            head,
            body,
            timeouts,
        } = request;
        let acquire = engine.pool.acquire(origin, owner.clone());
        Self {
            engine,
            timeouts,
            server_name,
            owner,
            resends: Resends::default(),
            is_resending: false,
            again: None,
            trailers: None,
            step: Step::Acquire {
                acquire,
                outgoing: Outgoing { head, body },
            },
            watchdog: Watchdog::default(),
            quiet: None,
        }
    }

    /// Ready once a connection is assigned: true if it has yet to be opened.
    pub fn poll_acquired(
        &mut self,
        cx: &mut Context<'_>,
        waiting: Option<Instant>,
    ) -> Poll<Result<bool>> {
        if matches!(self.step, Step::Acquire { .. }) {
            ready!(self.poll_lease(cx, waiting))?;
        }
        Poll::Ready(Ok(matches!(self.step, Step::Disconnected { .. })))
    }

    /// Ready once this leg of the way to an open connection is behind us, after one attempt and no retry. Legs are
    /// taken in their order. After an error it can be called with the first one again; the lease is kept meanwhile.
    pub fn poll_leg(&mut self, cx: &mut Context<'_>, leg: Leg) -> Poll<Result<()>> {
        loop {
            match &self.step {
                Step::Disconnected { .. } => self.connect(Attempts::One),
                Step::Underway { leg: reached, .. } if *reached >= leg => {
                    return Poll::Ready(Ok(()));
                }
                Step::Underway { .. } => self.go_on(),
                Step::Connect { .. } => ready!(self.poll_connect(cx))?,
                Step::Connected { .. } | Step::Reuse { .. } | Step::Open { .. } => {
                    return Poll::Ready(Ok(()));
                }
                _ => return Poll::Ready(Err(misuse())),
            }
        }
    }

    /// What a proxy has answered to the question for a tunnel, until the connection is open.
    pub fn proxy_answer(&self) -> Option<&ResponseHead> {
        match &self.step {
            Step::Underway { way, .. } => way.answer(),
            _ => None,
        }
    }

    /// Ends the request where the server takes no more of it, and tells why, once. The response may still
    /// come. `None` while it does take more.
    pub fn abandon_body(&mut self) -> Option<Error> {
        match &mut self.step {
            Step::Open { link, .. } => link.abandon_body(),
            _ => None,
        }
    }

    /// The connection's socket, once it is open and as long as the response is.
    pub fn view(&self) -> Option<SocketView> {
        match &self.step {
            Step::Underway { way, .. } => Some(way.stream().view()),
            Step::Connected { stream, .. } => Some(stream.view()),
            Step::Begin { view, .. } | Step::Complete { view, .. } => Some(view.clone()),
            Step::Reuse { connection, .. } => Some(connection.registered.view().clone()),
            Step::Open { link, .. } => Some(link.view().clone()),
            Step::Upgraded { tunnel, .. } => Some(tunnel.registered.view().clone()),
            _ => None,
        }
    }

    /// The id of its HTTP/2 stream; before that is open, the one that it is going to have. `None` over HTTP/1.1, and
    /// before it is known what the connection speaks.
    pub fn stream_id(&self) -> Option<u32> {
        match &self.step {
            Step::Connected { stream, lease, .. } => {
                let connector = &self.engine.connector;
                let is_http2 = connector.speaks_http2(lease.origin(), stream);
                is_http2.then_some(self.first_stream())
            }
            Step::Begin { .. } => Some(self.first_stream()),
            Step::Reuse { connection, .. } => Some(connection.http.next_id()),
            Step::Open { link, .. } => link.stream_id(),
            _ => None,
        }
    }

    /// What came behind the response's body, over HTTP/2; once.
    pub fn take_trailers(&mut self) -> Option<HeaderList> {
        self.trailers.take()
    }

    /// The byte stream that the connection has become, after a response that made it one.
    pub fn upgraded(&self) -> Option<Arc<Upgraded<Stream>>> {
        match &self.step {
            Step::Upgraded { tunnel, .. } => Some(Arc::clone(&tunnel.stream)),
            _ => None,
        }
    }

    /// Ready once all that was handed over so far is with the kernel: at first the head and a whole
    /// body, then each pushed chunk. Acquires and connects on the way.
    pub fn poll_sent(
        &mut self,
        cx: &mut Context<'_>,
        waiting: Option<Instant>,
    ) -> Poll<Result<()>> {
        ready!(self.poll_open(cx, waiting))?;
        let Step::Open { link, .. } = &mut self.step else {
            return Poll::Ready(Err(misuse()));
        };
        if let Poll::Ready(sent) = link.poll_sent(cx) {
            self.quiet = None;
            return Poll::Ready(sent);
        }
        let moved = link.bytes_sent();
        self.poll_quiet(cx, waiting, moved, self.timeouts.write, Kind::WriteTimeout)
            .map(Err)
    }

    /// Hands over one more chunk of a pushed body.
    ///
    /// # Errors
    ///
    /// `LocalProtocol` when the body grows past its Content-Length.
    pub fn push(&mut self, chunk: Bytes) -> Result<()> {
        match &mut self.step {
            Step::Open { link, .. } => link.push(chunk),
            _ => Err(misuse()),
        }
    }

    /// Says that a pushed body has ended.
    ///
    /// # Errors
    ///
    /// `LocalProtocol` when the body is shorter than its Content-Length.
    pub fn finish(&mut self) -> Result<()> {
        match &mut self.step {
            Step::Open { link, .. } => link.finish(),
            _ => Err(misuse()),
        }
    }

    /// The head of the final response; informational ones are skipped. A request that its server turns away without
    /// having looked at it is sent again ([`Resends`]), if all of it is still here.
    pub fn poll_head(
        &mut self,
        cx: &mut Context<'_>,
        waiting: Option<Instant>,
    ) -> Poll<Result<ResponseHead>> {
        loop {
            if self.is_resending {
                ready!(self.poll_sent(cx, waiting))?;
                self.is_resending = false;
            }
            let Step::Open { link, .. } = &mut self.step else {
                return Poll::Ready(Err(misuse()));
            };
            let Poll::Ready(head) = link.poll_head(cx) else {
                let moved = link.bytes_received();
                return self.poll_read_quiet(cx, waiting, moved).map(Err);
            };
            self.quiet = None;
            return Poll::Ready(match head {
                Ok(head) => {
                    self.again = None;
                    if link.is_upgraded() {
                        self.leave_http()?;
                    }
                    Ok(head)
                }
                Err((_, Some(unprocessed))) if self.start_again(unprocessed) => continue,
                Err((error, _)) => Err(error),
            });
        }
    }

    /// The next bytes of the response body, `None` at its end.
    ///
    /// Before the end is reported the connection is checked and parked in the lease, so that a caller
    /// who closes the response at once finds it idle for the next request.
    pub fn poll_body(
        &mut self,
        cx: &mut Context<'_>,
        waiting: Option<Instant>,
    ) -> Poll<Result<Option<Bytes>>> {
        let Step::Open { link, .. } = &mut self.step else {
            return Poll::Ready(match self.step {
                // What follows the head is the new protocol's.
                Step::Upgraded { .. } => Ok(None),
                _ => Err(misuse()),
            });
        };
        match link.poll_body(cx) {
            Poll::Ready(Ok(None)) => {
                self.complete();
                Poll::Ready(Ok(None))
            }
            Poll::Ready(frame) => {
                self.quiet = None;
                Poll::Ready(frame)
            }
            Poll::Pending => {
                let moved = link.bytes_received();
                self.poll_read_quiet(cx, waiting, moved).map(Err)
            }
        }
    }

    fn complete(&mut self) {
        let Step::Open { link, mut lease } = std::mem::replace(&mut self.step, Step::Failed) else {
            unreachable!("called on an open connection only");
        };
        let view = link.view().clone();
        let mut watchdog = std::mem::take(&mut self.watchdog);
        watchdog.rest();
        let spent = match link {
            Link::Http1(mut connection) => {
                if connection.http.finish_exchange() {
                    lease.park(Parked::Http1 {
                        connection,
                        watchdog,
                    });
                    None
                } else {
                    Some(Link::Http1(connection))
                }
            }
            Link::Http2 {
                mut stream,
                connection,
            } => {
                self.trailers = stream.take_trailers();
                connection.watchdogs.lock().push(watchdog);
                // Ends the request as well, where the server did not want all of it.
                drop(stream);
                None
            }
        };
        self.step = Step::Complete {
            view,
            _spent: spent,
            _lease: lease,
        };
    }

    fn leave_http(&mut self) -> Result<()> {
        let Step::Open { link, lease } = std::mem::replace(&mut self.step, Step::Failed) else {
            unreachable!("called on an open connection only");
        };
        let Link::Http1(connection) = link else {
            return Err(misuse());
        };
        let Open { http, registered } = *connection;
        let stream = Arc::new(http.into_upgraded().ok_or_else(misuse)?);
        self.step = Step::Upgraded {
            tunnel: Tunnel { stream, registered },
            _lease: lease,
        };
        Ok(())
    }

    /// [`Exchange::poll_quiet`] of a read. Where nothing at all has come on a connection that others share, they are
    /// better off on another one.
    fn poll_read_quiet(
        &mut self,
        cx: &mut Context<'_>,
        waiting: Option<Instant>,
        moved: u64,
    ) -> Poll<Error> {
        let polled = self.poll_quiet(cx, waiting, moved, self.timeouts.read, Kind::ReadTimeout);
        if polled.is_ready()
            && let Step::Open { link, .. } = &mut self.step
        {
            link.timed_out(self.timeouts.read.unwrap_or_default());
        }
        polled
    }

    /// The id of a new HTTP/2 connection's first stream.
    fn first_stream(&self) -> u32 {
        #[cfg(test)]
        if let Some(id) = self.engine.connector.first_stream {
            return id;
        }
        FIRST_STREAM
    }

    /// Ready with an error once nothing has moved for `timeout` while the caller waited.
    fn poll_quiet(
        &mut self,
        cx: &mut Context<'_>,
        waiting: Option<Instant>,
        moved: u64,
        timeout: Option<Duration>,
        kind: Kind,
    ) -> Poll<Error> {
        let Some(timeout) = timeout else {
            return Poll::Pending;
        };
        let quiet = self.quiet.get_or_insert_with(|| Quiet::start(moved));
        loop {
            let deadline = quiet.deadline(moved, waiting, timeout);
            ready!(
                self.watchdog
                    .poll_expired(cx, &self.engine.runtime, deadline)
            );
            if waiting.is_some() {
                return Poll::Ready(Error::new(kind));
            }
        }
    }
}

/// A client's first; RFC 9113 section 5.1.1.
const FIRST_STREAM: u32 = 1;

/// A step was asked for out of order, or after an error.
fn misuse() -> Error {
    Error::message(Kind::LocalProtocol, "The exchange has ended.")
}
