//! Recorder: keeps a response head on its way to hyper, and no byte of what follows it.
//!
//! A final head that comes in one piece is read here, and hyper is given a short one which says what it acts on: it need
//! not read the rest a second time. One that comes in several pieces, or says something odd, hyper is given as it comes,
//! and it is read when hyper has accepted it.
//!
//! hyper has room for a hundred headers where it costs nothing; room for more would cost each response two large
//! pieces of memory, a twentieth of the time that a small one takes. So of a longer head in pieces hyper is given the first
//! lines, and of the others those that it acts on. What the bytes mean is `raw`'s.

use std::io::Write as _;

use super::chunks::Chunks;
use super::framing::Framing;
use super::raw::{
    MAX_HEADERS, Parsed, ResponseHead, ResponseNotes, disagreement, lenient, parse, remote,
};
use crate::error::{Error, Kind, Result};

/// httpcore's limit, which is h11's for an event that is not complete yet.
pub(super) const MAX_HEAD_SIZE: usize = 100 * 1024;
/// Room for the head of all but the oddest responses, so that it need not grow line by line.
const USUAL_HEAD_SIZE: usize = 1024;
/// So many lines of a head hyper is given in any case. It leaves room for some of [`NEEDED`].
const GIVEN_LINES: usize = 64;
/// What hyper acts on: where the body ends, and whether the connection lives.
const NEEDED: [&[u8]; 3] = [b"connection", b"content-length", b"transfer-encoding"];

/// Keeps the bytes of one response head, and no byte of what follows it.
#[derive(Debug, Default)]
pub(super) struct Recorder {
    head: Vec<u8>,
    /// Where the current line begins.
    line: usize,
    /// How many lines of this head are complete.
    lines: usize,
    /// How many headers hyper is not given.
    withheld: usize,
    /// The last line was one that hyper is given, and so are those that it is continued by.
    passes: bool,
    /// A head that came in one piece, and was read at once; until it is asked for.
    whole: Option<(ResponseHead, ResponseNotes)>,
    /// What hyper is given in its place.
    short: Vec<u8>,
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
        self.restart();
        self.whole = None;
        self.state = State::Recording;
        self.chunks = Chunks::default();
    }

    fn restart(&mut self) {
        self.head.clear();
        self.line = 0;
        self.lines = 0;
        self.withheld = 0;
    }

    /// Reads the final head that these bytes begin with, if all of it is there, as it nearly always is. What hyper is to be
    /// given in place of its first so many bytes is as long at most.
    ///
    /// `None` if they have to be fed. All that is unusual is, so that whatever is wrong with a head is found in one way.
    pub(super) fn read_whole(&mut self, bytes: &[u8]) -> Option<(usize, &[u8])> {
        if self.state != State::Recording
            || !self.head.is_empty()
            || !bytes.starts_with(STATUS_LINE)
        {
            return None;
        }
        let Parsed {
            head,
            mut notes,
            size,
        } = parse(bytes).ok()?;
        // Below 200 are those that another one follows, and 101.
        if head.status < 200 || size > MAX_HEAD_SIZE {
            return None;
        }
        notes.header_count = self.shorten(&bytes[..VERSION_AND_STATUS], &notes);
        if self.short.len() > size {
            return None;
        }
        if notes.framing == Framing::Chunked {
            self.chunks.start();
        }
        self.chunks.feed(&bytes[size..]);
        self.whole = Some((head, notes));
        self.state = State::Off;
        Some((size, &self.short))
    }

    /// Writes the head that tells hyper what it acts on: where the body ends, and that the connection does. Returns the
    /// number of its headers.
    fn shorten(&mut self, begin: &[u8], notes: &ResponseNotes) -> usize {
        let short = &mut self.short;
        short.clear();
        short.extend_from_slice(begin);
        short.extend_from_slice(b"\r\n");
        let mut headers = 0;
        match notes.framing {
            Framing::None => {}
            Framing::ContentLength(length) => {
                let written = write!(short, "content-length: {length}\r\n");
                written.expect("memory takes all");
                headers += 1;
            }
            Framing::Chunked => {
                short.extend_from_slice(b"transfer-encoding: chunked\r\n");
                headers += 1;
            }
        }
        // HTTP/1.0 need not say so.
        if !notes.reusable && begin.starts_with(b"HTTP/1.1") {
            short.extend_from_slice(b"connection: close\r\n");
            headers += 1;
        }
        short.extend_from_slice(b"\r\n");
        headers
    }

    /// Looks at bytes on their way to hyper. A head ends with an empty line; empty lines before it and
    /// informational heads are skipped, as hyper skips them.
    ///
    /// `None` if hyper is to be given them; else what it is to be given in their place, which may be nothing yet.
    pub(super) fn feed(&mut self, bytes: &[u8]) -> Option<Vec<u8>> {
        let mut passed = None;
        let rest = self.feed_head(bytes, &mut passed);
        self.chunks.feed(rest);
        if let Some(passed) = &mut passed {
            passed.extend_from_slice(rest);
        }
        passed
    }

    /// Returns the bytes that are no longer the head's.
    fn feed_head<'a>(&mut self, fed: &'a [u8], passed: &mut Option<Vec<u8>>) -> &'a [u8] {
        let mut bytes = fed;
        if self.state == State::Recording && self.head.is_empty() {
            self.head.reserve(bytes.len().min(USUAL_HEAD_SIZE));
        }
        while self.state == State::Recording && !bytes.is_empty() {
            let newline = bytes.iter().position(|byte| *byte == b'\n');
            let (line, rest) = bytes.split_at(newline.map_or(bytes.len(), |at| at + 1));
            if self.head.len() + line.len() > MAX_HEAD_SIZE {
                self.state = State::TooLarge;
                bytes = rest;
                break;
            }
            self.head.extend_from_slice(line);
            // A line is given as it comes, or not before it is known what it says.
            let is_late = self.lines >= GIVEN_LINES;
            if is_late {
                let passed = passed.get_or_insert_with(|| fed[..fed.len() - bytes.len()].to_vec());
                if newline.is_some() {
                    passed.extend_from_slice(self.needed());
                }
            } else {
                self.passes = true;
                if let Some(passed) = passed {
                    passed.extend_from_slice(line);
                }
            }
            bytes = rest;
            if newline.is_some() {
                self.end_line();
            }
        }
        bytes
    }

    /// The current, complete line, which is late, if hyper has to have it, else nothing.
    fn needed(&mut self) -> &[u8] {
        let line = &self.head[self.line..];
        let is_continued = matches!(line, [b' ' | b'\t', ..]);
        if !is_continued {
            let name = line.split(|byte| *byte == b':').next().unwrap_or_default();
            self.passes = is_empty(line)
                || NEEDED
                    .iter()
                    .any(|needed| name.eq_ignore_ascii_case(needed));
            self.withheld += usize::from(!self.passes);
        }
        if self.passes { line } else { &[] }
    }

    /// Why there will be no head, if that is known before hyper knows it: the line that makes it too large may be one that
    /// hyper is not given.
    pub(super) fn refusal(&self) -> Option<Error> {
        (self.state == State::TooLarge).then(too_large)
    }

    /// Whether a chunked body breaks a rule that hyper does not have.
    pub(super) fn has_illegal_chunks(&self) -> bool {
        self.chunks.is_illegal()
    }

    fn end_line(&mut self) {
        if !is_empty(&self.head[self.line..]) {
            self.line = self.head.len();
            self.lines += 1;
        } else if self.line == 0 || is_informational(&self.head) {
            self.restart();
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
        if let Some(whole) = self.whole.take() {
            return Ok(whole);
        }
        match std::mem::take(&mut self.state) {
            State::Complete => {
                let recorded = std::mem::take(&mut self.head);
                let Parsed {
                    head,
                    mut notes,
                    size,
                } = parse(&recorded)?;
                if size != recorded.len() {
                    return Err(disagreement());
                }
                notes.header_count = notes.header_count.saturating_sub(self.withheld);
                Ok((head, notes))
            }
            State::TooLarge => Err(too_large()),
            State::Off | State::Recording => Err(disagreement()),
        }
    }
}

/// What every status line begins with.
const STATUS_LINE: &[u8] = b"HTTP/1.";
/// The length of what hyper has to know of one.
const VERSION_AND_STATUS: usize = b"HTTP/1.1 200".len();

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
        let rest = self.0.feed_head(bytes, &mut None);
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

fn too_large() -> Error {
    remote("The response head is larger than 100 KiB.")
}

/// Whether a line ends the head.
fn is_empty(line: &[u8]) -> bool {
    matches!(line, b"\n" | b"\r\n")
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
