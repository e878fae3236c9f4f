//! Exchanges that end early: by an error, by their caller, by their pool.

use std::time::Instant;

use super::*;

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
    let (port, server) = house.serve_all_but_the_end();
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
    let (port, server) = house.serve_all_but_the_end();
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
