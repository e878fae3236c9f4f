//! Socket: opening one socket, and the options on it.

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use socket2::{Domain, Protocol, SockAddr, Socket, Type};
use tokio::runtime::Handle;

use super::socket_stream::SocketStream;
use crate::error::{Error, Kind, Result};

/// One `setsockopt` call, in httpcore's terms.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SocketOption {
    /// `SOL_SOCKET`, `IPPROTO_TCP`, ...
    pub level: i32,
    /// `SO_KEEPALIVE`, `TCP_KEEPIDLE`, ...
    pub name: i32,
    /// What it is set to.
    pub value: SocketOptionValue,
}

/// The kinds of values that Python's `setsockopt` takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SocketOptionValue {
    /// A C int.
    Int(i32),
    /// A structure, byte by byte.
    Bytes(Vec<u8>),
    /// A null pointer with this length.
    Null(u32),
}

/// How long to leave a Unix listener whose queue is full. The kernel says so at once (`EAGAIN`) and has
/// nothing to wait on; a blocking connect would sleep in the kernel.
#[cfg(unix)]
const FULL_QUEUE_PAUSE: Duration = Duration::from_millis(10);

/// A TCP connection to `address`, from `source` if there is one.
///
/// # Errors
///
/// `Connect`, with the system's error.
pub(super) async fn connect_tcp(
    address: SocketAddr,
    source: Option<SocketAddr>,
    options: &[SocketOption],
    runtime: &Handle,
) -> Result<SocketStream> {
    let open = || -> io::Result<Socket> {
        let socket = Socket::new(
            Domain::for_address(address),
            Type::STREAM,
            Some(Protocol::TCP),
        )?;
        socket.set_nonblocking(true)?;
        if let Some(source) = source {
            socket.bind(&source.into())?;
        }
        Ok(socket)
    };
    let socket = open().map_err(refused)?;
    let stream = connect(socket, &address.into(), runtime).await?;
    set_options(stream.socket(), options)?;
    // Small writes leave at once: requests are written whole.
    stream.socket().set_tcp_nodelay(true).map_err(refused)?;
    Ok(stream)
}

/// A connection to a Unix socket.
///
/// # Errors
///
/// `Connect`, with the system's error.
#[cfg(unix)]
pub(super) async fn connect_unix(
    path: &Path,
    options: &[SocketOption],
    runtime: &Handle,
) -> Result<SocketStream> {
    let address = SockAddr::unix(path).map_err(refused)?;
    loop {
        let socket = Socket::new(Domain::UNIX, Type::STREAM, None).map_err(refused)?;
        socket.set_nonblocking(true).map_err(refused)?;
        match connect(socket, &address, runtime).await {
            Ok(stream) => {
                set_options(stream.socket(), options)?;
                return Ok(stream);
            }
            Err(error) if is_full_queue(&error) => super::sleep(FULL_QUEUE_PAUSE, runtime).await,
            Err(error) => return Err(error),
        }
    }
}

/// Unix sockets are httpcore's `RuntimeError` on Windows; here they are a failed connect.
#[cfg(not(unix))]
pub(super) async fn connect_unix(
    _path: &Path,
    _options: &[SocketOption],
    _runtime: &Handle,
) -> Result<SocketStream> {
    Err(Error::message(
        Kind::Connect,
        "Unix sockets are not available on this system.",
    ))
}

#[cfg(unix)]
fn is_full_queue(error: &Error) -> bool {
    match error.cause() {
        crate::error::Cause::Io(error) => error.kind() == io::ErrorKind::WouldBlock,
        _ => false,
    }
}

async fn connect(socket: Socket, address: &SockAddr, runtime: &Handle) -> Result<SocketStream> {
    let waits = match socket.connect(address) {
        Ok(()) => false,
        Err(error) if in_progress(&error) => true,
        Err(error) => return Err(refused(error)),
    };
    let stream = SocketStream::new(socket, runtime).map_err(refused)?;
    if waits {
        stream.connected(runtime).await.map_err(refused)?;
    }
    Ok(stream)
}

#[cfg(unix)]
fn in_progress(error: &io::Error) -> bool {
    error.raw_os_error() == Some(libc::EINPROGRESS)
}

#[cfg(not(unix))]
fn in_progress(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::WouldBlock
}

fn refused(error: io::Error) -> Error {
    Error::io(Kind::Connect, error)
}

fn set_options(socket: &Socket, options: &[SocketOption]) -> Result<()> {
    for option in options {
        set_option(socket, option).map_err(refused)?;
    }
    Ok(())
}

#[cfg(unix)]
#[allow(unsafe_code)] // setsockopt with the caller's own level and name has no safe binding
fn set_option(socket: &Socket, option: &SocketOption) -> io::Result<()> {
    use std::os::fd::AsRawFd;

    let int;
    let (value, length) = match &option.value {
        SocketOptionValue::Int(value) => {
            int = value.to_ne_bytes();
            (int.as_ptr(), int.len())
        }
        SocketOptionValue::Bytes(bytes) => (bytes.as_ptr(), bytes.len()),
        SocketOptionValue::Null(length) => (std::ptr::null(), *length as usize),
    };
    let length = libc::socklen_t::try_from(length)
        .map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
    // SAFETY: the descriptor is open as long as `socket` lives. `value` points to `length` readable bytes
    // that outlive the call, or is null, which the kernel answers with EFAULT unless the option takes it.
    let failed = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            option.level,
            option.name,
            value.cast(),
            length,
        )
    };
    if failed == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

#[cfg(not(unix))]
fn set_option(_socket: &Socket, _option: &SocketOption) -> io::Result<()> {
    Err(io::Error::new(
        io::ErrorKind::Unsupported,
        "socket_options are not available on this system yet",
    ))
}
