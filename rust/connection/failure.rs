//! What an error of hyper's means to the caller of an exchange.
//!
//! Errors are never recognised by their text: hyper's `is_*` methods and what the wrapper saw on the
//! wire decide. No I/O, no state.

use std::borrow::Cow;
use std::error::Error as _;

use super::framing::Framing;
use super::io::Wire;
use crate::error::{Error, Kind};

/// Why there is no response.
pub(super) fn no_head<S>(wire: &mut Wire<S>, error: &hyper::Error) -> Error {
    let gone = wire.eof || error.is_incomplete_message() || error.is_canceled();
    seen_on(wire).unwrap_or_else(|| {
        // A head that cannot be read may well be followed by EOF; the head is the reason.
        if gone && !error.is_parse() {
            remote("Server disconnected without sending a response.")
        } else {
            remote(innermost(error))
        }
    })
}

/// Why the body stops before its end, with its framing and how much of it came.
pub(super) fn no_body<S>(
    wire: &mut Wire<S>,
    error: &hyper::Error,
    (framing, received): (Framing, u64),
) -> Error {
    let eof = wire.eof;
    seen_on(wire).unwrap_or_else(|| {
        if eof {
            short_body(framing, received)
        } else {
            remote(innermost(error))
        }
    })
}

/// The server closed in the middle of a body.
pub(super) fn short_body(framing: Framing, received: u64) -> Error {
    let what = "peer closed connection without sending complete message body";
    remote(match framing {
        Framing::ContentLength(expected) => {
            format!("{what} (received {received} bytes, expected {expected})")
        }
        Framing::Chunked | Framing::None => format!("{what} (incomplete chunked read)"),
    })
}

/// A rule of h11's for chunk sizes that hyper does not have; see `chunks`.
pub(super) fn illegal_chunk() -> Error {
    remote("illegal chunk header: its size has more than 20 digits")
}

/// One of the wrapper's rules was broken, on this side of the wire.
pub(super) fn violation(rule: &'static str) -> Error {
    Error::message(Kind::LocalProtocol, rule)
}

/// What the wrapper knows better than hyper.
fn seen_on<S>(wire: &mut Wire<S>) -> Option<Error> {
    let violated = wire.violation.map(violation);
    violated.or_else(|| Some(Error::io(Kind::Read, wire.read_error.take()?)))
}

/// hyper wraps what went wrong in where it went wrong; the caller of a connection knows the latter.
fn innermost(error: &hyper::Error) -> String {
    error
        .source()
        .map_or_else(|| error.to_string(), ToString::to_string)
}

fn remote(text: impl Into<Cow<'static, str>>) -> Error {
    Error::message(Kind::RemoteProtocol, text)
}
