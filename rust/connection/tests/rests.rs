//! When the stream is told that the rest of a response is waited for.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, DuplexStream, ReadBuf};

use super::super::{Http1, NetworkStream};
use super::{get, run};

/// Counts how often it is told.
struct Told(DuplexStream, Arc<AtomicUsize>);

impl NetworkStream for Told {
    fn is_readable(&self) -> bool {
        false
    }

    fn awaits_rest(&mut self) {
        self.1.fetch_add(1, Ordering::Relaxed);
    }
}

impl AsyncRead for Told {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl AsyncWrite for Told {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

#[test]
fn for_a_small_body_and_not_in_a_download() {
    const PIECE: usize = 1000;
    run(async {
        let told = Arc::new(AtomicUsize::new(0));
        let (near, mut peer) = tokio::io::duplex(PIECE * 2);
        let mut http = Http1::handshake(Told(near, Arc::clone(&told))).expect("it does nothing");
        http.begin(get(), None).expect("valid");
        poll_fn(|cx| http.poll_sent(cx))
            .await
            .expect("there is room");
        peer.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
            .await
            .expect("there is room");
        poll_fn(|cx| http.poll_head(cx))
            .await
            .expect("it is a head");
        assert_eq!(told.load(Ordering::Relaxed), 0, "the head is an answer");
        let mut times = Vec::new();
        for _ in 0..20 {
            let before = told.load(Ordering::Relaxed);
            let early = poll_fn(|cx| Poll::Ready(http.poll_body(cx).is_pending())).await;
            assert!(early, "there is nothing yet");
            times.push(told.load(Ordering::Relaxed) - before);
            peer.write_all(&[b'x'; PIECE]).await.expect("there is room");
            let piece = poll_fn(|cx| http.poll_body(cx)).await.expect("it has come");
            assert_eq!(piece.expect("there is more").len(), PIECE);
        }
        // 8 KiB and no more are taken for the rest of a small answer.
        assert!(times[..9].iter().all(|times| *times == 1), "{times:?}");
        assert!(times[9..].iter().all(|times| *times == 0), "{times:?}");
    });
}
