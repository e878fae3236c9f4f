//! What an error of `h2`'s means to the caller of an exchange.
//!
//! Errors are never recognised by their text: `h2`'s own questions and what was seen on the wire decide. No I/O.

use std::io;

use h2::Reason;

use super::frames::Seen;
use crate::error::{Error, Kind};

/// How a peer says that it has not looked at a request, so that it can be sent again (RFC 9113 section 8.7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unprocessed {
    /// `REFUSED_STREAM`: it has no room for this one; the connection stays.
    Refused,
    /// GOAWAY, and the stream is above the last one that it serves: the connection ends.
    Goodbye,
}

/// Why a stream has ended before its time.
#[derive(Debug)]
pub(super) struct Lost {
    pub(super) error: Error,
    pub(super) unprocessed: Option<Unprocessed>,
}

impl Lost {
    pub(super) fn new(error: Error) -> Self {
        Self {
            error,
            unprocessed: None,
        }
    }

    /// What became of stream `id`.
    pub(super) fn of(error: &h2::Error, id: u32, seen: &Seen) -> Self {
        if error.is_reset() {
            let code = error.reason().unwrap_or(Reason::NO_ERROR);
            let remote = error.is_remote();
            return Self {
                error: remote_error(if remote {
                    // The words of httpcore's engine.
                    format!(
                        "<StreamReset stream_id:{id}, error_code:{}, remote_reset:True>",
                        u32::from(code)
                    )
                } else {
                    format!("the server broke HTTP/2 on stream {id}: {code}")
                }),
                unprocessed: (remote && code == Reason::REFUSED_STREAM)
                    .then_some(Unprocessed::Refused),
            };
        }
        if let Some(goaway) = seen.goaway
            && (error.is_remote() || error.is_io())
        {
            return Self {
                error: remote_error(format!(
                    "<ConnectionTerminated error_code:{}, last_stream_id:{}, additional_data:None>",
                    goaway.code, goaway.last_stream
                )),
                unprocessed: (id > goaway.last_stream).then_some(Unprocessed::Goodbye),
            };
        }
        Self::new(lost_connection(error, seen))
    }
}

/// What ended the whole connection.
fn lost_connection(error: &h2::Error, seen: &Seen) -> Error {
    if let Some((kind, text)) = &seen.read_error {
        return Error::io(Kind::Read, io::Error::new(*kind, text.clone()));
    }
    if error.is_io() && !seen.eof {
        // A write found the connection broken; what the server had to say to it was not read.
        let words = seen.write_error.clone();
        let (kind, text) = words.unwrap_or_else(|| (io::ErrorKind::Other, error.to_string()));
        return Error::io(Kind::Read, io::Error::new(kind, text));
    }
    if error.is_io() {
        return remote_error("Server disconnected");
    }
    if error.is_go_away() && !error.is_remote() {
        return remote_error(format!("the server broke HTTP/2: {error}"));
    }
    remote_error(error.to_string())
}

fn remote_error(text: impl Into<String>) -> Error {
    Error::message(Kind::RemoteProtocol, text.into())
}
