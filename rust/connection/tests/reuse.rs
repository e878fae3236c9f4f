//! When a connection may carry another request, and when never.

use std::future::poll_fn;
use std::io::Write as _;

use bytes::Bytes;

use super::super::{Http1, RequestHead};
use super::{exchange, get, head, read_body, read_head, run, serve};

/// Whether a connection is still fit after this exchange, with a server that keeps it open.
fn fit_after(request: RequestHead, response: &str) -> bool {
    let response = response.to_owned();
    run(async move {
        let (socket, server) = serve(true, move |mut server| {
            read_head(&mut server);
            server
                .write_all(response.as_bytes())
                .expect("the client reads");
            server
        });
        let mut http = Http1::handshake(socket).expect("a handshake does nothing");
        exchange(&mut http, request, b"")
            .await
            .expect("the response is valid");
        let fit = http.finish_exchange();
        assert!(
            !fit || !http.is_stale(),
            "the server has done nothing since"
        );
        drop(server.join().expect("the server does not panic"));
        fit
    })
}

const EMPTY: &str = "Content-Length: 0\r\n\r\n";

#[test]
fn complete_exchanges_leave_a_fit_connection() {
    assert!(fit_after(get(), &format!("HTTP/1.1 200 OK\r\n{EMPTY}")));
    assert!(fit_after(
        get(),
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"
    ));
    assert!(fit_after(
        get(),
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n"
    ));
    assert!(fit_after(get(), "HTTP/1.1 204 No Content\r\n\r\n"));
    assert!(fit_after(
        get(),
        "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n"
    ));
    assert!(fit_after(
        head("HEAD", &[]),
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"
    ));
    assert!(fit_after(
        get(),
        &format!("HTTP/1.1 200 OK\r\nConnection: keep-alive\r\n{EMPTY}")
    ));
    assert!(fit_after(
        get(),
        &format!("HTTP/1.1 200 OK\r\nConnection: closed\r\n{EMPTY}")
    ));
}

#[test]
fn close_on_either_side_ends_it() {
    for value in ["close", "Close", "keep-alive, CLOSE", "close , x", ",close"] {
        let answer = format!("HTTP/1.1 200 OK\r\nconnection: {value}\r\n{EMPTY}");
        assert!(!fit_after(get(), &answer), "{value:?} in the response");
        let request = head("GET", &[("connECTION", value)]);
        let answer = format!("HTTP/1.1 200 OK\r\n{EMPTY}");
        assert!(!fit_after(request, &answer), "{value:?} in the request");
    }
    let twice = format!("HTTP/1.1 200 OK\r\nConnection: a\r\nConnection: close\r\n{EMPTY}");
    assert!(!fit_after(get(), &twice));
}

#[test]
fn doubtful_responses_end_it() {
    let keep = "Connection: keep-alive\r\n";
    assert!(!fit_after(
        get(),
        &format!("HTTP/1.0 200 OK\r\n{keep}{EMPTY}")
    ));
    let both = "Content-Length: 9\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
    assert!(!fit_after(get(), &format!("HTTP/1.1 200 OK\r\n{both}")));
    let more = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
    assert!(
        !fit_after(get(), &format!("{more}{more}")),
        "another response behind it"
    );
    assert!(!fit_after(get(), &format!("{more}x")), "a byte behind it");
    assert!(!fit_after(
        head("HEAD", &[]),
        &format!("HTTP/1.1 200 OK\r\n{EMPTY}x")
    ));
}

#[test]
fn a_connection_carries_one_request_after_the_other() {
    for vectored in [true, false] {
        run(async {
            let (socket, server) = serve(vectored, |mut server| {
                let mut requests = Vec::new();
                for round in 0..50 {
                    requests.push(read_head(&mut server));
                    let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {round}\r\n\r\n");
                    let answer = answer + &"x".repeat(round);
                    server
                        .write_all(answer.as_bytes())
                        .expect("the client reads");
                }
                (requests, server)
            });
            let mut http = Http1::handshake(socket).expect("a handshake does nothing");
            for round in 0..50 {
                assert!(!http.is_stale());
                let round_header = round.to_string();
                let get = head("GET", &[("Round", &round_header)]);
                let (_, body) = exchange(&mut http, get, b"")
                    .await
                    .expect("the server answers");
                assert_eq!(body.len(), round);
                assert!(http.finish_exchange());
            }
            let (requests, _server) = server.join().expect("the server does not panic");
            for (round, request) in requests.iter().enumerate() {
                let expected = format!("GET / HTTP/1.1\r\nHost: x\r\nRound: {round}\r\n\r\n");
                assert_eq!(String::from_utf8_lossy(request), expected);
            }
        });
    }
}

#[test]
fn an_idle_connection_with_news_is_stale() {
    for news in [
        &b""[..],
        b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n",
        b"\r",
    ] {
        run(async move {
            let (go, gone) = std::sync::mpsc::channel();
            let (socket, server) = serve(true, move |mut server| {
                read_head(&mut server);
                server
                    .write_all(b"HTTP/1.1 204 \r\n\r\n")
                    .expect("the client reads");
                gone.recv().expect("the client says when");
                server.write_all(news).expect("the client is there");
                // Nothing to say: a FIN. Else the socket stays open.
                (!news.is_empty()).then_some(server)
            });
            let mut http = Http1::handshake(socket).expect("a handshake does nothing");
            exchange(&mut http, get(), b"")
                .await
                .expect("the response is valid");
            assert!(http.finish_exchange());
            assert!(!http.is_stale());
            go.send(()).expect("the server waits");
            let server = server.join().expect("the server does not panic");
            // Loopback delivers within the call that sends.
            assert!(http.is_stale());
            drop(server);
        });
    }
}

#[test]
fn an_unwritten_body_ends_it() {
    run(async {
        let (socket, server) = serve(true, |mut server| {
            read_head(&mut server);
            server
                .write_all(b"HTTP/1.1 204 \r\n\r\n")
                .expect("the client reads");
            server
        });
        let mut http = Http1::handshake(socket).expect("a handshake does nothing");
        let post = head("POST", &[("Content-Length", "100")]);
        http.begin(post, None).expect("valid");
        http.push(Bytes::from("a part of it")).expect("it fits");
        poll_fn(|cx| http.poll_sent(cx))
            .await
            .expect("the server reads");
        poll_fn(|cx| http.poll_head(cx))
            .await
            .expect("the server answers");
        assert_eq!(read_body(&mut http).await.expect("204 has no body"), b"");
        assert!(!http.finish_exchange());
        drop(server.join().expect("the server does not panic"));
    });
}

/// The response is complete while most of the body lies in hyper's buffer: were the next request begun
/// now, its head would land in this one's body.
#[test]
fn an_unflushed_body_ends_it() {
    for vectored in [true, false] {
        run(async {
            let (socket, server) = serve(vectored, |mut server| {
                read_head(&mut server);
                server
                    .write_all(b"HTTP/1.1 204 \r\n\r\n")
                    .expect("the client reads");
                server
            });
            let mut http = Http1::handshake(socket).expect("a handshake does nothing");
            let body = Bytes::from(vec![b'x'; 32 << 20]);
            let post = head("POST", &[("Content-Length", &body.len().to_string())]);
            http.begin(post, Some(body)).expect("valid");
            poll_fn(|cx| http.poll_head(cx))
                .await
                .expect("the server answers");
            assert_eq!(read_body(&mut http).await.expect("204 has no body"), b"");
            assert!(!http.finish_exchange());
            assert!(http.begin(get(), Some(Bytes::new())).is_err());
            drop(server.join().expect("the server does not panic"));
        });
    }
}

#[test]
fn an_unread_body_ends_it() {
    run(async {
        let (socket, server) = serve(true, |mut server| {
            read_head(&mut server);
            let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi";
            server.write_all(answer).expect("the client reads");
            server
        });
        let mut http = Http1::handshake(socket).expect("a handshake does nothing");
        http.begin(get(), Some(Bytes::new())).expect("valid");
        poll_fn(|cx| http.poll_head(cx))
            .await
            .expect("the server answers");
        assert!(!http.finish_exchange());
        assert!(
            http.begin(get(), Some(Bytes::new())).is_err(),
            "one exchange at a time"
        );
        drop(server.join().expect("the server does not panic"));
    });
}

#[test]
fn a_spent_coop_budget_hides_nothing() {
    run(async {
        let (socket, server) = serve(true, |mut server| {
            read_head(&mut server);
            server
                .write_all(b"HTTP/1.1 204 \r\n\r\n")
                .expect("the client reads");
            server
        });
        let mut http = Http1::handshake(socket).expect("a handshake does nothing");
        exchange(&mut http, get(), b"")
            .await
            .expect("the response is valid");
        let mut server = server.join().expect("the server does not panic");
        server.write_all(b"x").expect("the client is there");
        // The runtime must have heard of the byte before the last turn asks for it.
        tokio::task::yield_now().await;
        while tokio::task::coop::has_budget_remaining() {
            tokio::task::coop::consume_budget().await;
        }
        assert!(!http.finish_exchange());
    });
}
