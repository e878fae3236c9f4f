//! Chunked: bodies in chunks as they may be, in any pieces, and what follows them.
//!
//! - A body that keeps the rules is accepted, whatever its sizes, extensions and trailers, and is what it was.
//! - The connection can be used again, unless something follows the body.
//! - One that is cut off, or has one wrong byte at a line end, is never complete.

use arbitrary::Arbitrary;
use httpcore_hyper::connection::Http1;
use httpcore_hyper::error::Kind;

use crate::exchange::{End, Outcome, check_next, request, run};
use crate::wire::{Arrival, Wire, pieces};

#[derive(Debug, Arbitrary)]
pub struct Input {
    chunks: Vec<Chunk>,
    last: Ending,
    trailers: Vec<Text>,
    follows: Vec<u8>,
    sizes: Vec<u8>,
    fault: Fault,
}

#[derive(Debug, Arbitrary)]
struct Chunk {
    data: Vec<u8>,
    ending: Ending,
}

/// How a size is written, and what stands behind it.
#[derive(Debug, Arbitrary)]
struct Ending {
    upper: bool,
    zeros: u8,
    extension: Option<Text>,
}

/// Printable text without a line end.
#[derive(Debug, Arbitrary)]
struct Text(Vec<u8>);

#[derive(Debug, Arbitrary)]
enum Fault {
    None,
    /// The body stops before its end, and so does the connection.
    CutOff(u16),
    /// The line end behind the data of a chunk is something else.
    LineEnd {
        chunk: u8,
        byte: u8,
    },
    /// A size has too many digits.
    LongSize {
        chunk: u8,
    },
    /// A size begins with something that is no digit.
    NoSize {
        chunk: u8,
        byte: u8,
    },
}

/// h11's limit for the digits of a size.
const MAX_DIGITS: usize = 20;
/// hyper's for all extensions together, with room to spare.
const MAX_EXTENSIONS: usize = 8 * 1024;
const HEAD: &[u8] = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";

impl Text {
    fn bytes(&self, most: usize) -> Vec<u8> {
        let printable = |byte: &u8| b'!' + byte % (b'~' - b'!' + 1);
        self.0.iter().take(most).map(printable).collect()
    }
}

impl Ending {
    fn push(&self, out: &mut Vec<u8>, size: usize) {
        let digits = if self.upper {
            format!("{size:X}")
        } else {
            format!("{size:x}")
        };
        let zeros = usize::from(self.zeros).min(MAX_DIGITS - digits.len());
        out.extend(std::iter::repeat_n(b'0', zeros));
        out.extend_from_slice(digits.as_bytes());
        if let Some(extension) = &self.extension {
            out.push(b';');
            out.extend_from_slice(&extension.bytes(MAX_EXTENSIONS / 64));
        }
        out.extend_from_slice(b"\r\n");
    }
}

pub fn check(mut input: Input) {
    // So many extensions stay below the limit.
    input.chunks.truncate(60);
    input.chunks.retain(|chunk| !chunk.data.is_empty());
    input.trailers.truncate(8);
    let mut body = Vec::new();
    let mut bytes = HEAD.to_vec();
    let mut broken = false;
    for (index, chunk) in input.chunks.iter().enumerate() {
        let is_here = |at: u8| usize::from(at) % input.chunks.len() == index;
        match input.fault {
            Fault::LongSize { chunk } if is_here(chunk) => {
                broken = true;
                bytes.extend_from_slice(&[b'0'; MAX_DIGITS]);
            }
            Fault::NoSize { chunk, byte } if is_here(chunk) && !byte.is_ascii_hexdigit() => {
                broken = true;
                bytes.push(byte);
            }
            _ => {}
        }
        chunk.ending.push(&mut bytes, chunk.data.len());
        bytes.extend_from_slice(&chunk.data);
        body.extend_from_slice(&chunk.data);
        match input.fault {
            Fault::LineEnd { chunk, byte } if is_here(chunk) && byte != b'\r' => {
                broken = true;
                bytes.extend_from_slice(&[byte, b'\n']);
            }
            _ => bytes.extend_from_slice(b"\r\n"),
        }
    }
    input.last.push(&mut bytes, 0);
    for (index, trailer) in input.trailers.iter().enumerate() {
        bytes.extend_from_slice(format!("T{index}: ").as_bytes());
        bytes.extend_from_slice(&trailer.bytes(64));
        bytes.extend_from_slice(b"\r\n");
    }
    bytes.extend_from_slice(b"\r\n");
    let mut follows = input.follows.as_slice();
    let mut end = None;
    if let Fault::CutOff(at) = input.fault {
        bytes.truncate(HEAD.len() + usize::from(at) % (bytes.len() - HEAD.len()));
        follows = &[];
        broken = true;
        end = Some(Arrival::End);
    }
    bytes.extend_from_slice(follows);

    let sizes: Vec<usize> = input
        .sizes
        .iter()
        .map(|size| 1 + usize::from(*size))
        .collect();
    for sizes in [&[][..], &sizes, &[1]] {
        let (outcome, mut http, wire) = answered(&bytes, sizes, &end);
        assert_eq!(outcome.head.as_ref().map(|head| head.status), Some(200));
        if broken {
            assert!(body.starts_with(&outcome.body));
            match outcome.end {
                End::Failed { kind, .. } => assert_eq!(kind, Kind::RemoteProtocol),
                // A size of more digits may still have data to come.
                End::Stuck => assert!(end.is_none()),
                end => panic!("a broken body is {end:?}"),
            }
            continue;
        }
        assert_eq!(outcome.body, body);
        assert_eq!(
            outcome.end,
            End::Complete {
                fit: follows.is_empty()
            }
        );
        if follows.is_empty() {
            check_next(&mut http, &wire);
        }
    }
}

fn answered(
    response: &[u8],
    sizes: &[usize],
    end: &Option<Arrival>,
) -> (Outcome, Http1<Wire>, Wire) {
    let wire = Wire::new(false);
    let mut http = Http1::handshake(wire.clone()).expect("a handshake does nothing");
    wire.arrives(pieces(response, sizes));
    wire.arrives(end.clone());
    let outcome = run(&mut http, &wire, request(b"GET", &[]), b"");
    (outcome, http, wire)
}
