//! Layers: what lies between HTTP and the socket: nothing, or TLS.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

#[cfg(feature = "faulty-io")]
use super::faulty;
use super::socket_stream::SocketStream;
use super::view::SocketView;
use crate::connection::NetworkStream;
use crate::tls::TlsStream;

/// A connected stream.
///
/// # Drop
///
/// Closes the socket, at once and from any thread.
#[derive(Debug)]
pub enum Stream {
    /// The socket itself.
    Plain(SocketStream),
    /// TLS, over whatever was there before.
    Secure(Box<TlsStream<Stream>>),
}

impl Stream {
    /// A view of the socket, and of the TLS session next to HTTP.
    pub fn view(&self) -> SocketView {
        match self {
            Stream::Plain(stream) => stream.view(),
            Stream::Secure(stream) => {
                let view = stream.get_ref().view();
                view.secured_by(stream.secured().clone())
            }
        }
    }
}

impl Stream {
    /// The protocol that its TLS session agreed on by ALPN.
    pub fn protocol(&self) -> Option<&[u8]> {
        match self {
            Stream::Plain(_) => None,
            Stream::Secure(stream) => stream.protocol(),
        }
    }
}

#[cfg(test)]
impl Stream {
    /// The socket below all layers.
    pub(super) fn socket(&self) -> &socket2::Socket {
        match self {
            Stream::Plain(stream) => stream.socket(),
            Stream::Secure(stream) => stream.get_ref().socket(),
        }
    }
}

/// Hands a poll to whichever stream there is.
macro_rules! each {
    ($self:ident, $stream:ident => $poll:expr) => {
        match $self.get_mut() {
            Stream::Plain($stream) => {
                let $stream = Pin::new($stream);
                $poll
            }
            Stream::Secure($stream) => {
                let $stream = Pin::new(&mut **$stream);
                $poll
            }
        }
    };
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        #[cfg(feature = "faulty-io")]
        return faulty::poll_read(
            cx,
            buffer,
            |cx, buffer| each!(self, stream => stream.poll_read(cx, buffer)),
        );
        #[cfg(not(feature = "faulty-io"))]
        each!(self, stream => stream.poll_read(cx, buffer))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        #[cfg(feature = "faulty-io")]
        let bytes = std::task::ready!(faulty::poll_part(cx, bytes));
        each!(self, stream => stream.poll_write(cx, bytes))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        #[cfg(feature = "faulty-io")]
        let slices = &std::task::ready!(faulty::poll_slices(cx, slices))[..];
        each!(self, stream => stream.poll_write_vectored(cx, slices))
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Stream::Plain(stream) => stream.is_write_vectored(),
            Stream::Secure(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        each!(self, stream => stream.poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        each!(self, stream => stream.poll_shutdown(cx))
    }
}

impl NetworkStream for Stream {
    fn is_readable(&self) -> bool {
        match self {
            Stream::Plain(stream) => stream.is_readable(),
            Stream::Secure(stream) => stream.is_readable(),
        }
    }

    fn awaits_rest(&mut self) {
        match self {
            Stream::Plain(stream) => stream.awaits_rest(),
            Stream::Secure(stream) => stream.awaits_rest(),
        }
    }
}
