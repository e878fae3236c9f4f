//! Requests as the server sees them, in both of hyper's write strategies.

use std::future::poll_fn;
use std::io::{Read as _, Write as _};
use std::sync::mpsc;

use bytes::Bytes;

use super::super::{Http1, RequestHead};
use super::{assert_fails, get, head, read_head, run, serve};
use crate::error::Kind;

const NO_CONTENT: &[u8] = b"HTTP/1.1 204 No Content\r\n\r\n";

/// Sends a request whose bytes, `size` of them, come back as the server saw them.
fn seen(vectored: bool, head: RequestHead, body: Bytes, size: usize) -> Vec<u8> {
    run(async {
        let (socket, server) = serve(vectored, move |mut server| {
            let mut request = vec![0; size];
            server
                .read_exact(&mut request)
                .expect("the whole request comes");
            server.write_all(NO_CONTENT).expect("the client reads");
            // The socket stays open until the client has checked that it could be used again.
            (request, server)
        });
        let mut http = Http1::handshake(socket).expect("a handshake does nothing");
        http.begin(head, Some(body))
            .expect("the body fits the head");
        poll_fn(|cx| http.poll_sent(cx))
            .await
            .expect("the server reads");
        let answer = poll_fn(|cx| http.poll_head(cx))
            .await
            .expect("the server answers");
        assert_eq!(answer.status, 204);
        let end = poll_fn(|cx| http.poll_body(cx)).await;
        assert!(end.expect("204 has no body").is_none());
        assert_eq!(http.bytes_written(), size as u64);
        assert!(http.finish_exchange());
        let (request, mut server) = server.join().expect("the server does not panic");
        drop(http);
        let mut more = Vec::new();
        server
            .read_to_end(&mut more)
            .expect("the client has closed");
        assert_eq!(more, b"", "bytes after the request");
        request
    })
}

fn assert_seen(head: impl Fn() -> RequestHead, body: &'static [u8], expected: &[u8]) {
    for vectored in [true, false] {
        let request = seen(vectored, head(), Bytes::from_static(body), expected.len());
        assert_eq!(
            request.escape_ascii().to_string(),
            expected.escape_ascii().to_string()
        );
    }
}

#[test]
fn a_get_is_its_head() {
    assert_seen(get, b"", b"GET / HTTP/1.1\r\nHost: x\r\n\r\n");
}

#[test]
fn every_method_goes_out_as_it_is() {
    for method in ["HEAD", "head", "OPTIONS", "Odd'Method"] {
        let expected = format!("{method} / HTTP/1.1\r\nHost: x\r\n\r\n");
        assert_seen(|| head(method, &[]), b"", expected.as_bytes());
    }
}

#[test]
fn odd_targets_and_values_go_out_as_they_are() {
    let headers = [
        (&b"Host"[..], &b"x"[..]),
        (b"A", b"\x01\x7f\xe9 b"),
        (b"A", b""),
    ];
    let target = b"<>\"{}|\\^`#[]?#";
    let render = || RequestHead::render(b"GET", target, headers.into_iter()).expect("valid");
    let expected = b"GET <>\"{}|\\^`#[]?# HTTP/1.1\r\nHost: x\r\nA: \x01\x7f\xe9 b\r\nA: \r\n\r\n";
    assert_seen(render, b"", expected);
}

#[test]
fn a_long_target_and_many_headers_go_out() {
    let target = vec![b'/'; 70 * 1024];
    let headers = [(&b"Host"[..], &b"x"[..])].into_iter();
    let headers = headers.chain(std::iter::repeat_n((&b"Name"[..], &b"value"[..]), 600));
    let render =
        || RequestHead::render(b"GET", &target, headers.clone()).expect("the head is valid");
    let expected = render().into_bytes();
    assert_seen(render, b"", &expected);
}

#[test]
fn a_whole_body_follows_the_head() {
    let post = |length: &'static str| move || head("POST", &[("content-Length", length)]);
    let expected = b"POST / HTTP/1.1\r\nHost: x\r\ncontent-Length: 5\r\n\r\nhello";
    assert_seen(post("5"), b"hello", expected);
    let expected = b"POST / HTTP/1.1\r\nHost: x\r\ncontent-Length: 0\r\n\r\n";
    assert_seen(post("0"), b"", expected);
    let get = || head("GET", &[("Content-Length", "2")]);
    assert_seen(
        get,
        b"ab",
        b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nab",
    );
}

#[test]
fn a_whole_chunked_body_is_one_chunk() {
    for method in ["POST", "GET", "HEAD"] {
        let chunked = || head(method, &[("Transfer-Encoding", "chunked")]);
        let head = format!("{method} / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n");
        let expected = format!("{head}5\r\nhello\r\n0\r\n\r\n");
        assert_seen(chunked, b"hello", expected.as_bytes());
        assert_seen(chunked, b"", format!("{head}0\r\n\r\n").as_bytes());
    }
}

#[test]
fn a_large_body_is_complete() {
    let body = Bytes::from((0..8 << 20).map(|at| (at % 251) as u8).collect::<Vec<u8>>());
    for vectored in [true, false] {
        let post = head("POST", &[("Content-Length", &body.len().to_string())]);
        let size = post_size(&body);
        let request = seen(vectored, post, body.clone(), size);
        assert!(request.ends_with(&body));
    }
}

fn post_size(body: &Bytes) -> usize {
    let post = head("POST", &[("Content-Length", &body.len().to_string())]);
    post.into_bytes().len() + body.len()
}

/// Pushes chunks one by one; each must have left before the next is pushed.
fn pushed(head: RequestHead, chunks: &'static [&'static str], wire: &'static [&'static str]) {
    run(async {
        let (arrived, arrivals) = mpsc::channel();
        let (socket, server) = serve(true, move |mut server| {
            read_head(&mut server);
            for part in wire {
                let mut bytes = vec![0; part.len()];
                server.read_exact(&mut bytes).expect("the part comes");
                arrived.send(bytes).expect("the test waits");
            }
            server.write_all(NO_CONTENT).expect("the client reads");
            server
        });
        let mut http = Http1::handshake(socket).expect("a handshake does nothing");
        http.begin(head, None).expect("the head is valid");
        poll_fn(|cx| http.poll_sent(cx))
            .await
            .expect("the server reads");
        let mut parts = wire.iter();
        for chunk in chunks {
            http.push(Bytes::from(*chunk)).expect("the chunk fits");
            poll_fn(|cx| http.poll_sent(cx))
                .await
                .expect("the server reads");
            if !chunk.is_empty() {
                let part = arrivals
                    .recv()
                    .expect("sent means that the server can read it");
                assert_eq!(Some(&&*String::from_utf8_lossy(&part)), parts.next());
            }
        }
        http.finish().expect("the body is complete");
        poll_fn(|cx| http.poll_sent(cx))
            .await
            .expect("the server reads");
        let answer = poll_fn(|cx| http.poll_head(cx))
            .await
            .expect("the server answers");
        assert_eq!(answer.status, 204);
        assert!(
            poll_fn(|cx| http.poll_body(cx))
                .await
                .expect("no body")
                .is_none()
        );
        assert!(http.finish_exchange());
        let rest: Vec<u8> = arrivals.iter().flatten().collect();
        assert_eq!(
            String::from_utf8_lossy(&rest),
            parts.copied().collect::<String>()
        );
        drop(server.join().expect("the server does not panic"));
    });
}

#[test]
fn pushed_chunks_leave_one_by_one() {
    let chunked = || head("POST", &[("Transfer-Encoding", "chunked")]);
    pushed(
        chunked(),
        &["ab", "", "0123456789abcdef0"],
        &["2\r\nab\r\n", "11\r\n0123456789abcdef0\r\n", "0\r\n\r\n"],
    );
    pushed(chunked(), &[], &["0\r\n\r\n"]);
    pushed(chunked(), &["", ""], &["0\r\n\r\n"]);
    let length = head("POST", &[("Content-Length", "5")]);
    pushed(length, &["he", "", "llo", ""], &["he", "llo"]);
    pushed(head("POST", &[("Content-Length", "0")]), &[""], &[]);
    pushed(get(), &[], &[]);
}

#[test]
fn a_wrong_length_is_refused_before_a_byte_leaves() {
    let little = "Too little data for declared Content-Length";
    let much = "Too much data for declared Content-Length";
    for (length, body, text) in [
        (Some("5"), "hell", little),
        (Some("3"), "hell", much),
        (None, "x", much),
    ] {
        run(async {
            let (socket, server) = serve(true, |mut server| {
                let mut all = Vec::new();
                server.read_to_end(&mut all).expect("the client closes");
                all
            });
            let mut http = Http1::handshake(socket).expect("a handshake does nothing");
            let length = length.map(|length| ("Content-Length", length));
            let post = head("POST", length.as_slice());
            let refused = http.begin(post, Some(Bytes::from(body)));
            assert_fails(refused, Kind::LocalProtocol, text);
            drop(http);
            assert_eq!(server.join().expect("the server does not panic"), b"");
        });
    }
}

#[test]
fn a_wrong_pushed_length_is_refused() {
    run(async {
        let (socket, _server) = serve(true, |server| server);
        let mut http = Http1::handshake(socket).expect("a handshake does nothing");
        http.begin(head("POST", &[("Content-Length", "3")]), None)
            .expect("valid");
        http.push(Bytes::from("ab")).expect("two are not too many");
        let local = Kind::LocalProtocol;
        assert_fails(
            http.finish(),
            local,
            "Too little data for declared Content-Length",
        );
        let push = http.push(Bytes::from("cd"));
        assert_fails(push, local, "Too much data for declared Content-Length");
    });
}
