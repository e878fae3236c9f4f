//! Connections that leave HTTP: 101, and a CONNECT that succeeded.

use std::future::poll_fn;
use std::io::{Read as _, Write as _};

use bytes::Bytes;

use super::{Socket, assert_fails, exchange, get, head, read_head, run, serve};
use crate::connection::{Http1, Upgraded};
use crate::error::Kind;

const SWITCH: &[u8] = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: echo\r\n\r\n";

async fn upgraded(http: Http1<Socket>) -> Upgraded<Socket> {
    assert!(http.is_upgraded());
    http.into_upgraded().expect("it says that it is upgraded")
}

async fn read(stream: &Upgraded<Socket>, max: usize) -> Bytes {
    poll_fn(|cx| stream.poll_read(cx, max))
        .await
        .expect("the stream is open")
}

#[test]
fn switching_protocols_gives_the_stream_with_its_leading_bytes() {
    run(async {
        let (socket, server) = serve(true, |mut server| {
            read_head(&mut server);
            let answer = [SWITCH, b"leading"].concat();
            server.write_all(&answer).expect("the client reads");
            let mut said = [0; 5];
            server.read_exact(&mut said).expect("the client writes");
            said
        });
        let mut http = Http1::handshake(socket).expect("a handshake does nothing");
        let request = head("GET", &[("Connection", "upgrade"), ("uPgrade", "echo")]);
        let (head, body) = exchange(&mut http, request, b"").await.expect("it answers");
        assert_eq!((head.status, body.len()), (101, 0));
        let stream = upgraded(http).await;
        assert_eq!(read(&stream, 4).await, "lead");
        stream.unread(Bytes::from("lead"));
        assert_eq!(read(&stream, 100).await, "leading");
        let mut said = Bytes::from("hello");
        poll_fn(|cx| stream.poll_write(cx, &mut said))
            .await
            .expect("the server reads");
        assert_eq!(&server.join().expect("the script ends"), b"hello");
        assert_eq!(read(&stream, 100).await, "", "the end of the stream");
        stream.close();
        let closed = poll_fn(|cx| stream.poll_read(cx, 1)).await;
        assert!(closed.is_err());
    });
}

#[test]
fn a_tunnel_is_a_stream_and_a_refused_one_is_a_response() {
    run(async {
        for (answer, status, is_tunnel) in [
            (&b"HTTP/1.1 200 OK\r\n\r\nhi"[..], 200, true),
            (
                b"HTTP/1.1 403 No\r\nContent-Length: 2\r\n\r\nno",
                403,
                false,
            ),
        ] {
            let (socket, server) = serve(true, |mut server| {
                let request = read_head(&mut server);
                server.write_all(answer).expect("the client reads");
                request
            });
            let mut http = Http1::handshake(socket).expect("a handshake does nothing");
            let (head, body) = exchange(&mut http, head("CONNECT", &[]), b"")
                .await
                .expect("it answers");
            assert_eq!(head.status, status);
            assert_eq!(http.is_upgraded(), is_tunnel);
            assert!(
                server
                    .join()
                    .expect("the script ends")
                    .starts_with(b"CONNECT / ")
            );
            if is_tunnel {
                assert_eq!(body, b"");
                assert_eq!(read(&upgraded(http).await, 100).await, "hi");
            } else {
                assert_eq!(body, b"no");
            }
        }
    });
}

#[test]
fn switching_without_an_offer_is_a_protocol_error() {
    run(async {
        let (socket, _server) = serve(true, |mut server| {
            read_head(&mut server);
            server.write_all(SWITCH).expect("the client reads");
        });
        let mut http = Http1::handshake(socket).expect("a handshake does nothing");
        let switched = exchange(&mut http, get(), b"").await;
        assert_fails(
            switched,
            Kind::RemoteProtocol,
            "The server switched protocols without being asked to.",
        );
    });
}
