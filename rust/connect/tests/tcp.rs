//! TCP and Unix sockets: what is tried, in which order, for how long, and what a failure says.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::runtime::Handle;

use super::super::resolve::Resolver;
use super::super::{Address, Connector};
use super::{closed_port, connect, connect_to, listener, origin, silent_listener};
use crate::error::{Cause, Error, Kind};

fn errno(error: &Error) -> Option<i32> {
    match error.cause() {
        Cause::Io(error) => error.raw_os_error(),
        _ => None,
    }
}

/// A connector whose names have these addresses.
fn with_addresses(addresses: Vec<SocketAddr>) -> Connector {
    Connector {
        resolver: Resolver::new(move |_, _| Ok(addresses.clone())),
        ..Connector::default()
    }
}

#[tokio::test]
async fn an_address_is_connected_to_without_a_look_up() {
    let (_listener, port) = listener();
    let connector = Connector {
        resolver: Resolver::new(|_, _| panic!("an address needs no look-up")),
        ..Connector::default()
    };
    let stream = connect(&connector, "127.0.0.1", port)
        .await
        .expect("somebody listens");
    let expected = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    assert_eq!(
        stream.view().peer_addr().expect("connected"),
        Address::Inet(expected)
    );
    assert!(matches!(stream.view().local_addr(), Ok(Address::Inet(_))));
}

#[tokio::test]
async fn a_refused_connection_says_so() {
    let refused = connect(&Connector::default(), "127.0.0.1", closed_port())
        .await
        .expect_err("nobody listens");
    assert_eq!(refused.kind(), Kind::Connect);
    assert_eq!(errno(&refused), Some(libc::ECONNREFUSED));
}

#[tokio::test]
async fn the_timeout_bounds_the_attempt() {
    let (_listener, address, _fillers) = silent_listener();
    for timeout in [Duration::ZERO, Duration::from_millis(50)] {
        let connector = Connector::default();
        let origin = origin("127.0.0.1", address.port().into());
        let started = Instant::now();
        let error = connect_to(&connector, &origin, Some(timeout), &Handle::current())
            .await
            .expect_err("nobody answers");
        assert_eq!(error.kind(), Kind::ConnectTimeout);
        assert!(started.elapsed() >= timeout);
    }
}

#[tokio::test]
async fn a_dead_address_does_not_keep_the_live_one() {
    let (_dead, silent, _fillers) = silent_listener();
    let (_listener, port) = listener();
    let live = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let stream = connect(&with_addresses(vec![silent, live]), "two.example", port)
        .await
        .expect("the second address listens");
    assert_eq!(
        stream.view().peer_addr().expect("connected"),
        Address::Inet(live)
    );
}

#[tokio::test]
async fn a_refused_address_makes_the_next_begin_at_once() {
    let refusing = SocketAddr::from((Ipv4Addr::LOCALHOST, closed_port()));
    let (_listener, port) = listener();
    let live = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    // Far more addresses than the stagger would allow for before the test counts as hanging.
    let mut addresses = vec![refusing; 500];
    addresses.push(live);
    connect(&with_addresses(addresses), "many.example", port)
        .await
        .expect("the last address listens");
}

#[test]
fn no_runtime_need_be_current() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .expect("a runtime can be built");
    let (_listener, port) = listener();
    let live = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let connector = with_addresses(vec![live; 3]);
    let origin = origin("three.example", port.into());
    let timeout = Some(super::HANGS);
    let mut connecting = Box::pin(connect_to(&connector, &origin, timeout, runtime.handle()));
    // Polled by a thread that is in no runtime's context, until the reactor has done its part.
    let (woken, waits) = std::sync::mpsc::channel();
    let waker = std::task::Waker::from(Arc::new(Unpark(woken)));
    let mut cx = std::task::Context::from_waker(&waker);
    while connecting.as_mut().poll(&mut cx).is_pending() {
        waits.recv_timeout(super::HANGS).expect("the test hangs");
    }
}

struct Unpark(std::sync::mpsc::Sender<()>);

impl std::task::Wake for Unpark {
    fn wake(self: Arc<Self>) {
        // The test may have ended.
        let _ = self.0.send(());
    }
}

#[tokio::test]
async fn one_family_may_be_missing() {
    let (_listener, port) = listener();
    let addresses = vec![
        SocketAddr::from((Ipv6Addr::LOCALHOST, closed_port())),
        SocketAddr::from((Ipv4Addr::LOCALHOST, port)),
    ];
    connect(&with_addresses(addresses), "both.example", port)
        .await
        .expect("IPv4 listens");
}

#[tokio::test]
async fn all_addresses_failing_is_the_last_ones_error() {
    let refusing = SocketAddr::from((Ipv4Addr::LOCALHOST, closed_port()));
    let error = connect(&with_addresses(vec![refusing; 3]), "three.example", 1)
        .await
        .expect_err("nobody listens");
    assert_eq!(errno(&error), Some(libc::ECONNREFUSED));
}

#[tokio::test]
async fn the_local_address_is_bound() {
    let (listener, port) = listener();
    let connector = Connector {
        local_address: Some("127.0.0.9".to_owned()),
        ..Connector::default()
    };
    let _stream = connect(&connector, "127.0.0.1", port)
        .await
        .expect("somebody listens");
    let (_, peer) = listener.accept().expect("the client has connected");
    assert_eq!(peer.ip(), IpAddr::from(Ipv4Addr::new(127, 0, 0, 9)));
}

#[tokio::test]
async fn a_local_address_of_another_host_fails() {
    let (_listener, port) = listener();
    let connector = Connector {
        // TEST-NET-1 (RFC 5737) is nobody's.
        local_address: Some("192.0.2.1".to_owned()),
        ..Connector::default()
    };
    let error = connect(&connector, "127.0.0.1", port)
        .await
        .expect_err("the address is not ours");
    assert_eq!(error.kind(), Kind::Connect);
    assert_eq!(errno(&error), Some(libc::EADDRNOTAVAIL));
}

#[tokio::test]
async fn an_unspecified_local_address_forces_the_family() {
    let (_listener, port) = listener();
    let both = vec![
        SocketAddr::from((Ipv6Addr::LOCALHOST, port)),
        SocketAddr::from((Ipv4Addr::LOCALHOST, port)),
    ];
    let four = Connector {
        local_address: Some("0.0.0.0".to_owned()),
        ..with_addresses(both.clone())
    };
    // The resolver answers for the local address as well, unless it is one: it is.
    connect(&four, "both.example", port)
        .await
        .expect("IPv4 listens");
    let six = Connector {
        local_address: Some("::".to_owned()),
        ..with_addresses(both[1..].to_vec())
    };
    let error = connect(&six, "four.example", port)
        .await
        .expect_err("no address is left");
    assert_eq!(error.kind(), Kind::Connect);
}

#[tokio::test(start_paused = true)]
async fn retries_pause_as_httpcores_do() {
    let attempts = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&attempts);
    let connector = Connector {
        retries: 4,
        resolver: Resolver::new(move |_, _| {
            counted.fetch_add(1, Ordering::SeqCst);
            Err(Error::resolve(-2, "Name or service not known"))
        }),
        ..Connector::default()
    };
    let started = tokio::time::Instant::now();
    let error = connect_to(
        &connector,
        &origin("none.example", 80),
        None,
        &Handle::current(),
    )
    .await
    .expect_err("the name is unknown");
    assert_eq!(error.to_string(), "[Errno -2] Name or service not known");
    assert_eq!(attempts.load(Ordering::SeqCst), 5);
    // 0 + 0.5 + 1 + 2 seconds.
    let paused = started.elapsed();
    assert!(paused >= Duration::from_millis(3500), "{paused:?}");
    assert!(paused < Duration::from_millis(4500), "{paused:?}");
}

#[tokio::test]
async fn a_retry_finds_a_server_that_has_come_up() {
    let (late, port) = listener();
    let attempts = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&attempts);
    let (refusing, live) = (closed_port(), port);
    let connector = Connector {
        retries: 1,
        resolver: Resolver::new(move |_, _| {
            let first = counted.fetch_add(1, Ordering::SeqCst) == 0;
            let port = if first { refusing } else { live };
            Ok(vec![SocketAddr::from((Ipv4Addr::LOCALHOST, port))])
        }),
        ..Connector::default()
    };
    connect(&connector, "late.example", port)
        .await
        .expect("the second attempt is answered");
    assert_eq!(attempts.load(Ordering::SeqCst), 2);
    drop(late);
}

#[tokio::test]
async fn dropping_the_attempt_closes_its_socket() {
    let (listener, port) = listener();
    let stream = connect(&Connector::default(), "127.0.0.1", port)
        .await
        .expect("somebody listens");
    let (mut peer, _) = listener.accept().expect("the client has connected");
    drop(stream);
    let mut byte = [0];
    let read = std::io::Read::read(&mut peer, &mut byte).expect("a FIN is no error");
    assert_eq!(read, 0);
}

/// A directory of its own for a Unix socket, removed with it.
struct Directory(std::path::PathBuf);

impl Directory {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("hyper-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).expect("the temporary directory is writable");
        Self(path)
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[tokio::test]
async fn a_unix_socket_takes_the_place_of_tcp() {
    let directory = Directory::new("uds");
    let path = directory.0.join("socket");
    let connector = Connector {
        uds: Some(path.clone()),
        resolver: Resolver::new(|_, _| panic!("no name is looked up")),
        ..Connector::default()
    };
    let missing = connect(&connector, "one.example", 80)
        .await
        .expect_err("nobody listens yet");
    assert_eq!(errno(&missing), Some(libc::ENOENT));

    let _listener = std::os::unix::net::UnixListener::bind(&path).expect("the path is free");
    let stream = connect(&connector, "two.example", 80)
        .await
        .expect("somebody listens");
    assert_eq!(
        stream.view().peer_addr().expect("connected"),
        Address::Unix(path)
    );
}

#[tokio::test]
async fn a_full_unix_listener_is_waited_for() {
    let directory = Directory::new("full");
    let path = directory.0.join("socket");
    let listener = socket2::Socket::new(socket2::Domain::UNIX, socket2::Type::STREAM, None)
        .expect("a socket can be made");
    let address = socket2::SockAddr::unix(&path).expect("the path is short");
    listener.bind(&address).expect("the path is free");
    listener.listen(0).expect("a bound socket can listen");
    let connector = Connector {
        uds: Some(path),
        ..Connector::default()
    };
    // The queue holds one; the second connect finds it full until somebody accepts.
    let _first = connect(&connector, "first.example", 80)
        .await
        .expect("there is room for one");
    let origin = origin("second.example", 80);
    let runtime = Handle::current();
    let full = connect_to(
        &connector,
        &origin,
        Some(Duration::from_millis(50)),
        &runtime,
    )
    .await
    .expect_err("the queue is full");
    assert_eq!(full.kind(), Kind::ConnectTimeout);
    let (second, accepted) = tokio::join!(connect(&connector, "second.example", 80), async {
        tokio::task::spawn_blocking(move || listener.accept().map(|_| listener)).await
    });
    second.expect("room was made");
    accepted
        .expect("accepting does not panic")
        .expect("a connection was waiting");
}
