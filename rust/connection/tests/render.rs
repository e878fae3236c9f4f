//! What may stand in a request head, byte by byte, and how the head looks.

use super::super::{Framing, RequestHead};
use super::assert_fails;
use crate::error::{Kind, Result};

type Pair<'a> = (&'a [u8], &'a [u8]);

const HOST: Pair<'static> = (b"Host", b"x");

fn render(method: &[u8], target: &[u8], headers: &[Pair<'_>]) -> Result<RequestHead> {
    RequestHead::render(method, target, headers.iter().copied())
}

fn rendered(headers: &[Pair<'_>]) -> String {
    let head = render(b"GET", b"/", headers).expect("the head is valid");
    String::from_utf8(head.into_bytes()).expect("the test's headers are UTF-8")
}

#[track_caller]
fn refused(headers: &[Pair<'_>], text: &str) {
    assert_fails(render(b"GET", b"/", headers), Kind::LocalProtocol, text);
}

fn is_tchar(byte: u8) -> bool {
    matches!(byte, b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z')
        || matches!(byte, b'!' | b'#'..=b'\'' | b'*' | b'+' | b'-' | b'.' | b'^'..=b'`' | b'|' | b'~')
}

#[test]
fn every_byte_of_a_method_target_and_name() {
    for byte in 0..=u8::MAX {
        let text = [b'a', byte, b'b'];
        let method = render(&text, b"/", &[HOST]);
        assert_eq!(method.is_ok(), is_tchar(byte), "method {byte:#x}");
        let target = render(b"GET", &text, &[HOST]);
        assert_eq!(
            target.is_ok(),
            (0x21..=0x7e).contains(&byte),
            "target {byte:#x}"
        );
        let name = render(b"GET", b"/", &[HOST, (&text, b"1")]);
        assert_eq!(name.is_ok(), is_tchar(byte), "name {byte:#x}");
    }
}

#[test]
fn every_byte_of_a_value() {
    for byte in 0..=u8::MAX {
        let inside = render(b"GET", b"/", &[HOST, (b"A", &[b'a', byte, b'b'])]);
        let allowed = !matches!(byte, 0 | b'\n' | b'\r' | 0x0b | 0x0c);
        assert_eq!(inside.is_ok(), allowed, "inside {byte:#x}");
        let outside = allowed && !matches!(byte, b' ' | b'\t');
        for value in [&[byte, b'a'][..], &[b'a', byte], &[byte]] {
            let edge = render(b"GET", b"/", &[HOST, (b"A", value)]);
            assert_eq!(edge.is_ok(), outside, "at the edge {byte:#x}");
        }
    }
}

#[test]
fn refusals_say_what_h11_says() {
    refused(&[HOST, (b"a b", b"1")], "Illegal header name b'a b'");
    refused(&[HOST, (b"", b"1")], "Illegal header name b''");
    refused(&[HOST, (b"a", b"1\n2")], r"Illegal header value b'1\n2'");
    refused(
        &[HOST, (b"a", b"it's\r")],
        r#"Illegal header value b"it's\r""#,
    );
    refused(
        &[HOST, (b"a", b"'\"\\\t\0\xff")],
        r#"Illegal header value b'\'"\\\t\x00\xff'"#,
    );
    refused(&[(b"A", b"1")], "Missing mandatory Host: header");
    refused(&[HOST, (b"hOST", b"x")], "Found multiple Host: headers");
    let only = "Only Transfer-Encoding: chunked is supported";
    for coding in [&b"gzip, chunked"[..], b"identity", b"", b"chunked,"] {
        refused(&[HOST, (b"Transfer-Encoding", coding)], only);
    }
    let twice = (&b"Transfer-Encoding"[..], &b"chunked"[..]);
    refused(&[HOST, twice, twice], "multiple Transfer-Encoding headers");
    let bad = "bad Content-Length";
    for length in [
        &b""[..],
        b"+5",
        b"-1",
        b"5 5",
        b"0x5",
        b"18446744073709551616",
        &[b'0'; 21],
    ] {
        refused(&[HOST, (b"Content-Length", length)], bad);
    }
    let conflict = "conflicting Content-Length headers";
    refused(&[HOST, (b"Content-Length", b"5, 6")], conflict);
    refused(&[HOST, (b"Content-Length", b"5,")], conflict);
    refused(
        &[HOST, (b"Content-Length", b"5"), (b"content-length", b"6")],
        conflict,
    );
    let local = Kind::LocalProtocol;
    assert_fails(
        render(b"", b"/", &[HOST]),
        local,
        "Illegal method characters",
    );
    assert_fails(
        render(b"G T", b"/", &[HOST]),
        local,
        "Illegal method characters",
    );
    assert_fails(
        render(b"GET", b"", &[HOST]),
        local,
        "Illegal target characters",
    );
    assert_fails(
        render(b"GET", b"/\xe9", &[HOST]),
        local,
        "Illegal target characters",
    );
}

#[test]
fn host_comes_first_and_the_rest_as_given() {
    let headers: &[Pair<'_>] = &[
        (b"aCCept", b"*/*"),
        (b"X", b"1"),
        (b"hOst", b"x"),
        (b"A", b""),
        (b"X", b"2"),
    ];
    let expected = "GET / HTTP/1.1\r\nhOst: x\r\naCCept: */*\r\nX: 1\r\nA: \r\nX: 2\r\n\r\n";
    assert_eq!(rendered(headers), expected);
}

#[test]
fn one_framing_reaches_the_wire() {
    let length = (&b"Content-Length"[..], &b"5, 5"[..]);
    let chunked = (&b"transfer-encoding"[..], &b"Chunked"[..]);
    let both = "GET / HTTP/1.1\r\nHost: x\r\ntransfer-encoding: chunked\r\n\r\n";
    assert_eq!(rendered(&[HOST, length, chunked]), both);
    assert_eq!(rendered(&[HOST, chunked, length]), both);
    let once = "GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n";
    assert_eq!(rendered(&[HOST, length, (b"content-length", b"5")]), once);

    let framing = |headers: &[Pair<'_>]| render(b"GET", b"/", headers).map(|head| head.framing());
    assert_eq!(framing(&[HOST]).ok(), Some(Framing::None));
    assert_eq!(
        framing(&[HOST, length]).ok(),
        Some(Framing::ContentLength(5))
    );
    assert_eq!(
        framing(&[HOST, chunked, length]).ok(),
        Some(Framing::Chunked)
    );
}
