//! HTTP over a connected stream.

use tokio::io::{AsyncRead, AsyncWrite};

/// A connected byte stream under HTTP: a TCP or Unix socket, later a TLS session over one.
///
/// # Drop
///
/// Dropping it closes the socket.
pub trait NetworkStream: AsyncRead + AsyncWrite + Send + Unpin + 'static {
    /// Whether a read would return at once (data, EOF or an error), asked of the kernel itself and
    /// without waiting. An idle HTTP/1.1 connection that is readable was closed by its server, or
    /// holds bytes that nobody asked for: both mean that it must not be used again.
    fn is_readable(&self) -> bool;
}
