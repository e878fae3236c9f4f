//! View: a look at a stream's socket from outside.
//!
//! Python asks a connection for its addresses and for its socket while the exchange, on another thread,
//! reads and writes it. Nothing here reads or writes, and nothing here keeps a connection open.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock, Weak};

use socket2::{SockAddr, Socket};

use crate::ledger::{Entry, Item};
use crate::tls::Secured;

/// One end of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// TCP.
    Inet(SocketAddr),
    /// A Unix socket; empty for a nameless one.
    Unix(PathBuf),
}

/// The socket itself: the stream's own, and for a moment whoever looks at it through a [`SocketView`].
#[derive(Debug)]
pub(super) struct Connected {
    pub(super) socket: Socket,
    /// The peer's address, as it was when the connect had ended: the kernel forgets it once both sides have.
    peer: OnceLock<Address>,
    /// Somebody has a descriptor of their own for it, so that closing ours does not close the connection.
    lent: AtomicBool,
    _entry: Entry,
}

impl Connected {
    pub(super) fn new(socket: Socket) -> Self {
        Self {
            socket,
            peer: OnceLock::new(),
            lent: AtomicBool::new(false),
            _entry: Entry::new(Item::Descriptor),
        }
    }

    /// Notes who is at the other end, for later.
    pub(super) fn met(&self, peer: SockAddr) {
        // A socket is connected once.
        let _ = self.peer.set(address(peer));
    }

    fn peer_addr(&self) -> io::Result<Address> {
        match (self.socket.peer_addr(), self.peer.get()) {
            (Err(error), Some(peer)) if error.kind() == io::ErrorKind::NotConnected => {
                Ok(peer.clone())
            }
            (asked, _) => asked.map(address),
        }
    }

    /// Ends the connection, whoever else holds a descriptor.
    fn shut_down(&self) {
        // An error means that it has ended.
        let _ = self.socket.shutdown(std::net::Shutdown::Both);
    }
}

impl AsRawFd for Connected {
    fn as_raw_fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}

impl Drop for Connected {
    fn drop(&mut self) {
        if *self.lent.get_mut() {
            self.shut_down();
        }
    }
}

/// Looks at a stream's socket from outside, for as long as the stream lives. Keeps nothing open.
#[derive(Clone)]
pub struct SocketView {
    socket: Weak<Connected>,
    secured: Option<Secured>,
}

impl std::fmt::Debug for SocketView {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SocketView").finish_non_exhaustive()
    }
}

impl SocketView {
    pub(super) fn of(connected: &Arc<Connected>) -> Self {
        Self {
            socket: Arc::downgrade(connected),
            secured: None,
        }
    }

    /// The same socket, with a TLS session over it.
    pub(super) fn secured_by(self, secured: Secured) -> Self {
        Self {
            secured: Some(secured),
            ..self
        }
    }

    /// What the TLS session over the socket tells about itself, if there is one.
    pub fn secured(&self) -> Option<&Secured> {
        self.secured.as_ref()
    }

    fn connected(&self) -> io::Result<Arc<Connected>> {
        let closed = || io::Error::from_raw_os_error(libc::EBADF);
        self.socket.upgrade().ok_or_else(closed)
    }

    /// The peer's end.
    ///
    /// # Errors
    ///
    /// `EBADF` once the stream is gone, else those of `getpeername`; that both sides have ended the connection is none.
    pub fn peer_addr(&self) -> io::Result<Address> {
        self.connected()?.peer_addr()
    }

    /// Our end.
    ///
    /// # Errors
    ///
    /// `EBADF` once the stream is gone, else those of `getsockname`.
    pub fn local_addr(&self) -> io::Result<Address> {
        self.connected()?.socket.local_addr().map(address)
    }

    /// Whether a read would return at once; true of a closed socket as well.
    pub fn is_readable(&self) -> bool {
        self.connected()
            .map_or(true, |connected| is_readable(&connected.socket))
    }

    /// A descriptor of the caller's own. The stream still ends the connection when it is dropped.
    ///
    /// # Errors
    ///
    /// `EBADF` once the stream is gone, else those of `dup`.
    pub fn duplicate(&self) -> io::Result<OwnedFd> {
        let connected = self.connected()?;
        connected.lent.store(true, Ordering::Release);
        connected.socket.as_fd().try_clone_to_owned()
    }

    /// Ends the connection: whoever reads or writes it finds it closed.
    pub fn shut_down(&self) {
        if let Ok(connected) = self.connected() {
            connected.shut_down();
        }
    }
}

#[allow(unsafe_code)] // poll(2) has no safe binding in std
pub(super) fn is_readable(socket: &Socket) -> bool {
    let mut polled = libc::pollfd {
        fd: socket.as_raw_fd(),
        events: libc::POLLIN,
        revents: 0,
    };
    loop {
        // SAFETY: one valid `pollfd` on this stack, and a timeout of zero: the call does not wait.
        match unsafe { libc::poll(&raw mut polled, 1, 0) } {
            0 => return false,
            ready if ready > 0 => return true,
            // Interrupted: ask again. Nothing else can fail with one descriptor.
            _ => {}
        }
    }
}

fn address(address: SockAddr) -> Address {
    match address.as_socket() {
        Some(inet) => Address::Inet(inet),
        None => Address::Unix(address.as_pathname().map(PathBuf::from).unwrap_or_default()),
    }
}
