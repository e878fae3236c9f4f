//! The stream: reading, writing, and the registrations that are made for it.

use std::io::{Read, Write};
use std::net::TcpStream;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::super::{Connector, Stream};
use super::{connect, listener};
use crate::connection::NetworkStream;

/// A connected pair: ours, and a blocking one for the test's other side.
async fn pair() -> (Stream, TcpStream) {
    let (listener, port) = listener();
    let stream = connect(&Connector::default(), "127.0.0.1", port)
        .await
        .expect("somebody listens");
    let (peer, _) = listener.accept().expect("the client has connected");
    (stream, peer)
}

#[tokio::test]
async fn bytes_go_both_ways() {
    let (mut stream, mut peer) = pair().await;
    stream.write_all(b"ping").await.expect("connected");
    let mut bytes = [0; 4];
    peer.read_exact(&mut bytes).expect("connected");
    assert_eq!(&bytes, b"ping");
    peer.write_all(b"pong").expect("connected");
    stream.read_exact(&mut bytes).await.expect("connected");
    assert_eq!(&bytes, b"pong");
}

#[tokio::test]
async fn the_peers_address_outlives_the_connection() {
    let (mut stream, peer) = pair().await;
    let address = stream.view().peer_addr().expect("connected");
    drop(peer);
    assert_eq!(stream.read(&mut [0]).await.expect("an end"), 0);
    stream.shutdown().await.expect("connected");
    // The kernel knows nobody at the other end any more.
    let view = stream.view();
    let forgotten = view.duplicate().map(std::net::TcpStream::from);
    let forgotten = forgotten.expect("the stream is there").peer_addr();
    assert!(forgotten.is_err(), "{forgotten:?}");
    assert_eq!(view.peer_addr().expect("it is remembered"), address);
    drop(stream);
    assert!(view.peer_addr().is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_peer_that_reads_late_gets_everything() {
    // Far more than both kernel buffers hold, so that writes have to wait many times.
    const LENGTH: usize = 32 * 1024 * 1024;
    let (mut stream, mut peer) = pair().await;
    let writing = tokio::spawn(async move {
        let bytes: Vec<u8> = (0..LENGTH).map(|at| (at % 251) as u8).collect();
        stream.write_all(&bytes).await.expect("the peer reads");
        stream.shutdown().await.expect("connected");
        stream
    });
    let read = tokio::task::spawn_blocking(move || {
        let mut bytes = Vec::new();
        peer.read_to_end(&mut bytes).map(|_| bytes)
    });
    let read = read
        .await
        .expect("reading does not panic")
        .expect("connected");
    assert_eq!(read.len(), LENGTH);
    assert!(
        read.iter()
            .enumerate()
            .all(|(at, byte)| *byte == (at % 251) as u8)
    );
    writing.await.expect("writing does not panic");
}

#[tokio::test]
async fn the_end_and_a_reset_are_told_apart() {
    let (mut stream, peer) = pair().await;
    drop(peer);
    let mut byte = [0];
    assert_eq!(stream.read(&mut byte).await.expect("a FIN is no error"), 0);

    let (mut stream, peer) = pair().await;
    socket2::SockRef::from(&peer)
        .set_linger(Some(std::time::Duration::ZERO))
        .expect("TCP sockets can linger");
    drop(peer);
    let error = stream.read(&mut byte).await.expect_err("a RST is one");
    assert_eq!(error.raw_os_error(), Some(libc::ECONNRESET));
}

#[tokio::test]
async fn readable_means_that_something_is_there() {
    let (mut stream, mut peer) = pair().await;
    assert!(!stream.is_readable());
    peer.write_all(b"x").expect("connected");
    // The byte is on its way through loopback; reading it waits for it, peeking does not.
    let mut byte = [0];
    stream.read_exact(&mut byte).await.expect("connected");
    assert!(!stream.is_readable());
    peer.write_all(b"y").expect("connected");
    while !stream.is_readable() {
        tokio::task::yield_now().await;
    }
    stream.read_exact(&mut byte).await.expect("connected");
    drop(peer);
    while !stream.is_readable() {
        tokio::task::yield_now().await;
    }
}

#[test]
fn a_stream_may_be_dropped_outside_its_runtime() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime can be built");
    let (stream, mut peer) = runtime.block_on(pair());
    std::thread::spawn(move || drop(stream))
        .join()
        .expect("dropping does not panic");
    let mut byte = [0];
    assert_eq!(peer.read(&mut byte).expect("a FIN is no error"), 0);
}
