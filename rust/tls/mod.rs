//! TLS: a session over a connected stream, whoever does the cryptography.
//!
//! A session is an engine of bytes: it is told what came from the peer and what is to be sent, and says
//! what that means for the other side of each. It does no I/O, and no I/O is done while it works. `stream`
//! puts one between HTTP and a socket. Nothing of Python is known here: the sessions of an `ssl.SSLContext`
//! are made and run behind [`Context`] and [`Session`].
//!
//! rustls takes the place of such sessions where it is proven that it makes no difference: `proven` has the
//! rules, `oracle` asks for the verdict on a server's certificates, `client_hello` reads what a context offers.

#[cfg(feature = "rustls")]
mod client_hello;
#[cfg(feature = "rustls")]
mod oracle;
#[cfg(feature = "rustls")]
mod proven;
mod stream;
#[cfg(test)]
mod tests;

use std::any::Any;
use std::fmt;
use std::sync::Arc;

#[cfg(feature = "rustls")]
pub use proven::{Facts, Judge, Known, Look, Proving};
pub use stream::TlsStream;

/// The cryptography that rustls works with.
#[cfg(feature = "aws-lc-rs")]
fn provider() -> rustls::crypto::CryptoProvider {
    rustls::crypto::aws_lc_rs::default_provider()
}

/// The cryptography that rustls works with.
#[cfg(all(feature = "ring", not(feature = "aws-lc-rs")))]
fn provider() -> rustls::crypto::CryptoProvider {
    rustls::crypto::ring::default_provider()
}

/// What becomes of a connection that rustls cannot be proven to serve.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy {
    /// The configuration's own sessions serve it.
    Auto,
    /// It fails, with the reason.
    Rustls,
}

/// Makes sessions, with the trust, the certificates and the limits of one configuration.
pub trait Context: Send + Sync + fmt::Debug {
    /// A session that has sent nothing yet.
    ///
    /// Called on a thread that may block.
    ///
    /// # Errors
    ///
    /// The configuration does not take this server's name.
    fn open(&self, hello: &Hello) -> Result<Box<dyn Session>, Failure>;

    /// A session for a second connection to the same server, after the first one's ended as [unproven]
    /// (Failure::is_unproven).
    ///
    /// # Errors
    ///
    /// As those of `open`; also if there must not be such a session.
    fn open_again(&self, hello: &Hello, failure: &Failure) -> Result<Box<dyn Session>, Failure> {
        let _ = failure;
        self.open(hello)
    }

    /// The second session has succeeded where the first was unproven.
    fn remember(&self, hello: &Hello) {
        let _ = hello;
    }
}

/// What a session is begun with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hello {
    /// Whom the certificate must name; a name or an IP address, as the URL or `sni_hostname` has it. `None`
    /// names nobody, which a configuration may refuse.
    pub server_name: Option<String>,
    /// The protocols to offer by ALPN, the best first. Empty offers none.
    pub protocols: Vec<String>,
}

/// One side's end of a TLS connection.
pub trait Session: Send {
    /// Takes in what has come and what is to be sent, and puts out what follows from it.
    fn turn(&mut self, turn: &mut Turn);

    /// Whether the next turn may block, so that it needs a thread for it.
    fn blocks(&self) -> bool {
        true
    }

    /// Whether a connection that is lost within the handshake is lost for good. If not, another session might
    /// make it.
    fn is_lost_for_good(&self) -> bool {
        true
    }

    /// The protocol that the two sides agreed on by ALPN, once the handshake is over. Asked on any thread.
    fn protocol(&self) -> Option<Vec<u8>> {
        None
    }

    /// What there is to know about the session, for those who know its kind. The same one at any time.
    fn secured(&self) -> Secured;
}

/// What a session tells about itself, to whoever knows its kind.
pub type Secured = Arc<dyn Any + Send + Sync>;

/// One turn of a session: what goes in, and what comes out.
#[derive(Debug, Default)]
pub struct Turn {
    /// In: bytes that came from the peer. All of them are taken.
    pub received: Vec<u8>,
    /// In: no more will come.
    pub ended: bool,
    /// In: bytes for the peer, in the clear. Those that cannot be taken yet (the handshake is not over) stay.
    pub outgoing: Vec<u8>,
    /// Out: bytes that the peer sent, in the clear.
    pub opened: Vec<u8>,
    /// Out: bytes to send to the peer as they are.
    pub sealed: Vec<u8>,
    /// Out: the handshake is over.
    pub is_shaken: bool,
    /// Out: the peer sends no more, behind what is `opened`. Closing without saying so is closing as well, as
    /// httpcore sees it: whether a message is complete is for its framing to tell.
    pub is_closed: bool,
    /// Out: the session is over, behind what is `opened` and `sealed`.
    pub failure: Option<Failure>,
}

/// Why a session is over. Displays as the text of its cause.
#[derive(Clone, Debug)]
pub struct Failure {
    text: String,
    cause: Option<Secured>,
    reason: Option<Reason>,
    complaint: Complaint,
    unproven: bool,
}

/// What OpenSSL would say of a failure that it had no part in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The peer has sent this alert.
    Alert(u8),
    /// It has a name of its own for it.
    Named(&'static str),
}

/// What a session complains of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Complaint {
    /// The peer's certificate, its chain or its name.
    Certificate,
    /// A signature in the handshake.
    Signature,
    /// Anything else.
    Other,
}

impl Failure {
    /// A failure in words.
    pub fn new(text: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            cause: None,
            reason: None,
            complaint: Complaint::Other,
            unproven: false,
        }
    }

    /// A failure with something that its maker will know again.
    pub fn with_cause(text: impl Into<String>, cause: Secured, complaint: Complaint) -> Self {
        Self {
            cause: Some(cause),
            complaint,
            ..Self::new(text)
        }
    }

    /// A failure that OpenSSL has words of its own for.
    pub fn with_reason(text: impl Into<String>, reason: Reason) -> Self {
        Self {
            reason: Some(reason),
            ..Self::new(text)
        }
    }

    /// No failure of the connection: another session might make it.
    pub fn unproven(reason: impl Into<String>) -> Self {
        Self {
            unproven: true,
            ..Self::new(reason)
        }
    }

    /// Whether another session might make the connection.
    pub fn is_unproven(&self) -> bool {
        self.unproven
    }

    /// What it complains of.
    pub fn complaint(&self) -> Complaint {
        self.complaint
    }

    /// The failure inside an error of a [`TlsStream`], if that is what it is.
    pub fn inside(error: &std::io::Error) -> Option<&Self> {
        error.get_ref()?.downcast_ref()
    }

    /// What OpenSSL would say of it.
    pub fn reason(&self) -> Option<Reason> {
        self.reason
    }

    /// What its maker put in.
    pub fn cause(&self) -> Option<&Secured> {
        self.cause.as_ref()
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for Failure {}

impl From<Failure> for std::io::Error {
    fn from(failure: Failure) -> Self {
        std::io::Error::other(failure)
    }
}
