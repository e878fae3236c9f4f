//! The cell over real sockets: a scripted server on loopback, and callers of both kinds, those who poll
//! for themselves and those who leave the exchange to the runtime. Here is what the tests stand on.
//!
//! Tests run outside the runtime, as Python's threads do. None waits for time to pass, but for the one
//! that looks for a server that cannot go on.

mod ends;
mod on_the_loop;
mod parts;

use std::future::{Future, poll_fn};
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::{ExchangeCell, Failure, Listener, Part, Source, Want, take_news};
use crate::connect::{Connector, SocketOption, SocketOptionValue};
use crate::connection::RequestHead;
use crate::error::Kind;
use crate::exchange::Engine;
use crate::origin::Origin;
use crate::poll_set::PollSet;
use crate::pool::{Counts, Limits, Pool, Sharing};
use crate::request::{Request, RequestBody};
use crate::timeouts::Timeouts;

/// A test that takes longer than this hangs.
const HANGS: Duration = Duration::from_secs(30);

const EMPTY: Counts = Counts {
    active_requests: 0,
    queued_requests: 0,
    active_connections: 0,
    idle_connections: 0,
};

/// One connection is idle, nothing else is there.
const ONE_IDLE: Counts = Counts {
    idle_connections: 1,
    ..EMPTY
};

/// One request has one connection.
const ONE_ACTIVE: Counts = Counts {
    active_requests: 1,
    active_connections: 1,
    ..EMPTY
};

const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// An engine with room for one connection, and the runtime of it and of the server.
struct House {
    engine: Arc<Engine>,
    runtime: Runtime,
}

impl House {
    fn new() -> Self {
        Self::with(Connector::default())
    }

    fn with(connector: Connector) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime can be built");
        let limits = Limits {
            max_connections: 1,
            max_keepalive_connections: 1,
            keepalive_expiry: None,
            sharing: Sharing::Never,
        };
        let engine = Arc::new(Engine {
            pool: Pool::new(limits),
            connector: Arc::new(connector),
            runtime: runtime.handle().clone(),
            views: Arc::default(),
        });
        Self { engine, runtime }
    }

    fn counts(&self) -> Counts {
        self.engine.pool.counts()
    }

    /// Runs `script` for the first connection that comes, and gives its port.
    fn serve<S: Future<Output: Send> + Send + 'static>(
        &self,
        script: impl FnOnce(Peer) -> S + Send + 'static,
    ) -> (u16, JoinHandle<S::Output>) {
        let bind = TcpListener::bind((Ipv4Addr::LOCALHOST, 0));
        let listener = self.wait(bind).expect("loopback can be bound");
        let port = listener
            .local_addr()
            .expect("a bound socket has an address")
            .port();
        let script = self.runtime.spawn(async move {
            let (stream, _) = listener.accept().await.expect("the listener is open");
            script(Peer(stream)).await
        });
        (port, script)
    }

    /// A server that answers every request of one connection until the client ends it, and says how many.
    fn serve_answers(&self) -> (u16, JoinHandle<usize>) {
        self.serve(|mut peer| async move {
            let mut answered = 0;
            while peer.head().await.is_some() {
                peer.send(ANSWER).await;
                answered += 1;
            }
            answered
        })
    }

    /// A server whose answer lacks its last byte, and that waits for the client to end the connection.
    fn serve_all_but_the_end(&self) -> (u16, JoinHandle<()>) {
        self.serve(|mut peer| async move {
            peer.head().await.expect("a request comes");
            peer.send(&ANSWER[..ANSWER.len() - 1]).await;
            peer.gone().await;
        })
    }

    fn start(&self, port: u16) -> Arc<ExchangeCell> {
        self.start_with(port, &[], RequestBody::Whole(Bytes::new()))
    }

    fn start_with(
        &self,
        port: u16,
        headers: &[(&str, &str)],
        body: RequestBody,
    ) -> Arc<ExchangeCell> {
        let request = request(port, headers, body, Timeouts::default());
        ExchangeCell::start(Arc::clone(&self.engine), request, false)
    }

    /// Waits on this thread; a hanging test fails.
    fn wait<T>(&self, future: impl Future<Output = T>) -> T {
        self.runtime
            .block_on(async { tokio::time::timeout(HANGS, future).await })
            .expect("the test hangs")
    }

    /// What the server's script returned.
    fn join<T>(&self, script: JoinHandle<T>) -> T {
        self.wait(script).expect("the server does not panic")
    }

    /// The part, for a caller who drives the exchange itself.
    fn part(&self, cell: &ExchangeCell, want: Want) -> Result<Part, Failure> {
        self.wait(poll_fn(|cx| cell.poll_part(cx, want)))
    }

    #[track_caller]
    fn sent(&self, cell: &ExchangeCell) {
        assert!(matches!(self.part(cell, Want::Sent), Ok(Part::Sent { .. })));
    }

    /// The rest of the body, for a caller who drives the exchange itself.
    fn rest(&self, cell: &ExchangeCell) -> Result<Vec<u8>, Failure> {
        let mut rest = Vec::new();
        loop {
            let body = body(self.part(cell, Want::Body)?);
            if body.is_empty() {
                return Ok(rest);
            }
            rest.extend(body);
        }
    }
}

/// The server's end of a connection.
struct Peer(TcpStream);

impl Peer {
    /// One request head, and no byte more. `None` when the client ends the connection instead.
    async fn head(&mut self) -> Option<Vec<u8>> {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(self.0.read_u8().await.ok()?);
        }
        Some(head)
    }

    async fn exactly(&mut self, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        self.0.read_exact(&mut bytes).await.expect("they come");
        bytes
    }

    async fn send(&mut self, bytes: &[u8]) {
        self.0.write_all(bytes).await.expect("the client is there");
    }

    /// Returns when the client has ended the connection, by FIN or RST.
    async fn gone(&mut self) {
        let mut bytes = [0; 1024];
        while matches!(self.0.read(&mut bytes).await, Ok(1..)) {}
    }
}

fn request(port: u16, headers: &[(&str, &str)], body: RequestBody, timeouts: Timeouts) -> Request {
    let all = [("Host", "x")].into_iter().chain(headers.iter().copied());
    let all: Vec<_> = all
        .map(|(name, value)| (name.as_bytes(), value.as_bytes()))
        .collect();
    Request {
        origin: Origin {
            scheme: Bytes::from_static(b"http"),
            host: Bytes::from_static(b"127.0.0.1"),
            port: port.into(),
        },
        server_name: None,
        head: RequestHead::render(b"GET", b"/", all.into_iter()).expect("the head is valid"),
        body,
        timeouts,
    }
}

#[track_caller]
fn head(part: Result<Part, Failure>) -> (u16, Vec<u8>, bool) {
    match part {
        Ok(Part::Head { head, body, ended }) => (head.status, body.concat(), ended),
        other => panic!("not a head: {other:?}"),
    }
}

#[track_caller]
fn body(part: Part) -> Vec<u8> {
    match part {
        Part::Body(frames) => frames.concat(),
        other => panic!("not a part of the body: {other:?}"),
    }
}

#[track_caller]
fn assert_error<T: std::fmt::Debug>(result: Result<T, Failure>, kind: Kind) {
    match result {
        Err(Failure::Error(error)) => assert_eq!(error.kind(), kind, "{error}"),
        other => panic!("not an error: {other:?}"),
    }
}

#[track_caller]
fn assert_closed<T: std::fmt::Debug>(result: Result<T, Failure>) {
    assert!(matches!(result, Err(Failure::Closed)), "{result:?}");
}

/// Passes the keys on to a test, as a port does to its loop.
struct Announcements(Sender<usize>);

impl Listener for Announcements {
    fn announce(&self, _source: Arc<dyn Source>, key: usize) {
        // The test may have seen enough.
        let _ = self.0.send(key);
    }
}

fn listener() -> (Arc<dyn Listener>, Receiver<usize>) {
    let (sender, receiver) = channel();
    (Arc::new(Announcements(sender)), receiver)
}

/// The part, for a caller who leaves the driving to the runtime.
#[track_caller]
fn announced(cell: &Arc<ExchangeCell>, want: Want) -> Result<Part, Failure> {
    const KEY: usize = 7;
    let (listener, keys) = listener();
    cell.listen(want, listener, KEY);
    assert_eq!(keys.recv_timeout(HANGS).expect("the test hangs"), KEY);
    cell.take_announced(KEY).expect("it was announced")
}
