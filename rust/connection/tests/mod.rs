//! Tests over real sockets: a scripted server on a thread, the connection on a runtime of its own.
//!
//! What they share lives here. No test waits for time to pass; [`run`] only ends one that hangs.

mod bytes_on_the_wire;
mod gate;
mod guards;
mod long_heads;
mod lost_connections;
mod render;
mod responses;
mod rests;
mod reuse;
mod upgrades;
mod whole_heads;

use std::future::{Future, poll_fn};
use std::io::{self, IoSlice, Read as _, Write as _};
use std::mem::MaybeUninit;
use std::net::{TcpListener, TcpStream as StdStream};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::thread::JoinHandle;
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf};
use tokio::net::TcpStream;

use super::{Http1, NetworkStream, RequestHead, ResponseHead};
use crate::error::{Kind, Result};

/// A test that takes longer than this hangs.
const HANGS: Duration = Duration::from_secs(30);

/// A TCP socket, with or without vectored writes: hyper has a strategy for each.
pub(super) struct Socket {
    tcp: TcpStream,
    vectored: bool,
}

impl NetworkStream for Socket {
    fn is_readable(&self) -> bool {
        let mut byte = [MaybeUninit::uninit()];
        let peeked = socket2::SockRef::from(&self.tcp).peek(&mut byte);
        !matches!(peeked, Err(error) if error.kind() == io::ErrorKind::WouldBlock)
    }
}

impl NetworkStream for DuplexStream {
    fn is_readable(&self) -> bool {
        false
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_read(cx, buf)
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.tcp).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        assert!(self.vectored, "a vectored write on a stream that has none");
        Pin::new(&mut self.tcp).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.vectored
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_shutdown(cx)
    }
}

/// Runs a test on a current-thread runtime; a hanging one fails.
pub(super) fn run<T>(test: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime can be built");
    runtime
        .block_on(async { tokio::time::timeout(HANGS, test).await })
        .expect("the test hangs")
}

/// A connected socket whose other end is given to `script` on a thread of its own.
pub(super) fn serve<T: Send + 'static>(
    vectored: bool,
    script: impl FnOnce(StdStream) -> T + Send + 'static,
) -> (Socket, JoinHandle<T>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback can be bound");
    let address = listener
        .local_addr()
        .expect("a bound socket has an address");
    let client = StdStream::connect(address).expect("the listener is there");
    let (server, _) = listener.accept().expect("the client has connected");
    client
        .set_nonblocking(true)
        .expect("sockets can be non-blocking");
    client
        .set_nodelay(true)
        .expect("TCP sockets can be without delay");
    server
        .set_nodelay(true)
        .expect("TCP sockets can be without delay");
    server
        .set_read_timeout(Some(HANGS))
        .expect("the timeout is not zero");
    let tcp = TcpStream::from_std(client).expect("called on a runtime");
    let script = std::thread::spawn(move || script(server));
    (Socket { tcp, vectored }, script)
}

/// Reads one request head, and no byte more.
pub(super) fn read_head(server: &mut StdStream) -> Vec<u8> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        server.read_exact(&mut byte).expect("a whole head comes");
        head.push(byte[0]);
    }
    head
}

/// Makes closing the socket a RST instead of a FIN.
pub(super) fn reset_on_close(server: &StdStream) {
    socket2::SockRef::from(server)
        .set_linger(Some(Duration::ZERO))
        .expect("TCP sockets can linger");
}

/// Renders a head with `Host: x` and these headers.
pub(super) fn head(method: &str, headers: &[(&str, &str)]) -> RequestHead {
    let all = [("Host", "x")].into_iter().chain(headers.iter().copied());
    let all: Vec<_> = all
        .map(|(name, value)| (name.as_bytes(), value.as_bytes()))
        .collect();
    RequestHead::render(method.as_bytes(), b"/", all.into_iter()).expect("the head is valid")
}

pub(super) fn get() -> RequestHead {
    head("GET", &[])
}

/// The response body up to its end or its error.
pub(super) async fn read_body<S: NetworkStream>(http: &mut Http1<S>) -> Result<Vec<u8>> {
    let mut body = Vec::new();
    while let Some(frame) = poll_fn(|cx| http.poll_body(cx)).await? {
        body.extend_from_slice(&frame);
    }
    Ok(body)
}

/// One exchange from `begin` to the end of the response's body.
pub(super) async fn exchange<S: NetworkStream>(
    http: &mut Http1<S>,
    head: RequestHead,
    body: &'static [u8],
) -> Result<(ResponseHead, Vec<u8>)> {
    http.begin(head, Some(Bytes::from_static(body)))?;
    poll_fn(|cx| http.poll_sent(cx)).await?;
    let head = poll_fn(|cx| http.poll_head(cx)).await?;
    let body = read_body(http).await?;
    Ok((head, body))
}

/// What a client makes of these bytes, sent in answer to a GET and followed by a FIN.
pub(super) fn answer_with(response: &[u8]) -> Result<(ResponseHead, Vec<u8>)> {
    answer_to(get(), response)
}

/// The same for another request.
pub(super) fn answer_to(request: RequestHead, response: &[u8]) -> Result<(ResponseHead, Vec<u8>)> {
    let response = response.to_vec();
    run(async move {
        let (socket, server) = serve(true, move |mut server| {
            read_head(&mut server);
            // The client may have seen enough before the end.
            let _ = server.write_all(&response);
        });
        let mut http = Http1::handshake(socket)?;
        let answer = exchange(&mut http, request, b"").await;
        drop(http);
        server.join().expect("the server does not panic");
        answer
    })
}

pub(super) fn pairs(head: &ResponseHead) -> Vec<(String, String)> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    head.headers
        .iter()
        .map(|(name, value)| (text(name), text(value)))
        .collect()
}

#[track_caller]
pub(super) fn assert_fails<T: std::fmt::Debug>(result: Result<T>, kind: Kind, text: &str) {
    let error = result.expect_err("this must fail");
    assert_eq!((error.kind(), error.to_string().as_str()), (kind, text));
}
