//! Socket options, read back from the socket.

use super::super::{Connector, SocketOption, SocketOptionValue};
use super::{connect, listener};
use crate::error::{Cause, Kind};

fn option(level: i32, name: i32, value: SocketOptionValue) -> SocketOption {
    SocketOption { level, name, value }
}

#[tokio::test]
async fn options_are_set_as_int_or_bytes() {
    let (_listener, port) = listener();
    let seconds = 77i32.to_ne_bytes().to_vec();
    let connector = Connector {
        socket_options: vec![
            option(
                libc::SOL_SOCKET,
                libc::SO_KEEPALIVE,
                SocketOptionValue::Int(1),
            ),
            option(
                libc::IPPROTO_TCP,
                libc::TCP_KEEPIDLE,
                SocketOptionValue::Bytes(seconds),
            ),
        ],
        ..Connector::default()
    };
    let stream = connect(&connector, "127.0.0.1", port)
        .await
        .expect("somebody listens");
    let socket = stream.socket();
    assert!(socket.keepalive().expect("it is a socket"));
    let idle = socket.tcp_keepalive_time().expect("it is a TCP socket");
    assert_eq!(idle.as_secs(), 77);
    assert!(socket.tcp_nodelay().expect("it is a TCP socket"));
}

#[tokio::test]
async fn small_writes_leave_at_once_without_being_asked() {
    let (_listener, port) = listener();
    let stream = connect(&Connector::default(), "127.0.0.1", port)
        .await
        .expect("somebody listens");
    assert!(stream.socket().tcp_nodelay().expect("it is a TCP socket"));
}

#[tokio::test]
async fn a_refused_option_is_a_connect_error() {
    let (_listener, port) = listener();
    for value in [SocketOptionValue::Int(1), SocketOptionValue::Null(4)] {
        let connector = Connector {
            socket_options: vec![option(libc::SOL_SOCKET, 0x7fff, value)],
            ..Connector::default()
        };
        let error = connect(&connector, "127.0.0.1", port)
            .await
            .expect_err("there is no such option");
        assert_eq!(error.kind(), Kind::Connect);
        assert!(matches!(error.cause(), Cause::Io(error) if error.raw_os_error().is_some()));
    }
}
