//! The request head: checked by h11's rules and rendered as the bytes that go out.
//!
//! hyper never sees these bytes, so nothing behind this file checks them again: what may not stand on
//! the wire is refused here, with h11's texts, and header injection with it. No I/O.

use std::fmt::Write as _;

use super::framing::{Framing, FramingHeaders, Verdict, lists_close};
use crate::error::{Error, Kind, Result};

/// A validated request head, as the bytes that will be sent.
#[derive(Debug)]
pub struct RequestHead {
    bytes: Vec<u8>,
    framing: Framing,
    kind: MethodKind,
    upgrade: bool,
    close: bool,
}

/// What the method says about the response's body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum MethodKind {
    /// The response has no body, whatever its headers say.
    Head,
    /// A 2xx response is followed by a tunnel.
    Connect,
    /// The response's headers decide.
    Other,
}

impl RequestHead {
    /// Checks and renders: the request line, `Host`, then the other headers in their order and case.
    ///
    /// # Errors
    ///
    /// `LocalProtocol`, with h11's text for the first rule that is broken, in h11's order: the headers
    /// one by one, `Host`, the method, the target.
    pub fn render<'a>(
        method: &[u8],
        target: &[u8],
        headers: impl Iterator<Item = (&'a [u8], &'a [u8])> + Clone,
    ) -> Result<Self> {
        let mut lengths = FramingHeaders::default();
        let mut hosts = 0_usize;
        let mut size = method.len() + target.len() + REQUEST_LINE_EXTRA;
        let mut upgrade = false;
        let mut close = false;
        for (name, value) in headers.clone() {
            if !is_token(name) {
                return Err(illegal(&format!(
                    "Illegal header name {}",
                    python_repr(name)
                )));
            }
            if !is_field_value(value) {
                return Err(illegal(&format!(
                    "Illegal header value {}",
                    python_repr(value)
                )));
            }
            lengths.look(name, value).map_err(illegal)?;
            hosts += usize::from(is_host(name));
            upgrade |= name.eq_ignore_ascii_case(b"upgrade");
            close |= name.eq_ignore_ascii_case(b"connection") && lists_close(value);
            size += name.len() + value.len() + HEADER_LINE_EXTRA;
        }
        match hosts {
            0 => return Err(illegal("Missing mandatory Host: header")),
            1 => {}
            _ => return Err(illegal("Found multiple Host: headers")),
        }
        if !is_token(method) {
            return Err(illegal("Illegal method characters"));
        }
        if target.is_empty() || !target.iter().all(u8::is_ascii_graphic) {
            return Err(illegal("Illegal target characters"));
        }

        let mut bytes = Vec::with_capacity(size);
        bytes.extend_from_slice(method);
        bytes.push(b' ');
        bytes.extend_from_slice(target);
        bytes.extend_from_slice(b" HTTP/1.1\r\n");
        for (name, value) in headers.clone().filter(|(name, _)| is_host(name)) {
            push_header(&mut bytes, name, value);
        }
        let framing = lengths.framing();
        // Looked at again rather than remembered: it decides per header, and the list may be long.
        let mut lengths = FramingHeaders::default();
        for (name, value) in headers.filter(|(name, _)| !is_host(name)) {
            // A Content-Length beside `chunked` is not sent: the two could be read as two lengths.
            if framing == Framing::Chunked && name.eq_ignore_ascii_case(b"content-length") {
                continue;
            }
            match lengths.look(name, value).map_err(illegal)? {
                Verdict::Keep => push_header(&mut bytes, name, value),
                Verdict::Replace(value) => push_header(&mut bytes, name, value),
                Verdict::Drop => {}
            }
        }
        bytes.extend_from_slice(b"\r\n");
        Ok(Self {
            bytes,
            framing,
            kind: match method {
                b"HEAD" => MethodKind::Head,
                b"CONNECT" => MethodKind::Connect,
                _ => MethodKind::Other,
            },
            upgrade,
            close,
        })
    }

    /// How the request's body ends.
    pub fn framing(&self) -> Framing {
        self.framing
    }

    /// The method and the target, as they were given.
    pub(super) fn method_and_target(&self) -> (&[u8], &[u8]) {
        let mut words = self.bytes.split(|byte| matches!(byte, b' ' | b'\r'));
        let mut next = || words.next().unwrap_or_default();
        (next(), next())
    }

    /// The headers, as they were checked: no name and no value has a line end in it.
    pub(super) fn headers(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        let lines = self.bytes.split(|byte| *byte == b'\n').skip(1);
        lines.filter_map(|line| {
            let line = line.strip_suffix(b"\r")?;
            let colon = line.iter().position(|byte| *byte == b':')?;
            // `push_header` puts one space behind it.
            Some((&line[..colon], &line[colon + 2..]))
        })
    }

    pub(super) fn kind(&self) -> MethodKind {
        self.kind
    }

    /// Whether the server may switch to another protocol (101).
    pub(super) fn offers_upgrade(&self) -> bool {
        self.upgrade
    }

    /// Whether the request says `Connection: close`.
    pub(super) fn closes(&self) -> bool {
        self.close
    }

    /// The bytes to send.
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }
}

/// `" "`, `" HTTP/1.1\r\n"` and the blank line at the end.
const REQUEST_LINE_EXTRA: usize = 14;
/// `": "` and `"\r\n"`.
const HEADER_LINE_EXTRA: usize = 4;

fn push_header(bytes: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    bytes.extend_from_slice(name);
    bytes.extend_from_slice(b": ");
    bytes.extend_from_slice(value);
    bytes.extend_from_slice(b"\r\n");
}

fn is_host(name: &[u8]) -> bool {
    name.eq_ignore_ascii_case(b"host")
}

/// RFC 9110's `token`.
fn is_token(bytes: &[u8]) -> bool {
    !bytes.is_empty()
        && bytes
            .iter()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-!#$%&'*+.^_`|~".contains(byte))
}

/// h11's field value: everything but NUL and Python's whitespace; inside it, spaces and tabs too.
///
/// Other control bytes do occur in cookies. NUL, CR and LF end a header for some reader and so would
/// inject one; `\x0b` and `\x0c` are refused because h11 refuses them.
fn is_field_value(value: &[u8]) -> bool {
    let is_blank = |byte: Option<&u8>| matches!(byte, Some(b' ' | b'\t'));
    !is_blank(value.first())
        && !is_blank(value.last())
        && !value
            .iter()
            .any(|byte| matches!(byte, 0 | b'\n' | b'\r' | b'\x0b' | b'\x0c'))
}

fn illegal(text: &str) -> Error {
    Error::message(Kind::LocalProtocol, text.to_owned())
}

/// How Python shows these bytes, which is how h11's messages show them.
fn python_repr(bytes: &[u8]) -> String {
    let quote = if bytes.contains(&b'\'') && !bytes.contains(&b'"') {
        '"'
    } else {
        '\''
    };
    let mut text = String::with_capacity(bytes.len() + 3);
    text.push('b');
    text.push(quote);
    for &byte in bytes {
        match byte {
            b'\\' => text.push_str("\\\\"),
            b'\t' => text.push_str("\\t"),
            b'\n' => text.push_str("\\n"),
            b'\r' => text.push_str("\\r"),
            b' '..=b'~' if char::from(byte) == quote => {
                text.push('\\');
                text.push(quote);
            }
            b' '..=b'~' => text.push(char::from(byte)),
            _ => write!(text, "\\x{byte:02x}").expect("writing to a String cannot fail"),
        }
    }
    text.push(quote);
    text
}
