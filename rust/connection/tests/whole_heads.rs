//! Heads that come in one piece, of which hyper is given short ones.

use std::io::Write as _;

use tokio::io::AsyncWriteExt as _;

use super::super::Http1;
use super::super::recorder::Recorder;
use super::guards::Numbers;
use super::{exchange, get, head, pairs, read_head, run, serve};

/// What hyper is given of bytes that come in one piece; `None` if it is these bytes themselves.
fn given(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut recorder = Recorder::default();
    recorder.start();
    let (size, short) = recorder.read_whole(bytes)?;
    let given = [short, &bytes[size..]].concat();
    assert!(short.len() <= size, "it has to fit into its place");
    recorder.finish().expect("it has been read");
    Some(given)
}

#[test]
fn hyper_is_given_what_it_acts_on() {
    for (response, expected) in [
        (
            "HTTP/1.1 200 Fine\r\nA: b\r\ncontent-LENGTH: 2, 2\r\nSet-Cookie: a\r\n\r\nhi",
            "HTTP/1.1 200\r\ncontent-length: 2\r\n\r\nhi",
        ),
        (
            "HTTP/1.1 404 No\r\nTransfer-Encoding:\r\n CHUNKED\r\nA: b\r\n\r\n0\r\n\r\n",
            "HTTP/1.1 404\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        ),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: a, Close\r\n\r\n",
            "HTTP/1.1 200\r\ncontent-length: 0\r\nconnection: close\r\n\r\n",
        ),
        // Which of the two counts is doubtful, so that nothing follows it.
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 9\r\nA: b\r\n\r\n",
            "HTTP/1.1 200\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n",
        ),
        (
            "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\n\r\n",
            "HTTP/1.0 200\r\n\r\n",
        ),
    ] {
        let given = given(response.as_bytes()).expect("it is shortened");
        assert_eq!(
            given.escape_ascii().to_string(),
            expected.escape_default().to_string()
        );
    }
}

#[test]
fn what_is_unusual_is_given_as_it_comes() {
    for response in [
        // Not all of it, or not only that.
        "",
        "HTTP/1.1 200 OK\r\nA: b\r\n",
        "\r\nHTTP/1.1 200 OK\r\n\r\n",
        // Another head follows, or another protocol.
        "HTTP/1.1 100 Continue\r\n\r\n",
        "HTTP/1.1 101 Switching Protocols\r\n\r\n",
        "HTTP/1.1 099 What\r\n\r\n",
        // Wrong.
        "HTTP/2.0 200 OK\r\n\r\n",
        "HTTP/1.1 200 OK\r\nA b: c\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        // hyper's would be longer.
        "HTTP/1.1 200\nConnection:close\n\n",
    ] {
        assert_eq!(given(response.as_bytes()), None, "{response:?}");
    }
    let large = format!("HTTP/1.1 200 OK\r\nA: {}\r\n\r\n", "b".repeat(100 * 1024));
    assert_eq!(given(large.as_bytes()), None);
}

#[test]
fn a_connection_that_sends_nothing_reads_nothing() {
    let mut recorder = Recorder::default();
    let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
    assert!(recorder.read_whole(answer).is_none(), "nobody has asked");
    recorder.start();
    assert!(recorder.read_whole(answer).is_some());
    assert!(recorder.read_whole(answer).is_none(), "it was answered");
    recorder.finish().expect("it has been read");
    recorder.start();
    recorder
        .finish()
        .expect_err("another request, another head");
}

#[test]
fn what_follows_a_response_is_nobodys() {
    const ANSWER: &str = "HTTP/1.1 200 OK\r\nA: b\r\nContent-Length: 2\r\n\r\n";
    run(async {
        for (method, behind, body, is_reusable) in [
            ("GET", "hi", "hi", true),
            ("GET", "hi!", "hi", false),
            ("GET", "hiHTTP/1.1 200 OK\r\n\r\n", "hi", false),
            ("HEAD", "", "", true),
            ("HEAD", "hi", "", false),
        ] {
            let (near, mut peer) = tokio::io::duplex(4096);
            let answer = [ANSWER, behind].concat();
            peer.write_all(answer.as_bytes())
                .await
                .expect("there is room");
            let mut http = Http1::handshake(near).expect("a handshake does nothing");
            let answer = exchange(&mut http, head(method, &[]), b"").await;
            let (_, got) = answer.expect("it is accepted");
            assert_eq!(got, body.as_bytes());
            assert_eq!(http.finish_exchange(), is_reusable, "{method} {behind}");
        }
    });
}

/// All that a client says of a response which comes in pieces of this size at most, and is followed by an end.
async fn outcome(method: &str, response: &[u8], size: usize) -> String {
    let (near, peer) = tokio::io::duplex(size);
    let (mut requests, mut responses) = tokio::io::split(peer);
    let server = async {
        let answers = async {
            // The client may have seen enough before the end.
            let _ = responses.write_all(response).await;
            let _ = responses.shutdown().await;
        };
        let mut sink = tokio::io::sink();
        let (_, ()) = tokio::join!(tokio::io::copy(&mut requests, &mut sink), answers);
    };
    let client = async {
        let mut http = Http1::handshake(near).expect("a handshake does nothing");
        let answer = exchange(&mut http, head(method, &[]), b"").await;
        let answer = answer.map(|(head, body)| {
            let headers = pairs(&head);
            (head.status, head.version, head.reason, headers, body)
        });
        // Why a head is refused that never ends, hyper sees sooner in one piece.
        format!("{:?}", answer.map_err(|error| error.kind()))
    };
    let (outcome, ()) = tokio::join!(client, server);
    outcome
}

#[test]
fn in_one_piece_and_in_many_it_is_the_same() {
    const ROUNDS: usize = 2000;
    /// More than any of the responses, and less than any line of them.
    const SIZES: [usize; 2] = [64 * 1024, 1];
    let seeds: [&[u8]; 6] = [
        b"HTTP/1.1 200 OK\r\nA: b\r\n c\r\nContent-Length: 2\r\n\r\nhi",
        b"HTTP/1.1 200 \r\nTransfer-Encoding: chunked\r\nX: y\r\n\r\n1\r\nx\r\n0\r\nA: b\r\n\r\n",
        b"HTTP/1.0 404 Not Found\nSet-Cookie: a\nset-cookie: b\n\nrest",
        b"HTTP/1.1 204 None\r\nContent-Length: 5, 5\r\nContent-Length: 5\r\n\r\n",
        b"HTTP/1.1 206 Part\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n",
        b"HTTP/1.1 500 Oh\r\nConnection: close\r\nServer: z\r\n\r\nup to the end",
    ];
    let mut numbers = Numbers(0x2545_f491_4f6c_dd1d);
    let (mut accepted, mut shortened) = (0, 0);
    run(async {
        for round in 0..ROUNDS {
            let mut response = seeds[round % seeds.len()].to_vec();
            // The first of them as they are.
            for _ in 0..numbers.below(4).min(round) {
                numbers.mutate(&mut response);
            }
            let method = ["GET", "HEAD"][numbers.below(2)];
            let [whole, pieces] = SIZES.map(|size| outcome(method, &response, size));
            let (whole, pieces) = (whole.await, pieces.await);
            assert_eq!(whole, pieces, "{}", response.escape_ascii());
            accepted += usize::from(whole.starts_with("Ok"));
            shortened += usize::from(given(&response).is_some());
        }
    });
    assert!(accepted > ROUNDS / 3, "only {accepted} were worth reading");
    assert!(shortened > ROUNDS / 3, "only {shortened} were shortened");
}

#[test]
fn the_next_request_has_an_answer_of_its_own() {
    run(async {
        let (socket, server) = serve(true, |mut server| {
            for answer in [
                "HTTP/1.1 200 OK\r\nA: 1\r\nContent-Length: 2\r\n\r\nhi",
                "HTTP/1.1 404 No\r\nA: 2\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nyou\r\n0\r\n\r\n",
                "HTTP/1.1 200 OK\r\nA: 3\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
            ] {
                read_head(&mut server);
                server.write_all(answer.as_bytes()).expect("it is read");
            }
            server
        });
        let mut http = Http1::handshake(socket).expect("a handshake does nothing");
        for (status, number, body, is_reusable) in [
            (200, "1", "hi", true),
            (404, "2", "you", true),
            (200, "3", "", false),
        ] {
            let answer = exchange(&mut http, get(), b"").await;
            let (head, got) = answer.expect("it is accepted");
            assert_eq!(head.status, status);
            assert_eq!(pairs(&head)[0], ("A".to_owned(), number.to_owned()));
            assert_eq!(got, body.as_bytes());
            assert_eq!(http.finish_exchange(), is_reusable, "{number}");
        }
        server.join().expect("the server does not panic");
    });
}
