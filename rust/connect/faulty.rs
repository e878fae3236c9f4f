//! Faulty: streams that wait and take parts for no reason, in builds for soaks only (feature `faulty-io`).
//!
//! Loopback hands over whole messages at once, so that a lost wake-up or a part that is taken for the whole would
//! never show there. No fault made here is an error: a real network may do each of them at any time.

use std::cell::Cell;
use std::hash::{BuildHasher as _, RandomState};
use std::io::{self, IoSlice};
use std::task::{Context, Poll};

use tokio::io::ReadBuf;

/// One call in so many finds that it has to wait, though it has not.
const WAITS: u64 = 4;
/// One call in so many moves a few bytes only.
const PARTS: u64 = 3;
/// The most that such a call moves.
const PART: usize = 7;

thread_local! {
    /// The state of a xorshift generator. Never zero.
    static DICE: Cell<u64> = Cell::new(RandomState::new().hash_one(0) | 1);
}

fn throw(sides: u64) -> u64 {
    DICE.with(|dice| {
        let mut state = dice.get();
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        dice.set(state);
        state % sides
    })
}

fn poll_wait(cx: &mut Context<'_>) -> Poll<()> {
    if throw(WAITS) > 0 {
        return Poll::Ready(());
    }
    cx.waker().wake_by_ref();
    Poll::Pending
}

/// How many of `size` bytes are moved: all of them, or a few.
fn part(size: usize) -> usize {
    match throw(PARTS) {
        0 => size.min(PART),
        _ => size,
    }
}

/// Reads, perhaps later, and perhaps a part of what is there.
pub(super) fn poll_read(
    cx: &mut Context<'_>,
    buffer: &mut ReadBuf<'_>,
    read: impl FnOnce(&mut Context<'_>, &mut ReadBuf<'_>) -> Poll<io::Result<()>>,
) -> Poll<io::Result<()>> {
    std::task::ready!(poll_wait(cx));
    let room = part(buffer.remaining());
    if room == buffer.remaining() {
        return read(cx, buffer);
    }
    let mut bytes = [0; PART];
    let mut few = ReadBuf::new(&mut bytes[..room]);
    std::task::ready!(read(cx, &mut few))?;
    buffer.put_slice(few.filled());
    Poll::Ready(Ok(()))
}

/// What there is to be written now.
pub(super) fn poll_part<'a>(cx: &mut Context<'_>, bytes: &'a [u8]) -> Poll<&'a [u8]> {
    std::task::ready!(poll_wait(cx));
    Poll::Ready(&bytes[..part(bytes.len())])
}

/// The same of several slices.
pub(super) fn poll_slices<'a>(
    cx: &mut Context<'_>,
    slices: &'a [IoSlice<'_>],
) -> Poll<Vec<IoSlice<'a>>> {
    std::task::ready!(poll_wait(cx));
    let mut left = part(slices.iter().map(|slice| slice.len()).sum());
    let mut parts = Vec::with_capacity(slices.len());
    for slice in slices {
        let taken = slice.len().min(left);
        left -= taken;
        parts.push(IoSlice::new(&slice[..taken]));
    }
    Poll::Ready(parts)
}
