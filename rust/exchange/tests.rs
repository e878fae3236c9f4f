//! Exchanges on HTTP/2 connections whose stream ids end, over real sockets and against `h2`'s own server.

use std::future::poll_fn;
use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Handle;
use tokio::task::JoinSet;

use super::{Engine, Exchange, Interrupt, Owner};
use crate::connect::{Connector, Versions};
use crate::connection::RequestHead;
use crate::origin::Origin;
use crate::pool::{Counts, Limits, Pool, Sharing};
use crate::request::{Request, RequestBody};
use crate::timeouts::Timeouts;

/// A test that takes longer than this hangs.
const HANGS: Duration = Duration::from_secs(30);

/// A connection has two streams from here on: RFC 9113 section 5.1.1.
const LAST_BUT_ONE: u32 = (1 << 31) - 3;
const LAST: u32 = LAST_BUT_ONE + 2;

/// Nobody closes the pool under an exchange here.
struct Nobody;

impl Interrupt for Nobody {
    fn interrupt(self: Arc<Self>) {
        unreachable!("the pool is not closed");
    }
}

fn nobody() -> Owner {
    Weak::<Nobody>::new()
}

/// Answers every request, and says how many connections came.
async fn serve() -> (u16, Arc<AtomicUsize>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .await
        .expect("loopback can be bound");
    let port = listener
        .local_addr()
        .expect("a bound socket has an address")
        .port();
    let accepted = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&accepted);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            counted.fetch_add(1, Ordering::Relaxed);
            tokio::spawn(answer(stream));
        }
    });
    (port, accepted)
}

async fn answer(stream: TcpStream) {
    let mut connection = h2::server::handshake(stream)
        .await
        .expect("a client begins with its preface");
    while let Some(Ok((_, mut respond))) = connection.accept().await {
        let mut body = respond
            .send_response(http::Response::new(()), false)
            .expect("the stream is open");
        body.send_data(Bytes::from_static(b"ok"), true)
            .expect("the stream is open");
    }
}

/// With connections that have two streams each.
fn engine() -> Arc<Engine> {
    Arc::new(Engine {
        pool: Pool::new(Limits {
            max_connections: 10,
            max_keepalive_connections: 10,
            keepalive_expiry: None,
            sharing: Sharing::Always,
        }),
        connector: Arc::new(Connector {
            versions: Versions::Http2,
            first_stream: Some(LAST_BUT_ONE),
            ..Connector::default()
        }),
        runtime: Handle::current(),
        views: Arc::default(),
    })
}

/// The stream that a request had, and its body.
async fn exchange(engine: Arc<Engine>, port: u16) -> (Option<u32>, Vec<u8>) {
    let headers = [(&b"Host"[..], &b"x"[..])];
    let request = Request {
        origin: Origin {
            scheme: Bytes::from_static(b"http"),
            host: Bytes::from_static(b"127.0.0.1"),
            port: port.into(),
        },
        server_name: None,
        head: RequestHead::render(b"GET", b"/", headers.into_iter()).expect("the head is valid"),
        body: RequestBody::Whole(Bytes::new()),
        timeouts: Timeouts::default(),
    };
    let since = Some(Instant::now());
    let mut exchange = Exchange::start(engine, request, nobody());
    let sent = poll_fn(|cx| exchange.poll_sent(cx, since)).await;
    sent.expect("there is always a connection");
    let head = poll_fn(|cx| exchange.poll_head(cx, since)).await;
    let head = head.expect("it is answered");
    assert_eq!(head.status, 200);
    let mut body = Vec::new();
    while let Some(part) = poll_fn(|cx| exchange.poll_body(cx, since))
        .await
        .expect("nothing fails")
    {
        body.extend(part);
    }
    (head.stream_id, body)
}

/// Runs a test that must not hang.
fn run(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime can be built");
    runtime
        .block_on(async { tokio::time::timeout(HANGS, test).await })
        .expect("the test hangs");
}

#[test]
fn a_connection_without_ids_is_followed_by_another_one() {
    run(async {
        let (port, accepted) = serve().await;
        let engine = engine();
        for number in 0..6 {
            let id = [LAST_BUT_ONE, LAST][number % 2];
            let (stream, body) = exchange(Arc::clone(&engine), port).await;
            assert_eq!((stream, &body[..]), (Some(id), &b"ok"[..]));
            assert_eq!(accepted.load(Ordering::Relaxed), number / 2 + 1);
        }
    });
}

#[test]
fn requests_at_once_that_find_no_id_have_other_connections() {
    run(async {
        let (port, accepted) = serve().await;
        let engine = engine();
        let mut exchanges = JoinSet::new();
        for _ in 0..20 {
            exchanges.spawn(exchange(Arc::clone(&engine), port));
        }
        let bodies = exchanges.join_all().await;
        assert!(bodies.iter().all(|(_, body)| body == b"ok"), "{bodies:?}");
        assert_eq!(accepted.load(Ordering::Relaxed), 10);
        let nothing_in_flight = Counts {
            active_requests: 0,
            queued_requests: 0,
            active_connections: 0,
            ..engine.pool.counts()
        };
        assert_eq!(engine.pool.counts(), nothing_in_flight);
    });
}
