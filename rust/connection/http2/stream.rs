//! One exchange on an HTTP/2 connection.

use std::collections::VecDeque;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, Waker, ready};

use bytes::Bytes;
use h2::client::ResponseFuture;
use h2::{Reason, RecvStream, SendStream};

use super::failure::{Lost, Unprocessed};
use super::{Http2, Shared, head};
use crate::connection::body::Promise;
use crate::connection::framing::Framing;
use crate::connection::{HeaderList, NetworkStream, RequestHead, ResponseHead};
use crate::error::{Error, Kind, Result};

/// Below this a frame's bytes are copied: they would keep the whole buffer that they came in.
const COPY_BELOW: usize = 1024;

/// One request and its response.
///
/// The order of calls is that of `Http1`'s exchange: `poll_sent`, for each chunk of a pushed body `push` and `poll_sent`,
/// `finish` and `poll_sent`; `poll_head`; `poll_body` until `None`.
///
/// # Cancel safety
///
/// No poll loses anything when its caller goes away.
///
/// # Drop
///
/// Gives the exchange up: unless it is complete the peer is told so (RST_STREAM), before `drop` returns if the socket
/// takes it. What it had not read of the body is the other streams' to receive.
pub struct Http2Stream<S: NetworkStream> {
    http: Http2<S>,
    id: u32,
    response: Option<ResponseFuture>,
    /// `None` once the end was sent.
    send: Option<SendStream<Bytes>>,
    receive: Option<RecvStream>,
    outgoing: VecDeque<Bytes>,
    promise: Promise,
    /// The server takes no more of the body.
    abandoned: bool,
    /// Of the body: whether anything was handed over, and how much has gone and come.
    is_body_begun: bool,
    sent: u64,
    received: u64,
    expected: Option<u64>,
    data_ended: bool,
    trailers: Option<HeaderList>,
}

/// Why a connection did not take a request, of which nothing was sent.
#[derive(Debug)]
pub enum Refused {
    /// It takes no more streams.
    Over,
    /// The request is not fit for HTTP/2, or for its own headers.
    Illegal(Error),
}

impl<S: NetworkStream> fmt::Debug for Http2Stream<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Http2Stream")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

impl<S: NetworkStream> Http2<S> {
    /// Opens a stream for a request: with all of its body, or `None` when the body is pushed.
    ///
    /// # Errors
    ///
    /// See [`Refused`].
    pub fn begin(
        &self,
        scheme: &[u8],
        head: &RequestHead,
        body: Option<Bytes>,
    ) -> std::result::Result<Http2Stream<S>, Refused> {
        if self.is_over() {
            return Err(Refused::Over);
        }
        let request = head::request(scheme, head).map_err(Refused::Illegal)?;
        let framing = head.framing();
        let mut promise = Promise::new(framing);
        let mut outgoing = VecDeque::new();
        if let Some(body) = body {
            let whole = promise.take(body.len() as u64);
            whole
                .and_then(|()| promise.end())
                .map_err(Refused::Illegal)?;
            if !body.is_empty() {
                outgoing.push_back(body);
            }
        }
        let is_bodiless = matches!(framing, Framing::None | Framing::ContentLength(0));
        let mut send = self.shared.send.clone();
        // Of a handle of its own it asks for the connection's state alone, and never waits.
        let ready = send.poll_ready(&mut Context::from_waker(Waker::noop()));
        let opened = match ready {
            Poll::Ready(Ok(())) => send.send_request(request, is_bodiless),
            Poll::Ready(Err(error)) => Err(error),
            Poll::Pending => return Err(Refused::Over),
        };
        let (response, stream) = match opened {
            Ok(opened) => opened,
            Err(_) => {
                // It has ended, or has used its last id.
                self.retire();
                return Err(Refused::Over);
            }
        };
        let id = response.stream_id().as_u32();
        self.shared
            .next_id
            .store(id.saturating_add(2), Ordering::Relaxed);
        self.shared.streams.fetch_add(1, Ordering::Relaxed);
        Ok(Http2Stream {
            http: self.clone(),
            id,
            response: Some(response),
            send: (!is_bodiless).then_some(stream),
            receive: None,
            outgoing,
            promise,
            abandoned: false,
            is_body_begun: false,
            sent: 0,
            received: 0,
            expected: None,
            data_ended: false,
            trailers: None,
        })
    }
}

impl<S: NetworkStream> Http2Stream<S> {
    /// Its id on the wire.
    pub fn id(&self) -> u32 {
        self.id
    }

    /// The connection that it is on.
    pub fn http(&self) -> &Http2<S> {
        &self.http
    }

    fn shared(&self) -> &Shared<S> {
        &self.http.shared
    }

    /// Sends at once what was queued, if nobody else is about to: several streams' frames go out together, by the
    /// driving task.
    fn flush(&self) {
        if self.shared().streams.load(Ordering::Relaxed) <= 1 {
            self.shared().drive(None);
        }
    }

    /// Ready once all that was handed over is within the peer's windows. Also when the server takes no more of it: it
    /// may have answered early, and its response is to be read.
    pub fn poll_sent(&mut self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        let polled = self.poll_pump(cx);
        self.flush();
        polled
    }

    fn poll_pump(&mut self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        while let Some(send) = &mut self.send {
            if self.abandoned {
                self.outgoing.clear();
                return Poll::Ready(Ok(()));
            }
            let Some(chunk) = self.outgoing.front_mut() else {
                if self.promise.is_ended() {
                    self.abandoned = send.send_data(Bytes::new(), true).is_err();
                    self.send = None;
                }
                return Poll::Ready(Ok(()));
            };
            let mut room = send.capacity();
            if room == 0 {
                send.reserve_capacity(chunk.len());
                match ready!(send.poll_capacity(cx)) {
                    Some(Ok(capacity)) => room = capacity,
                    Some(Err(_)) | None => {
                        self.abandoned = true;
                        continue;
                    }
                }
            }
            let part = chunk.split_to(room.min(chunk.len()));
            if chunk.is_empty() {
                self.outgoing.pop_front();
            }
            let is_last = self.outgoing.is_empty() && self.promise.is_ended();
            self.sent += part.len() as u64;
            if send.send_data(part, is_last).is_err() {
                self.abandoned = true;
            } else if is_last {
                self.send = None;
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Ends the body where the server takes no more, and tells so, once. What became of the stream is told with the
    /// response, which may still come.
    pub fn abandon_body(&mut self) -> Option<Error> {
        let is_cut = self.abandoned && !self.promise.is_ended();
        is_cut.then(|| {
            self.promise.abandon();
            Error::message(Kind::Write, "The server takes no more of the request.")
        })
    }

    /// Hands over one more chunk of a pushed body. An empty one is nothing.
    ///
    /// # Errors
    ///
    /// `LocalProtocol` when the body grows past what its head says.
    pub fn push(&mut self, chunk: Bytes) -> Result<()> {
        self.promise.take(chunk.len() as u64)?;
        self.is_body_begun = true;
        if !chunk.is_empty() && !self.abandoned {
            self.outgoing.push_back(chunk);
        }
        Ok(())
    }

    /// Says that a pushed body has ended.
    ///
    /// # Errors
    ///
    /// `LocalProtocol` when the body is shorter than its head says.
    pub fn finish(&mut self) -> Result<()> {
        self.promise.end()
    }

    /// Whether chunks were pushed, which cannot be had again.
    pub fn is_body_begun(&self) -> bool {
        self.is_body_begun
    }

    /// The head of the final response; informational ones are skipped. On an error also how the server said that it
    /// has not looked at the request, if it did.
    pub fn poll_head(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<std::result::Result<ResponseHead, (Error, Option<Unprocessed>)>> {
        let Some(response) = &mut self.response else {
            return Poll::Ready(Err((misuse(), None)));
        };
        let answer = ready!(Pin::new(response).poll(cx));
        self.response = None;
        let answer = match answer {
            Ok(answer) => answer,
            Err(error) => {
                let lost = self.lost(&error);
                return Poll::Ready(Err((lost.error, lost.unprocessed)));
            }
        };
        self.shared().settle();
        let head = match head::response(&answer, self.id) {
            Ok(head) => head,
            Err(error) => return Poll::Ready(Err((error, None))),
        };
        let length = answer.headers().get(http::header::CONTENT_LENGTH);
        self.expected = length
            .and_then(|length| length.to_str().ok())
            .and_then(|length| length.parse().ok());
        self.receive = Some(answer.into_body());
        Poll::Ready(Ok(head))
    }

    fn lost(&self, error: &h2::Error) -> Lost {
        Lost::of(error, self.id, &self.shared().frames.lock().seen)
    }

    /// The next bytes of the response body as they come, `None` at its end.
    pub fn poll_body(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>>> {
        let Some(receive) = &mut self.receive else {
            return Poll::Ready(Err(misuse()));
        };
        while !self.data_ended {
            match ready!(receive.poll_data(cx)) {
                Some(Ok(data)) if data.is_empty() => {}
                Some(Ok(data)) => {
                    self.received += data.len() as u64;
                    // An error means that the stream has ended, and its window does not matter any more.
                    let _ = receive.flow_control().release_capacity(data.len());
                    let small = data.len() < COPY_BELOW;
                    let data = if small {
                        Bytes::copy_from_slice(&data)
                    } else {
                        data
                    };
                    return Poll::Ready(Ok(Some(data)));
                }
                Some(Err(error)) if is_complete_by(&error, self.expected, self.received) => {
                    self.data_ended = true
                }
                Some(Err(error)) => return Poll::Ready(Err(self.lost(&error).error)),
                None => self.data_ended = true,
            }
        }
        match ready!(receive.poll_trailers(cx)) {
            Ok(Some(trailers)) => self.trailers = Some(head::list(&trailers)),
            Ok(None) => {}
            Err(error) if is_complete_by(&error, self.expected, self.received) => {}
            Err(error) => return Poll::Ready(Err(self.lost(&error).error)),
        }
        Poll::Ready(Ok(None))
    }

    /// What came behind the body.
    pub fn take_trailers(&mut self) -> Option<HeaderList> {
        self.trailers.take()
    }

    /// Bytes of the response's body that came.
    pub fn bytes_received(&self) -> u64 {
        self.received
    }

    /// Bytes of the request's body that went into the peer's windows.
    pub fn bytes_sent(&self) -> u64 {
        self.sent
    }
}

impl<S: NetworkStream> Drop for Http2Stream<S> {
    fn drop(&mut self) {
        let is_given_up = self.response.is_some() || !self.data_ended || self.send.is_some();
        // All handles on the stream: only then it is given up.
        self.response = None;
        self.receive = None;
        self.send = None;
        self.shared().streams.fetch_sub(1, Ordering::Relaxed);
        if is_given_up {
            self.shared().drive(None);
        }
    }
}

/// RFC 9113 section 8.1: a server that wants no more of the request resets the stream with NO_ERROR, behind a complete
/// response.
fn is_complete_by(error: &h2::Error, expected: Option<u64>, received: u64) -> bool {
    error.is_reset()
        && error.is_remote()
        && error.reason() == Some(Reason::NO_ERROR)
        && expected.is_none_or(|expected| expected == received)
}

/// A step was asked for out of order.
fn misuse() -> Error {
    Error::message(Kind::LocalProtocol, "There is no such step now.")
}
