//! Connecting, over real sockets on loopback and Unix sockets in a temporary directory. Names are answered
//! by the tests themselves.

mod lull;
mod names;
mod options;
mod proxies;
mod stream;
mod tcp;

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::time::Duration;

use bytes::Bytes;
use tokio::runtime::Handle;

use super::{Connector, Destination, Stream};
use crate::error::Result;
use crate::origin::Origin;
use crate::timeouts::Timeouts;

/// A test that takes longer than this hangs.
pub(super) const HANGS: Duration = Duration::from_secs(30);

pub(super) fn origin(host: &str, port: u32) -> Origin {
    Origin {
        scheme: Bytes::from_static(b"http"),
        host: Bytes::copy_from_slice(host.as_bytes()),
        port,
    }
}

/// A listener on loopback, and its port.
pub(super) fn listener() -> (TcpListener, u16) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback can be bound");
    let port = listener
        .local_addr()
        .expect("a bound socket has an address")
        .port();
    (listener, port)
}

/// A port of loopback that nobody listens on.
pub(super) fn closed_port() -> u16 {
    listener().1
}

/// A listener whose queue is full: the kernel drops every further SYN, and connecting to it hangs. The
/// streams keep the queue full as long as they live.
pub(super) fn silent_listener() -> (socket2::Socket, SocketAddr, Vec<socket2::Socket>) {
    let domain = socket2::Domain::IPV4;
    let listener =
        socket2::Socket::new(domain, socket2::Type::STREAM, None).expect("a socket can be made");
    let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    listener.bind(&any.into()).expect("loopback can be bound");
    listener.listen(0).expect("a bound socket can listen");
    let bound = listener
        .local_addr()
        .expect("a bound socket has an address");
    let address = bound.as_socket().expect("it is an IPv4 address");
    // A queue of length 0 holds one connection; a second one may be answered before the kernel notices.
    let fillers = (0..4)
        .map(|_| {
            let socket = socket2::Socket::new(domain, socket2::Type::STREAM, None)
                .expect("a socket can be made");
            socket
                .set_nonblocking(true)
                .expect("sockets can be non-blocking");
            let _in_progress = socket.connect(&address.into());
            socket
        })
        .collect();
    (listener, address, fillers)
}

pub(super) async fn connect(connector: &Connector, host: &str, port: u16) -> Result<Stream> {
    let origin = origin(host, port.into());
    let runtime = Handle::current();
    let connecting = connect_to(connector, &origin, None, &runtime);
    tokio::time::timeout(HANGS, connecting)
        .await
        .expect("the test hangs")
}

/// The way to an origin, where nobody is told of it. `timeout` is that of connecting.
pub(super) async fn connect_to(
    connector: &Connector,
    origin: &Origin,
    timeout: Option<Duration>,
    runtime: &Handle,
) -> Result<Stream> {
    let to = Destination {
        origin: origin.clone(),
        server_name: None,
        timeouts: Timeouts {
            connect: timeout,
            ..Timeouts::default()
        },
    };
    let way = connector.connect(&to, &|_| Box::new(()), runtime).await?;
    Ok(way.into_stream())
}
