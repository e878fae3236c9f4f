//! Connections that end early: FIN or RST, at every byte of a response, and while a body is sent.

use std::future::poll_fn;
use std::io::{self, Write as _};
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, ReadBuf};

use super::super::{Http1, NetworkStream};
use super::{
    answer_with, assert_fails, exchange, get, head, read_head, reset_on_close, run, serve,
};
use crate::error::{Cause, Kind};

const NO_RESPONSE: &str = "Server disconnected without sending a response.";
const INCOMPLETE: &str = "peer closed connection without sending complete message body";

#[test]
fn fin_at_every_byte() {
    let length = &b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"[..];
    let chunked =
        &b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"[..];
    for response in [length, chunked] {
        let head = response
            .windows(4)
            .position(|end| end == b"\r\n\r\n")
            .expect("a head")
            + 4;
        for end in 0..response.len() {
            let expected = if end < head {
                NO_RESPONSE.to_owned()
            } else if response == length {
                format!("{INCOMPLETE} (received {} bytes, expected 5)", end - head)
            } else {
                format!("{INCOMPLETE} (incomplete chunked read)")
            };
            assert_fails(
                answer_with(&response[..end]),
                Kind::RemoteProtocol,
                &expected,
            );
        }
        let (_, body) = answer_with(response).expect("the response is complete");
        assert_eq!(body, b"hello");
    }
}

#[test]
fn rst_at_every_byte() {
    let response = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n";
    for end in 0..response.len() {
        run(async move {
            let (read, reading) = std::sync::mpsc::channel();
            let (socket, server) = serve(true, move |mut server| {
                read_head(&mut server);
                server
                    .write_all(&response[..end])
                    .expect("the client reads");
                // A RST would overtake what the client has not read yet.
                reading.recv().expect("the client says when");
                reset_on_close(&server);
            });
            let mut http = Http1::handshake(socket).expect("a handshake does nothing");
            http.begin(get(), Some(Bytes::new())).expect("valid");
            let mut read = Some(read);
            let mut say = move |bytes: u64| {
                if bytes == end as u64
                    && let Some(read) = read.take()
                {
                    read.send(()).expect("the server waits");
                }
            };
            poll_fn(|cx| http.poll_sent(cx))
                .await
                .expect("the server reads");
            say(http.bytes_read());
            let head = poll_fn(|cx| {
                let polled = http.poll_head(cx);
                say(http.bytes_read());
                polled
            });
            let failed = match head.await {
                Err(error) => error,
                Ok(_) => {
                    poll_fn(|cx| {
                        loop {
                            let polled = http.poll_body(cx);
                            say(http.bytes_read());
                            match std::task::ready!(polled) {
                                Ok(frame) => assert!(frame.is_some(), "complete at {end}"),
                                Err(error) => return Poll::Ready(error),
                            }
                        }
                    })
                    .await
                }
            };
            assert_eq!(failed.kind(), Kind::Read, "at {end}");
            let Cause::Io(error) = failed.cause() else {
                panic!("{failed:?} is no I/O error");
            };
            assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
            server.join().expect("the server does not panic");
        });
    }
}

#[test]
fn an_early_answer_to_a_large_body_always_arrives() {
    let body = Bytes::from(vec![b'x'; 4 << 20]);
    for round in 0..100 {
        let body = body.clone();
        run(async move {
            let (socket, server) = serve(round % 2 == 0, |mut server| {
                read_head(&mut server);
                let answer = b"HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\nno";
                server.write_all(answer).expect("the client reads");
                // Closes with most of the body unread, which makes it a RST.
            });
            let mut http = Http1::handshake(socket).expect("a handshake does nothing");
            let pushed = round % 4 >= 2;
            if pushed {
                let post = head("POST", &[("Transfer-Encoding", "chunked")]);
                http.begin(post, None).expect("valid");
                for at in (0..body.len()).step_by(64 * 1024) {
                    http.push(body.slice(at..at + 64 * 1024))
                        .expect("chunks are never too much");
                    poll_fn(|cx| http.poll_sent(cx))
                        .await
                        .expect("a broken write is no error");
                }
                http.finish().expect("chunks are never too little");
            } else {
                let post = head("POST", &[("Content-Length", &body.len().to_string())]);
                http.begin(post, Some(body)).expect("valid");
            }
            poll_fn(|cx| http.poll_sent(cx))
                .await
                .expect("a broken write is no error");
            let answer = poll_fn(|cx| http.poll_head(cx))
                .await
                .expect("the answer arrives");
            assert_eq!(answer.status, 413, "round {round}");
            let body = super::read_body(&mut http).await.expect("with its body");
            assert_eq!(body, b"no");
            server.join().expect("the server does not panic");
            // The kernel may have taken the whole body before the RST; then the check before the next
            // request is what notices.
            assert!(!http.finish_exchange() || http.is_stale());
        });
    }
}

#[test]
fn a_server_that_takes_the_body_and_says_nothing() {
    run(async {
        let (socket, server) = serve(true, |mut server| {
            read_head(&mut server);
        });
        let mut http = Http1::handshake(socket).expect("a handshake does nothing");
        let answer = exchange(&mut http, get(), b"").await;
        assert_fails(answer, Kind::RemoteProtocol, NO_RESPONSE);
        server.join().expect("the server does not panic");
    });
}

/// A stream that tells of EOF as TLS does of a peer that closed without saying so.
struct Abrupt(tokio::io::DuplexStream);

impl NetworkStream for Abrupt {
    fn is_readable(&self) -> bool {
        false
    }
}

impl AsyncRead for Abrupt {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        std::task::ready!(Pin::new(&mut self.0).poll_read(cx, buf))?;
        if buf.filled().len() == before {
            return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Abrupt {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

#[test]
fn an_unannounced_tls_eof_is_an_eof() {
    let answer = |response: &'static [u8]| {
        run(async move {
            let (near, mut peer) = tokio::io::duplex(4096);
            let mut http = Http1::handshake(Abrupt(near)).expect("a handshake does nothing");
            peer.write_all(response).await.expect("there is room");
            peer.shutdown().await.expect("a pipe in memory");
            exchange(&mut http, get(), b"").await
        })
    };
    let (_, body) = answer(b"HTTP/1.1 200 OK\r\n\r\nhi").expect("the body ends with EOF");
    assert_eq!(body, b"hi");
    let short = format!("{INCOMPLETE} (received 2 bytes, expected 5)");
    let answered = answer(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhi");
    assert_fails(answered, Kind::RemoteProtocol, &short);
}
