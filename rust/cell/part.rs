//! Parts: what a caller can want of an exchange or an operation, and how it is told that it is there.

use std::sync::Arc;

use bytes::Bytes;

use crate::connect::Leg;
use crate::connection::ResponseHead;
use crate::error::Error;

/// The part of the exchange that a caller waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Want {
    /// A connection. Of a stepwise exchange only, like [`Want::Gone`].
    Acquired,
    /// This leg of the way to an open connection is behind it, after one attempt. If that failed, the first leg is
    /// next.
    Gone(Leg),
    /// All that was handed over is with the kernel.
    Sent,
    /// The response head, with as much of the body as is there.
    Head,
    /// More of the body.
    Body,
}

/// A part, as it was wanted.
#[derive(Debug)]
pub enum Part {
    /// See [`Want::Acquired`].
    Acquired {
        /// It has yet to be opened.
        connects: bool,
    },
    /// See [`Want::Gone`].
    Gone {
        /// What an HTTP proxy has said, if that was the leg.
        answer: Option<ResponseHead>,
    },
    /// Of an operation that put TLS over its stream.
    Secured,
    /// See [`Want::Sent`].
    Sent {
        /// The server takes the rest of a pushed body; else its answer is to be read.
        takes_more: bool,
    },
    /// See [`Want::Head`]. `ended` means that `body` is all of it.
    Head {
        /// Status line and headers.
        head: ResponseHead,
        /// What had arrived by the time the part was taken.
        body: Vec<Bytes>,
        /// No more will come, and the connection is settled.
        ended: bool,
    },
    /// See [`Want::Body`]. Empty at the end of the body.
    Body(Vec<Bytes>),
}

/// Why there is no part.
#[derive(Debug)]
pub enum Failure {
    /// The exchange failed.
    Error(Error),
    /// The library has a bug: a panic, as its message and backtrace.
    Panic(String),
    /// The handle was closed, so there is nothing left to wait for.
    Closed,
}

/// Where finished parts are announced; called under the source's lock, so it must only enqueue.
pub trait Listener: Send + Sync {
    /// The part that the caller registered for under `key` can be taken.
    fn announce(&self, source: Arc<dyn Source>, key: usize);
}

/// Has finished parts: an exchange, or an operation on an upgraded stream.
pub trait Source: Send + Sync {
    /// Takes an announced part. `None` when it was not for this `key`: the caller has gone.
    fn take_announced(&self, key: usize) -> Option<Result<Part, Failure>>;
}
