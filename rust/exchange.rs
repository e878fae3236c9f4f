//! Exchange: one request/response pair, a straight line: acquire -> connect -> send -> head -> body.
//!
//! It owns everything that the pair holds (the place in the queue, the lease, the connection) and is
//! driven from outside, by whichever task or thread polls it. It knows neither tasks nor Python; what
//! shares it between a task and a caller is `cell`.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::runtime::Handle;

use crate::connect::{Connector, Stream};
use crate::connection::{Http1, RequestHead, ResponseHead};
use crate::error::{Error, Kind, Result};
use crate::pool::{Acquire, Lease, Pool};
use crate::request::{Request, RequestBody};
use crate::timeouts::{Quiet, Timeouts, Watchdog};

/// What the pool tells when it closes the connection under a request.
pub trait Interrupt: Send + Sync {
    /// Ends the exchange: its socket is closed and whoever waits for it gets a `Kind::Read` error.
    fn interrupt(self: Arc<Self>);
}

/// How the pool finds the exchange that holds a lease.
pub type Owner = Weak<dyn Interrupt>;

/// A connection between two exchanges, with the timer that it keeps armed.
#[derive(Debug)]
pub struct Parked {
    http: Http1<Stream>,
    watchdog: Watchdog,
}

/// What all exchanges of one pool share.
#[derive(Debug)]
pub struct Engine {
    /// Who gets which connection.
    pub pool: Arc<Pool<Parked, Owner>>,
    /// How connections are opened.
    pub connector: Arc<Connector>,
    /// The runtime that sockets and timers belong to.
    pub runtime: Handle,
}

impl Engine {
    /// Closes every connection and fails every request of the pool, which stays usable.
    pub fn close(&self) {
        for owner in self.pool.close() {
            if let Some(exchange) = owner.upgrade() {
                exchange.interrupt();
            }
        }
    }
}

/// One request/response pair in flight.
///
/// The order of calls is `poll_sent`, then for a pushed body `push` and `poll_sent` for each chunk,
/// `finish` and `poll_sent`; `poll_head`; `poll_body` until `None`. After an error only dropping is
/// left.
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
    step: Step,
    watchdog: Watchdog,
    quiet: Option<Quiet>,
}

type Connecting = Pin<Box<dyn Future<Output = Result<Stream>> + Send>>;

#[allow(clippy::large_enum_variant)] // an exchange is on the heap already, and most are `Open` for most of the time
enum Step {
    Acquire {
        acquire: Acquire<Parked, Owner>,
        outgoing: Outgoing,
    },
    Connect {
        connect: Connecting,
        lease: Lease<Parked, Owner>,
        outgoing: Outgoing,
    },
    Open {
        // Declared before the lease: on drop the socket closes before the slot is given to the next.
        http: Http1<Stream>,
        lease: Lease<Parked, Owner>,
    },
    /// The response is complete; the connection, if it can be used again, is parked in the lease.
    Complete { _lease: Lease<Parked, Owner> },
    /// An error ended the exchange. Everything that it held is gone.
    Failed,
}

impl std::fmt::Debug for Step {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Step::Acquire { .. } => "Acquire",
            Step::Connect { .. } => "Connect",
            Step::Open { .. } => "Open",
            Step::Complete { .. } => "Complete",
            Step::Failed => "Failed",
        })
    }
}

/// What still has to be handed to the connection.
#[derive(Debug)]
struct Outgoing {
    head: RequestHead,
    body: RequestBody,
}

impl Exchange {
    /// Takes a place in the pool's queue. Nothing is sent before the first poll.
    pub fn start(engine: Arc<Engine>, request: Request, owner: Owner) -> Self {
        let Request {
            origin,
            head,
            body,
            timeouts,
        } = request;
        let acquire = engine.pool.acquire(origin, owner);
        Self {
            engine,
            timeouts,
            step: Step::Acquire {
                acquire,
                outgoing: Outgoing { head, body },
            },
            watchdog: Watchdog::default(),
            quiet: None,
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
        let Step::Open { http, .. } = &mut self.step else {
            return Poll::Ready(Err(misuse()));
        };
        if let Poll::Ready(sent) = http.poll_sent(cx) {
            self.quiet = None;
            return Poll::Ready(sent);
        }
        let moved = http.bytes_written();
        self.poll_quiet(cx, waiting, moved, self.timeouts.write, Kind::WriteTimeout)
            .map(Err)
    }

    /// Hands over one more chunk of a pushed body.
    ///
    /// # Errors
    ///
    /// `LocalProtocol` when the body grows past its Content-Length.
    pub fn push(&mut self, chunk: Bytes) -> Result<()> {
        let Step::Open { http, .. } = &mut self.step else {
            return Err(misuse());
        };
        http.push(chunk)
    }

    /// Says that a pushed body has ended.
    ///
    /// # Errors
    ///
    /// `LocalProtocol` when the body is shorter than its Content-Length.
    pub fn finish(&mut self) -> Result<()> {
        let Step::Open { http, .. } = &mut self.step else {
            return Err(misuse());
        };
        http.finish()
    }

    /// The head of the final response; informational ones are skipped.
    pub fn poll_head(
        &mut self,
        cx: &mut Context<'_>,
        waiting: Option<Instant>,
    ) -> Poll<Result<ResponseHead>> {
        let Step::Open { http, .. } = &mut self.step else {
            return Poll::Ready(Err(misuse()));
        };
        if let Poll::Ready(head) = http.poll_head(cx) {
            self.quiet = None;
            return Poll::Ready(head);
        }
        let moved = http.bytes_read();
        self.poll_quiet(cx, waiting, moved, self.timeouts.read, Kind::ReadTimeout)
            .map(Err)
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
        let Step::Open { http, .. } = &mut self.step else {
            return Poll::Ready(Err(misuse()));
        };
        match http.poll_body(cx) {
            Poll::Ready(Ok(None)) => {
                self.complete();
                Poll::Ready(Ok(None))
            }
            Poll::Ready(frame) => {
                self.quiet = None;
                Poll::Ready(frame)
            }
            Poll::Pending => {
                let moved = http.bytes_read();
                self.poll_quiet(cx, waiting, moved, self.timeouts.read, Kind::ReadTimeout)
                    .map(Err)
            }
        }
    }

    fn complete(&mut self) {
        let Step::Open {
            mut http,
            mut lease,
        } = std::mem::replace(&mut self.step, Step::Failed)
        else {
            unreachable!("called on an open connection only");
        };
        if http.finish_exchange() {
            lease.park(Parked {
                http,
                watchdog: std::mem::take(&mut self.watchdog),
            });
        }
        self.step = Step::Complete { _lease: lease };
    }

    /// Acquires a connection, connects if there is none, and hands it the request.
    fn poll_open(&mut self, cx: &mut Context<'_>, waiting: Option<Instant>) -> Poll<Result<()>> {
        loop {
            match &mut self.step {
                Step::Acquire { acquire, .. } => {
                    let Poll::Ready(lease) = Pin::new(acquire).poll(cx) else {
                        let pool = self.timeouts.pool;
                        return self
                            .poll_quiet(cx, waiting, 0, pool, Kind::PoolTimeout)
                            .map(Err);
                    };
                    self.quiet = None;
                    self.assigned(lease?)?;
                }
                Step::Connect { connect, .. } => {
                    let stream = ready!(connect.as_mut().poll(cx))?;
                    self.connected(stream)?;
                }
                Step::Open { .. } => return Poll::Ready(Ok(())),
                Step::Complete { .. } | Step::Failed => return Poll::Ready(Err(misuse())),
            }
        }
    }

    /// Uses the idle connection that came with the lease, or turns the lease into a connect if there is
    /// none or its server has closed it meanwhile.
    fn assigned(&mut self, mut lease: Lease<Parked, Owner>) -> Result<()> {
        let Step::Acquire { outgoing, .. } = std::mem::replace(&mut self.step, Step::Failed) else {
            unreachable!("called while acquiring only");
        };
        if let Some(mut parked) = lease.take() {
            if !parked.http.is_stale() {
                self.watchdog = parked.watchdog;
                return self.begin(parked.http, lease, outgoing);
            }
            drop(parked);
            lease.connecting();
        }
        let connector = Arc::clone(&self.engine.connector);
        let runtime = self.engine.runtime.clone();
        let origin = lease.origin().clone();
        let timeout = self.timeouts.connect;
        self.step = Step::Connect {
            connect: Box::pin(async move { connector.connect(&origin, timeout, &runtime).await }),
            lease,
            outgoing,
        };
        Ok(())
    }

    fn connected(&mut self, stream: Stream) -> Result<()> {
        let Step::Connect {
            mut lease,
            outgoing,
            ..
        } = std::mem::replace(&mut self.step, Step::Failed)
        else {
            unreachable!("called while connecting only");
        };
        lease.connected();
        let http = Http1::handshake(stream)?;
        self.begin(http, lease, outgoing)
    }

    fn begin(
        &mut self,
        mut http: Http1<Stream>,
        lease: Lease<Parked, Owner>,
        outgoing: Outgoing,
    ) -> Result<()> {
        let body = match outgoing.body {
            RequestBody::Whole(body) => Some(body),
            RequestBody::Pushed => None,
        };
        http.begin(outgoing.head, body)?;
        self.step = Step::Open { http, lease };
        Ok(())
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

/// A step was asked for out of order, or after an error.
fn misuse() -> Error {
    Error::message(Kind::LocalProtocol, "The exchange has ended.")
}
