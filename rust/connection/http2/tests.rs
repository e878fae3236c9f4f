//! Frames in any pieces: what `h2` gets of them, and what is noted.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use parking_lot::Mutex;
use proptest::prelude::*;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};

use super::frames::{Frames, FramesIo, Goaway};
use crate::connection::NetworkStream;

/// A peer that says these pieces, one for each read, and then ends or is silent.
struct Pieces {
    pieces: Vec<Vec<u8>>,
    ends: bool,
}

impl AsyncRead for Pieces {
    fn poll_read(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.pieces.is_empty() {
            return if this.ends {
                Poll::Ready(Ok(()))
            } else {
                Poll::Pending
            };
        }
        buffer.put_slice(&this.pieces.remove(0));
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Pieces {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

impl NetworkStream for Pieces {
    fn is_readable(&self) -> bool {
        !self.pieces.is_empty()
    }
}

fn frame(kind: u8, flags: u8, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("a frame is short");
    let head = [&length.to_be_bytes()[1..], &[kind, flags, 0, 0, 0, 1]].concat();
    [&head[..], payload].concat()
}

/// All that is handed on, and what was noted.
async fn handed_on(pieces: Vec<Vec<u8>>) -> (Vec<u8>, Arc<Mutex<Frames<Pieces>>>) {
    let pieces = pieces
        .into_iter()
        .filter(|piece| !piece.is_empty())
        .collect();
    let frames = Arc::new(Mutex::new(Frames::new(Pieces { pieces, ends: true })));
    let mut all = Vec::new();
    let read = FramesIo(Arc::clone(&frames)).read_to_end(&mut all).await;
    read.expect("nothing fails here");
    (all, frames)
}

fn cut(bytes: &[u8], cuts: &[usize]) -> Vec<Vec<u8>> {
    let mut from = 0;
    let ends = cuts.iter().copied().chain([bytes.len()]);
    ends.map(|at| {
        let to = at.clamp(from, bytes.len());
        let piece = bytes[from..to].to_vec();
        from = to;
        piece
    })
    .collect()
}

#[tokio::test]
async fn empty_data_is_left_out_unless_it_ends_its_stream() {
    let kept = [frame(0, 0, b"data"), frame(0, 1, b""), frame(0, 8, b"")].concat();
    let said = [frame(0, 0, b""), kept.clone(), frame(0, 0, b"")].concat();
    assert_eq!(handed_on(vec![said]).await.0, kept);
}

#[tokio::test]
async fn settings_count_once_they_are_whole_and_no_acknowledgement() {
    let settings = frame(4, 0, &[0, 3, 0, 0, 0, 1]);
    let (_, frames) = handed_on(vec![settings[..settings.len() - 1].to_vec()]).await;
    assert!(!frames.lock().seen.settings);
    let (_, frames) = handed_on(vec![frame(4, 1, b"")]).await;
    assert!(!frames.lock().seen.settings);
    let (_, frames) = handed_on(vec![settings]).await;
    assert!(frames.lock().seen.settings);
}

#[tokio::test]
async fn header_that_is_cut_short_is_handed_on_at_the_end() {
    let said = frame(0, 0, b"data")[..5].to_vec();
    assert_eq!(handed_on(vec![said.clone()]).await.0, said);
}

#[test]
fn nothing_is_held_while_nothing_comes() {
    let pieces = vec![frame(6, 0, b"12345678")];
    let frames = Arc::new(Mutex::new(Frames::new(Pieces {
        pieces,
        ends: false,
    })));
    let mut io = FramesIo(Arc::clone(&frames));
    let mut cx = Context::from_waker(Waker::noop());
    let mut space = [0; 64];
    for _ in 0..2 {
        let _ = Pin::new(&mut io).poll_read(&mut cx, &mut ReadBuf::new(&mut space));
    }
    assert_eq!(frames.lock().held(), 0);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_pieces_are_the_whole(
        kinds in prop::collection::vec((0..10u8, any::<u8>(), prop::collection::vec(any::<u8>(), 0..20)), 0..12),
        last_stream in 0..u32::MAX / 2,
        code in any::<u32>(),
        mut cuts in prop::collection::vec(0..300usize, 0..20),
    ) {
        cuts.sort_unstable();
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime can be built");
        let goaway = [last_stream.to_be_bytes(), code.to_be_bytes()].concat();
        let mut said = Vec::new();
        let mut kept = Vec::new();
        for (kind, flags, payload) in &kinds {
            let one = frame(*kind, *flags, payload);
            said.extend_from_slice(&one);
            if !(*kind == 0 && payload.is_empty() && flags & 9 == 0) {
                kept.extend_from_slice(&one);
            }
        }
        let last = frame(7, 0, &goaway);
        said.extend_from_slice(&last);
        kept.extend_from_slice(&last);
        let (all, frames) = runtime.block_on(handed_on(cut(&said, &cuts)));
        prop_assert_eq!(all, kept);
        prop_assert_eq!(frames.lock().seen.goaway, Some(Goaway { last_stream, code }));
    }
}
