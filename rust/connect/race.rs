//! Race: happy eyeballs (RFC 8305), without tasks.
//!
//! Attempts are futures in one list, polled by their caller. The first that connects wins; dropping the
//! list drops the others, which closes their sockets.

use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use tokio::runtime::Handle;

use super::socket_stream::SocketStream;
use crate::error::{Error, Kind, Result};

/// How long an attempt is alone before the next begins: RFC 8305's recommended value, and anyio's.
const STAGGER: Duration = Duration::from_millis(250);

/// The first of the addresses that connects. A failed attempt begins the next at once.
///
/// # Errors
///
/// Of the attempt that failed last: with one address, exactly its own.
///
/// # Cancel safety
///
/// Dropping the future closes every socket.
pub(super) async fn connect_first<F>(
    addresses: Vec<SocketAddr>,
    connect: impl Fn(SocketAddr) -> F,
    runtime: &Handle,
) -> Result<SocketStream>
where
    F: Future<Output = Result<SocketStream>> + Send,
{
    let mut waiting = interleave(addresses);
    let mut running: Vec<Pin<Box<F>>> = Vec::new();
    let mut failed = Error::message(Kind::Connect, "the host has no address");
    loop {
        if let Some(address) = waiting.pop_front() {
            running.push(Box::pin(connect(address)));
        }
        let is_last = waiting.is_empty();
        let mut stagger = (!is_last).then(|| {
            let _context = runtime.enter();
            Box::pin(tokio::time::sleep(STAGGER))
        });
        // Ready with the stream, with `None` when the next attempt is due.
        let outcome = poll_fn(|cx| {
            let mut index = 0;
            while index < running.len() {
                match running[index].as_mut().poll(cx) {
                    Poll::Ready(Ok(stream)) => return Poll::Ready(Some(Ok(stream))),
                    Poll::Ready(Err(error)) => {
                        drop(running.swap_remove(index));
                        failed = error;
                        if !is_last {
                            return Poll::Ready(None);
                        }
                    }
                    Poll::Pending => index += 1,
                }
            }
            if running.is_empty() {
                return Poll::Ready(Some(Err(())));
            }
            match &mut stagger {
                Some(stagger) => stagger.as_mut().poll(cx).map(|()| None),
                None => Poll::Pending,
            }
        })
        .await;
        match outcome {
            Some(Ok(stream)) => return Ok(stream),
            Some(Err(())) if is_last => return Err(failed),
            Some(Err(())) | None => {}
        }
    }
}

/// The families by turns, beginning with the resolver's first choice (RFC 8305 §4).
fn interleave(addresses: Vec<SocketAddr>) -> VecDeque<SocketAddr> {
    let Some(first) = addresses.first() else {
        return VecDeque::new();
    };
    let preferred = first.is_ipv4();
    let (mut one, mut other): (VecDeque<_>, VecDeque<_>) = addresses
        .into_iter()
        .partition(|address| address.is_ipv4() == preferred);
    let mut order = VecDeque::new();
    while let Some(address) = one.pop_front() {
        order.push_back(address);
        order.extend(other.pop_front());
    }
    order.extend(other);
    order
}
