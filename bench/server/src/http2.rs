//! HTTP/2, by prior knowledge: the same routes on the streams of one connection.
//!
//! What is a reset of the connection there is one of the stream here; a connection that is closed or hung up
//! takes the other streams with it, or says GOAWAY and lets them end. Nothing is held, and nothing smuggled.

use std::future::poll_fn;
use std::time::Duration;

use bytes::Bytes;
use h2::server::{Builder, SendResponse};
use h2::{Reason, RecvStream, SendStream};
use http::{HeaderValue, Request, Response};
use tokio::net::TcpStream;
use tokio::sync::mpsc;

use crate::response::{Filling, SMALL};
use crate::route::Route;

const STREAMS: u32 = 100;
const STREAM_WINDOW: u32 = 1 << 20;
const CONNECTION_WINDOW: u32 = 16 << 20;
/// Cancels that the peer may send before we have looked at their requests. Many are what is asked of a storm, and no
/// attack; a few are `h2`'s own limit, behind which it ends the connection.
const RESETS: usize = 100_000;
/// Chunks of a body that comes in several; each is a frame of its own.
const CHUNK: usize = 4096;
/// How long a response has to leave before its connection is hung up.
const LEAVING: Duration = Duration::from_millis(1);

/// How a connection is to end.
enum Ending {
    /// A GOAWAY; streams in flight are finished.
    Announced,
    /// A FIN, whatever is in flight.
    Silent,
}

/// Serves one connection to its end.
pub async fn serve(stream: TcpStream) -> Result<(), h2::Error> {
    let mut connection = Builder::new()
        .max_concurrent_streams(STREAMS)
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_pending_accept_reset_streams(RESETS)
        .handshake(stream)
        .await?;
    let (end, mut ends) = mpsc::unbounded_channel();
    loop {
        tokio::select! {
            accepted = connection.accept() => {
                let Some(accepted) = accepted else { return Ok(()) };
                let (request, respond) = accepted?;
                let end = end.clone();
                // A stream that the peer resets in the middle is no fault of this server's.
                tokio::task::spawn_local(async move { drop(answer(request, respond, end).await) });
            }
            Some(ending) = ends.recv() => match ending {
                Ending::Announced => connection.graceful_shutdown(),
                Ending::Silent => return Ok(()),
            },
        }
    }
}

async fn answer(
    request: Request<RecvStream>,
    mut respond: SendResponse<Bytes>,
    end: mpsc::UnboundedSender<Ending>,
) -> Result<(), h2::Error> {
    let route = Route::of(request.uri().path());
    let nonce = request.headers().get("x-nonce").cloned();
    let echoed = receive(request.into_body()).await?;
    let body = match route {
        Route::Bytes(size)
        | Route::Chunked(size)
        | Route::Drip(size)
        | Route::Eof(size)
        | Route::Interim(size)
        | Route::Extra(size)
        | Route::Close(size)
        | Route::HangUp(size)
        | Route::Short(size)
        | Route::Reset(size) => fill(nonce.as_ref(), size),
        Route::Echo => echoed,
        _ => fill(nonce.as_ref(), SMALL),
    };
    // One byte more than there will be, where the body is not to be whole.
    let is_cut = matches!(route, Route::Short(_) | Route::Reset(_));
    let mut response = Response::new(());
    let length = HeaderValue::from(body.len() + usize::from(is_cut));
    response.headers_mut().insert("content-length", length);
    if let Some(nonce) = nonce {
        response.headers_mut().insert("x-nonce", nonce);
    }
    match route {
        Route::ResetHead(_) => respond.send_reset(Reason::INTERNAL_ERROR),
        Route::Reset(_) => {
            let mut stream = respond.send_response(response, false)?;
            send(&mut stream, body, usize::MAX, false).await?;
            stream.send_reset(Reason::INTERNAL_ERROR);
        }
        Route::Drip(_) => {
            let mut stream = respond.send_response(response, false)?;
            for byte in 0..body.len() {
                tokio::time::sleep(Duration::from_millis(1)).await;
                send(&mut stream, body.slice(byte..=byte), 1, false).await?;
            }
            stream.send_data(Bytes::new(), true)?;
        }
        _ => {
            if let Route::Late(millis) = route {
                tokio::time::sleep(Duration::from_millis(millis)).await;
            }
            let chunk = if let Route::Chunked(_) = route {
                CHUNK
            } else {
                usize::MAX
            };
            let is_empty = body.is_empty() && !is_cut;
            let mut stream = respond.send_response(response, is_empty)?;
            if !is_empty {
                send(&mut stream, body, chunk, true).await?;
            }
        }
    }
    // The connection has gone where nobody listens any more.
    match route {
        Route::Close(_) => drop(end.send(Ending::Announced)),
        Route::HangUp(_) => {
            tokio::time::sleep(LEAVING).await;
            drop(end.send(Ending::Silent));
        }
        _ => {}
    }
    Ok(())
}

/// A request's body, whole.
async fn receive(mut body: RecvStream) -> Result<Bytes, h2::Error> {
    let mut whole = Vec::new();
    while let Some(data) = body.data().await {
        let data = data?;
        body.flow_control().release_capacity(data.len())?;
        whole.extend_from_slice(&data);
    }
    Ok(whole.into())
}

fn fill(nonce: Option<&HeaderValue>, size: u64) -> Bytes {
    let mut filling = Filling::new(nonce.map_or(b"", |nonce| nonce.as_bytes()), size);
    let mut body = Vec::new();
    while (body.len() as u64) < size {
        body.extend_from_slice(filling.next(size - body.len() as u64));
    }
    body.into()
}

/// Sends as the peer's windows allow, at most `chunk` bytes at a time.
async fn send(
    stream: &mut SendStream<Bytes>,
    mut body: Bytes,
    chunk: usize,
    end: bool,
) -> Result<(), h2::Error> {
    if body.is_empty() && end {
        return stream.send_data(body, true);
    }
    while !body.is_empty() {
        stream.reserve_capacity(body.len().min(chunk));
        let Some(room) = poll_fn(|context| stream.poll_capacity(context)).await else {
            return Ok(()); // the stream has gone
        };
        let size = room?.min(chunk).min(body.len());
        let part = body.split_to(size);
        let is_last = end && body.is_empty();
        stream.send_data(part, is_last)?;
    }
    Ok(())
}
