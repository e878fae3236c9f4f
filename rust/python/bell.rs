//! Bell: a file descriptor that a worker makes readable and a loop watches.
//!
//! An eventfd where there is one (its counter swallows repeated rings), a socket pair elsewhere: trio and
//! Windows' proactor loop can watch nothing but sockets.

use std::io::{self, Read, Write};

use crate::ledger::{Entry, Item};

#[cfg(target_os = "linux")]
use std::fs::File;
#[cfg(target_os = "linux")]
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

/// Rings across threads. Ringing twice before a `silence` is ringing once.
#[cfg(target_os = "linux")]
pub(super) struct Bell {
    eventfd: File,
    _entry: Entry,
}

#[cfg(target_os = "linux")]
impl Bell {
    #[allow(unsafe_code)] // eventfd has no safe binding in std
    pub(super) fn new() -> io::Result<Self> {
        // SAFETY: takes two numbers and returns a new descriptor or -1.
        let fd = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the descriptor was just made and is owned by nobody else.
        let eventfd = File::from(unsafe { OwnedFd::from_raw_fd(fd) });
        Ok(Self {
            eventfd,
            _entry: Entry::new(Item::Descriptor),
        })
    }

    pub(super) fn fileno(&self) -> i32 {
        self.eventfd.as_raw_fd()
    }

    pub(super) fn ring(&self) {
        again_if_interrupted(|| (&self.eventfd).write(&1u64.to_ne_bytes()));
    }

    pub(super) fn silence(&self) {
        let mut count = [0; 8];
        again_if_interrupted(|| (&self.eventfd).read(&mut count));
    }
}

/// Rings across threads. Ringing twice before a `silence` is ringing once.
#[cfg(all(unix, not(target_os = "linux")))]
pub(super) struct Bell {
    rope: std::os::unix::net::UnixStream,
    clapper: std::os::unix::net::UnixStream,
    _entries: [Entry; 2],
}

#[cfg(all(unix, not(target_os = "linux")))]
impl Bell {
    pub(super) fn new() -> io::Result<Self> {
        let (rope, clapper) = std::os::unix::net::UnixStream::pair()?;
        rope.set_nonblocking(true)?;
        clapper.set_nonblocking(true)?;
        Ok(Self {
            rope,
            clapper,
            _entries: [(); 2].map(|()| Entry::new(Item::Descriptor)),
        })
    }

    pub(super) fn fileno(&self) -> i32 {
        std::os::fd::AsRawFd::as_raw_fd(&self.clapper)
    }

    pub(super) fn ring(&self) {
        again_if_interrupted(|| (&self.rope).write(&[1]));
    }

    pub(super) fn silence(&self) {
        // The port rings once per drain, so one read takes all there is.
        let mut rings = [0; 64];
        again_if_interrupted(|| (&self.clapper).read(&mut rings));
    }
}

/// The other outcomes need no answer: a full descriptor is readable already, an empty one is silent.
fn again_if_interrupted(mut call: impl FnMut() -> io::Result<usize>) {
    while matches!(call(), Err(error) if error.kind() == io::ErrorKind::Interrupted) {}
}
