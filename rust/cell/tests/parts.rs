//! The parts of an exchange that comes to its end, as its caller wants them.

use super::*;

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
