//! Response heads: recorded as they come off the wire, and read a second time.
//!
//! hyper parses the head as well and is the judge of what is legal; it keeps neither case nor order nor a
//! raw reason, which are httpcore's contract. So the bytes are recorded here, and read with the same
//! parser and the same leniency. Where h11 is stricter than hyper, its verdict is given here.

use std::ops::Range;

use bytes::{Bytes, BytesMut};

use super::chunks::Chunks;
use super::head::{content_length, has_token};
use crate::error::{Error, Kind, Result};

/// The largest head: httpcore's limit for one that comes in pieces, and hyper's setting here.
pub(super) const MAX_HEAD: usize = 100 * 1024;

/// The most header fields in one head. hyper keeps them on the heap above its default of 100, which costs
/// a microsecond; httpcore has no limit.
pub(super) const MAX_HEADERS: usize = 512;

/// The head of a response.
#[derive(Debug)]
pub struct ResponseHead {
    /// 200 to 999.
    pub status: u16,
    /// As it stands in the status line: `HTTP/1.1`.
    pub version: Bytes,
    /// The raw bytes after the status; may be empty.
    pub reason: Bytes,
    /// As they came: case, order, duplicates.
    pub headers: HeaderList,
    pub(super) framing: BodyFraming,
    /// This response allows another one on its connection.
    pub(super) keeps_alive: bool,
}

/// How the end of the response body is known, if the response has one at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BodyFraming {
    ContentLength(u64),
    Chunked,
    Close,
}

/// Header fields, as slices of the recorded head.
#[derive(Debug)]
pub struct HeaderList {
    text: Bytes,
    fields: Vec<(Range<usize>, Value)>,
}

#[derive(Debug)]
enum Value {
    Slice(Range<usize>),
    /// Put together from several lines, or from several equal values.
    Mended(Box<[u8]>),
}

impl HeaderList {
    /// Name and value of each field.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.fields.iter().map(|(name, value)| {
            let value = match value {
                Value::Slice(range) => &self.text[range.clone()],
                Value::Mended(value) => value,
            };
            (&self.text[name.clone()], value)
        })
    }

    /// How many fields there are.
    pub fn len(&self) -> usize {
        self.fields.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.fields.is_empty()
    }
}

/// Records one response head out of the bytes that hyper reads. Informational heads are skipped, as hyper
/// skips them.
#[derive(Debug, Default)]
pub(super) struct Recorder {
    text: BytesMut,
    /// How much of `text` has been looked at; always behind a line end.
    seen: usize,
    answers_head: bool,
    state: Recording,
    chunks: Chunks,
}

#[derive(Debug, Default)]
enum Recording {
    #[default]
    Off,
    On,
    Complete(Result<ResponseHead>),
    /// Larger than [`MAX_HEAD`]. hyper says so as well.
    Overflown,
}

impl Recorder {
    /// Starts anew, for the answer to a HEAD request or to any other.
    pub(super) fn start(&mut self, answers_head: bool) {
        self.text.clear();
        self.seen = 0;
        self.answers_head = answers_head;
        self.state = Recording::On;
        self.chunks = Chunks::default();
    }

    /// Takes what was read from the socket.
    pub(super) fn feed(&mut self, mut bytes: &[u8]) {
        while matches!(self.state, Recording::On) && !bytes.is_empty() {
            let line = bytes.iter().position(|byte| *byte == b'\n');
            let (taken, rest) = bytes.split_at(line.map_or(bytes.len(), |end| end + 1));
            bytes = rest;
            if self.text.len() + taken.len() > MAX_HEAD {
                self.state = Recording::Overflown;
                return;
            }
            self.text.extend_from_slice(taken);
            if line.is_some() {
                self.end_line();
            }
        }
        self.chunks.feed(bytes);
    }

    fn end_line(&mut self) {
        let line = &self.text[self.seen..];
        let is_blank = matches!(line, b"\n" | b"\r\n");
        if !is_blank {
            self.seen = self.text.len();
        } else if self.seen == 0 {
            // Before a status line hyper skips blank lines.
            self.text.clear();
        } else if is_informational(&self.text) {
            self.text.clear();
            self.seen = 0;
        } else {
            let head = read(self.text.split().freeze(), self.answers_head);
            if matches!(&head, Ok(head) if head.framing == BodyFraming::Chunked) {
                self.chunks.start();
            }
            self.state = Recording::Complete(head);
        }
    }

    /// The head, once it is complete.
    ///
    /// # Errors
    ///
    /// `RemoteProtocol` for what h11 refuses and hyper does not.
    pub(super) fn take(&mut self) -> Result<ResponseHead> {
        match std::mem::take(&mut self.state) {
            Recording::Complete(head) => head,
            Recording::Off | Recording::On | Recording::Overflown => Err(disagreement()),
        }
    }

    /// Whether the framing of the body breaks a rule that hyper does not have.
    pub(super) fn is_body_illegal(&self) -> bool {
        self.chunks.is_illegal()
    }
}

/// hyper skips 100 and 102 to 199; 101 ends the protocol.
fn is_informational(head: &[u8]) -> bool {
    match status_digits(head) {
        Some(digits) => digits[0] == b'1' && digits != b"101",
        None => false,
    }
}

fn status_digits(head: &[u8]) -> Option<&[u8]> {
    // "HTTP/1.1 " is nine bytes long.
    head.get(9..12)
}

/// Reads a complete head.
fn read(text: Bytes, answers_head: bool) -> Result<ResponseHead> {
    let lines = text.iter().filter(|byte| **byte == b'\n').count();
    let mut fields = vec![httparse::EMPTY_HEADER; lines];
    let mut response = httparse::Response::new(&mut fields);
    let mut config = httparse::ParserConfig::default();
    config.allow_obsolete_multiline_headers_in_responses(true);
    let Ok(httparse::Status::Complete(_)) = config.parse_response(&mut response, &text) else {
        return Err(disagreement());
    };
    let status = response.code.ok_or_else(disagreement)?;
    let one_dot_one = response.version == Some(1);

    let mut meaning = Meaning::default();
    let mut list = Vec::with_capacity(response.headers.len());
    for field in response.headers.iter() {
        let name = range_of(&text, field.name.as_bytes());
        let value = field.value.trim_ascii();
        let value = if value.contains(&b'\n') {
            Value::Mended(unfold(value))
        } else {
            Value::Slice(range_of(&text, value))
        };
        let bytes = match &value {
            Value::Slice(range) => &text[range.clone()],
            Value::Mended(bytes) => bytes,
        };
        match meaning.note(field.name, bytes)? {
            Noted::AsItIs => list.push((name, value)),
            Noted::As(value) => list.push((name, Value::Mended(value))),
            Noted::Repeated => {}
        }
    }

    let has_body = !(answers_head || matches!(status, 204 | 304));
    let framing = match meaning.content_length {
        _ if !has_body => BodyFraming::ContentLength(0),
        _ if meaning.chunked => BodyFraming::Chunked,
        Some(length) => BodyFraming::ContentLength(length),
        None => BodyFraming::Close,
    };
    // Both framings at once may have been read otherwise by somebody on the way (RFC 9112 §6.3).
    let ambiguous = meaning.chunked && meaning.content_length.is_some();
    let keeps_alive = one_dot_one && !meaning.closes && !ambiguous && framing != BodyFraming::Close;
    let (version, reason) = status_line(&text);
    Ok(ResponseHead {
        status,
        version,
        reason,
        headers: HeaderList { text, fields: list },
        framing,
        keeps_alive,
    })
}

/// What the fields say about body and connection.
#[derive(Default)]
struct Meaning {
    content_length: Option<u64>,
    chunked: bool,
    closes: bool,
}

enum Noted {
    AsItIs,
    As(Box<[u8]>),
    Repeated,
}

impl Meaning {
    fn note(&mut self, name: &str, value: &[u8]) -> Result<Noted> {
        if name.eq_ignore_ascii_case("connection") {
            self.closes |= has_token(value, b"close");
        } else if name.eq_ignore_ascii_case("transfer-encoding") {
            // Two of them, or any other coding: h11's verdict. hyper would read to the end of the
            // connection and hand out the framing as body.
            if self.chunked || !value.eq_ignore_ascii_case(b"chunked") {
                return Err(remote("Only Transfer-Encoding: chunked is supported"));
            }
            self.chunked = true;
        } else if name.eq_ignore_ascii_case("content-length") {
            return self.note_length(value);
        }
        Ok(Noted::AsItIs)
    }

    /// Equal lengths are one, be it in one field or in several.
    fn note_length(&mut self, value: &[u8]) -> Result<Noted> {
        let mut lengths = value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
        let first = lengths.next().unwrap_or_default();
        let length = content_length(first).ok_or_else(|| remote("bad Content-Length"))?;
        let is_list = first.len() != value.len();
        if lengths.any(|other| content_length(other) != Some(length)) {
            return Err(remote("conflicting Content-Length headers"));
        }
        match self.content_length.replace(length) {
            None if is_list => Ok(Noted::As(first.into())),
            None => Ok(Noted::AsItIs),
            Some(former) if former == length => Ok(Noted::Repeated),
            Some(_) => Err(remote("conflicting Content-Length headers")),
        }
    }
}

/// Version and raw reason: the parser gives up on a reason with bytes above 0x7f.
fn status_line(text: &Bytes) -> (Bytes, Bytes) {
    let end = text
        .iter()
        .position(|byte| *byte == b'\n')
        .unwrap_or(text.len());
    let line = text[..end].trim_ascii_end();
    let version = text.slice(..8.min(line.len()));
    // "HTTP/1.1 200" is twelve bytes long, and one space follows.
    let reason = line.get(13..).unwrap_or_default();
    (version, text.slice_ref(reason))
}

/// A folded value: its lines joined by one space each, as h11 joins them.
fn unfold(value: &[u8]) -> Box<[u8]> {
    let lines: Vec<&[u8]> = value
        .split(|byte| *byte == b'\n')
        .map(<[u8]>::trim_ascii)
        .collect();
    lines.join(&b' ').into_boxed_slice()
}

/// Where a slice that was parsed out of `text` lies in it.
fn range_of(text: &Bytes, slice: &[u8]) -> Range<usize> {
    if slice.is_empty() {
        return 0..0;
    }
    let start = slice.as_ptr() as usize - text.as_ptr() as usize;
    start..start + slice.len()
}

fn remote(text: &'static str) -> Error {
    Error::message(Kind::RemoteProtocol, text)
}

/// The two readings of one head differ. It never happened in any test; the exchange fails rather than
/// telling either.
fn disagreement() -> Error {
    remote("The response head could not be read again.")
}
