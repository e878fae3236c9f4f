//! Response: any bytes in answer to a request, in any pieces.
//!
//! - The pieces make no difference to the head, the body and what comes of it: which kind of failure, if any.
//! - A head that is accepted has the names, values and reason of the wire, in their order and case.
//! - A connection that is said to be fit has no byte of this response left for the next request.
//! - Whatever the peer sends is the peer's fault: never a `LocalProtocol`, never without a word.

use std::io::ErrorKind;

use httpcore_hyper::connection::{Http1, RequestHead};
use httpcore_hyper::error::Kind;

use crate::exchange::{End, Head, Outcome, check_next, request, run};
use crate::wire::{Arrival, Wire, pieces};

/// Of an input: what is asked, how the answer ends, and where it is cut.
const SETTINGS: usize = 4;
/// Byte by byte is as good as any other cut, and takes long.
const MAX_SINGLE_BYTES: usize = 2048;

/// The first four bytes are settings, the rest is the response as it is: so a seed can be written by hand.
pub fn check(input: &[u8]) {
    let Some((&[asked, ending, first, second], response)) = input.split_first_chunk::<SETTINGS>()
    else {
        return;
    };
    let end = match ending % 4 {
        0 => None,
        1 => Some(Arrival::End),
        2 => Some(Arrival::Failure(ErrorKind::ConnectionReset)),
        // What a TLS session says of a peer that closed without a word.
        _ => Some(Arrival::Failure(ErrorKind::UnexpectedEof)),
    };
    let whole = answered(asked, response, &[], &end);
    let mut cuts = vec![vec![1 + usize::from(first), 1 + usize::from(second)]];
    if response.len() <= MAX_SINGLE_BYTES {
        cuts.push(vec![1]);
    }
    for cut in cuts {
        let cut = answered(asked, response, &cut, &end);
        check_same(response, &whole, &cut);
    }
    check_words(&whole);
    if let Some(head) = &whole.head {
        check_head(response, head);
    }
}

fn asking(asked: u8) -> RequestHead {
    match asked % 4 {
        0 => request(b"GET", &[]),
        1 => request(b"HEAD", &[]),
        2 => request(b"CONNECT", &[]),
        _ => request(b"GET", &[(b"Connection", b"upgrade"), (b"Upgrade", b"x")]),
    }
}

fn answered(asked: u8, response: &[u8], sizes: &[usize], end: &Option<Arrival>) -> Outcome {
    let wire = Wire::new(true);
    let mut http = Http1::handshake(wire.clone()).expect("a handshake does nothing");
    wire.arrives(pieces(response, sizes));
    wire.arrives(end.clone());
    let outcome = run(&mut http, &wire, asking(asked), b"");
    if outcome.end == (End::Complete { fit: true }) {
        check_next(&mut http, &wire);
    }
    outcome
}

fn check_same(response: &[u8], whole: &Outcome, cut: &Outcome) {
    assert_eq!(whole.head, cut.head);
    if whole.head.is_none() && !has_end(response) {
        // hyper looks at the beginning of a head and at the whole of it, not at every piece that comes: one that is
        // wrong and never ends is found to be wrong, or is ended by the connection.
        assert!(!matches!(cut.end, End::Complete { .. } | End::Upgraded));
        return;
    }
    match (&whole.end, &cut.end) {
        // How much of a body is told before its failure depends on what came together, and so do the words, where it
        // breaks two rules: hyper's are looked at byte by byte, ours in what was read at once.
        (End::Failed { kind, .. }, End::Failed { kind: other, .. }) => {
            assert_eq!(kind, other);
            if whole.head.is_none() {
                assert_eq!(whole.end, cut.end);
            }
            let (short, long) = if whole.body.len() < cut.body.len() {
                (&whole.body, &cut.body)
            } else {
                (&cut.body, &whole.body)
            };
            assert!(long.starts_with(short));
        }
        _ => {
            assert_eq!(whole.end, cut.end);
            assert_eq!(whole.body, cut.body);
        }
    }
}

/// Whether there is an empty line behind the last head that is not informational, or looks like none at all.
fn has_end(response: &[u8]) -> bool {
    let pieces = response.split_inclusive(|byte| *byte == b'\n');
    let mut lines = pieces.filter(|piece| piece.ends_with(b"\n")).map(line);
    loop {
        let Some(first) = lines.find(|line| !line.is_empty()) else {
            return false;
        };
        if !lines.any(<[u8]>::is_empty) {
            return false;
        }
        if first.get(9) != Some(&b'1') {
            return true;
        }
    }
}

fn check_words(outcome: &Outcome) {
    if let End::Failed { kind, text } = &outcome.end {
        assert!(
            matches!(kind, Kind::RemoteProtocol | Kind::Read),
            "{kind:?}"
        );
        assert!(!text.is_empty());
    }
}

/// Reads the head a second time, line by line and with no parser.
fn check_head(response: &[u8], head: &Head) {
    let mut lines = response.split_inclusive(|byte| *byte == b'\n').map(line);
    let status = loop {
        let status = lines
            .find(|line| !line.is_empty())
            .expect("there is a status line");
        assert_eq!(&status[..7], b"HTTP/1.");
        if status[9] != b'1' || &status[9..12] == b"101" {
            break status;
        }
        // The rest of an informational head.
        lines.find(|line| line.is_empty()).expect("it has an end");
    };
    assert_eq!(head.version, &status[..8]);
    assert_eq!(head.status.to_string().as_bytes(), &status[9..12]);
    assert_eq!(head.reason, status.get(13..).unwrap_or_default());
    let mut expected = Vec::new();
    for line in lines.take_while(|line| !line.is_empty()) {
        if matches!(line[0], b' ' | b'\t') {
            // A folded line belongs to the one before it. How it is joined is told by tests of its own.
            expected.pop();
            expected.push(None);
            continue;
        }
        let colon = line
            .iter()
            .position(|byte| *byte == b':')
            .expect("there is a colon");
        let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
        let lengths = [&b"content-length"[..], b"transfer-encoding"];
        if lengths
            .iter()
            .any(|length| name.eq_ignore_ascii_case(length))
        {
            // Repeated ones are one, and a list of equal numbers is a number.
            expected.push(None);
        } else {
            expected.push(Some((name.to_vec(), value.to_vec())));
        }
    }
    let mut rest = head.headers.iter();
    for expected in expected.iter().flatten() {
        assert!(
            rest.any(|header| header == expected),
            "{expected:?} is not in its place"
        );
    }
    assert!(head.headers.len() <= expected.len());
}

fn line(line: &[u8]) -> &[u8] {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    line.strip_suffix(b"\r").unwrap_or(line)
}
