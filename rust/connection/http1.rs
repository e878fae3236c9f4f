//! Http1: one HTTP/1.1 connection, driven by whoever polls it.
//!
//! hyper's connection is a future that is owned and polled here, in the request's own task: no task of its
//! own, no hand-over between threads, and closing is dropping. The order of a poll is always: what hyper
//! has for us, then the connection, then again what hyper has.

use std::future::Future;
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};

use bytes::Bytes;
use http_body::Body;
use hyper::body::Incoming;
use hyper::client::conn::TrySendError;
use hyper::client::conn::http1::{Builder, Connection, SendRequest};
use parking_lot::Mutex;

use super::NetworkStream;
use super::body::{HyperBody, Outgoing};
use super::gate::Gate;
use super::head::{Framing, RequestHead};
use super::io::{HyperIo, Wire};
use super::response::{BodyFraming, MAX_HEAD, MAX_HEADERS, ResponseHead};
use crate::error::{Error, Kind, Result};

/// hyper's read buffer grows up to this: with less, the rate of a large download halves.
const MAX_BUFFER: usize = 256 * 1024;

/// How often one poll looks again after a wake-up that came while it polled. tokio's cooperative budget
/// wakes a task that has used it up, and would be asked for ever without a bound.
const LOOKS: usize = 4;

type Sent<S> =
    std::result::Result<http::Response<Incoming>, TrySendError<http::Request<HyperBody<S>>>>;

/// One HTTP/1.1 connection over a stream.
///
/// # Drop
///
/// Closes the stream.
///
/// # Cancel safety
///
/// Every step is a poll; between polls nothing is lost, and any task may poll next.
pub struct Http1<S: NetworkStream> {
    wire: Arc<Mutex<Wire<S>>>,
    gate: Arc<Gate>,
    waker: Waker,
    sender: SendRequest<HyperBody<S>>,
    /// `None` when hyper is done with the connection, for good.
    connection: Option<Connection<HyperIo<S>, HyperBody<S>>>,
    exchange: Option<InFlight<S>>,
    /// Makes the synthetic targets unforeseeable; see guard 1 in `io`.
    secret: RandomState,
    requests: u64,
}

/// What there is of the exchange on a connection.
struct InFlight<S: NetworkStream> {
    /// Both sides allow another exchange after this one.
    keeps_alive: bool,
    response: Option<Pin<Box<dyn Future<Output = Sent<S>> + Send>>>,
    body: Option<Incoming>,
    framing: BodyFraming,
    received: u64,
    complete: bool,
}

impl<S: NetworkStream> Http1<S> {
    /// An HTTP/1.1 connection over a fresh stream. Nothing is sent or read yet.
    ///
    /// # Errors
    ///
    /// None that can be provoked: hyper's handshake does no I/O.
    pub fn handshake(stream: S) -> Result<Self> {
        let wire = Arc::new(Mutex::new(Wire::new(stream)));
        let handshake = Builder::new()
            .max_headers(MAX_HEADERS)
            .max_header_size(MAX_HEAD)
            .max_buf_size(MAX_BUFFER)
            .allow_obsolete_multiline_headers_in_responses(true)
            .handshake(HyperIo(Arc::clone(&wire)));
        let mut handshake = std::pin::pin!(handshake);
        let Poll::Ready(Ok((sender, connection))) = handshake
            .as_mut()
            .poll(&mut Context::from_waker(Waker::noop()))
        else {
            return Err(Error::message(
                Kind::Connect,
                "The HTTP/1.1 handshake failed.",
            ));
        };
        let gate = Gate::new();
        Ok(Self {
            wire,
            waker: Waker::from(Arc::clone(&gate)),
            gate,
            sender,
            connection: Some(connection),
            exchange: None,
            secret: RandomState::new(),
            requests: 0,
        })
    }

    /// Whether the peer has closed the idle connection, or sent what nobody asked for.
    pub fn is_stale(&mut self) -> bool {
        self.connection.is_none()
            || self.sender.is_closed()
            || self.wire.lock().stream.is_readable()
    }

    /// Begins an exchange, with the whole body or, for `None`, one that is pushed.
    ///
    /// # Errors
    ///
    /// `LocalProtocol` for a body that is not as long as its Content-Length. Nothing has been sent then.
    pub fn begin(&mut self, head: RequestHead, body: Option<Bytes>) -> Result<()> {
        let mut outgoing = Outgoing::new(head.framing);
        if let Some(body) = body {
            outgoing.push(body)?;
            outgoing.end()?;
        }
        if head.framing == Framing::None {
            // Nothing may be pushed, so nothing has to be waited for.
            outgoing.end()?;
        }
        let is_first = self.requests == 0;
        if !self.wire.lock().is_at_rest() || !(is_first || self.sender.is_ready()) {
            return Err(guard_tripped());
        }
        self.requests += 1;
        let (synthetic, request) = self.synthesize(&head)?;
        {
            let mut wire = self.wire.lock();
            wire.outgoing = outgoing;
            wire.arm(synthetic, head.text, head.is_head);
        }
        self.exchange = Some(InFlight {
            keeps_alive: !head.closes,
            response: Some(Box::pin(self.sender.try_send_request(request))),
            body: None,
            framing: BodyFraming::Close,
            received: 0,
            complete: false,
        });
        Ok(())
    }

    /// The request as hyper sees it, and the head that it will write. hyper has to know whether the
    /// response can have a body, and how the request's is framed.
    fn synthesize(&self, head: &RequestHead) -> Result<(Bytes, http::Request<HyperBody<S>>)> {
        let method = if head.is_head {
            http::Method::HEAD
        } else {
            http::Method::POST
        };
        let target = format!("/{:016x}", self.secret.hash_one(self.requests));
        let (name, value) = match head.framing {
            Framing::None => ("content-length", "0".to_owned()),
            Framing::ContentLength(length) => ("content-length", length.to_string()),
            Framing::Chunked => ("transfer-encoding", "chunked".to_owned()),
        };
        let synthetic = format!("{method} {target} HTTP/1.1\r\n{name}: {value}\r\n\r\n");
        let request = http::Request::builder()
            .method(method)
            .uri(target)
            .header(name, value)
            .body(HyperBody(Arc::clone(&self.wire)))
            .map_err(|_| guard_tripped())?;
        Ok((Bytes::from(synthetic), request))
    }

    /// Ready when all that was handed over is with the kernel, or when the peer takes no more: then the
    /// response is worth reading.
    pub fn poll_sent(&mut self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        self.poll_gated(cx, |this, cx| {
            if let Some(sent) = this.sent() {
                return Poll::Ready(sent);
            }
            this.drive(cx);
            this.sent().map_or(Poll::Pending, Poll::Ready)
        })
    }

    fn sent(&self) -> Option<Result<()>> {
        let wire = self.wire.lock();
        if wire.violated {
            return Some(Err(guard_tripped()));
        }
        let is_out = wire.is_head_out() && wire.clean && wire.outgoing.is_taken();
        (is_out || wire.broken || self.connection.is_none()).then_some(Ok(()))
    }

    /// Hands over one more chunk of a pushed body. The former one must have been sent.
    ///
    /// # Errors
    ///
    /// `LocalProtocol` when the body outgrows its Content-Length.
    pub fn push(&mut self, chunk: Bytes) -> Result<()> {
        let mut wire = self.wire.lock();
        if wire.broken || self.connection.is_none() {
            // The response tells why the peer stopped reading.
            return Ok(());
        }
        wire.outgoing.push(chunk)
    }

    /// Says that a pushed body has ended.
    ///
    /// # Errors
    ///
    /// `LocalProtocol` when it is shorter than its Content-Length.
    pub fn finish(&mut self) -> Result<()> {
        let mut wire = self.wire.lock();
        if wire.broken || self.connection.is_none() {
            return Ok(());
        }
        wire.outgoing.end()
    }

    /// The head of the final response.
    pub fn poll_head(&mut self, cx: &mut Context<'_>) -> Poll<Result<ResponseHead>> {
        self.poll_gated(cx, |this, cx| {
            if let Poll::Ready(head) = this.poll_response() {
                return Poll::Ready(head);
            }
            this.drive(cx);
            this.poll_response()
        })
    }

    fn poll_response(&mut self) -> Poll<Result<ResponseHead>> {
        let Some(response) = self.exchange.as_mut().and_then(|it| it.response.as_mut()) else {
            return Poll::Ready(Err(misuse()));
        };
        // Only driving the connection can complete it, and that is done right here.
        let sent = ready!(
            response
                .as_mut()
                .poll(&mut Context::from_waker(Waker::noop()))
        );
        if let Some(exchange) = &mut self.exchange {
            exchange.response = None;
        }
        Poll::Ready(match sent {
            Ok(response) => self.accept(response),
            Err(failed) => Err(self.head_error(failed.error())),
        })
    }

    fn accept(&mut self, response: http::Response<Incoming>) -> Result<ResponseHead> {
        let Some(exchange) = &mut self.exchange else {
            return Err(misuse());
        };
        let head = self.wire.lock().recorder.take()?;
        if head.status != response.status().as_u16() {
            return Err(Error::message(
                Kind::RemoteProtocol,
                "The response head could not be read again.",
            ));
        }
        if head.status == 101 {
            return Err(Error::message(
                Kind::RemoteProtocol,
                "Received status 101 without a pending proposal to change the protocol.",
            ));
        }
        exchange.keeps_alive &= head.keeps_alive;
        exchange.framing = head.framing;
        exchange.body = Some(response.into_body());
        Ok(head)
    }

    /// The next bytes of the body, as they came; `None` at its end.
    pub fn poll_body(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>>> {
        self.poll_gated(cx, |this, cx| {
            if let Poll::Ready(frame) = this.poll_frame() {
                return Poll::Ready(frame);
            }
            this.drive(cx);
            this.poll_frame()
        })
    }

    fn poll_frame(&mut self) -> Poll<Result<Option<Bytes>>> {
        if self.wire.lock().recorder.is_body_illegal() {
            return Poll::Ready(Err(Error::message(
                Kind::RemoteProtocol,
                "illegal chunk header: its size has too many digits",
            )));
        }
        loop {
            let Some(exchange) = &mut self.exchange else {
                return Poll::Ready(Err(misuse()));
            };
            let Some(body) = &mut exchange.body else {
                return Poll::Ready(Err(misuse()));
            };
            let mut noop = Context::from_waker(Waker::noop());
            match ready!(Pin::new(body).poll_frame(&mut noop)) {
                Some(Ok(frame)) => {
                    // Trailers are dropped, as httpcore does.
                    if let Ok(bytes) = frame.into_data() {
                        exchange.received += bytes.len() as u64;
                        return Poll::Ready(Ok(Some(bytes)));
                    }
                }
                Some(Err(error)) => return Poll::Ready(Err(self.body_error(&error))),
                None => {
                    exchange.complete = true;
                    return Poll::Ready(Ok(None));
                }
            }
        }
    }

    /// After the end of the body: may the connection serve another exchange? Asked once, and answered by
    /// every guard there is.
    pub fn finish_exchange(&mut self) -> bool {
        let Some(exchange) = self.exchange.take() else {
            return false;
        };
        if !(exchange.complete && exchange.keeps_alive) {
            return false;
        }
        drop(exchange);
        // One more poll lets hyper see what lies behind the response, and become ready. Nobody is woken
        // for an idle connection: it is looked at before it is used. The budget of the task that happens
        // to poll has nothing to do with it.
        self.gate.leave();
        let mut noop = Context::from_waker(Waker::noop());
        {
            let last = std::pin::pin!(tokio::task::unconstrained(std::future::poll_fn(|cx| {
                self.drive(cx);
                Poll::Ready(())
            })));
            let _ = last.poll(&mut noop);
        }
        let mut wire = self.wire.lock();
        let is_out = wire.is_head_out() && wire.outgoing.released;
        wire.rest();
        is_out
            && wire.is_at_rest()
            && self.connection.is_some()
            && self.sender.is_ready()
            && !self.sender.is_closed()
    }

    /// Bytes that have come from the socket.
    pub fn bytes_read(&self) -> u64 {
        self.wire.lock().bytes_read
    }

    /// Bytes that the kernel has taken.
    pub fn bytes_written(&self) -> u64 {
        self.wire.lock().bytes_written
    }

    /// Polls behind the gate, and again for a wake-up that came while polling.
    fn poll_gated<T>(
        &mut self,
        cx: &mut Context<'_>,
        mut poll: impl FnMut(&mut Self, &mut Context<'_>) -> Poll<T>,
    ) -> Poll<T> {
        let waker = self.waker.clone();
        let mut gated = Context::from_waker(&waker);
        for _ in 0..LOOKS {
            self.gate.shut(cx.waker());
            let polled = poll(self, &mut gated);
            let knocked = self.gate.open();
            if polled.is_ready() || !knocked {
                return polled;
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Polls hyper's connection, and lets it go when it is done. Its going completes whatever still waits.
    fn drive(&mut self, cx: &mut Context<'_>) {
        if let Some(connection) = &mut self.connection {
            if connection.poll_without_shutdown(cx).is_ready() {
                self.connection = None;
            }
        }
    }

    /// Why there is no head. Told by what the socket said and by hyper's kinds, never by its words.
    fn head_error(&self, error: &hyper::Error) -> Error {
        let mut wire = self.wire.lock();
        if wire.violated {
            return guard_tripped();
        }
        if let Some(error) = wire.read_error.take() {
            return read_error(error);
        }
        if error.is_incomplete_message() || error.is_canceled() || (wire.ended && !error.is_parse())
        {
            return Error::message(
                Kind::RemoteProtocol,
                "Server disconnected without sending a response.",
            );
        }
        illegal_response(error)
    }

    /// Why a body ended early.
    fn body_error(&self, error: &hyper::Error) -> Error {
        let mut wire = self.wire.lock();
        if let Some(error) = wire.read_error.take() {
            return read_error(error);
        }
        let Some(exchange) = &self.exchange else {
            return misuse();
        };
        if !wire.ended {
            return illegal_response(error);
        }
        let detail = match exchange.framing {
            BodyFraming::ContentLength(expected) => {
                format!("received {} bytes, expected {expected}", exchange.received)
            }
            BodyFraming::Chunked | BodyFraming::Close => "incomplete chunked read".to_owned(),
        };
        Error::message(
            Kind::RemoteProtocol,
            format!("peer closed connection without sending complete message body ({detail})"),
        )
    }
}

impl<S: NetworkStream> std::fmt::Debug for Http1<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Http1")
            .field("requests", &self.requests)
            .finish_non_exhaustive()
    }
}

/// What the kernel says of a stream that failed: also its own timeout (`TCP_USER_TIMEOUT`, keep-alive).
fn read_error(error: io::Error) -> Error {
    Error::io(Kind::Read, error)
}

/// hyper's verdict in hyper's words, with their cause.
fn illegal_response(error: &hyper::Error) -> Error {
    use std::error::Error as _;
    let text = match error.source() {
        Some(source) => format!("illegal response: {error}: {source}"),
        None => format!("illegal response: {error}"),
    };
    Error::message(Kind::RemoteProtocol, text)
}

fn guard_tripped() -> Error {
    Error::message(
        Kind::LocalProtocol,
        "The connection is not in a state to send this request; nothing was sent.",
    )
}

fn misuse() -> Error {
    Error::message(
        Kind::LocalProtocol,
        "The steps of an exchange were taken out of order.",
    )
}
