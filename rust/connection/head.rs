//! Request heads: validated as h11 does, rendered as httpcore writes them.
//!
//! What is rendered here goes on the wire as it is: hyper writes a head of its own, which never leaves
//! (see `io`). So everything that keeps a caller's bytes from becoming another header, another request or
//! another framing is decided here. The rules and the words are h11's.

use bytes::{BufMut, Bytes, BytesMut};

use crate::error::{Error, Kind, Result};

/// How the end of a body is known, by the headers alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// Neither Content-Length nor Transfer-Encoding: there is no body.
    None,
    /// So many bytes.
    ContentLength(u64),
    /// Chunks, and one that says that they end.
    Chunked,
}

/// A validated request head, as the bytes that will be sent.
#[derive(Debug)]
pub struct RequestHead {
    pub(super) text: Bytes,
    pub(super) framing: Framing,
    /// The response has no body, whatever its headers say.
    pub(super) is_head: bool,
    /// The request says that the connection ends with it.
    pub(super) closes: bool,
}

impl RequestHead {
    /// Validates the parts and renders them: Host first, the others in the case and order they have.
    ///
    /// Of Transfer-Encoding and Content-Length both, only Transfer-Encoding is sent (RFC 9112 §6.1).
    ///
    /// # Errors
    ///
    /// `LocalProtocol`, with h11's texts.
    pub fn render<'a>(
        method: &[u8],
        target: &[u8],
        headers: impl Iterator<Item = (&'a [u8], &'a [u8])> + Clone,
    ) -> Result<Self> {
        let fields = Fields::check(headers.clone())?;
        if method.is_empty() || !method.iter().copied().all(is_token) {
            return Err(local("Illegal method characters"));
        }
        if target.is_empty() || !target.iter().copied().all(is_visible) {
            return Err(local("Illegal target characters"));
        }
        if method == b"CONNECT" || fields.upgrades {
            return Err(local(
                "Requests that change the protocol of their connection are not supported",
            ));
        }

        // Each line costs ": " and CRLF; an exact size would cost another pass.
        let length: usize = headers
            .clone()
            .map(|(name, value)| name.len() + value.len() + 4)
            .sum();
        let mut text = BytesMut::with_capacity(method.len() + target.len() + length + 16);
        text.put_slice(method);
        text.put_u8(b' ');
        text.put_slice(target);
        text.put_slice(b" HTTP/1.1\r\n");
        for (name, value) in headers.clone().filter(|(name, _)| is_host(name)) {
            put_field(&mut text, name, value);
        }
        let mut content_length_seen = false;
        for (name, value) in headers.filter(|(name, _)| !is_host(name)) {
            if name.eq_ignore_ascii_case(b"content-length") {
                // Equal ones are one, as h11 has it.
                if fields.chunked || std::mem::replace(&mut content_length_seen, true) {
                    continue;
                }
                let mut lengths = value.split(|byte| *byte == b',');
                put_field(
                    &mut text,
                    name,
                    lengths.next().unwrap_or_default().trim_ascii(),
                );
            } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
                put_field(&mut text, name, b"chunked");
            } else {
                put_field(&mut text, name, value);
            }
        }
        text.put_slice(b"\r\n");
        Ok(Self {
            text: text.freeze(),
            framing: match fields.content_length {
                _ if fields.chunked => Framing::Chunked,
                Some(length) => Framing::ContentLength(length),
                None => Framing::None,
            },
            is_head: method == b"HEAD",
            closes: fields.closes,
        })
    }

    /// How its body is framed.
    pub fn framing(&self) -> Framing {
        self.framing
    }
}

/// What the header fields say, once each of them is legal.
#[derive(Default)]
struct Fields {
    hosts: usize,
    content_length: Option<u64>,
    chunked: bool,
    closes: bool,
    upgrades: bool,
}

impl Fields {
    fn check<'a>(headers: impl Iterator<Item = (&'a [u8], &'a [u8])>) -> Result<Self> {
        let mut fields = Self::default();
        for (name, value) in headers {
            if name.is_empty() || !name.iter().copied().all(is_token) {
                return Err(illegal("name", name));
            }
            if !is_field_value(value) {
                return Err(illegal("value", value));
            }
            fields.note(name, value)?;
        }
        match fields.hosts {
            0 => Err(local("Missing mandatory Host: header")),
            1 => Ok(fields),
            _ => Err(local("Found multiple Host: headers")),
        }
    }

    fn note(&mut self, name: &[u8], value: &[u8]) -> Result<()> {
        // By length first: most names are none of these.
        match name.len() {
            4 if is_host(name) => self.hosts += 1,
            7 if name.eq_ignore_ascii_case(b"upgrade") => self.upgrades = true,
            10 if name.eq_ignore_ascii_case(b"connection") => {
                self.closes |= has_token(value, b"close")
            }
            14 if name.eq_ignore_ascii_case(b"content-length") => {
                for length in value.split(|byte| *byte == b',') {
                    let length = content_length(length.trim_ascii())
                        .ok_or_else(|| local("bad Content-Length"))?;
                    if self
                        .content_length
                        .replace(length)
                        .is_some_and(|former| former != length)
                    {
                        return Err(local("conflicting Content-Length headers"));
                    }
                }
            }
            17 if name.eq_ignore_ascii_case(b"transfer-encoding") => {
                if self.chunked {
                    return Err(local("multiple Transfer-Encoding headers"));
                }
                if !value.eq_ignore_ascii_case(b"chunked") {
                    return Err(local("Only Transfer-Encoding: chunked is supported"));
                }
                self.chunked = true;
            }
            _ => {}
        }
        Ok(())
    }
}

fn put_field(text: &mut BytesMut, name: &[u8], value: &[u8]) {
    text.put_slice(name);
    text.put_slice(b": ");
    text.put_slice(value);
    text.put_slice(b"\r\n");
}

fn is_host(name: &[u8]) -> bool {
    name.eq_ignore_ascii_case(b"host")
}

/// Digits only, and a number that fits: hyper's own limit, which no body reaches.
pub(super) fn content_length(value: &[u8]) -> Option<u64> {
    if value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
        return None;
    }
    // The two largest numbers mean something else inside hyper.
    let length: u64 = std::str::from_utf8(value).ok()?.parse().ok()?;
    (length <= u64::MAX - 2).then_some(length)
}

/// Whether a comma-separated list has this token, in any case.
pub(super) fn has_token(list: &[u8], token: &[u8]) -> bool {
    list.split(|byte| *byte == b',')
        .any(|item| item.trim_ascii().eq_ignore_ascii_case(token))
}

/// `tchar` of RFC 9110 §5.6.2.
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// `VCHAR`: h11 lets any of them stand in a target.
fn is_visible(byte: u8) -> bool {
    (0x21..=0x7e).contains(&byte)
}

/// h11's field value: anything but NUL and line ends, with spaces and tabs inside only. It is wider than
/// RFC 9110's, whose control characters httpcore sends.
fn is_field_value(value: &[u8]) -> bool {
    let blank = |byte: &u8| matches!(byte, b' ' | b'\t');
    let legal = |byte: &u8| !matches!(byte, 0 | b'\n' | b'\r' | 0x0b | 0x0c);
    match (value.first(), value.last()) {
        (Some(first), Some(last)) => !blank(first) && !blank(last) && value.iter().all(legal),
        _ => true,
    }
}

fn local(text: &'static str) -> Error {
    Error::message(Kind::LocalProtocol, text)
}

/// h11's words, with the bytes as Python shows them.
fn illegal(what: &str, bytes: &[u8]) -> Error {
    Error::message(
        Kind::LocalProtocol,
        format!("Illegal header {what} b'{}'", bytes.escape_ascii()),
    )
}
