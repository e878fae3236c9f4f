//! Link: the connection under an exchange, whichever protocol it speaks.

use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;

use super::engine::{Multiplexed, Open};
use crate::connect::{SocketView, Stream};
use crate::connection::{Http2Stream, ResponseHead, Unprocessed};
use crate::error::{Error, Result};

/// The two kinds.
///
/// # Drop
///
/// Closes an HTTP/1.1 connection; gives up an HTTP/2 stream.
#[derive(Debug)]
pub(super) enum Link {
    /// All of a connection.
    Http1(Box<Open>),
    /// One stream of it.
    Http2 {
        // Declared first: the stream is given up while the connection is there to say so.
        stream: Box<Http2Stream<Stream>>,
        connection: Arc<Multiplexed>,
    },
}

impl Link {
    pub(super) fn http2(stream: Http2Stream<Stream>, connection: Arc<Multiplexed>) -> Self {
        Link::Http2 {
            stream: Box::new(stream),
            connection,
        }
    }

    pub(super) fn view(&self) -> &SocketView {
        match self {
            Link::Http1(open) => open.registered.view(),
            Link::Http2 { connection, .. } => connection.registered.view(),
        }
    }

    pub(super) fn stream_id(&self) -> Option<u32> {
        match self {
            Link::Http1(_) => None,
            Link::Http2 { stream, .. } => Some(stream.id()),
        }
    }

    pub(super) fn abandon_body(&mut self) -> Option<Error> {
        match self {
            Link::Http1(open) => open.http.abandon_body(),
            Link::Http2 { stream, .. } => stream.abandon_body(),
        }
    }

    pub(super) fn poll_sent(&mut self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        match self {
            Link::Http1(open) => open.http.poll_sent(cx),
            Link::Http2 { stream, .. } => stream.poll_sent(cx),
        }
    }

    pub(super) fn push(&mut self, chunk: Bytes) -> Result<()> {
        match self {
            Link::Http1(open) => open.http.push(chunk),
            Link::Http2 { stream, .. } => stream.push(chunk),
        }
    }

    pub(super) fn finish(&mut self) -> Result<()> {
        match self {
            Link::Http1(open) => open.http.finish(),
            Link::Http2 { stream, .. } => stream.finish(),
        }
    }

    /// Whether chunks of the body were pushed, which cannot be had again.
    pub(super) fn is_body_begun(&self) -> bool {
        match self {
            Link::Http1(_) => true,
            Link::Http2 { stream, .. } => stream.is_body_begun(),
        }
    }

    /// On an error also how the server said that it has not looked at the request, if it did.
    pub(super) fn poll_head(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<std::result::Result<ResponseHead, (Error, Option<Unprocessed>)>> {
        match self {
            Link::Http1(open) => open.http.poll_head(cx).map_err(|error| (error, None)),
            Link::Http2 { stream, .. } => stream.poll_head(cx),
        }
    }

    pub(super) fn is_upgraded(&self) -> bool {
        match self {
            Link::Http1(open) => open.http.is_upgraded(),
            Link::Http2 { .. } => false,
        }
    }

    pub(super) fn poll_body(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>>> {
        match self {
            Link::Http1(open) => open.http.poll_body(cx),
            Link::Http2 { stream, .. } => stream.poll_body(cx),
        }
    }

    /// What has moved towards the server, as far as this exchange is concerned.
    pub(super) fn bytes_sent(&self) -> u64 {
        match self {
            Link::Http1(open) => open.http.bytes_written(),
            Link::Http2 { stream, .. } => stream.bytes_sent(),
        }
    }

    /// What has come for this exchange.
    pub(super) fn bytes_received(&self) -> u64 {
        match self {
            Link::Http1(open) => open.http.bytes_read(),
            Link::Http2 { stream, .. } => stream.bytes_received(),
        }
    }

    /// A wait for the response was too long. A connection on which nothing has come for nobody in half of that time takes
    /// no more streams: its peer may be gone.
    pub(super) fn timed_out(&mut self, waited: Duration) {
        if let Link::Http2 { stream, .. } = self {
            let http = stream.http();
            if http.silence() >= waited / 2 {
                http.retire();
            }
        }
    }
}
