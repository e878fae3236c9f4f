//! Connection: HTTP over a connected stream.
//!
//! HTTP/1.1 is hyper's, driven inline by whoever polls [`Http1`], over a wrapper of the stream (`io`)
//! that sends our own request head instead of hyper's and records the response head as it came. HTTP/2 is the `h2`
//! crate's.

mod body;
mod chunks;
mod drive;
mod failure;
mod framing;
mod gate;
mod head;
mod http1;
mod http2;
mod io;
mod raw;
mod recorder;
#[cfg(test)]
mod tests;
mod upgraded;

use tokio::io::{AsyncRead, AsyncWrite};

pub use framing::Framing;
pub use head::RequestHead;
pub use http1::Http1;
pub use http2::{Http2, Http2Stream, Notice, Refused, Unprocessed};
pub use raw::{HeaderList, ResponseHead};
pub use recorder::HeadReader;
pub use upgraded::Upgraded;

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

    /// Says that a small response has begun and the next read is for the rest of it, which as a rule is close behind.
    fn awaits_rest(&mut self) {}
}
