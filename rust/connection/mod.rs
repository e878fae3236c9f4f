//! Connection: HTTP/1.1 over a connected stream.
//!
//! `http1` drives hyper; `io` is the socket as hyper sees it; `head` and `response` are the bytes of heads,
//! which are ours and not hyper's; `chunks` watches the framing beside hyper; `body` is what hyper pulls; `gate` keeps the driving task from waking
//! itself. Nothing here knows pools, timers or Python. What `exchange` uses is small enough (`Http1` and the
//! two heads) for another codec to take its place.

mod body;
mod chunks;
mod gate;
mod head;
mod http1;
mod io;
mod response;
#[cfg(test)]
mod tests;

use tokio::io::{AsyncRead, AsyncWrite};

pub use head::{Framing, RequestHead};
pub use http1::Http1;
pub use response::{HeaderList, ResponseHead};

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
