//! The response head as it came.
//!
//! hyper lower-cases and groups headers and loses odd reasons; this file keeps case, order, duplicates
//! and bytes. What it says of a head hyper has to agree to: it is told so, or has read the same bytes before.

use std::mem::MaybeUninit;
use std::ops::Range;

use bytes::Bytes;

use super::framing::{Framing, FramingHeaders, Verdict, lists_close};
use crate::error::{Error, Kind, Result};

/// Five times hyper's own bound; responses beyond it have no honest use.
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

/// What h11 reads and httparse would not.
pub(super) fn lenient() -> httparse::ParserConfig {
    let mut config = httparse::ParserConfig::default();
    config.allow_obsolete_multiline_headers_in_responses(true);
    config
}

/// The two readings of a head differ, so neither is to be trusted.
pub(super) fn disagreement() -> Error {
    remote("The response head can be read in two ways.")
}

pub(super) fn remote(text: &'static str) -> Error {
    Error::message(Kind::RemoteProtocol, text)
}

/// A head, with what it says beside its headers.
#[derive(Debug)]
pub(super) struct Parsed {
    pub(super) head: ResponseHead,
    pub(super) notes: ResponseNotes,
    /// Of so many bytes.
    pub(super) size: usize,
}

/// Reads the head that these bytes begin with.
///
/// # Errors
///
/// `RemoteProtocol` for what h11 refuses and hyper does not, and for a head that is no head or not complete.
pub(super) fn parse(bytes: &[u8]) -> Result<Parsed> {
    let mut usual = [const { MaybeUninit::uninit() }; USUAL_HEADERS];
    let mut many = Vec::new();
    let mut response = httparse::Response::new(&mut []);
    let mut parsed = lenient().parse_response_with_uninit_headers(&mut response, bytes, &mut usual);
    if parsed == Err(httparse::Error::TooManyHeaders) {
        many.resize(MAX_HEADERS, MaybeUninit::uninit());
        response = httparse::Response::new(&mut []);
        parsed = lenient().parse_response_with_uninit_headers(&mut response, bytes, &mut many);
    }
    let size = match parsed {
        Ok(httparse::Status::Complete(size)) => size,
        Err(httparse::Error::TooManyHeaders) => {
            return Err(remote("The response has more than 512 headers."));
        }
        Ok(httparse::Status::Partial) | Err(_) => return Err(disagreement()),
    };
    let Some(status) = response.code else {
        return Err(disagreement());
    };
    let bytes = &bytes[..size];

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
        let span = span_in(bytes, value).unwrap_or_else(|| {
            let start = bytes.len() + appended.len();
            appended.extend_from_slice(value);
            start..start + value.len()
        });
        let name = span_in(bytes, name).ok_or_else(disagreement)?;
        spans.push((name, span));
    }
    let notes = ResponseNotes {
        framing: lengths.framing(),
        header_count: response.headers.len(),
        reusable: bytes.starts_with(b"HTTP/1.1") && !close && !lengths.ambiguous(),
    };
    let reason = reason(bytes);
    let bytes = Bytes::from([bytes, &appended].concat());
    let head = ResponseHead {
        status,
        version: bytes.slice(..b"HTTP/1.1".len()),
        reason: Some(bytes.slice(reason)),
        headers: HeaderList { bytes, spans },
        stream_id: None,
    };
    Ok(Parsed { head, notes, size })
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
