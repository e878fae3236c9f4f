//! The server that soaks and measurements talk to: fast, exact, and as ill-behaved as it is asked to be.
//!
//! `bench_server PORT` serves on 127.0.0.1 until it is ended. The path of a request says what is to be done with
//! it (see `route`), so that whoever asks knows what must come of it. A nonce in `X-Nonce` comes back in the
//! response's head, and fills its body over and over. One thread serves all connections.
//!
//! `ended ID HOW TIME` goes to standard output when the peer of a held request ends its connection: `fin` or
//! `rst`, and the nanoseconds of the system's clock since 1970.

mod connection;
mod request;
mod response;
mod route;

use std::io;
use std::net::Ipv4Addr;
use std::process::ExitCode;

use tokio::net::TcpSocket;

/// All the clients of a scale row may connect in one instant.
const BACKLOG: u32 = 4096;

fn main() -> ExitCode {
    let Some(port) = std::env::args().nth(1).and_then(|text| text.parse().ok()) else {
        eprintln!("usage: bench_server PORT");
        return ExitCode::from(2);
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime can be built");
    let tasks = tokio::task::LocalSet::new();
    match runtime.block_on(tasks.run_until(listen(port))) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench_server: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn listen(port: u16) -> io::Result<()> {
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
        // A peer that goes in the middle is no fault of this server's.
        tokio::task::spawn_local(async { drop(connection::serve(stream).await) });
    }
}
