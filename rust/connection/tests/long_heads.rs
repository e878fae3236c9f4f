//! Heads of more headers than hyper is given.

use std::future::poll_fn;
use std::io::Write as _;
use std::net::TcpStream;
use std::thread::JoinHandle;

use tokio::io::AsyncWriteExt as _;

use super::super::Http1;
use super::super::recorder::Recorder;
use super::guards::Numbers;
use super::{Socket, answer_with, exchange, get, head, read_body, read_head, run, serve};
use crate::error::Kind;

/// More than hyper is given.
const MANY: usize = 200;

fn many() -> String {
    "A: b\r\n".repeat(MANY)
}

/// A connection to a server that answers one request so, and keeps it open.
fn answering(answer: String) -> (Socket, JoinHandle<TcpStream>) {
    serve(true, move |mut server| {
        read_head(&mut server);
        server
            .write_all(answer.as_bytes())
            .expect("the client reads");
        server
    })
}

/// What hyper is given of the bytes, if they come in pieces of this size.
fn given(bytes: &[u8], size: usize) -> Vec<u8> {
    let mut recorder = Recorder::default();
    recorder.start();
    let pieces = bytes.chunks(size);
    let given: Vec<u8> = pieces
        .flat_map(|piece| recorder.feed(piece).unwrap_or_else(|| piece.to_vec()))
        .collect();
    let (head, notes) = recorder.finish().expect("the head is complete");
    let lines = |bytes: &[u8]| bytes.split(|byte| *byte == b'\n').count();
    assert!(head.headers.len() >= MANY);
    assert!(notes.header_count < 100, "{}", notes.header_count);
    // Of two heads.
    assert!(lines(&given) < 150);
    given
}

#[test]
fn hyper_is_given_what_it_acts_on() {
    let late = "cOnnection: close\r\nTransfer-Encoding:\r\n\tchunked\r\nX: y\r\n z\r\n";
    let body = "2\r\nhi\r\n0\r\n\r\n";
    let response = format!(
        "HTTP/1.1 103 Early\r\n{0}\r\nHTTP/1.1 200 OK\r\n{0}{late}{0}\r\n{body}",
        many()
    );
    let whole = given(response.as_bytes(), response.len());
    let text = String::from_utf8(whole.clone()).expect("ASCII");
    assert!(text.starts_with("HTTP/1.1 103 Early\r\nA: b\r\n"));
    let end =
        "A: b\r\ncOnnection: close\r\nTransfer-Encoding:\r\n\tchunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n";
    assert!(text.ends_with(end), "{text}");
    for size in [1, 2, 3, 7, 64, 401] {
        assert_eq!(
            given(response.as_bytes(), size),
            whole,
            "in pieces of {size}"
        );
    }
}

#[test]
fn framing_counts_wherever_it_stands() {
    let many = many();
    for (late, body) in [
        ("Content-Length: 2", "hi"),
        ("content-length: 2, 2", "hi"),
        ("Transfer-Encoding: chunked", "2\r\nhi\r\n0\r\n\r\n"),
        (
            "Transfer-Encoding:\r\n chunked",
            "1\r\nh\r\n1\r\ni\r\n0\r\n\r\n",
        ),
    ] {
        let response = format!("HTTP/1.1 200 OK\r\n{many}{late}\r\n{many}\r\n{body}");
        let (head, got) = answer_with(response.as_bytes()).expect(late);
        assert_eq!(
            (head.headers.len(), &got[..]),
            (2 * MANY + 1, &b"hi"[..]),
            "{late}"
        );
    }
}

#[test]
fn a_folded_line_is_given_as_a_whole() {
    // Wherever the part that hyper is given in any case ends: before the line, within it, or behind it.
    for before in 55..75 {
        let (first, rest) = ("A: b\r\n".repeat(before), many());
        let folded = "Transfer-Encoding:\r\n \r\n\tchunked\r\n";
        let response = format!("HTTP/1.1 200 OK\r\n{first}{folded}{rest}\r\n2\r\nhi\r\n0\r\n\r\n");
        let (_, body) = answer_with(response.as_bytes()).expect("it is accepted");
        assert_eq!(body, b"hi", "behind {before}");
    }
}

#[test]
fn other_headers_change_nothing() {
    const ROUNDS: usize = 400;
    const ITEMS: [&str; 15] = [
        "Content-Length: 2",
        "content-Length: 2, 2",
        "Content-Length: 12",
        "Content-Length:\r\n 12",
        "Transfer-Encoding: chunked",
        "transfer-encoding:\r\n chunked",
        "Transfer-Encoding: gzip",
        "Transfer-Encoding: \r\n\t\r\n chunked",
        "Connection: close",
        "Connection:\r\n\tclose",
        "X: y\r\n z",
        "Content-Length : 2",
        "A b: c",
        "Bad",
        "X: \0",
    ];
    let mut numbers = Numbers(0x2545_f491_4f6c_dd1d);
    let mut accepted = 0;
    for _ in 0..ROUNDS {
        let (mut short, mut long) = (String::new(), String::new());
        for _ in 0..=numbers.below(3) {
            long += &"A: b\r\n".repeat(numbers.below(70));
            let item = ITEMS[numbers.below(ITEMS.len())];
            for head in [&mut short, &mut long] {
                *head += item;
                *head += "\r\n";
            }
        }
        long += &"A: b\r\n".repeat(numbers.below(70));
        let [short, long] = [short, long].map(|head| {
            let response = format!("HTTP/1.1 200 OK\r\n{head}\r\n2\r\nhi\r\n0\r\n\r\n");
            let answer = answer_with(response.as_bytes());
            let body = answer.map(|(_, body)| body).map_err(|error| error.kind());
            (body, response)
        });
        assert_eq!(short.0, long.0, "{} and {}", short.1, long.1);
        accepted += usize::from(short.0.is_ok());
    }
    assert!(accepted > ROUNDS / 10, "only {accepted} were worth reading");
}

#[test]
fn what_is_not_given_is_checked() {
    let many = many();
    for bad in [
        "no colon",
        "A b: c",
        "A: \0",
        "Content-Length: 1\r\nContent-Length: 2",
    ] {
        let response = format!("HTTP/1.1 200 OK\r\n{many}{bad}\r\n\r\n");
        let error = answer_with(response.as_bytes()).expect_err(bad);
        assert_eq!(error.kind(), Kind::RemoteProtocol, "{bad}");
    }
}

#[test]
fn a_head_that_grows_too_large_is_refused_at_once() {
    // Nothing follows, and the connection stays open: nobody may wait for more.
    for line in [
        format!("B: {}", "c".repeat(101 * 1024)),
        "B: c\r\n".repeat(20_000),
    ] {
        let response = format!("HTTP/1.1 200 OK\r\n{}{line}", many());
        run(async {
            let (socket, _server) = serve(true, move |mut server| {
                read_head(&mut server);
                // It may be refused before all of it is written.
                let _ = server.write_all(response.as_bytes());
                server
            });
            let mut http = Http1::handshake(socket).expect("a handshake does nothing");
            let error = exchange(&mut http, get(), b"")
                .await
                .expect_err("too large");
            assert_eq!(error.kind(), Kind::RemoteProtocol);
        });
    }
}

#[test]
fn an_end_within_a_line_that_is_not_given_is_one() {
    let response = format!("HTTP/1.1 200 OK\r\n{}B: c", many());
    let error = answer_with(response.as_bytes()).expect_err("it has no end");
    assert_eq!(error.kind(), Kind::RemoteProtocol);
}

#[test]
fn hyper_takes_what_it_has_no_room_for_later() {
    const BODY: usize = 40_000;
    /// What hyper reads at first.
    const READ: usize = 8192;
    let body = "x".repeat(BODY);
    // A line of which a part came with one read, and the rest with one that fills all the room there is.
    for part in 0..24 {
        let start = format!("HTTP/1.1 200 OK\r\n{}F: ", "A: b\r\n".repeat(80));
        let filler = "f".repeat(READ - part - start.len() - 2);
        let response = format!("{start}{filler}\r\nContent-Length: {BODY}\r\n\r\n{body}");
        run(async {
            let (near, mut peer) = tokio::io::duplex(2 * BODY);
            let mut http = Http1::handshake(near).expect("a handshake does nothing");
            http.begin(get(), None).expect("valid");
            poll_fn(|cx| http.poll_sent(cx))
                .await
                .expect("there is room");
            peer.write_all(response.as_bytes())
                .await
                .expect("there is room");
            poll_fn(|cx| http.poll_head(cx))
                .await
                .expect("it is a head");
            let got = read_body(&mut http).await.expect("it is all there");
            assert!(got == body.as_bytes(), "{} bytes", got.len());
            assert!(http.finish_exchange());
        });
    }
}

#[test]
fn the_connection_is_used_again_if_it_may_be() {
    run(async {
        for (late, behind, is_reusable) in [
            ("A: b", "", true),
            ("Connection: close", "", false),
            ("A: b", "stray", false),
        ] {
            let many = many();
            let answer =
                format!("HTTP/1.1 200 OK\r\n{many}Content-Length: 2\r\n{late}\r\n\r\nhi{behind}");
            let (socket, _server) = answering(answer);
            let mut http = Http1::handshake(socket).expect("a handshake does nothing");
            let (_, body) = exchange(&mut http, get(), b"").await.expect("it answers");
            assert_eq!(body, b"hi");
            assert_eq!(http.finish_exchange(), is_reusable, "{late}, {behind}");
        }
    });
}

#[test]
fn bytes_behind_an_upgrade_are_the_new_protocols() {
    run(async {
        let answer = format!(
            "HTTP/1.1 101 Switching Protocols\r\n{}Upgrade: echo\r\n\r\nleading",
            many()
        );
        let (socket, _server) = answering(answer);
        let mut http = Http1::handshake(socket).expect("a handshake does nothing");
        let request = head("GET", &[("Connection", "upgrade"), ("Upgrade", "echo")]);
        exchange(&mut http, request, b"").await.expect("it answers");
        let stream = http.into_upgraded().expect("it is upgraded");
        let read = poll_fn(|cx| stream.poll_read(cx, 100)).await;
        assert_eq!(read.expect("the stream is open"), "leading");
    });
}
