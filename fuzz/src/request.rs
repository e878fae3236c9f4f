//! Request: any method, target, headers and body.
//!
//! - What is refused is refused by a rule that can be told, before anything is written.
//! - What is accepted is on the wire as it was given, and reads back as that: no field more, none less.
//! - The body on the wire is the one that was pushed, in the framing of the head, in whatever pieces the socket
//!   takes it; one that does not fit its Content-Length is refused, and not a byte of it is too much.

use std::task::Poll;

use arbitrary::Arbitrary;
use bytes::Bytes;
use httpcore_hyper::connection::{Framing, Http1, RequestHead};
use httpcore_hyper::error::{Error, Kind};

use crate::exchange::until_quiet;
use crate::wire::Wire;

#[derive(Debug, Arbitrary)]
pub struct Input {
    method: Word,
    target: Word,
    headers: Vec<Header>,
    body: Vec<Vec<u8>>,
    /// How many bytes the socket takes at a time; nothing means a wait.
    writes: Vec<u8>,
    vectored: bool,
    /// The whole body is given with the head.
    at_once: bool,
}

/// Bytes as they are, or such as are likely to be allowed.
#[derive(Debug, Arbitrary)]
enum Word {
    Usual(Vec<u8>),
    Raw(Vec<u8>),
}

#[derive(Debug, Arbitrary)]
enum Header {
    Any(Word, Word),
    Host(Word),
    /// Content-Length, of the body or of any other size.
    Length(Option<u32>),
    Chunked {
        upper: bool,
    },
    Connection(Word),
}

impl Word {
    fn bytes(&self) -> Vec<u8> {
        match self {
            Self::Usual(bytes) => bytes
                .iter()
                .map(|byte| b'!' + byte % (b'~' - b'!' + 1))
                .map(|byte| {
                    if byte.is_ascii_alphanumeric() {
                        byte
                    } else {
                        b'-'
                    }
                })
                .collect(),
            Self::Raw(bytes) => bytes.clone(),
        }
    }
}

pub fn check(mut input: Input) {
    input.headers.truncate(100);
    let body = input.body.concat();
    let headers: Vec<(Vec<u8>, Vec<u8>)> = input
        .headers
        .iter()
        .map(|header| match header {
            Header::Any(name, value) => (name.bytes(), value.bytes()),
            Header::Host(value) => (b"hOst".to_vec(), value.bytes()),
            Header::Length(length) => {
                let length = length.map_or(body.len() as u64, u64::from);
                (b"Content-length".to_vec(), length.to_string().into_bytes())
            }
            Header::Chunked { upper: true } => (b"Transfer-Encoding".to_vec(), b"CHUNKED".to_vec()),
            Header::Chunked { upper: false } => {
                (b"transfer-encoding".to_vec(), b"chunked".to_vec())
            }
            Header::Connection(value) => (b"Connection".to_vec(), value.bytes()),
        })
        .collect();
    let (method, target) = (input.method.bytes(), input.target.bytes());
    let given = headers.iter().map(|(name, value)| (&**name, &**value));
    let head = match RequestHead::render(&method, &target, given) {
        Ok(head) => head,
        Err(error) => return check_refused(&error),
    };
    let framing = head.framing();
    assert_eq!(framing, expected_framing(&headers));

    let wire = Wire::new(input.vectored);
    // Something is taken in the end, however many waits there are.
    let writes = input.writes.iter().map(|size| usize::from(*size));
    let writes: Vec<usize> = writes
        .chain((!input.writes.is_empty()).then_some(usize::MAX))
        .collect();
    wire.takes(writes);
    let sent = push(&input, &wire, head, &body);
    let written = wire.written();

    // Refused before the first poll: nothing at all is out.
    if written.is_empty() {
        return check_refused(&sent.expect_err("something is sent"));
    }
    let size = find(&written, b"\r\n\r\n").expect("the head has an end") + 4;
    let mut lines = split(&written[..size - 4], b"\r\n").into_iter();
    let first = [&method, &b" "[..], &target, b" HTTP/1.1"].concat();
    assert_eq!(lines.next(), Some(&*first));
    let fields: Vec<_> = lines.map(field).collect();
    assert_eq!(fields, expected_fields(&headers, framing));

    let out = &written[size..];
    match (framing, sent) {
        (Framing::Chunked, Ok(())) => assert_eq!(decoded(out), body),
        (Framing::ContentLength(length), Ok(())) => {
            assert_eq!(length, body.len() as u64);
            assert_eq!(out, body);
        }
        (Framing::None, Ok(())) => assert!(out.is_empty() && body.is_empty()),
        (Framing::Chunked, Err(error)) => panic!("no body is too long or short: {error}"),
        (Framing::ContentLength(_) | Framing::None, Err(error)) => {
            check_refused(&error);
            assert!(body.starts_with(out));
        }
    }
}

fn check_refused(error: &Error) {
    assert_eq!(error.kind(), Kind::LocalProtocol);
    assert!(!error.to_string().is_empty());
}

/// Sends everything.
fn push(input: &Input, wire: &Wire, head: RequestHead, body: &[u8]) -> Result<(), Error> {
    let mut http = Http1::handshake(wire.clone())?;
    if input.at_once {
        http.begin(head, Some(Bytes::copy_from_slice(body)))?;
        return sent(&mut http);
    }
    http.begin(head, None)?;
    sent(&mut http)?;
    for chunk in &input.body {
        http.push(Bytes::copy_from_slice(chunk))?;
        sent(&mut http)?;
    }
    http.finish()?;
    sent(&mut http)?;
    // Nothing more comes by itself.
    let before = wire.written().len();
    let answer = until_quiet(|cx| match http.poll_head(cx) {
        Poll::Ready(head) => Poll::Ready(head.is_ok()),
        Poll::Pending => Poll::Pending,
    });
    assert_eq!(answer, None);
    assert_eq!(wire.written().len(), before);
    Ok(())
}

fn sent(http: &mut Http1<Wire>) -> Result<(), Error> {
    until_quiet(|cx| http.poll_sent(cx))
        .expect("the socket takes bytes, and nobody writes any more")
}

fn is(name: &[u8], header: &str) -> bool {
    name.eq_ignore_ascii_case(header.as_bytes())
}

fn expected_framing(headers: &[(Vec<u8>, Vec<u8>)]) -> Framing {
    let find = |wanted| headers.iter().find(|(name, _)| is(name, wanted));
    if find("transfer-encoding").is_some() {
        return Framing::Chunked;
    }
    match find("content-length") {
        Some((_, value)) => {
            let text = std::str::from_utf8(value).expect("a length is digits");
            let first = text
                .split(',')
                .next()
                .expect("split yields something")
                .trim();
            Framing::ContentLength(first.parse().expect("it was accepted"))
        }
        None => Framing::None,
    }
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    let mut windows = bytes.windows(wanted.len());
    windows.position(|window| window == wanted)
}

fn split<'a>(mut bytes: &'a [u8], by: &[u8]) -> Vec<&'a [u8]> {
    let mut parts = Vec::new();
    while let Some(at) = find(bytes, by) {
        parts.push(&bytes[..at]);
        bytes = &bytes[at + by.len()..];
    }
    parts.push(bytes);
    parts
}

/// Name and value of a line. No reader may find a second line in it, whatever it takes for a line end.
fn field(line: &[u8]) -> (Vec<u8>, Vec<u8>) {
    assert!(!line.iter().any(|byte| matches!(byte, b'\r' | b'\n' | 0)));
    let colon = find(line, b": ").expect("a colon and a space");
    (line[..colon].to_vec(), line[colon + 2..].to_vec())
}

/// Host first, the others as they were given, and one way to tell the length.
fn expected_fields(headers: &[(Vec<u8>, Vec<u8>)], framing: Framing) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut fields: Vec<_> = headers
        .iter()
        .filter(|(name, _)| is(name, "host"))
        .cloned()
        .collect();
    assert_eq!(fields.len(), 1, "exactly one Host");
    let mut has_length = false;
    for (name, value) in headers.iter().filter(|(name, _)| !is(name, "host")) {
        if is(name, "transfer-encoding") {
            fields.push((name.clone(), b"chunked".to_vec()));
        } else if is(name, "content-length") {
            if framing != Framing::Chunked && !std::mem::replace(&mut has_length, true) {
                let first = value.split(|byte| *byte == b',').next().unwrap_or_default();
                fields.push((name.clone(), first.trim_ascii().to_vec()));
            }
        } else {
            fields.push((name.clone(), value.clone()));
        }
    }
    fields
}

/// The data of a chunked body that is all there, with nothing behind it.
fn decoded(mut bytes: &[u8]) -> Vec<u8> {
    let mut data = Vec::new();
    loop {
        let Ok(httparse::Status::Complete((line, size))) = httparse::parse_chunk_size(bytes) else {
            panic!("no chunk size: {}", bytes.escape_ascii());
        };
        let size = usize::try_from(size).expect("a chunk fits into memory");
        let (chunk, rest) = bytes[line..].split_at(size);
        data.extend_from_slice(chunk);
        bytes = rest
            .strip_prefix(b"\r\n")
            .expect("a line end behind the data");
        if size == 0 {
            assert!(bytes.is_empty(), "something follows the body");
            return data;
        }
    }
}
