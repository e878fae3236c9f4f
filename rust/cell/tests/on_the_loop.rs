//! Exchanges that the thread of a loop drives, by a poll set that the loop watches. The loop here is `poll(2)`.

use super::*;
use crate::poll_set::PollSet;

const KEY: usize = 7;

/// A house with one idle connection, whose server answers the next request when it is told to, with what it is told.
struct Loop {
    house: House,
    port: u16,
    set: Arc<PollSet>,
    answer: Option<oneshot::Sender<&'static [u8]>>,
    server: JoinHandle<()>,
}

impl Loop {
    fn new() -> Self {
        let house = House::new();
        let (answer, told) = oneshot::channel::<&'static [u8]>();
        let (port, server) = house.serve(|mut peer| async move {
            peer.head().await.expect("a request comes");
            peer.send(ANSWER).await;
            peer.head().await.expect("another one comes");
            // A test that gives no answer has the connection closed.
            if let Ok(answer) = told.await {
                peer.send(answer).await;
                peer.gone().await;
            }
        });
        let first = house.start(port);
        head(house.part(&first, Want::Head));
        house.rest(&first).expect("the body is whole");
        first.close();
        Self {
            house,
            port,
            set: Arc::new(PollSet::new().expect("there are descriptors left")),
            answer: Some(answer),
            server,
        }
    }

    /// The second request, sent on this thread and waited for.
    fn send(&self) -> (Arc<ExchangeCell>, Receiver<usize>) {
        let cell = self.house.start(self.port);
        let part = cell.try_drive(Want::Head, &self.set);
        assert!(part.is_none(), "nobody has answered: {part:?}");
        let (listener, keys) = listener();
        cell.listen(Want::Head, listener, KEY);
        (cell, keys)
    }

    fn answer(&mut self, answer: &'static [u8]) {
        let sender = self.answer.take().expect("answered once");
        sender.send(answer).expect("the server waits");
    }

    /// One turn of the loop: sleeps until the set has news, and takes them.
    fn turn(&self) {
        assert!(is_readable(&self.set, HANGS), "the test hangs");
        take_news(&self.set);
    }

    fn turns_until(&self, keys: &Receiver<usize>) {
        while keys.try_recv().is_err() {
            self.turn();
        }
    }

    fn end(self) {
        self.house.engine.close();
        self.house.join(self.server);
    }
}

#[allow(unsafe_code)] // poll(2) has no safe binding in std
fn is_readable(set: &PollSet, patience: Duration) -> bool {
    let mut polled = libc::pollfd {
        fd: set.fileno(),
        events: libc::POLLIN,
        revents: 0,
    };
    // SAFETY: one valid `pollfd` on this stack.
    unsafe { libc::poll(&raw mut polled, 1, patience.as_millis() as i32) > 0 }
}

#[test]
fn a_response_needs_no_task() {
    let mut at = Loop::new();
    let (cell, keys) = at.send();
    assert!(!is_readable(&at.set, Duration::ZERO));
    at.answer(ANSWER);
    at.turns_until(&keys);
    let (status, body, ended) = head(cell.take_announced(KEY).expect("it was announced"));
    assert_eq!((status, body.as_slice(), ended), (200, &b"ok"[..], true));
    assert!(!cell.spawned.load(Ordering::Acquire));
    cell.close();
    assert_eq!(at.house.counts(), ONE_IDLE);
    at.end();
}

#[test]
fn what_follows_the_head_is_read_by_a_task() {
    let mut at = Loop::new();
    let (cell, keys) = at.send();
    at.answer(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\no");
    at.turns_until(&keys);
    let (_, body, ended) = head(cell.take_announced(KEY).expect("it was announced"));
    assert!(!ended && b"o".starts_with(&body));
    assert!(cell.spawned.load(Ordering::Acquire));
    cell.close();
    at.end();
}

#[test]
fn a_task_takes_the_socket_along() {
    let mut at = Loop::new();
    let (cell, keys) = at.send();
    cell.spawn();
    at.answer(ANSWER);
    // Nobody looks at the set any more.
    assert_eq!(keys.recv_timeout(HANGS).expect("the test hangs"), KEY);
    assert_eq!(
        head(cell.take_announced(KEY).expect("it was announced")).0,
        200
    );
    cell.close();
    at.end();
}

/// An exchange that a task drives, whose body is pushed; its head has been sent.
fn pushed(house: &House, port: u16, length: usize) -> Arc<ExchangeCell> {
    let length = length.to_string();
    let cell = house.start_with(port, &[("Content-Length", &length)], RequestBody::Pushed);
    cell.spawn();
    let sent = announced(&cell, Want::Sent);
    assert!(matches!(sent, Ok(Part::Sent { takes_more: true })));
    cell
}

#[test]
fn a_push_leaves_without_the_task() {
    let house = House::new();
    let set = Arc::new(PollSet::new().expect("there are descriptors left"));
    let (port, server) = house.serve(|mut peer| async move {
        peer.head().await.expect("a request comes");
        let body = peer.exactly(2).await;
        peer.send(ANSWER).await;
        peer.gone().await;
        body
    });
    let cell = pushed(&house, port, 2);
    // The only worker has something else to do.
    let (is_busy, busy) = channel();
    let (go_on, told) = channel::<()>();
    house.runtime.spawn(async move {
        is_busy.send(()).expect("the test waits");
        let _ = told.recv();
    });
    busy.recv_timeout(HANGS).expect("the worker is free");
    for (chunk, takes_more) in [("a", true), ("b", true), ("", false)] {
        match chunk {
            "" => cell.finish().expect("the body is whole"),
            chunk => cell.push(chunk.into()).expect("it was announced"),
        }
        let part = cell.try_drive(Want::Sent, &set);
        let Some(Ok(Part::Sent { takes_more: more })) = part else {
            panic!("the task was waited for: {part:?}");
        };
        assert_eq!(more, takes_more);
    }
    drop(go_on);
    assert_eq!(head(announced(&cell, Want::Head)).0, 200);
    cell.close();
    house.engine.close();
    assert_eq!(house.join(server), b"ab");
}

#[test]
fn a_push_that_finds_no_room_is_the_tasks() {
    // More than both ends of a connection keep.
    const LARGE: usize = 64 * 1024 * 1024;
    let house = House::new();
    let set = Arc::new(PollSet::new().expect("there are descriptors left"));
    let (go_on, told) = oneshot::channel::<()>();
    let (port, server) = house.serve(|mut peer| async move {
        peer.head().await.expect("a request comes");
        told.await.expect("the test goes on");
        let body = peer.exactly(LARGE).await;
        peer.gone().await;
        body == vec![b'x'; LARGE]
    });
    let cell = pushed(&house, port, LARGE);
    cell.push(vec![b'x'; LARGE].into())
        .expect("it was announced");
    let part = cell.try_drive(Want::Sent, &set);
    assert!(part.is_none(), "nobody reads: {part:?}");
    go_on.send(()).expect("the server waits");
    assert!(matches!(
        announced(&cell, Want::Sent),
        Ok(Part::Sent { takes_more: true })
    ));
    cell.close();
    assert!(house.join(server));
}

#[test]
fn another_loop_takes_the_socket_along() {
    let mut at = Loop::new();
    let (cell, keys) = at.send();
    let former = std::mem::replace(
        &mut at.set,
        Arc::new(PollSet::new().expect("there are descriptors left")),
    );
    assert!(cell.try_drive(Want::Head, &at.set).is_none());
    let (listener, _former_keys) = (super::listener(), keys);
    cell.listen(Want::Head, listener.0, KEY);
    at.answer(ANSWER);
    at.turns_until(&listener.1);
    assert!(!is_readable(&former, Duration::ZERO));
    cell.close();
    at.end();
}

#[test]
fn the_end_of_a_connection_is_news() {
    let mut at = Loop::new();
    let (cell, keys) = at.send();
    drop(at.answer.take());
    at.turns_until(&keys);
    match cell.take_announced(KEY).expect("it was announced") {
        Err(Failure::Error(error)) => assert_eq!(error.kind(), Kind::RemoteProtocol),
        other => panic!("not an error: {other:?}"),
    }
    cell.close();
    at.end();
}

#[test]
fn a_closed_exchange_leaves_the_set() {
    let mut at = Loop::new();
    let (cell, _keys) = at.send();
    cell.close();
    assert_eq!(at.house.counts(), EMPTY);
    drop(at.answer.take());
    at.house.join(at.server);
    assert!(!is_readable(&at.set, Duration::ZERO));
    at.house.engine.close();
}

#[test]
fn a_bell_wakes_the_loop_once() {
    let set = Arc::new(PollSet::new().expect("there are descriptors left"));
    assert!(!is_readable(&set, Duration::ZERO));
    for _ in 0..3 {
        let rings = [(); 2].map(|()| {
            let set = Arc::clone(&set);
            std::thread::spawn(move || set.ring())
        });
        for ring in rings {
            ring.join().expect("a ring does not panic");
        }
        assert!(is_readable(&set, Duration::ZERO));
        take_news(&set);
        assert!(!is_readable(&set, Duration::ZERO));
    }
}
