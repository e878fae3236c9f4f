//! Names: what is looked up, what never is, and how many at a time.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use tokio::runtime::Handle;

use super::super::Connector;
use super::super::resolve::Resolver;
use super::{connect, connect_to, listener, origin};
use crate::error::Kind;

#[tokio::test]
async fn impossible_names_are_connect_errors() {
    let connector = Connector {
        resolver: Resolver::new(|host, _| panic!("{host:?} was looked up")),
        ..Connector::default()
    };
    let long = "x".repeat(64);
    for host in ["", "a..b", ".", "a b", "a\0b", "h\u{e4}", &long, "a\nb"] {
        let error = connect(&connector, host, 80)
            .await
            .expect_err("no such name");
        assert_eq!(error.kind(), Kind::Connect, "{host:?}");
    }
    let mut bytes = origin("", 80);
    bytes.host = bytes::Bytes::from_static(b"\xff\xfe");
    let error = connect_to(&connector, &bytes, None, &Handle::current())
        .await
        .expect_err("no such name");
    assert_eq!(error.kind(), Kind::Connect);
}

#[tokio::test]
async fn a_port_beyond_the_last_is_a_connect_error() {
    let error = connect_to(
        &Connector::default(),
        &origin("127.0.0.1", 123_456),
        None,
        &Handle::current(),
    )
    .await
    .expect_err("no such port");
    assert_eq!(error.kind(), Kind::Connect);
    assert!(error.to_string().starts_with("[Errno -8] "));
}

#[tokio::test]
async fn the_system_knows_localhost() {
    let (_listener, port) = listener();
    connect(&Connector::default(), "localhost", port)
        .await
        .expect("localhost is this host");
}

#[tokio::test]
async fn the_systems_error_keeps_its_code_and_words() {
    // RFC 6761: no name under .invalid exists. Without a resolver the system says so in another way.
    let error = connect(&Connector::default(), "nowhere.invalid", 80)
        .await
        .expect_err("no such name");
    assert_eq!(error.kind(), Kind::Connect);
    let text = error.to_string();
    let known = [
        "[Errno -2] Name or service not known",
        "[Errno -3] Temporary failure in name resolution",
    ];
    assert!(known.contains(&&*text), "{text}");
}

/// A resolver that answers when the test says so, and counts who is inside.
struct Slow {
    open: Mutex<bool>,
    opened: Condvar,
    inside: AtomicUsize,
    most: AtomicUsize,
}

impl Slow {
    fn answer(&self, port: u16) -> Vec<SocketAddr> {
        let inside = self.inside.fetch_add(1, Ordering::SeqCst) + 1;
        self.most.fetch_max(inside, Ordering::SeqCst);
        let open = self.open.lock().expect("nothing panics under this lock");
        let _open = self
            .opened
            .wait_while(open, |open| !*open)
            .expect("nothing panics under this lock");
        self.inside.fetch_sub(1, Ordering::SeqCst);
        vec![SocketAddr::from((Ipv4Addr::LOCALHOST, port))]
    }

    fn open(&self) {
        *self.open.lock().expect("nothing panics under this lock") = true;
        self.opened.notify_all();
    }
}

fn slow() -> (Arc<Slow>, Connector) {
    let slow = Arc::new(Slow {
        open: Mutex::new(false),
        opened: Condvar::new(),
        inside: AtomicUsize::new(0),
        most: AtomicUsize::new(0),
    });
    let answering = Arc::clone(&slow);
    let connector = Connector {
        resolver: Resolver::new(move |_, port| Ok(answering.answer(port))),
        ..Connector::default()
    };
    (slow, connector)
}

#[tokio::test]
async fn a_slow_look_up_is_inside_the_timeout() {
    let (slow, connector) = slow();
    let error = connect_to(
        &connector,
        &origin("slow.example", 80),
        Some(Duration::from_millis(20)),
        &Handle::current(),
    )
    .await
    .expect_err("nobody answers");
    assert_eq!(error.kind(), Kind::ConnectTimeout);
    slow.open();
}

#[tokio::test]
async fn abandoned_look_ups_take_a_bounded_number_of_threads() {
    let (slow, connector) = slow();
    let (_listener, port) = listener();
    for _ in 0..40 {
        let error = connect_to(
            &connector,
            &origin("slow.example", port.into()),
            Some(Duration::from_millis(2)),
            &Handle::current(),
        )
        .await
        .expect_err("nobody answers");
        assert_eq!(error.kind(), Kind::ConnectTimeout);
    }
    assert!(slow.most.load(Ordering::SeqCst) <= 8);
    slow.open();
    connect(&connector, "slow.example", port)
        .await
        .expect("the threads are free again");
}
