//! The response head as it came: recorded on its way to hyper, then read a second time.
//!
//! hyper lower-cases and groups headers and loses odd reasons; this file keeps case, order, duplicates
//! and bytes. hyper has accepted the head before it is looked at here, and both must agree about it.

use std::ops::Range;

use bytes::Bytes;

use super::chunks::Chunks;
use super::framing::{Framing, FramingHeaders, Verdict, lists_close};
use crate::error::{Error, Kind, Result};

/// httpcore's limit, which is h11's for an event that is not complete yet.
pub(super) const MAX_HEAD_SIZE: usize = 100 * 1024;
/// Room for the head of all but the oddest responses, so that it need not grow line by line.
const USUAL_HEAD_SIZE: usize = 1024;
/// hyper needs a bound. Five times its own default; responses beyond it have no honest use.
pub(super) const MAX_HEADERS: usize = 512;
/// Room on the stack for the headers of all but the oddest responses.
const USUAL_HEADERS: usize = 64;

/// The head of a final response.
#[derive(Debug, Clone)]
pub struct ResponseHead {
    /// The status code.
    pub status: u16,
    /// `HTTP/1.1` or `HTTP/1.0`, as on the wire.
    pub version: Bytes,
    /// The reason phrase, in whatever encoding the server chose; often empty. HTTP/2 has none.
    pub reason: Option<Bytes>,
    /// The headers in their order and case.
    pub headers: HeaderList,
    /// The stream's id. HTTP/1.1 has none.
    pub stream_id: Option<u32>,
}

/// Header names and values as they came: order, case and duplicates kept.
///
/// Three things are tidied, as h11 tidies them: folded lines are joined by one space, repeated equal
/// Content-Lengths are one, and `chunked` is lower-case.
#[derive(Debug, Clone)]
pub struct HeaderList {
    bytes: Bytes,
    spans: Vec<(Range<usize>, Range<usize>)>,
}

impl HeaderList {
    /// Names and values, in the order of the wire.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.spans
            .iter()
            .map(|(name, value)| (&self.bytes[name.clone()], &self.bytes[value.clone()]))
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.spans.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.spans.is_empty()
    }
}

impl<'a> FromIterator<(&'a [u8], &'a [u8])> for HeaderList {
    fn from_iter<T: IntoIterator<Item = (&'a [u8], &'a [u8])>>(pairs: T) -> Self {
        let mut bytes = Vec::new();
        let mut add = |part: &[u8]| {
            let start = bytes.len();
            bytes.extend_from_slice(part);
            start..bytes.len()
        };
        let spans = pairs
            .into_iter()
            .map(|(name, value)| (add(name), add(value)))
            .collect();
        Self {
            bytes: bytes.into(),
            spans,
        }
    }
}

/// What the head says about the bytes after it and about the connection.
#[derive(Debug)]
pub(super) struct ResponseNotes {
    pub(super) framing: Framing,
    /// How many headers hyper must have seen as well.
    pub(super) header_count: usize,
    /// Whether the connection may carry another request, as far as the head tells.
    pub(super) reusable: bool,
}

/// Keeps the bytes of one response head, and no byte of what follows it.
#[derive(Debug, Default)]
pub(super) struct Recorder {
    head: Vec<u8>,
    line: usize,
    state: State,
    chunks: Chunks,
}

#[derive(Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Off,
    Recording,
    Complete,
    TooLarge,
}

impl Recorder {
    /// The next bytes are those of a response.
    pub(super) fn start(&mut self) {
        self.head.clear();
        self.line = 0;
        self.state = State::Recording;
        self.chunks = Chunks::default();
    }

    /// Looks at bytes on their way to hyper. A head ends with an empty line; empty lines before it and
    /// informational heads are skipped, as hyper skips them.
    pub(super) fn feed(&mut self, bytes: &[u8]) {
        let rest = self.feed_head(bytes);
        self.chunks.feed(rest);
    }

    /// Returns the bytes that are no longer the head's.
    fn feed_head<'a>(&mut self, mut bytes: &'a [u8]) -> &'a [u8] {
        if self.state == State::Recording && self.head.is_empty() {
            self.head.reserve(bytes.len().min(USUAL_HEAD_SIZE));
        }
        while self.state == State::Recording && !bytes.is_empty() {
            let newline = bytes.iter().position(|byte| *byte == b'\n');
            let (line, rest) = bytes.split_at(newline.map_or(bytes.len(), |at| at + 1));
            bytes = rest;
            if self.head.len() + line.len() > MAX_HEAD_SIZE {
                self.state = State::TooLarge;
                break;
            }
            self.head.extend_from_slice(line);
            if newline.is_some() {
                self.end_line();
            }
        }
        bytes
    }

    /// Whether a chunked body breaks a rule that hyper does not have.
    pub(super) fn has_illegal_chunks(&self) -> bool {
        self.chunks.is_illegal()
    }

    fn end_line(&mut self) {
        if !matches!(&self.head[self.line..], b"\n" | b"\r\n") {
            self.line = self.head.len();
        } else if self.line == 0 || is_informational(&self.head) {
            self.head.clear();
            self.line = 0;
        } else {
            self.state = State::Complete;
            if is_chunked(&self.head) {
                self.chunks.start();
            }
        }
    }

    /// Reads the head that hyper has delivered.
    ///
    /// # Errors
    ///
    /// `RemoteProtocol` for what h11 refuses and hyper does not, or when no head was recorded although
    /// hyper saw one.
    pub(super) fn finish(&mut self) -> Result<(ResponseHead, ResponseNotes)> {
        match std::mem::take(&mut self.state) {
            State::Complete => parse(std::mem::take(&mut self.head)),
            State::TooLarge => Err(remote("The response head is larger than 100 KiB.")),
            State::Off | State::Recording => Err(disagreement()),
        }
    }
}

/// What every status line begins with.
const STATUS_LINE: &[u8] = b"HTTP/1.";

/// Reads one response head where hyper does not: before there is a connection for it.
#[derive(Debug)]
pub struct HeadReader(Recorder);

impl Default for HeadReader {
    fn default() -> Self {
        let mut recorder = Recorder::default();
        recorder.start();
        Self(recorder)
    }
}

impl HeadReader {
    /// Takes the next bytes. Once the head of the final response is complete, gives it with the bytes behind it.
    ///
    /// # Errors
    ///
    /// `RemoteProtocol` for what cannot become a head, is larger than 100 KiB, or breaks h11's rules.
    pub fn feed<'a>(&mut self, bytes: &'a [u8]) -> Result<Option<(ResponseHead, &'a [u8])>> {
        let rest = self.0.feed_head(bytes);
        let begin = &self.0.head[..self.0.head.len().min(STATUS_LINE.len())];
        if !STATUS_LINE.starts_with(begin) && begin != b"\r" {
            return Err(remote("The answer is no HTTP/1.1 response."));
        }
        if self.0.state == State::Recording {
            return Ok(None);
        }
        // Nobody else reads it, so that what hyper refuses has to be refused here.
        let mut slots = [httparse::EMPTY_HEADER; MAX_HEADERS];
        let read = lenient().parse_response(&mut httparse::Response::new(&mut slots), &self.0.head);
        read.map_err(|error| Error::message(Kind::RemoteProtocol, error.to_string()))?;
        let (head, _) = self.0.finish()?;
        Ok(Some((head, rest)))
    }
}

/// What h11 reads and httparse would not.
fn lenient() -> httparse::ParserConfig {
    let mut config = httparse::ParserConfig::default();
    config.allow_obsolete_multiline_headers_in_responses(true);
    config
}

/// The two readings of a head differ, so neither is to be trusted.
pub(super) fn disagreement() -> Error {
    remote("The response head can be read in two ways.")
}

fn remote(text: &'static str) -> Error {
    Error::message(Kind::RemoteProtocol, text)
}

/// 1xx but 101, which is final. The code stands behind `HTTP/1.1 `.
fn is_informational(head: &[u8]) -> bool {
    matches!(head.get(9..12), Some([b'1', tens, ones]) if [*tens, *ones] != *b"01")
}

/// Whether a body in chunks follows, should the response have a body at all. [`parse`] refuses every other
/// coding, and two of them.
fn is_chunked(head: &[u8]) -> bool {
    let mut lines = head.split(|byte| *byte == b'\n');
    lines.any(|line| {
        let mut parts = line.splitn(2, |byte| *byte == b':');
        let (name, value) = (parts.next(), parts.next());
        name.is_some_and(|name| name.eq_ignore_ascii_case(b"transfer-encoding"))
            && value.is_some_and(|value| value.trim_ascii().eq_ignore_ascii_case(b"chunked"))
    })
}

fn parse(mut bytes: Vec<u8>) -> Result<(ResponseHead, ResponseNotes)> {
    // One line is the status line and one is empty, so this is enough for every header.
    let lines = bytes.iter().filter(|byte| **byte == b'\n').count();
    let mut usual = [httparse::EMPTY_HEADER; USUAL_HEADERS];
    let mut many = Vec::new();
    let slots = if lines <= USUAL_HEADERS {
        &mut usual[..]
    } else {
        many.resize(lines, httparse::EMPTY_HEADER);
        &mut many[..]
    };
    let mut response = httparse::Response::new(slots);
    let Ok(httparse::Status::Complete(size)) = lenient().parse_response(&mut response, &bytes)
    else {
        return Err(disagreement());
    };
    let Some(status) = response.code.filter(|_| size == bytes.len()) else {
        return Err(disagreement());
    };

    // Values that differ from the wire's bytes are appended to them, so that all spans share one buffer.
    let mut appended = Vec::new();
    let mut spans = Vec::with_capacity(response.headers.len());
    let mut lengths = FramingHeaders::default();
    let mut close = false;
    for header in response.headers.iter() {
        let name = header.name.as_bytes();
        let folded;
        let mut value = header.value;
        if value.contains(&b'\n') {
            folded = unfold(value);
            value = &folded;
        }
        value = value.trim_ascii();
        close |= name.eq_ignore_ascii_case(b"connection") && lists_close(value);
        match lengths.look(name, value).map_err(remote)? {
            Verdict::Keep => {}
            Verdict::Replace(replacement) => value = replacement,
            Verdict::Drop => continue,
        }
        let span = span_in(&bytes, value).unwrap_or_else(|| {
            let start = bytes.len() + appended.len();
            appended.extend_from_slice(value);
            start..start + value.len()
        });
        let name = span_in(&bytes, name).ok_or_else(disagreement)?;
        spans.push((name, span));
    }
    let notes = ResponseNotes {
        framing: lengths.framing(),
        header_count: response.headers.len(),
        reusable: bytes.starts_with(b"HTTP/1.1") && !close && !lengths.ambiguous(),
    };
    let reason = reason(&bytes);
    bytes.extend_from_slice(&appended);
    let bytes = Bytes::from(bytes);
    let head = ResponseHead {
        status,
        version: bytes.slice(..b"HTTP/1.1".len()),
        reason: Some(bytes.slice(reason)),
        headers: HeaderList { bytes, spans },
        stream_id: None,
    };
    Ok((head, notes))
}

/// What follows the status code and one space, up to the end of the line.
fn reason(head: &[u8]) -> Range<usize> {
    let newline = head.iter().position(|byte| *byte == b'\n');
    let newline = newline.expect("the head was parsed, so it has lines");
    let line = head[..newline].strip_suffix(b"\r");
    let end = line.map_or(newline, <[u8]>::len);
    (b"HTTP/1.1 200 ".len().min(end))..end
}

/// Where `part` lies in `whole`, if it is a part of it.
fn span_in(whole: &[u8], part: &[u8]) -> Option<Range<usize>> {
    let start = part.as_ptr().addr().checked_sub(whole.as_ptr().addr())?;
    let span = start..start + part.len();
    whole.get(span.clone()).map(|_| span)
}

/// Each line break and the blanks after it become one space.
fn unfold(value: &[u8]) -> Vec<u8> {
    let mut joined = Vec::with_capacity(value.len());
    for (index, line) in value.split(|byte| *byte == b'\n').enumerate() {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if index == 0 {
            joined.extend_from_slice(line);
        } else {
            joined.push(b' ');
            joined.extend_from_slice(line.trim_ascii_start());
        }
    }
    joined
}
