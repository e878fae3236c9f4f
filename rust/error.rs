//! Error: what went wrong, named by the room it arose in.
//!
//! The kind is chosen where the failure happens (a connect, a body write, a read, a protocol
//! violation, the timer that fired) and never guessed from a message. `python/exceptions` maps each
//! kind to one exception class of httpcore.

use std::borrow::Cow;
use std::fmt;
use std::io;

/// One variant for each exception class of httpcore that a pool may raise, and one for the pool itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Waited longer than `pool` for a connection to be assigned.
    PoolTimeout,
    /// Waited longer than `connect` for a connection to open.
    ConnectTimeout,
    /// Waited longer than `read` for bytes.
    ReadTimeout,
    /// Waited longer than `write` for the peer to take bytes.
    WriteTimeout,
    /// Name resolution or connecting failed.
    Connect,
    /// The socket failed while reading.
    Read,
    /// The socket failed while writing.
    Write,
    /// The caller's request breaks the protocol; nothing of it was sent.
    LocalProtocol,
    /// The peer broke the protocol, or closed in the middle of a message.
    RemoteProtocol,
    /// The proxy refuses, or makes no sense.
    Proxy,
    /// Nothing went wrong, nothing was sent: the pool no longer serves the request, and its caller asks
    /// somebody else. Never leaves the library.
    Moved,
}

/// What lies under an [`Error`], for the message and for Python's `OSError`.
#[derive(Debug)]
pub enum Cause {
    /// Nothing beyond the kind: the message is empty, or the timer's.
    None,
    /// The operating system said no.
    Io(io::Error),
    /// Name resolution failed, with getaddrinfo's code (`EAI_*`) and its text.
    Resolve {
        /// The `EAI_*` code.
        code: i32,
        /// The resolver's own text for it.
        message: String,
    },
    /// A rule was broken; the text says which.
    Message(Cow<'static, str>),
}

/// A failure of one exchange. Displays as its cause alone, as httpcore's exceptions do.
#[derive(Debug)]
pub struct Error {
    kind: Kind,
    cause: Cause,
}

/// The result of every fallible step of an exchange.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// A failure with nothing to add to its kind.
    pub fn new(kind: Kind) -> Self {
        Self {
            kind,
            cause: Cause::None,
        }
    }

    /// A failure with a text of its own.
    pub fn message(kind: Kind, message: impl Into<Cow<'static, str>>) -> Self {
        Self {
            kind,
            cause: Cause::Message(message.into()),
        }
    }

    /// A failure that the operating system reported.
    pub fn io(kind: Kind, error: io::Error) -> Self {
        Self {
            kind,
            cause: Cause::Io(error),
        }
    }

    /// A failed name resolution: always a `Connect` failure.
    pub fn resolve(code: i32, message: impl Into<String>) -> Self {
        Self {
            kind: Kind::Connect,
            cause: Cause::Resolve {
                code,
                message: message.into(),
            },
        }
    }

    /// Which exception class this becomes.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// What lies under it.
    pub fn cause(&self) -> &Cause {
        &self.cause
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.cause {
            Cause::None => Ok(()),
            Cause::Io(error) => fmt::Display::fmt(error, f),
            Cause::Resolve { code, message } => write!(f, "[Errno {code}] {message}"),
            Cause::Message(message) => f.write_str(message),
        }
    }
}

impl std::error::Error for Error {}
