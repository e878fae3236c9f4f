//! The cell over real sockets: a scripted server on loopback, and callers of both kinds, those who poll
//! for themselves and those who leave the exchange to the runtime.
//!
//! Tests run outside the runtime, as Python's threads do. None waits for time to pass, but for the one
//! that looks for a server that cannot go on.

mod on_the_loop;

use std::future::{Future, poll_fn};
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

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

#[test]
fn a_caller_polls_for_part_after_part() {
    let house = House::new();
    let (go_on, told) = oneshot::channel();
    let (port, server) = house.serve(|mut peer| async move {
        peer.head().await.expect("a request comes");
        peer.send(b"HTTP/1.1 201 Made\r\nContent-Length: 6\r\n\r\n")
            .await;
        told.await.expect("the test goes on");
        peer.send(b"abc").await;
        peer.send(b"def").await;
        peer.gone().await;
    });
    let cell = house.start(port);
    assert!(cell.is_fresh());
    assert_eq!(house.counts(), ONE_ACTIVE);
    house.sent(&cell);
    assert!(!cell.is_fresh());
    assert_eq!(
        head(house.part(&cell, Want::Head)),
        (201, Vec::new(), false)
    );
    go_on.send(()).expect("the server waits");
    assert_eq!(house.rest(&cell).expect("the body is whole"), b"abcdef");
    // Whoever asks on learns the same.
    assert_eq!(house.rest(&cell).expect("the body has ended"), b"");
    assert_eq!(house.counts(), ONE_ACTIVE);
    cell.close();
    assert_eq!(house.counts(), ONE_IDLE);
    house.engine.close();
    assert_eq!(house.counts(), EMPTY);
    house.join(server);
}

#[test]
fn the_first_drive_is_the_callers_and_the_runtime_goes_on() {
    let house = House::new();
    let (port, server) = house.serve_answers();
    let cell = house.start(port);
    let set = Arc::new(PollSet::new().expect("there are descriptors left"));
    // Connecting needs a turn of the runtime's, which is rarely as fast as the caller.
    let sent = cell
        .try_drive(Want::Sent, &set)
        .unwrap_or_else(|| announced(&cell, Want::Sent));
    assert!(matches!(sent, Ok(Part::Sent { .. })));
    let (status, mut whole, ended) = head(announced(&cell, Want::Head));
    assert_eq!(status, 200);
    if !ended {
        whole.extend(body(
            announced(&cell, Want::Body).expect("the body is whole"),
        ));
    }
    assert_eq!(whole, b"ok");
    cell.close();
    assert_eq!(house.counts(), ONE_IDLE);

    // On an idle connection the request leaves with the caller's own poll.
    let next = house.start(port);
    assert!(matches!(
        next.try_drive(Want::Sent, &set),
        Some(Ok(Part::Sent { .. }))
    ));
    next.spawn();
    assert_eq!(head(announced(&next, Want::Head)).0, 200);
    next.close();
    house.engine.close();
    assert_eq!(house.join(server), 2);
}

#[test]
fn a_part_is_for_the_key_that_waits_for_it() {
    let house = House::new();
    let (go_on, told) = oneshot::channel();
    let (port, server) = house.serve(|mut peer| async move {
        peer.head().await.expect("a request comes");
        told.await.expect("the test goes on");
        peer.send(ANSWER).await;
        peer.gone().await;
    });
    let cell = house.start(port);
    house.sent(&cell);
    cell.spawn();
    assert!(cell.try_take(Want::Head).is_none());
    // A second registration takes the place of the first.
    let (listener, keys) = listener();
    cell.listen(Want::Head, Arc::clone(&listener), 1);
    cell.listen(Want::Head, listener, 2);
    assert!(cell.take_announced(2).is_none(), "there is no head yet");
    go_on.send(()).expect("the server waits");
    assert_eq!(keys.recv_timeout(HANGS), Ok(2));
    assert!(cell.take_announced(1).is_none());
    assert_eq!(head(cell.take_announced(2).expect("it is here")).0, 200);
    assert!(cell.take_announced(2).is_none(), "it was taken");
    assert!(keys.try_recv().is_err(), "a part is announced once");
    cell.close();
    house.engine.close();
    house.join(server);
}

#[test]
fn a_part_is_announced_once_whatever_comes_after_it() {
    let house = House::new();
    let (go_on, told) = oneshot::channel();
    let (port, server) = house.serve(|mut peer| async move {
        peer.head().await.expect("a request comes");
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc")
            .await;
        told.await.expect("the test goes on");
        peer.send(b"def").await;
        peer.0.shutdown().await.expect("it is open");
        peer.gone().await;
    });
    let cell = house.start(port);
    let (listener, keys) = listener();
    cell.spawn();
    cell.listen(Want::Head, listener, 5);
    assert_eq!(keys.recv_timeout(HANGS), Ok(5));
    go_on.send(()).expect("the server waits");
    // The client has closed its socket: the runtime has seen all of the rest, and its early end.
    house.join(server);
    assert!(keys.try_recv().is_err(), "it was announced before");
    let (_, come, ended) = head(cell.take_announced(5).expect("it is here"));
    assert_eq!((&come[..], ended), (&b"abcdef"[..], false));
    assert_error(announced(&cell, Want::Body), Kind::RemoteProtocol);
}

#[test]
fn a_body_is_pushed_chunk_by_chunk() {
    const FRAMED: &[u8] = b"5\r\nhello\r\n3\r\nyou\r\n0\r\n\r\n";
    let house = House::new();
    let (port, server) = house.serve(|mut peer| async move {
        peer.head().await.expect("a request comes");
        let body = peer.exactly(FRAMED.len()).await;
        peer.send(ANSWER).await;
        peer.gone().await;
        body
    });
    let headers = [("Transfer-Encoding", "chunked")];
    let cell = house.start_with(port, &headers, RequestBody::Pushed);
    house.sent(&cell);
    for chunk in [&b"hello"[..], b"you"] {
        cell.push(Bytes::from_static(chunk))
            .expect("the body may grow");
        house.sent(&cell);
    }
    cell.finish().expect("a chunked body may end");
    house.sent(&cell);
    let (_, mut whole, _) = head(house.part(&cell, Want::Head));
    whole.extend(house.rest(&cell).expect("the body is whole"));
    assert_eq!(whole, b"ok");
    cell.close();
    assert_eq!(house.counts(), ONE_IDLE);
    house.engine.close();
    assert_eq!(house.join(server), FRAMED);
}

#[test]
fn a_body_that_breaks_its_length_ends_the_exchange() {
    for chunk in ["abcd", "ab"] {
        let house = House::new();
        let (port, server) = house.serve(|mut peer| async move { peer.gone().await });
        let cell = house.start_with(port, &[("Content-Length", "3")], RequestBody::Pushed);
        house.sent(&cell);
        let pushed = cell.push(Bytes::from_static(chunk.as_bytes()));
        assert_error(pushed.and_then(|()| cell.finish()), Kind::LocalProtocol);
        assert_eq!(house.counts(), EMPTY);
        house.join(server);
        assert_closed(cell.push(Bytes::new()));
        assert_closed(house.part(&cell, Want::Head));
    }
}

#[test]
fn closing_while_queued_leaves_the_queue() {
    let house = House::new();
    let (port, server) = house.serve_answers();
    let holder = house.start(port);
    house.sent(&holder);
    let queued = house.start(port);
    let behind = house.start(port);
    queued.spawn();
    behind.spawn();
    assert_eq!(house.counts().queued_requests, 2);
    queued.close();
    assert_eq!(house.counts().queued_requests, 1);
    assert_closed(house.part(&queued, Want::Sent));
    // The slot goes to the one behind, and to nobody else.
    head(house.part(&holder, Want::Head));
    house.rest(&holder).expect("the body is whole");
    holder.close();
    assert_eq!(house.counts(), ONE_ACTIVE);
    assert_eq!(head(announced(&behind, Want::Head)).0, 200);
    behind.close();
    house.engine.close();
    assert_eq!(house.join(server), 2);
}

#[test]
fn closing_while_the_head_is_waited_for_closes_the_socket() {
    for driven_by_a_task in [false, true] {
        let house = House::new();
        let (arrived, arrival) = oneshot::channel();
        let (port, server) = house.serve(|mut peer| async move {
            let head = peer.head().await.expect("a request comes");
            arrived.send(head).expect("the test waits");
            peer.gone().await;
        });
        let cell = house.start(port);
        if driven_by_a_task {
            cell.spawn();
        } else {
            house.sent(&cell);
        }
        let request = house.wait(arrival).expect("the server lives");
        assert_eq!(request, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n");
        cell.close();
        assert_eq!(house.counts(), EMPTY);
        house.join(server);
        assert_closed(house.part(&cell, Want::Head));
        // Once more is nothing.
        cell.close();
        assert_eq!(house.counts(), EMPTY);
    }
}

#[test]
fn closing_in_the_body_closes_the_socket() {
    let house = House::new();
    let (port, server) = house.serve(|mut peer| async move {
        peer.head().await.expect("a request comes");
        peer.send(&ANSWER[..ANSWER.len() - 1]).await;
        peer.gone().await;
    });
    let cell = house.start(port);
    cell.spawn();
    let (_, _, ended) = head(announced(&cell, Want::Head));
    assert!(!ended);
    cell.close();
    assert_eq!(house.counts(), EMPTY);
    house.join(server);
    assert_closed(house.part(&cell, Want::Body));
}

#[test]
fn whoever_waits_when_it_is_closed_is_told() {
    let house = House::new();
    let (port, server) = house.serve(|mut peer| async move { peer.gone().await });
    let cell = house.start(port);
    house.sent(&cell);
    let (listener, keys) = listener();
    cell.listen(Want::Head, listener, 3);
    cell.close();
    assert_eq!(keys.recv_timeout(HANGS), Ok(3));
    assert_closed(cell.take_announced(3).expect("it was announced"));
    house.join(server);
}

#[test]
fn closing_the_pool_interrupts_and_fails_the_queue() {
    let house = House::new();
    let (port, server) = house.serve(|mut peer| async move { peer.gone().await });
    let cell = house.start(port);
    house.sent(&cell);
    let queued = house.start(port);
    house.engine.close();
    assert_eq!(house.counts(), EMPTY);
    assert_error(house.part(&cell, Want::Head), Kind::Read);
    assert_error(house.part(&queued, Want::Sent), Kind::Connect);
    house.join(server);
}

#[test]
fn an_interrupted_exchange_gives_up_what_had_arrived() {
    let house = House::new();
    let (port, server) = house.serve(|mut peer| async move {
        peer.head().await.expect("a request comes");
        peer.send(&ANSWER[..ANSWER.len() - 1]).await;
        peer.gone().await;
    });
    let cell = house.start(port);
    cell.spawn();
    head(announced(&cell, Want::Head));
    house.engine.close();
    house.join(server);
    assert_error(house.rest(&cell), Kind::Read);
    assert_closed(house.rest(&cell));
}

#[test]
fn an_error_found_ahead_comes_after_the_bytes_before_it() {
    // More than one part, so that the error has to wait for several.
    const PROMISED: usize = 400 * 1024;
    const COME: usize = 300 * 1024;
    let house = House::new();
    let (port, server) = house.serve(|mut peer| async move {
        peer.head().await.expect("a request comes");
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {PROMISED}\r\n\r\n");
        peer.send(head.as_bytes()).await;
        peer.send(&vec![b'x'; COME]).await;
        peer.0.shutdown().await.expect("it is open");
        peer.gone().await;
    });
    let cell = house.start(port);
    cell.spawn();
    // The client has closed its socket, so the error has been found: nothing was taken so far.
    house.join(server);
    assert_eq!(house.counts(), EMPTY);
    let (status, mut come, ended) = head(cell.try_take(Want::Head).expect("it is here"));
    assert_eq!((status, ended), (200, false));
    let error = loop {
        match cell.try_take(Want::Body).expect("it is here") {
            Ok(part) => come.extend(body(part)),
            Err(failure) => break Err::<(), _>(failure),
        }
    };
    assert_eq!(come.len(), COME);
    assert_error(error, Kind::RemoteProtocol);
    assert_closed(cell.try_take(Want::Body).expect("there is nothing more"));
}

#[test]
fn a_read_timeout_ends_the_exchange() {
    let house = House::new();
    let (port, server) = house.serve(|mut peer| async move { peer.gone().await });
    let timeouts = Timeouts {
        read: Some(Duration::from_millis(20)),
        ..Timeouts::default()
    };
    let request = request(port, &[], RequestBody::Whole(Bytes::new()), timeouts);
    let cell = ExchangeCell::start(Arc::clone(&house.engine), request, false);
    house.sent(&cell);
    let before = Instant::now();
    assert_error(house.part(&cell, Want::Head), Kind::ReadTimeout);
    assert!(before.elapsed() >= Duration::from_millis(20));
    assert_eq!(house.counts(), EMPTY);
    house.join(server);
}

#[cfg(unix)]
#[test]
fn reading_ahead_is_bounded() {
    /// What is promised per connection, with all buffers of this process.
    const PROMISED: usize = 1024 * 1024;
    const LENGTH: usize = 8 * 1024 * 1024;
    /// Asked of the kernel for both sockets, which doubles it.
    const KERNEL: i32 = 64 * 1024;
    /// A server that cannot write for so long has been stopped. Too short a time can only hide a fault.
    const STOPPED: Duration = Duration::from_millis(300);

    let house = House::with(Connector {
        socket_options: vec![SocketOption {
            level: libc::SOL_SOCKET,
            name: libc::SO_RCVBUF,
            value: SocketOptionValue::Int(KERNEL),
        }],
        ..Connector::default()
    });
    let (stopped, stop) = oneshot::channel();
    let (port, server) = house.serve(|mut peer| async move {
        let kernel = usize::try_from(KERNEL).expect("it is positive");
        let socket = socket2::SockRef::from(&peer.0);
        socket
            .set_send_buffer_size(kernel)
            .expect("sockets have send buffers");
        peer.head().await.expect("a request comes");
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {LENGTH}\r\n\r\n");
        peer.send(head.as_bytes()).await;
        let piece = vec![b'x'; kernel];
        let mut sent = 0;
        let mut stopped = Some(stopped);
        while sent < LENGTH {
            let piece = &piece[..piece.len().min(LENGTH - sent)];
            let writing = peer.0.write(piece);
            tokio::pin!(writing);
            let written = match tokio::time::timeout(STOPPED, &mut writing).await {
                Ok(written) => written,
                Err(_) => {
                    if let Some(stopped) = stopped.take() {
                        stopped.send(sent).expect("the test waits");
                    }
                    writing.await
                }
            };
            sent += written.expect("the client is there");
        }
        peer.gone().await;
    });
    let cell = house.start(port);
    cell.spawn();
    let sent = house
        .wait(stop)
        .expect("the server sent everything to a client that takes nothing");
    let kernel = 4 * usize::try_from(KERNEL).expect("it is positive");
    assert!(sent <= PROMISED + kernel, "{sent} bytes left the server");

    // Whoever reads on gets all of it.
    let (_, first, _) = head(announced(&cell, Want::Head));
    let mut length = first.len();
    loop {
        let part = body(announced(&cell, Want::Body).expect("the body is whole"));
        if part.is_empty() {
            break;
        }
        length += part.len();
    }
    assert_eq!(length, LENGTH);
    cell.close();
    assert_eq!(house.counts(), ONE_IDLE);
    house.engine.close();
    house.join(server);
}
