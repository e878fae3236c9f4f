//! How long a message is: the two headers that say it, checked as h11 checks them.
//!
//! Requests and responses share these rules. No I/O, no error kinds: the caller knows who broke them.

/// How the end of a message body is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// Neither header: a request has no body then, a response has one up to EOF.
    None,
    /// `Content-Length`.
    ContentLength(u64),
    /// `Transfer-Encoding: chunked`, which wins over a Content-Length.
    Chunked,
}

/// h11 reads no longer number, which is what 2^64 takes.
const MAX_LENGTH_DIGITS: usize = 20;

/// What is to be done with a header after a look at it.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict<'a> {
    /// It says nothing about the length.
    Keep,
    /// It counts, with this value in place of its own: `5, 5` becomes `5`.
    Replace(&'a [u8]),
    /// It repeats what an earlier header said.
    Drop,
}

/// Looks at the headers of one message, one after the other.
#[derive(Debug, Default)]
pub(super) struct FramingHeaders {
    length: Option<u64>,
    chunked: bool,
}

impl FramingHeaders {
    /// # Errors
    ///
    /// h11's text for the rule that the header breaks.
    pub(super) fn look<'a>(
        &mut self,
        name: &[u8],
        value: &'a [u8],
    ) -> Result<Verdict<'a>, &'static str> {
        if name.eq_ignore_ascii_case(b"content-length") {
            let (text, length) = content_length(value)?;
            match self.length.replace(length) {
                None => Ok(Verdict::Replace(text)),
                Some(earlier) if earlier == length => Ok(Verdict::Drop),
                Some(_) => Err("conflicting Content-Length headers"),
            }
        } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
            if self.chunked {
                return Err("multiple Transfer-Encoding headers");
            }
            if !value.eq_ignore_ascii_case(b"chunked") {
                return Err("Only Transfer-Encoding: chunked is supported");
            }
            self.chunked = true;
            Ok(Verdict::Replace(b"chunked"))
        } else {
            Ok(Verdict::Keep)
        }
    }

    /// What the headers seen so far say together.
    pub(super) fn framing(&self) -> Framing {
        match (self.chunked, self.length) {
            (true, _) => Framing::Chunked,
            (false, Some(length)) => Framing::ContentLength(length),
            (false, None) => Framing::None,
        }
    }

    /// Both headers at once, the classic way to make two readers disagree about where a message ends.
    pub(super) fn ambiguous(&self) -> bool {
        self.chunked && self.length.is_some()
    }
}

/// A list of equal numbers counts as one of them.
fn content_length(value: &[u8]) -> Result<(&[u8], u64), &'static str> {
    let mut texts = value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
    let text = texts.next().expect("split yields at least one part");
    if texts.any(|other| other != text) {
        return Err("conflicting Content-Length headers");
    }
    if text.is_empty() || text.len() > MAX_LENGTH_DIGITS || !text.iter().all(u8::is_ascii_digit) {
        return Err("bad Content-Length");
    }
    let length = text.iter().try_fold(0_u64, |length, digit| {
        length.checked_mul(10)?.checked_add(u64::from(digit - b'0'))
    });
    length
        .map(|length| (text, length))
        .ok_or("bad Content-Length")
}

/// Whether a `Connection` value lists `close`.
pub(super) fn lists_close(value: &[u8]) -> bool {
    value
        .split(|byte| *byte == b',')
        .any(|token| token.trim_ascii().eq_ignore_ascii_case(b"close"))
}
