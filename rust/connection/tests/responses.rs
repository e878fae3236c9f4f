//! Response heads and bodies: kept as they came, or refused.

use std::future::poll_fn;
use std::io::Write as _;
use std::net::Shutdown;

use bytes::Bytes;

use super::super::Http1;
use super::{
    answer_to, answer_with, assert_fails, exchange, get, head, pairs, read_body, read_head, run,
    serve,
};
use crate::error::Kind;

#[track_caller]
fn accepted(response: &[u8]) -> (super::ResponseHead, Vec<u8>) {
    answer_with(response).expect("the response is accepted")
}

#[track_caller]
fn refused(response: &[u8], text: &str) {
    assert_fails(answer_with(response), Kind::RemoteProtocol, text);
}

#[test]
fn headers_keep_case_order_and_duplicates() {
    let response = b"HTTP/1.1 200 OK\r\nset-Cookie: a=1\r\nX-Odd_Name:b\r\nSET-COOKIE:\tc=2 \r\n\
        Empty:\r\nset-Cookie: \xe9\r\nContent-Length: 2\r\n\r\nhi";
    let (head, body) = accepted(response);
    assert_eq!(
        (head.status, &*head.version, reason_of(&head)),
        (200, &b"HTTP/1.1"[..], &b"OK"[..])
    );
    let headers: Vec<_> = head.headers.iter().collect();
    let expected: [(&[u8], &[u8]); 6] = [
        (b"set-Cookie", b"a=1"),
        (b"X-Odd_Name", b"b"),
        (b"SET-COOKIE", b"c=2"),
        (b"Empty", b""),
        (b"set-Cookie", b"\xe9"),
        (b"Content-Length", b"2"),
    ];
    assert_eq!(headers, expected);
    assert_eq!(head.headers.len(), 6);
    assert!(!head.headers.is_empty());
    assert_eq!(body, b"hi");
}

#[test]
fn reasons_and_versions_are_raw() {
    for (line, version, reason) in [
        (&b"HTTP/1.1 200 OK"[..], &b"HTTP/1.1"[..], &b"OK"[..]),
        (b"HTTP/1.0 200 Fine, thanks", b"HTTP/1.0", b"Fine, thanks"),
        (b"HTTP/1.1 200", b"HTTP/1.1", b""),
        (b"HTTP/1.1 200 ", b"HTTP/1.1", b""),
        (b"HTTP/1.1 200  two ", b"HTTP/1.1", b" two "),
        (b"HTTP/1.1 200 \xe4\xf6\xff", b"HTTP/1.1", b"\xe4\xf6\xff"),
    ] {
        for end in [&b"\r\n\r\n"[..], b"\n\n", b"\n\r\n", b"\r\n\n"] {
            let (head, body) = accepted(&[line, end].concat());
            assert_eq!((&*head.version, reason_of(&head)), (version, reason));
            assert!(head.headers.is_empty());
            assert_eq!(body, b"");
        }
    }
    for status in [200, 299, 404, 599, 999] {
        let (head, _) = accepted(format!("HTTP/1.1 {status} \r\n\r\n").as_bytes());
        assert_eq!(head.status, status);
    }
}

#[test]
fn folded_values_are_joined_by_one_space() {
    let (head, _) = accepted(
        b"HTTP/1.1 200 OK\r\nA: b\r\n  \t c\nX: 1\r\nB: d\r\n e\r\n\tf\r\nC:\r\n g\r\n\r\n",
    );
    let headers = pairs(&head);
    let headers: Vec<_> = headers
        .iter()
        .map(|(name, value)| (&**name, &**value))
        .collect();
    assert_eq!(
        headers,
        [("A", "b c"), ("X", "1"), ("B", "d e f"), ("C", "g")]
    );
}

#[test]
fn equal_content_lengths_are_one() {
    let lengths = "HTTP/1.1 200 OK\r\nContent-Length: 2, 2\r\nA: 1\r\ncontent-length: 2\r\n\r\nhi";
    let (head, body) = accepted(lengths.as_bytes());
    let expected = [("Content-Length", "2"), ("A", "1")];
    assert_eq!(
        pairs(&head),
        expected.map(|(name, value)| (name.into(), value.into()))
    );
    assert_eq!(body, b"hi");
}

#[test]
fn informational_heads_are_skipped() {
    let (head, body) = accepted(
        b"\r\nHTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n\
          HTTP/1.1 199 \n\nHTTP/1.1 200 OK\r\nA: 1\r\nContent-Length: 1\r\n\r\nx",
    );
    assert_eq!(head.status, 200);
    assert_eq!(head.headers.len(), 2);
    assert_eq!(body, b"x");
    refused(
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: a\r\nConnection: upgrade\r\n\r\n",
        "The server switched protocols without being asked to.",
    );
}

#[test]
fn other_transfer_codings_are_refused() {
    let only = "Only Transfer-Encoding: chunked is supported";
    for coding in [
        "gzip, chunked",
        "identity",
        "xchunked",
        "chunked, chunked",
        "chunked;q=1",
        "",
    ] {
        let head = format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: {coding}\r\n\r\n0\r\n\r\n");
        refused(head.as_bytes(), only);
    }
    refused(
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        "multiple Transfer-Encoding headers",
    );
    let (head, body) = accepted(
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: CHUNKED\r\n\r\n2;x=y\r\nhi\r\n0\r\nT: 1\r\n\r\n",
    );
    assert_eq!(
        pairs(&head),
        [("Transfer-Encoding".into(), "chunked".into())]
    );
    assert_eq!(body, b"hi");
}

#[test]
fn malformed_responses_are_remote_protocol_errors() {
    for response in [
        &b"ICY 200 OK\r\n\r\n"[..],
        b"HTTP/1.1 20 OK\r\n\r\n",
        b"HTTP/0.9 200 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nA : b\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n: b\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nnocolon\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nA: \0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5, 6\r\n\r\nhello!",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 18446744073709551616\r\n\r\n",
        b"HTTP/1.1 204 OK\r\nContent-Length: x\r\n\r\n",
        b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhiX\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1ffffffffffffffff\r\nx",
    ] {
        let error = answer_with(response).expect_err("the response is malformed");
        assert_eq!(
            error.kind(),
            Kind::RemoteProtocol,
            "{}",
            response.escape_ascii()
        );
        assert_ne!(error.to_string(), "", "{}", response.escape_ascii());
    }
}

#[test]
fn as_many_headers_as_promised() {
    let response = |count: usize| {
        let headers = "A: b\r\n".repeat(count);
        format!("HTTP/1.1 200 OK\r\n{headers}\r\n").into_bytes()
    };
    for count in [63, 64, 65, 101, 512] {
        let (head, _) = accepted(&response(count));
        assert_eq!(head.headers.len(), count);
    }
    let error = answer_with(&response(513)).expect_err("one too many");
    assert_eq!(error.kind(), Kind::RemoteProtocol);
}

#[test]
fn heads_up_to_100_kib() {
    let response = |size: usize| {
        let start = "HTTP/1.1 200 OK\r\nA: ";
        format!("{start}{}\r\n\r\n", "b".repeat(size - start.len() - 4)).into_bytes()
    };
    let (head, _) = accepted(&response(100 * 1024 - 1));
    assert_eq!(head.headers.len(), 1);
    for size in [100 * 1024 + 1, 120_000, 500_000] {
        let error = answer_with(&response(size)).expect_err("too large");
        assert_eq!(error.kind(), Kind::RemoteProtocol);
    }
}

#[test]
fn responses_without_a_body() {
    for (method, status) in [("HEAD", 200), ("GET", 204), ("GET", 304)] {
        for framing in ["Content-Length: 5", "Transfer-Encoding: chunked", "A: b"] {
            let response = format!("HTTP/1.1 {status} x\r\n{framing}\r\n\r\n");
            let answer = answer_to(head(method, &[]), response.as_bytes());
            let (head, body) = answer.expect("the response is accepted");
            assert_eq!((head.status, head.headers.len()), (status, 1));
            assert_eq!(body, b"");
        }
    }
}

#[test]
fn bodies_up_to_eof() {
    for version in ["1.0", "1.1"] {
        let response = format!("HTTP/{version} 200 OK\r\n\r\n{}", "x".repeat(100_000));
        let (_, body) = accepted(response.as_bytes());
        assert_eq!(body.len(), 100_000);
    }
}

#[test]
fn a_response_may_be_split_anywhere() {
    let parts: [&[u8]; 3] = [
        b"HTTP/1.1 100 \r\n\r\nHTTP/1.1 200 Fine\nA: b\r\n c\r\n",
        b"Transfer-Encoding: chunked\r\nA: d\r\n\r\n",
        b"5\r\nhello\r\n1;x\r\n!\r\n0\r\nT: 1\r\n\r\n",
    ];
    let response = parts.concat();
    for at in 1..response.len() {
        let (first, second) = response.split_at(at);
        let (first, second) = (first.to_vec(), second.to_vec());
        run(async move {
            let (go, gone) = std::sync::mpsc::channel();
            let (socket, server) = serve(true, move |mut server| {
                read_head(&mut server);
                server.write_all(&first).expect("the client reads");
                gone.recv().expect("the client says when");
                server.write_all(&second).expect("the client reads");
                server
            });
            let size = at as u64;
            let mut http = Http1::handshake(socket).expect("a handshake does nothing");
            http.begin(get(), Some(Bytes::new())).expect("valid");
            let mut go = Some(go);
            // The second part is sent when the first one has been read.
            let mut send = move |read: u64| {
                if read == size
                    && let Some(go) = go.take()
                {
                    go.send(()).expect("the server waits");
                }
            };
            let head = poll_fn(|cx| {
                let polled = http.poll_head(cx);
                send(http.bytes_read());
                polled
            });
            let head = head.await.expect("the head is valid");
            assert_eq!(head.headers.len(), 3);
            assert_eq!(reason_of(&head), b"Fine");
            let mut body = Vec::new();
            let read = poll_fn(|cx| {
                loop {
                    let polled = http.poll_body(cx);
                    send(http.bytes_read());
                    match std::task::ready!(polled).expect("the body is valid") {
                        Some(frame) => body.extend_from_slice(&frame),
                        None => return std::task::Poll::Ready(()),
                    }
                }
            });
            read.await;
            assert_eq!(body, b"hello!", "split at {at}");
            assert!(http.finish_exchange(), "split at {at}");
            drop(server.join().expect("the server does not panic"));
        });
    }
}

#[test]
fn body_bytes_come_before_the_body_ends() {
    run(async {
        let (go, gone) = std::sync::mpsc::channel();
        let (socket, server) = serve(true, move |mut server| {
            read_head(&mut server);
            for part in [
                &b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n"[..],
                b"ab",
                b"cd",
            ] {
                server.write_all(part).expect("the client reads");
                gone.recv().expect("the client says when");
            }
        });
        let mut http = Http1::handshake(socket).expect("a handshake does nothing");
        http.begin(get(), Some(Bytes::new())).expect("valid");
        poll_fn(|cx| http.poll_head(cx))
            .await
            .expect("the head is here");
        for part in [&b"ab"[..], b"cd"] {
            go.send(()).expect("the server waits");
            let frame = poll_fn(|cx| http.poll_body(cx))
                .await
                .expect("the part is here");
            assert_eq!(frame.as_deref(), Some(part));
        }
        assert_eq!(
            read_body(&mut http).await.expect("the body is complete"),
            b""
        );
        assert!(http.finish_exchange());
        go.send(()).expect("the server waits");
        server.join().expect("the server does not panic");
    });
}

#[test]
fn a_server_that_answers_before_it_reads() {
    run(async {
        for _ in 0..20 {
            let (socket, server) = serve(true, |mut server| {
                let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi";
                server.write_all(answer).expect("the client reads");
                read_head(&mut server);
                server
                    .shutdown(Shutdown::Both)
                    .expect("the client is there");
            });
            socket.tcp.readable().await.expect("the answer comes");
            let mut http = Http1::handshake(socket).expect("a handshake does nothing");
            let (_, body) = exchange(&mut http, get(), b"")
                .await
                .expect("the answer counts");
            assert_eq!(body, b"hi");
            server.join().expect("the server does not panic");
        }
    });
}

fn reason_of(head: &crate::connection::ResponseHead) -> &[u8] {
    head.reason.as_deref().expect("HTTP/1.1 has one")
}
