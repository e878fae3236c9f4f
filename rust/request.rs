//! Request: what is sent, checked and rendered once, with nothing of Python inside.

use bytes::Bytes;

use crate::connection::RequestHead;
use crate::origin::Origin;
use crate::timeouts::Timeouts;

/// One request, ready for the wire.
#[derive(Debug)]
pub struct Request {
    /// Where it goes.
    pub origin: Origin,
    /// Whom the server's certificate must name, if not the origin's host: httpcore's `sni_hostname`.
    pub server_name: Option<String>,
    /// The validated head, as the bytes that will be sent.
    pub head: RequestHead,
    /// What follows the head.
    pub body: RequestBody,
    /// How long each step may take.
    pub timeouts: Timeouts,
}

/// Where the bytes after the head come from.
#[derive(Debug)]
pub enum RequestBody {
    /// All of them are here (possibly none).
    Whole(Bytes),
    /// The caller pushes them chunk by chunk, then says that they end.
    Pushed,
}
