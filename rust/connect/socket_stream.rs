//! SocketStream: a connected socket, registered with a runtime.
//!
//! tokio's own `TcpStream` is registered for reading and writing at once, edge-triggered, so that each of
//! the peer's acknowledgements wakes the task for nothing. Here a socket is registered for reading, and
//! for writing only while a write waits: a wake-up less and two system calls less for each request.
//!
//! For reading it is registered with whoever polls it: with the runtime, or with the loop of a caller who polls
//! himself (`poll_set`). It moves when another one polls it and finds nothing to read.

use std::io::{self, IoSlice};
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use socket2::Socket;
use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::runtime::Handle;

use super::lull::Lull;
use super::view::{Connected, SocketView, is_readable};
use crate::connection::NetworkStream;
use crate::ledger::{Entry, Item};
use crate::poll_set::{self, Registered};

/// A write to a closed peer is an error, never a signal: a program may have given SIGPIPE its default back.
/// macOS knows no such flag; socket2 sets `SO_NOSIGPIPE` there.
#[cfg(target_os = "macos")]
const NO_SIGNAL: i32 = 0;
#[cfg(not(target_os = "macos"))]
const NO_SIGNAL: i32 = libc::MSG_NOSIGNAL;

/// Whether a read that leaves room in the buffer has taken all there was, so that asking once more is a
/// wasted system call. Of epoll's edges that is true: what comes later is a new edge, and tokio never
/// clears the one that says that the peer has closed.
///
/// In the middle of a download more has often come by the time the last read is handed on, and asking at
/// once is cheaper than going to sleep for it: so only small reads count.
const SHORT_READ_DRAINS: bool = cfg!(any(target_os = "linux", target_os = "android"));

/// The largest read that may be a whole response of the small kind; a download fills larger buffers.
const SMALL_READ: usize = 8 * 1024;

/// A connected TCP or Unix socket.
///
/// # Drop
///
/// Closes the socket, at once and from any thread.
#[derive(Debug)]
pub struct SocketStream {
    // Declared first: dropped, both leave their poll sets before the socket closes.
    writable: Option<AsyncFd<Second>>,
    readable: Readable,
    socket: Arc<Connected>,
    runtime: Handle,
    lull: Lull,
}

/// Who tells when there is something to read.
#[derive(Debug)]
enum Readable {
    Runtime(AsyncFd<Arc<Connected>>),
    Caller(Registered),
}

impl SocketStream {
    /// A view of the socket.
    pub fn view(&self) -> SocketView {
        SocketView::of(&self.socket)
    }

    /// Registers a non-blocking socket.
    pub(super) fn new(socket: Socket, runtime: &Handle) -> io::Result<Self> {
        let _context = runtime.enter();
        let socket = Arc::new(Connected::new(socket));
        Ok(Self {
            writable: None,
            readable: Readable::Runtime(register(Arc::clone(&socket), Interest::READABLE)?),
            socket,
            runtime: runtime.clone(),
            lull: Lull::default(),
        })
    }

    pub(super) fn socket(&self) -> &Socket {
        &self.socket.socket
    }

    /// Leaves whoever the socket was registered with for whoever polls it now. Where a loop has no room for it, the
    /// runtime wakes the caller as well, by a longer way.
    fn follow(&mut self) -> io::Result<()> {
        let here = poll_set::here();
        match (&self.readable, &here) {
            (Readable::Runtime(_), None) => return Ok(()),
            (Readable::Caller(registered), Some(set)) if registered.is_of(set) => return Ok(()),
            _ => {}
        }
        if let Some(set) = here
            && let Ok(registered) = Registered::new(set, self.socket.as_raw_fd())
        {
            self.readable = Readable::Caller(registered);
        } else if matches!(self.readable, Readable::Caller(_)) {
            let _context = self.runtime.enter();
            let socket = Arc::clone(&self.socket);
            self.readable = Readable::Runtime(register(socket, Interest::READABLE)?);
        }
        Ok(())
    }

    /// [`AsyncRead::poll_read`] for a caller whose loop watches the socket.
    fn poll_read_by_caller(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let Readable::Caller(registered) = &self.readable else {
            unreachable!("the runtime's are polled by `poll_read`");
        };
        let socket = &self.socket.socket;
        // Before it is asked to be told: nobody is to be woken for what is found here.
        if !registered.is_ready()
            && self.lull.awaits_answer()
            && let Poll::Ready(found) = look_for_answer(&mut self.lull, socket, buffer)
        {
            return Poll::Ready(found);
        }
        loop {
            ready!(registered.poll_ready(cx));
            let room = buffer.remaining();
            match receive(socket, buffer) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => registered.left(),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                received => {
                    let read = room - buffer.remaining();
                    self.lull.read(read);
                    if !drains(read, room) {
                        registered.left();
                    }
                    return Poll::Ready(received);
                }
            }
        }
    }

    /// Waits until a connect that is in progress has ended.
    pub(super) async fn connected(&self, runtime: &Handle) -> io::Result<()> {
        let writable = {
            let _context = runtime.enter();
            register(Second::of(self.socket())?, Interest::WRITABLE)?
        };
        loop {
            let mut guard = writable.writable().await?;
            if let Some(error) = self.socket().take_error()? {
                return Err(error);
            }
            // Writable without an error and without a peer: the wake-up was for something else.
            match self.socket().peer_addr() {
                Ok(peer) => {
                    self.socket.met(peer);
                    return Ok(());
                }
                Err(error) if error.kind() == io::ErrorKind::NotConnected => guard.clear_ready(),
                Err(error) => return Err(error),
            }
        }
    }

    /// Tries a write, and waits for room after one that found none.
    fn poll_write_with(
        &mut self,
        cx: &mut Context<'_>,
        write: impl Fn(&Socket) -> io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        loop {
            match write(self.socket()) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    ready!(self.poll_room(cx))?;
                }
                written => {
                    // Room again: from here on the peer's acknowledgements need not wake anybody.
                    self.writable = None;
                    self.lull.wrote();
                    return Poll::Ready(written);
                }
            }
        }
    }

    /// Ready when there may be room for a write that found none before this call.
    ///
    /// The registration begins here, and the kernel tells a new one at once if there is room by now, so
    /// that none is missed. It is of a second descriptor, since one can be registered once only.
    fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let writable = match &mut self.writable {
            Some(writable) => writable,
            vacant => {
                let _context = self.runtime.enter();
                let descriptor = Second::of(&self.socket.socket)?;
                vacant.insert(register(descriptor, Interest::WRITABLE)?)
            }
        };
        let mut guard = ready!(writable.poll_write_ready(cx))?;
        // Whoever called has found the socket full since the last wake-up, or tries again now.
        guard.clear_ready();
        Poll::Ready(Ok(()))
    }
}

/// A second descriptor of a socket: one can be registered once only.
#[derive(Debug)]
struct Second {
    descriptor: OwnedFd,
    _entry: Entry,
}

impl Second {
    fn of(socket: &Socket) -> io::Result<Self> {
        Ok(Self {
            descriptor: socket.as_fd().try_clone_to_owned()?,
            _entry: Entry::new(Item::Descriptor),
        })
    }
}

impl AsRawFd for Second {
    fn as_raw_fd(&self) -> RawFd {
        self.descriptor.as_raw_fd()
    }
}

/// Registers a descriptor with the runtime whose context this is called in.
#[allow(unsafe_code)] // tokio asks for a promise that a type cannot make
fn register<T: AsRawFd>(owner: T, interest: Interest) -> io::Result<AsyncFd<T>> {
    // SAFETY: `owner` owns its descriptor (a `Second`), or a share of it (an `Arc` around a socket): it
    // always gives the same one, which is not closed before it is dropped. `AsyncFd` deregisters it before it
    // drops the owner, and nothing here takes the owner out.
    Ok(unsafe { AsyncFd::register_with_interest(owner, interest) }?)
}

impl AsyncRead for SocketStream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.follow()?;
        let Readable::Runtime(readable) = &this.readable else {
            return this.poll_read_by_caller(cx, buffer);
        };
        let socket = &this.socket.socket;
        loop {
            let Poll::Ready(mut guard) = readable.poll_read_ready(cx)? else {
                if !this.lull.awaits_answer() {
                    return Poll::Pending;
                }
                // Whatever is found now, its edge is still to be told: the next poll finds nothing then, once.
                return look_for_answer(&mut this.lull, socket, buffer);
            };
            let room = buffer.remaining();
            let received = match receive(socket, buffer) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    match this.lull.ask(|| received(receive(socket, buffer))) {
                        Some(received) => received,
                        None => {
                            guard.clear_ready();
                            continue;
                        }
                    }
                }
                received => received,
            };
            match received {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                received => {
                    let read = room - buffer.remaining();
                    this.lull.read(read);
                    if drains(read, room) {
                        guard.clear_ready();
                    }
                    return Poll::Ready(received);
                }
            }
        }
    }
}

/// Whether such a read has taken all there was; see [`SHORT_READ_DRAINS`].
fn drains(read: usize, room: usize) -> bool {
    SHORT_READ_DRAINS && (1..=SMALL_READ).contains(&read) && read < room
}

/// Asks for an answer that is about to come, if there is a reason to.
fn look_for_answer(
    lull: &mut Lull,
    socket: &Socket,
    buffer: &mut ReadBuf<'_>,
) -> Poll<io::Result<()>> {
    let room = buffer.remaining();
    let found = lull.ask(|| match receive(socket, buffer) {
        Err(error) if error.kind() == io::ErrorKind::Interrupted => None,
        result => received(result),
    });
    lull.read(room - buffer.remaining());
    found.map_or(Poll::Pending, Poll::Ready)
}

/// `None` where there was nothing to receive yet.
fn received(result: io::Result<()>) -> Option<io::Result<()>> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => None,
        result => Some(result),
    }
}

/// Reads into the part of the buffer that is not filled.
#[allow(unsafe_code)] // reading into memory that was not cleared first
fn receive(socket: &Socket, buffer: &mut ReadBuf<'_>) -> io::Result<()> {
    // SAFETY: socket2 promises to write initialised bytes only, and none but what it reports.
    let read = socket.recv(unsafe { buffer.unfilled_mut() })?;
    // SAFETY: the first `read` bytes were written by the call above.
    unsafe { buffer.assume_init(read) };
    buffer.advance(read);
    Ok(())
}

impl AsyncWrite for SocketStream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.get_mut()
            .poll_write_with(cx, |socket| socket.send_with_flags(bytes, NO_SIGNAL))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        // A head without a body, nearly always: `send` has less to do than `sendmsg`.
        if let [slice] = slices {
            return self.poll_write(cx, slice);
        }
        self.get_mut().poll_write_with(cx, |socket| {
            socket.send_vectored_with_flags(slices, NO_SIGNAL)
        })
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    /// Nothing is buffered here.
    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.socket().shutdown(std::net::Shutdown::Write))
    }
}

impl NetworkStream for SocketStream {
    fn is_readable(&self) -> bool {
        is_readable(self.socket())
    }

    fn awaits_rest(&mut self) {
        self.lull.awaits_rest();
    }
}
