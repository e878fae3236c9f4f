//! The server that soaks and measurements talk to: fast, exact, and as ill-behaved as it is asked to be.
//!
//! `bench_server PORT [HTTP2_PORT]` serves HTTP/1.1 on 127.0.0.1 until it is ended, and HTTP/2 by prior knowledge
//! on the other port. The path of a request says what is to be done with it (see `route`), so that whoever asks
//! knows what must come of it. A nonce in `X-Nonce` comes back in the
//! response's head, and fills its body over and over. One thread serves all connections.
//!
//! `ended ID HOW TIME` goes to standard output when the peer of a held request ends its connection: `fin` or
//! `rst`, and the nanoseconds of the system's clock since 1970.

mod connection;
mod http2;
mod request;
mod response;
mod route;

use std::io;
use std::net::Ipv4Addr;
use std::process::ExitCode;

use tokio::net::{TcpSocket, TcpStream};

/// All the clients of a scale row may connect in one instant.
const BACKLOG: u32 = 4096;

fn main() -> ExitCode {
    let ports: Result<Vec<u16>, _> = std::env::args().skip(1).map(|text| text.parse()).collect();
    let Ok([port, http2 @ ..]) = ports.as_deref() else {
        eprintln!("usage: bench_server PORT [HTTP2_PORT]");
        return ExitCode::from(2);
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime can be built");
    let tasks = tokio::task::LocalSet::new();
    let served = tasks.block_on(&runtime, async {
        let http1 = listen(*port, |stream| async {
            drop(connection::serve(stream).await)
        });
        let Some(port) = http2.first() else {
            return http1.await;
        };
        let http2 = listen(*port, |stream| async { drop(http2::serve(stream).await) });
        tokio::try_join!(http1, http2).map(|_| ())
    });
    match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench_server: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Serves each connection to `port` by `serve`. A peer that goes in the middle is no fault of this server's.
async fn listen<Served>(port: u16, serve: fn(TcpStream) -> Served) -> io::Result<()>
where
    Served: Future<Output = ()> + 'static,
{
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.bind((Ipv4Addr::LOCALHOST, port).into())?;
    let listener = socket.listen(BACKLOG)?;
    loop {
        // One that has gone again, or no descriptor left for it: the next may do better.
        let Ok((stream, _)) = listener.accept().await else {
            tokio::task::yield_now().await;
            continue;
        };
        stream.set_nodelay(true)?;
        tokio::task::spawn_local(serve(stream));
    }
}
