//! Failures: sockets that fail at any byte, in either direction, with any error.
//!
//! - A failing read is a `Read` failure with the socket's own error, unless the response was complete, was wrong
//!   already, or the error says that the peer has closed.
//! - A failing write is told once, as a `Write` failure with the socket's own error, and the response that may
//!   have come all the same is read.
//! - Nothing of it is ever taken for the caller's fault, and nothing is fit for another request afterwards.

use std::io::ErrorKind;

use arbitrary::Arbitrary;
use bytes::Bytes;
use httpcore_hyper::connection::Http1;
use httpcore_hyper::error::{Cause, Kind};

use crate::exchange::{End, receive, request, run, until_quiet};
use crate::wire::{Arrival, Wire, pieces};

#[derive(Debug, Arbitrary)]
pub struct Input {
    kind: u8,
    at: u16,
    sizes: Vec<u8>,
    direction: Direction,
}

#[derive(Debug, Arbitrary)]
enum Direction {
    Read {
        chunked: bool,
    },
    Write {
        chunked: bool,
        answered: bool,
        vectored: bool,
        body: Vec<Vec<u8>>,
    },
}

/// What the system calls of a socket may say.
const KINDS: [ErrorKind; 14] = [
    ErrorKind::ConnectionReset,
    ErrorKind::ConnectionAborted,
    ErrorKind::NotConnected,
    ErrorKind::BrokenPipe,
    ErrorKind::TimedOut,
    ErrorKind::HostUnreachable,
    ErrorKind::NetworkUnreachable,
    ErrorKind::NetworkDown,
    ErrorKind::OutOfMemory,
    ErrorKind::PermissionDenied,
    ErrorKind::InvalidInput,
    ErrorKind::InvalidData,
    ErrorKind::Other,
    ErrorKind::UnexpectedEof,
];
const LENGTH: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\nsome content";
const CHUNKED: &[u8] =
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nsome\r\n8\r\n content\r\n0\r\n\r\n";

pub fn check(input: Input) {
    let kind = KINDS[usize::from(input.kind) % KINDS.len()];
    let sizes: Vec<usize> = input
        .sizes
        .iter()
        .map(|size| 1 + usize::from(*size))
        .collect();
    match &input.direction {
        Direction::Read { chunked } => reading(kind, &sizes, input.at, *chunked),
        Direction::Write { .. } => writing(kind, &sizes, &input),
    }
}

fn reading(kind: ErrorKind, sizes: &[usize], at: u16, chunked: bool) {
    let response = if chunked { CHUNKED } else { LENGTH };
    let wire = Wire::new(true);
    let mut http = Http1::handshake(wire.clone()).expect("a handshake does nothing");
    let at = usize::from(at) % (response.len() + 1);
    wire.arrives(pieces(&response[..at], sizes));
    wire.arrives([Arrival::Failure(kind)]);
    let outcome = run(&mut http, &wire, request(b"GET", &[]), b"");
    match outcome.end {
        End::Complete { fit } => {
            assert_eq!(at, response.len(), "a part was taken for the whole");
            assert_eq!(outcome.body, b"some content");
            assert!(!fit, "the socket is broken");
        }
        End::Failed {
            kind: Kind::RemoteProtocol,
            ..
        } => {
            assert_eq!(kind, ErrorKind::UnexpectedEof);
            assert!(at < response.len());
        }
        End::Failed {
            kind: Kind::Read,
            text,
        } => {
            assert!(at < response.len());
            assert_eq!(text, std::io::Error::from(kind).to_string());
        }
        end => panic!("{end:?}"),
    }
}

fn writing(kind: ErrorKind, sizes: &[usize], input: &Input) {
    let Direction::Write {
        chunked,
        answered,
        vectored,
        body,
    } = &input.direction
    else {
        return;
    };
    let length = body.iter().map(Vec::len).sum::<usize>().to_string();
    let head = if *chunked {
        request(b"POST", &[(b"Transfer-Encoding", b"chunked")])
    } else {
        request(b"POST", &[(b"Content-Length", length.as_bytes())])
    };
    let wire = Wire::new(*vectored);
    wire.takes(sizes.to_vec());
    wire.fails_after(usize::from(input.at), kind);
    let mut http = Http1::handshake(wire.clone()).expect("a handshake does nothing");
    let mut errors = Vec::new();
    http.begin(head, None).expect("the head is valid");
    let mut step = |http: &mut Http1<Wire>| {
        let sent = until_quiet(|cx| http.poll_sent(cx)).expect("the socket never waits for long");
        sent.expect("a failing write is told by `abandon_body`");
        errors.extend(http.abandon_body());
        errors.is_empty()
    };
    let mut going = step(&mut http);
    for chunk in body {
        if !going {
            break;
        }
        http.push(Bytes::copy_from_slice(chunk)).expect("it fits");
        going = step(&mut http);
    }
    if going {
        http.finish().expect("all of it was pushed");
        going = step(&mut http);
    }
    assert!(wire.written().len() <= usize::from(input.at));
    assert_eq!(going, errors.is_empty());
    assert!(errors.len() <= 1, "told once");
    if let Some(error) = errors.first() {
        assert_eq!(error.kind(), Kind::Write);
        assert!(matches!(error.cause(), Cause::Io(error) if error.kind() == kind));
    }
    if *answered {
        wire.arrives([Arrival::Bytes(LENGTH.to_vec())]);
    }
    wire.arrives([Arrival::End]);
    let outcome = receive(&mut http, &wire);
    match outcome.end {
        End::Complete { fit } => {
            assert!(*answered);
            assert_eq!(outcome.body, b"some content");
            assert!(!fit, "it has ended");
        }
        End::Failed {
            kind: Kind::RemoteProtocol,
            ..
        } => assert!(!answered),
        end => panic!("{end:?}"),
    }
}
