//! Http1: one HTTP/1.1 connection, one exchange after the other.
//!
//! The door of this room. It hands requests to hyper, counts their bodies, and decides whether the
//! connection may carry another. Polling hyper is `drive`'s, the bytes are `io`'s.

use std::fmt;
use std::future::{Future, poll_fn};
use std::hash::{BuildHasher, RandomState};
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Uri, header};
use hyper::client::conn::http1::{Builder, SendRequest};
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;

use super::NetworkStream;
use super::body::{self, OutgoingBody};
use super::drive::{Driver, InFlight};
use super::framing::Framing;
use super::gate::Gatekeeper;
use super::head::{MethodKind, RequestHead};
use super::io::{HeadIo, Wire};
use super::raw::ResponseHead;
use super::recorder::MAX_HEAD_SIZE;
use super::upgraded::Upgraded;
use crate::error::{Error, Kind, Result};

/// How much hyper reads at once, and buffers of a body before it writes. Beyond it a bulk download
/// gains nothing, and every connection may hold as much.
const MAX_BUFFER: usize = 256 * 1024;
/// Room for hyper's own head: a request line with a nonce, and one header.
const USUAL_SYNTHETIC_SIZE: usize = 96;

/// An HTTP/1.1 connection.
///
/// The order of calls is `begin`, then `poll_sent`, for each chunk of a pushed body `push` and
/// `poll_sent`, `finish` and `poll_sent`; `poll_head`; `poll_body` until `None`; `finish_exchange`.
/// Nothing moves unless it is polled: there is no task behind it. After an error only dropping is left.
///
/// # Cancel safety
///
/// No poll loses anything when its caller goes away: the next one continues where it stopped. An
/// exchange that is given up in the middle leaves the connection fit for dropping only.
///
/// # Drop
///
/// Closes the socket at once, whatever was in flight.
pub struct Http1<S: NetworkStream> {
    send: SendRequest<OutgoingBody>,
    driver: Driver<S>,
    gate: Gatekeeper,
    /// Keys the nonces of this connection; see [`Http1::synthetic`].
    nonces: RandomState,
    requests: u64,
}

impl<S: NetworkStream> fmt::Debug for Http1<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Http1")
            .field("requests", &self.requests)
            .field("driver", &self.driver)
            .finish_non_exhaustive()
    }
}

impl<S: NetworkStream> Http1<S> {
    /// Prepares a connected stream for HTTP/1.1. Nothing is read or written.
    ///
    /// # Errors
    ///
    /// hyper's, should it ever have one here.
    pub fn handshake(stream: S) -> Result<Self> {
        let wire = Arc::new(Mutex::new(Wire::new(stream)));
        let io = TokioIo::new(HeadIo(Arc::clone(&wire)));
        let mut builder = Builder::new();
        builder
            .allow_obsolete_multiline_headers_in_responses(true)
            .max_header_size(MAX_HEAD_SIZE)
            .max_buf_size(MAX_BUFFER);
        // A future by signature alone: it awaits nothing, so one poll is all that it takes.
        let handshake = pin!(builder.handshake(io));
        let Poll::Ready(shaken) = handshake.poll(&mut Context::from_waker(Waker::noop())) else {
            return Err(local("hyper's handshake waits for something"));
        };
        let (send, connection) = shaken.map_err(|error| local(error.to_string()))?;
        Ok(Self {
            send,
            driver: Driver::new(connection, wire),
            gate: Gatekeeper::new(),
            nonces: RandomState::new(),
            requests: 0,
        })
    }

    /// Whether an idle connection must not be used: its server closed it, or sent what nobody asked
    /// for. Asked of the kernel, as nobody has polled the connection since it became idle.
    pub fn is_stale(&mut self) -> bool {
        self.send.is_closed() || self.driver.is_over() || self.driver.is_readable()
    }

    /// Takes the next request: with all of its body, or `None` when the body is pushed. Nothing is
    /// written before the first poll.
    ///
    /// # Errors
    ///
    /// `LocalProtocol` when the body is not as long as the head says.
    pub fn begin(&mut self, head: RequestHead, body: Option<Bytes>) -> Result<()> {
        let framing = head.framing();
        let (mut sender, outgoing) = body::channel(framing);
        let mut size = 0;
        if let Some(body) = body {
            size += sender.push(body)?;
            size += sender.finish()?;
        }
        let (request, synthetic) = self.synthetic(head.kind(), framing, outgoing)?;
        let exchange = InFlight::new(sender, &head);
        self.driver.begin(exchange, synthetic, head, size)?;
        self.driver.waits_for(self.send.try_send_request(request));
        Ok(())
    }

    /// The request that hyper believes to send, and its head as hyper writes it.
    ///
    /// Its target is a nonce that no earlier body can contain: whatever hyper still had to write, a
    /// match means that this very head has come. Of the real head hyper knows only what it needs:
    /// whether the response has a body, and how the request's ends.
    fn synthetic(
        &mut self,
        kind: MethodKind,
        framing: Framing,
        body: OutgoingBody,
    ) -> Result<(Request<OutgoingBody>, Vec<u8>)> {
        self.requests += 1;
        let nonce = self.nonces.hash_one(self.requests);
        let (method, target) = match kind {
            MethodKind::Head => (Method::HEAD, format!("/{nonce:016x}")),
            // A host and a port, as hyper demands of it. The port is any.
            MethodKind::Connect => (Method::CONNECT, format!("{nonce:016x}:1")),
            MethodKind::Other => (Method::POST, format!("/{nonce:016x}")),
        };
        let mut lines = String::with_capacity(USUAL_SYNTHETIC_SIZE);
        lines.extend([method.as_str(), " ", &target, " HTTP/1.1\r\n"]);
        let mut request = Request::new(body);
        let headers = request.headers_mut();
        match framing {
            // hyper is told of no body, and writes no header for it.
            Framing::None | Framing::ContentLength(0) => {}
            Framing::ContentLength(length) => {
                lines.push_str(&format!("content-length: {length}\r\n"));
                headers.insert(header::CONTENT_LENGTH, length.into());
            }
            Framing::Chunked => {
                lines.push_str("transfer-encoding: chunked\r\n");
                let chunked = HeaderValue::from_static("chunked");
                headers.insert(header::TRANSFER_ENCODING, chunked);
            }
        }
        lines.push_str("\r\n");
        *request.method_mut() = method;
        *request.uri_mut() = Uri::try_from(target).map_err(|error| local(error.to_string()))?;
        Ok((request, lines.into_bytes()))
    }

    /// Ready once everything that was handed over is written and flushed. Also when the server takes no
    /// more of it: it may have answered early, and its response is to be read.
    pub fn poll_sent(&mut self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        self.gate.poll(cx, |cx| self.driver.poll_sent(cx))
    }

    /// Ends the body where the server's end takes no more, and tells why, once. [`Http1::poll_sent`] is ready
    /// then all the same, and the response may still come.
    pub fn abandon_body(&mut self) -> Option<Error> {
        self.driver.abandon_body()
    }

    /// Hands over one more chunk of a pushed body. An empty one is nothing.
    ///
    /// # Errors
    ///
    /// `LocalProtocol` when the body grows past what its head says.
    pub fn push(&mut self, chunk: Bytes) -> Result<()> {
        self.driver.push(chunk)
    }

    /// Says that a pushed body has ended.
    ///
    /// # Errors
    ///
    /// `LocalProtocol` when the body is shorter than its head says.
    pub fn finish(&mut self) -> Result<()> {
        self.driver.finish()
    }

    /// The head of the final response; informational ones are skipped.
    pub fn poll_head(&mut self, cx: &mut Context<'_>) -> Poll<Result<ResponseHead>> {
        self.gate.poll(cx, |cx| self.driver.poll_head(cx))
    }

    /// Whether the response was the last of HTTP on this connection, which is a byte stream now.
    pub fn is_upgraded(&self) -> bool {
        self.driver.is_upgraded()
    }

    /// That stream; `None` if the connection is still HTTP.
    pub fn into_upgraded(self) -> Option<Upgraded<S>> {
        self.driver.into_upgraded()
    }

    /// The next bytes of the response body as they come, `None` at its end. Trailers are dropped.
    pub fn poll_body(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>>> {
        self.gate.poll(cx, |cx| self.driver.poll_body(cx))
    }

    /// Ends the exchange, after the body's end; tells whether the connection can carry another one.
    /// If not, only dropping is left.
    pub fn finish_exchange(&mut self) -> bool {
        self.gate.rest();
        // One last turn: hyper becomes idle, or finds bytes after the response. Unconstrained, since
        // Tokio's budget would make a busy task's sockets look quiet and so an unfit connection fit.
        let waker = self.gate.waker();
        let driver = &mut self.driver;
        let turn = tokio::task::unconstrained(poll_fn(|cx| {
            driver.drive(cx);
            Poll::Ready(())
        }));
        let turned = pin!(turn).poll(&mut Context::from_waker(&waker));
        turned.is_ready() && self.send.is_ready() && self.driver.end()
    }

    /// Bytes that came from the server since the handshake.
    pub fn bytes_read(&self) -> u64 {
        self.driver.bytes_read()
    }

    /// Bytes that the kernel took since the handshake.
    pub fn bytes_written(&self) -> u64 {
        self.driver.bytes_written()
    }
}

fn local(text: impl Into<std::borrow::Cow<'static, str>>) -> Error {
    Error::message(Kind::LocalProtocol, text)
}
