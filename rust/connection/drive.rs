//! Driving hyper's connection inline.
//!
//! hyper's future is polled by whoever waits for a step of the exchange; there is no task. What passes
//! over the wire is `io`'s, what an error means is `failure`'s.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body as _;
use hyper::body::Incoming;
use hyper::client::conn::TrySendError;
use hyper::client::conn::http1::Connection;
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;

use super::NetworkStream;
use super::body::{BodySender, OutgoingBody};
use super::failure;
use super::framing::Framing;
use super::head::{MethodKind, RequestHead};
use super::io::{HeadIo, Wire};
use super::raw::{self, ResponseHead};
use super::upgraded::Upgraded;
use crate::error::{Error, Kind, Result};

/// A body that is larger is a download: what comes of it had better gather than be looked for piece by piece.
const SMALL_BODY: u64 = 8 * 1024;

type Answer = std::result::Result<Response<Incoming>, TrySendError<Request<OutgoingBody>>>;
type Answering = Pin<Box<dyn Future<Output = Answer> + Send>>;

/// hyper's half of a connection, and the exchange on it.
pub(super) struct Driver<S: NetworkStream> {
    /// `None` once it has ended. It must be dropped then: only that tells those who wait for it.
    connection: Option<Connection<TokioIo<HeadIo<S>>, OutgoingBody>>,
    wire: Arc<Mutex<Wire<S>>>,
    exchange: Option<InFlight>,
    /// What hyper had read and not used when it ended: behind the head of an upgrade, the new protocol's.
    unused: Bytes,
}

/// One request and what has come back for it.
pub(super) struct InFlight {
    sender: BodySender,
    kind: MethodKind,
    offers_upgrade: bool,
    answering: Option<Answering>,
    /// The head of a response after which the connection is no HTTP any more, until hyper has let it go.
    switching: Option<ResponseHead>,
    incoming: Option<Incoming>,
    framing: Framing,
    received: u64,
    reusable: bool,
    ended: bool,
    /// The response was the last of HTTP on this connection: a 101, or a CONNECT's success.
    switched: bool,
}

impl InFlight {
    pub(super) fn new(sender: BodySender, head: &RequestHead) -> Self {
        Self {
            sender,
            kind: head.kind(),
            offers_upgrade: head.offers_upgrade(),
            answering: None,
            switching: None,
            incoming: None,
            framing: Framing::None,
            received: 0,
            reusable: !head.closes(),
            ended: false,
            switched: false,
        }
    }
}

impl<S: NetworkStream> fmt::Debug for Driver<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Driver")
            .field("over", &self.is_over())
            .field("busy", &self.exchange.is_some())
            .finish_non_exhaustive()
    }
}

impl<S: NetworkStream> Driver<S> {
    pub(super) fn new(
        connection: Connection<TokioIo<HeadIo<S>>, OutgoingBody>,
        wire: Arc<Mutex<Wire<S>>>,
    ) -> Self {
        Self {
            connection: Some(connection),
            wire,
            exchange: None,
            unused: Bytes::new(),
        }
    }

    pub(super) fn begin(
        &mut self,
        exchange: InFlight,
        synthetic: Vec<u8>,
        head: RequestHead,
        size: u64,
    ) -> Result<()> {
        let mut wire = self.wire.lock();
        wire.arm(synthetic, head.into_bytes())
            .map_err(failure::violation)?;
        wire.allow(size);
        drop(wire);
        self.exchange = Some(exchange);
        Ok(())
    }

    pub(super) fn waits_for(&mut self, answer: impl Future<Output = Answer> + Send + 'static) {
        if let Some(exchange) = &mut self.exchange {
            exchange.answering = Some(Box::pin(answer));
        }
    }

    pub(super) fn push(&mut self, chunk: Bytes) -> Result<()> {
        self.hand_over(|sender| sender.push(chunk))
    }

    pub(super) fn finish(&mut self) -> Result<()> {
        self.hand_over(BodySender::finish)
    }

    fn hand_over(&mut self, step: impl FnOnce(&mut BodySender) -> Result<u64>) -> Result<()> {
        let exchange = self.exchange.as_mut().ok_or_else(misuse)?;
        let mut wire = self.wire.lock();
        if self.connection.is_none() {
            exchange.sender.discard();
        }
        wire.allow(step(&mut exchange.sender)?);
        Ok(())
    }

    /// One turn of hyper's connection.
    pub(super) fn drive(&mut self, cx: &mut Context<'_>) {
        if let Some(connection) = &mut self.connection {
            // An error of the connection reaches those who wait for the response or its body. One that
            // finds nobody left is of no interest to anybody.
            if connection.poll_without_shutdown(cx).is_ready()
                && let Some(ended) = self.connection.take()
            {
                self.unused = ended.into_parts().read_buf;
            }
        }
    }

    pub(super) fn poll_sent(&mut self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        if self.exchange.is_none() {
            return Poll::Ready(Err(misuse()));
        }
        if !self.is_sent() {
            self.drive(cx);
        }
        if let Some(rule) = self.wire.lock().violation {
            return Poll::Ready(Err(failure::violation(rule)));
        }
        if self.is_sent() {
            return Poll::Ready(Ok(()));
        }
        Poll::Pending
    }

    pub(super) fn abandon_body(&mut self) -> Option<Error> {
        let mut wire = self.wire.lock();
        let error = wire.write_error.take().or_else(|| {
            // The end was noticed by a read, before the write that it cuts short.
            let cut = self.connection.is_none() && !wire.is_sent();
            cut.then(|| std::io::ErrorKind::BrokenPipe.into())
        })?;
        drop(wire);
        if let Some(exchange) = &mut self.exchange {
            exchange.sender.abandon();
        }
        Some(Error::io(Kind::Write, error))
    }

    /// Or never will be: what became of the connection is told with the response.
    fn is_sent(&self) -> bool {
        let wire = self.wire.lock();
        wire.broken || wire.is_sent() || self.connection.is_none()
    }

    pub(super) fn poll_head(&mut self, cx: &mut Context<'_>) -> Poll<Result<ResponseHead>> {
        let mut polled = self.poll_answer(cx);
        if polled.is_pending() {
            self.drive(cx);
            polled = self.poll_answer(cx);
        }
        polled
    }

    fn poll_answer(&mut self, cx: &mut Context<'_>) -> Poll<Result<ResponseHead>> {
        let Some(exchange) = &mut self.exchange else {
            return Poll::Ready(Err(misuse()));
        };
        if let Some(answering) = &mut exchange.answering {
            let Poll::Ready(answer) = answering.as_mut().poll(cx) else {
                let refusal = self.wire.lock().recorder.refusal();
                return refusal.map_or(Poll::Pending, |error| Poll::Ready(Err(error)));
            };
            exchange.answering = None;
            let head = match answer {
                Ok(response) => self.answered(response)?,
                Err(error) => {
                    let error = error.into_error();
                    return Poll::Ready(Err(failure::no_head(&mut self.wire.lock(), &error)));
                }
            };
            return match &mut self.exchange {
                Some(exchange) if exchange.switched => {
                    exchange.switching = Some(head);
                    self.poll_switched()
                }
                _ => Poll::Ready(Ok(head)),
            };
        }
        if exchange.switching.is_some() {
            return self.poll_switched();
        }
        Poll::Ready(Err(misuse()))
    }

    /// The head of an upgrade, once hyper has let the connection go.
    fn poll_switched(&mut self) -> Poll<Result<ResponseHead>> {
        if self.connection.is_some() {
            return Poll::Pending;
        }
        let head = self
            .exchange
            .as_mut()
            .and_then(|exchange| exchange.switching.take());
        Poll::Ready(head.ok_or_else(misuse))
    }

    /// The stream of a connection that is no HTTP any more; `None` if it still is.
    pub(super) fn into_upgraded(self) -> Option<Upgraded<S>> {
        if !self.exchange.is_some_and(|exchange| exchange.switched) {
            return None;
        }
        let wire = Arc::into_inner(self.wire)?.into_inner();
        let unused = if wire.passed.is_empty() {
            self.unused
        } else {
            [&self.unused[..], &wire.passed].concat().into()
        };
        Some(Upgraded::new(wire.stream, unused))
    }

    pub(super) fn is_upgraded(&self) -> bool {
        self.exchange
            .as_ref()
            .is_some_and(|exchange| exchange.switched)
    }

    fn answered(&mut self, response: Response<Incoming>) -> Result<ResponseHead> {
        let (head, notes) = self.wire.lock().recorder.finish()?;
        let exchange = self.exchange.as_mut().expect("an exchange was answered");
        let status = response.status().as_u16();
        if head.status != status || notes.header_count != response.headers().len() {
            return Err(raw::disagreement());
        }
        if status == 101 && !exchange.offers_upgrade {
            let text = "The server switched protocols without being asked to.";
            return Err(Error::message(Kind::RemoteProtocol, text));
        }
        let tunnels = exchange.kind == MethodKind::Connect && (200..300).contains(&status);
        exchange.switched = status == 101 || tunnels;
        let bodiless =
            exchange.switched || exchange.kind == MethodKind::Head || matches!(status, 204 | 304);
        exchange.framing = match notes.framing {
            _ if bodiless => Framing::ContentLength(0),
            framing => framing,
        };
        // A body up to EOF takes the connection with it.
        exchange.reusable &= notes.reusable && exchange.framing != Framing::None;
        exchange.incoming = Some(response.into_body());
        Ok(head)
    }

    pub(super) fn poll_body(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>>> {
        let mut polled = self.poll_frame(cx);
        if polled.is_pending() {
            if (self.exchange.as_ref()).is_some_and(|exchange| exchange.received < SMALL_BODY) {
                self.wire.lock().stream.awaits_rest();
            }
            self.drive(cx);
            polled = self.poll_frame(cx);
        }
        polled
    }

    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>>> {
        let Some(exchange) = &mut self.exchange else {
            return Poll::Ready(Err(misuse()));
        };
        let Some(incoming) = &mut exchange.incoming else {
            return Poll::Ready(Err(misuse()));
        };
        if exchange.framing == Framing::Chunked && self.wire.lock().recorder.has_illegal_chunks() {
            return Poll::Ready(Err(failure::illegal_chunk()));
        }
        loop {
            match std::task::ready!(Pin::new(&mut *incoming).poll_frame(cx)) {
                Some(Ok(frame)) => {
                    // Anything but data is trailers.
                    if let Ok(data) = frame.into_data() {
                        exchange.received += data.len() as u64;
                        return Poll::Ready(Ok(Some(data)));
                    }
                }
                Some(Err(error)) => {
                    let short = (exchange.framing, exchange.received);
                    let error = failure::no_body(&mut self.wire.lock(), &error, short);
                    return Poll::Ready(Err(error));
                }
                None => {
                    if let Framing::ContentLength(expected) = exchange.framing
                        && exchange.received != expected
                    {
                        let short = failure::short_body(exchange.framing, exchange.received);
                        return Poll::Ready(Err(short));
                    }
                    exchange.ended = true;
                    return Poll::Ready(Ok(None));
                }
            }
        }
    }

    /// Whether every guard allows another request; if so, the connection is idle afterwards.
    pub(super) fn end(&mut self) -> bool {
        let mut wire = self.wire.lock();
        let fit = self.exchange.as_ref().is_some_and(|exchange| {
            exchange.ended && exchange.reusable && exchange.sender.is_finished()
        });
        let quiet = wire.is_sent()
            && !wire.broken
            && !wire.eof
            && wire.read_error.is_none()
            && wire.passed.is_empty();
        if fit && quiet && wire.violation.is_none() && self.connection.is_some() {
            wire.disarm();
            self.exchange = None;
            return true;
        }
        false
    }

    pub(super) fn is_over(&self) -> bool {
        self.connection.is_none()
    }

    pub(super) fn is_readable(&self) -> bool {
        self.wire.lock().stream.is_readable()
    }

    pub(super) fn bytes_read(&self) -> u64 {
        self.wire.lock().read
    }

    pub(super) fn bytes_written(&self) -> u64 {
        self.wire.lock().written
    }
}

/// A step was asked for out of order.
fn misuse() -> Error {
    Error::message(Kind::LocalProtocol, "There is no such step now.")
}
