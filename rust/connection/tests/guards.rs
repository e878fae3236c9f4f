//! The wrapper's guards against a hyper that writes something else, and heads nobody would send.

use std::future::poll_fn;
use std::io::IoSlice;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use parking_lot::Mutex;
use tokio::io::{AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, DuplexStream};

use super::super::Http1;
use super::super::io::{HeadIo, Wire};
use super::{exchange, get, run};
use crate::error::Kind;

const SYNTHETIC: &[u8] = b"POST /0123456789abcdef HTTP/1.1\r\ncontent-length: 5\r\n\r\n";
const OURS: &[u8] = b"PUT /real HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n";
/// Enough for everything that these tests write.
const ROOMY: usize = 4096;

struct Rig {
    wire: Arc<Mutex<Wire<DuplexStream>>>,
    io: HeadIo<DuplexStream>,
    peer: DuplexStream,
}

fn rig(capacity: usize) -> Rig {
    let (near, peer) = tokio::io::duplex(capacity);
    let wire = Arc::new(Mutex::new(Wire::new(near)));
    let io = HeadIo(Arc::clone(&wire));
    Rig { wire, io, peer }
}

impl Rig {
    fn arm(&mut self) {
        let armed = self.wire.lock().arm(SYNTHETIC.to_vec(), OURS.to_vec());
        armed.expect("the wire is idle");
        self.wire.lock().allow(5);
    }

    fn write(&mut self, parts: &[&[u8]]) -> Poll<std::io::Result<usize>> {
        let slices: Vec<_> = parts.iter().map(|part| IoSlice::new(part)).collect();
        let mut cx = Context::from_waker(Waker::noop());
        Pin::new(&mut self.io).poll_write_vectored(&mut cx, &slices)
    }

    fn flush(&mut self) -> bool {
        let mut cx = Context::from_waker(Waker::noop());
        matches!(
            Pin::new(&mut self.io).poll_flush(&mut cx),
            Poll::Ready(Ok(()))
        )
    }

    #[track_caller]
    fn assert_violated(mut self, parts: &[&[u8]]) {
        let before = self.wire.lock().written;
        let written = self.write(parts);
        assert!(matches!(written, Poll::Ready(Err(_))), "{written:?}");
        let wire = self.wire.lock();
        assert!(wire.violation.is_some());
        assert_eq!(wire.written, before, "a byte has left");
    }
}

fn sent(rig: &mut Rig) -> Vec<u8> {
    run(async {
        let mut bytes = vec![0; ROOMY];
        let count = rig.peer.read(&mut bytes).await.expect("a pipe in memory");
        bytes.truncate(count);
        bytes
    })
}

#[test]
fn our_head_replaces_the_synthetic_one() {
    let mut rig = rig(ROOMY);
    rig.arm();
    assert!(matches!(
        rig.write(&[SYNTHETIC, b"hello"]),
        Poll::Ready(Ok(_))
    ));
    assert!(!rig.wire.lock().is_sent(), "not flushed");
    assert!(rig.flush());
    let sent = sent(&mut rig);
    assert!(sent.starts_with(OURS));
    // A stream in memory has no vectored writes: the rest comes with the next call.
    if sent.len() == OURS.len() {
        assert!(matches!(rig.write(&[b"hello"]), Poll::Ready(Ok(5))));
        assert!(rig.flush());
    }
    assert!(rig.wire.lock().is_sent());
}

#[test]
fn anything_but_the_synthetic_head_is_a_violation() {
    for at in 0..SYNTHETIC.len() {
        let mut other = SYNTHETIC.to_vec();
        other[at] ^= 0x20;
        let mut rig = rig(ROOMY);
        rig.arm();
        rig.assert_violated(&[&other, b"hello"]);
    }
    for parts in [
        &[&SYNTHETIC[1..]][..],
        &[b"x", SYNTHETIC],
        &[&SYNTHETIC[..9], &SYNTHETIC[9..]],
    ] {
        let mut rig = rig(ROOMY);
        rig.arm();
        rig.assert_violated(parts);
    }
}

#[test]
fn writes_without_a_request_are_violations() {
    rig(ROOMY).assert_violated(&[b"GET / HTTP/1.1\r\n\r\n"]);
    let mut rig = rig(ROOMY);
    rig.arm();
    assert!(matches!(
        rig.write(&[&[SYNTHETIC, b"hello"].concat()]),
        Poll::Ready(Ok(_))
    ));
    assert!(rig.flush());
    rig.wire.lock().disarm();
    rig.assert_violated(&[b"x"]);
}

#[test]
fn more_body_than_handed_over_is_a_violation() {
    let mut one = rig(ROOMY);
    one.arm();
    one.assert_violated(&[SYNTHETIC, b"hello!"]);
    let mut two = rig(ROOMY);
    two.arm();
    assert!(matches!(
        two.write(&[&[SYNTHETIC, b"hello"].concat()]),
        Poll::Ready(Ok(_))
    ));
    two.assert_violated(&[b"!"]);
}

#[test]
fn the_next_head_never_lands_in_an_unfinished_body() {
    let arm = |rig: &Rig| rig.wire.lock().arm(SYNTHETIC.to_vec(), OURS.to_vec());
    let mut rig = rig(ROOMY);
    rig.arm();
    assert!(arm(&rig).is_err(), "one request per arming");
    let whole = [SYNTHETIC, b"hello"].concat();
    assert!(matches!(
        rig.write(&[&whole[..whole.len() - 2]]),
        Poll::Ready(Ok(_))
    ));
    rig.wire.lock().disarm();
    assert!(arm(&rig).is_err(), "not flushed");
    assert!(rig.flush());
    assert!(arm(&rig).is_err(), "two bytes are missing");
}

#[test]
fn no_progress_is_told_before_our_head_is_out() {
    let mut rig = rig(7);
    rig.arm();
    let whole = [SYNTHETIC, b"hello"].concat();
    let mut out = Vec::new();
    while out.len() < OURS.len() {
        if let Poll::Ready(written) = rig.write(&[&whole]) {
            let written = written.expect("a pipe in memory");
            assert!(written >= SYNTHETIC.len());
            out.extend(sent(&mut rig));
            break;
        }
        assert!(!rig.wire.lock().is_sent());
        out.extend(sent(&mut rig));
    }
    assert!(out.starts_with(OURS), "{}", out.escape_ascii());
}

#[test]
fn a_broken_stream_swallows_the_rest() {
    let mut rig = rig(ROOMY);
    rig.arm();
    let (_, unused) = tokio::io::duplex(1);
    drop(std::mem::replace(&mut rig.peer, unused));
    let whole = [SYNTHETIC, b"hello"].concat();
    for _ in 0..3 {
        let written = rig.write(&[&whole]);
        assert!(matches!(written, Poll::Ready(Ok(count)) if count == whole.len()));
        assert!(rig.flush());
    }
    assert!(rig.wire.lock().broken);
    rig.wire.lock().disarm();
    assert!(
        rig.wire
            .lock()
            .arm(SYNTHETIC.to_vec(), OURS.to_vec())
            .is_err()
    );
}

/// A small generator of numbers: the same ones each time, so that a failure can be repeated.
pub(super) struct Numbers(pub(super) u64);

impl Numbers {
    pub(super) fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % bound as u64) as usize
    }

    /// Changes one byte, or a few, as an odd server might.
    pub(super) fn mutate(&mut self, response: &mut Vec<u8>) {
        const ODD: &[u8] = b"\r\n\t :,;0159\0\x01\x7f\x80\xffHTtpchunked";
        let at = self.below(response.len());
        let odd = ODD[self.below(ODD.len())];
        match self.below(4) {
            0 => response[at] = odd,
            1 => response.insert(at, odd),
            2 => drop(response.remove(at)),
            _ => response.extend_from_within(at..),
        }
    }
}

#[test]
fn the_recorded_head_agrees_with_hyper_about_mutated_ones() {
    const ROUNDS: usize = 5000;
    let seeds: [&[u8]; 4] = [
        b"HTTP/1.1 200 OK\r\nA: b\r\n c\r\nContent-Length: 2\r\n\r\nhi",
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 \r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n",
        b"\nHTTP/1.0 404 Not Found\nSet-Cookie: a\nset-cookie: b\n\nrest",
        b"HTTP/1.1 204 None\r\nContent-Length: 5, 5\r\nContent-Length: 5\r\n\r\n",
    ];
    let mut numbers = Numbers(0x9e37_79b9_7f4a_7c15);
    let mut accepted = 0;
    run(async {
        for round in 0..ROUNDS {
            let mut response = seeds[round % seeds.len()].to_vec();
            for _ in 0..=numbers.below(3) {
                numbers.mutate(&mut response);
            }
            let (near, mut peer) = tokio::io::duplex(ROOMY);
            let mut http = Http1::handshake(near).expect("a handshake does nothing");
            // Split somewhere, so that the recorder sees lines in pieces.
            let (first, second) = response.split_at(numbers.below(response.len()));
            peer.write_all(first).await.expect("there is room");
            http.begin(get(), None).expect("valid");
            poll_fn(|cx| http.poll_sent(cx))
                .await
                .expect("there is room");
            peer.write_all(second).await.expect("there is room");
            peer.shutdown().await.expect("a pipe in memory");
            match exchange_begun(&mut http).await {
                Ok(()) => accepted += 1,
                Err(error) => {
                    let text = error.to_string();
                    assert_eq!(error.kind(), Kind::RemoteProtocol, "{text}");
                    let differs = text == "The response head can be read in two ways.";
                    assert!(!differs, "{}", response.escape_ascii());
                }
            }
            let _ = http.finish_exchange();
        }
    });
    assert!(accepted > ROUNDS / 10, "only {accepted} were worth reading");
}

async fn exchange_begun(http: &mut Http1<DuplexStream>) -> crate::error::Result<()> {
    poll_fn(|cx| http.poll_head(cx)).await?;
    super::read_body(http).await.map(drop)
}

#[test]
fn hyper_writes_the_head_that_is_expected_of_it() {
    // Were this to fail with a newer hyper, every request would fail with it, and nothing be sent.
    run(async {
        let (near, mut peer) = tokio::io::duplex(ROOMY);
        let mut http = Http1::handshake(near).expect("a handshake does nothing");
        peer.write_all(b"HTTP/1.1 204 \r\n\r\n")
            .await
            .expect("there is room");
        exchange(&mut http, get(), b"").await.expect("no violation");
        assert!(http.finish_exchange());
    });
}
