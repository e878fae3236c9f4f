//! Connect: from an origin to a connected stream.
//!
//! `resolve` turns a host into addresses, `race` tries them (happy eyeballs), `socket` opens one of them,
//! `socket_stream` is what comes out, `layers` puts TLS over it, `view` is a look at it from outside, `lull` keeps
//! it awake where something is about to come.
//! Here are the rules over all of it: what is tried how often, and for how long. Everything runs in the
//! caller's own future: dropping it closes every socket at once.

#[cfg(feature = "faulty-io")]
mod faulty;
mod layers;
mod lull;
mod race;
mod resolve;
mod socket;
mod socket_stream;
#[cfg(test)]
mod tests;
mod view;

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;

use crate::error::{Cause, Error, Kind, Result};
use crate::origin::Origin;
use crate::tls::{self, Hello, TlsStream};
pub use layers::Stream;
pub use lull::patiently;
use resolve::Resolver;
pub use socket::{SocketOption, SocketOptionValue};
use socket_stream::SocketStream;
pub use view::{Address, SocketView};

/// Opens connections, with the settings of one pool.
#[derive(Clone, Debug, Default)]
pub struct Connector {
    /// Which protocols may be spoken.
    pub versions: Versions,
    /// Attempts after the first one, for `Connect` and `ConnectTimeout` failures.
    pub retries: u32,
    /// The address to connect from: an IP address, or a name of this host. `0.0.0.0` and `::` only force
    /// the family.
    pub local_address: Option<String>,
    /// A Unix socket that takes the place of TCP for every origin.
    pub uds: Option<PathBuf>,
    /// Set after connecting, in this order.
    pub socket_options: Vec<SocketOption>,
    /// Makes the TLS sessions of `https` and `wss`. Without it connecting to such an origin fails.
    pub tls: Option<Arc<dyn tls::Context>>,
    /// How names are looked up; tests put their own answers here.
    pub(crate) resolver: Resolver,
}

/// Which protocols a connection may speak.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Versions {
    /// HTTP/1.1, unless the server insists on HTTP/2 in the TLS handshake.
    #[default]
    Http1,
    /// Whatever is agreed on in the TLS handshake; HTTP/1.1 without TLS.
    Both,
    /// HTTP/2, whatever was agreed on, and without TLS as well ("prior knowledge", RFC 9113 section 3.3).
    Http2,
}

impl Versions {
    /// What to offer by ALPN, in httpcore's order.
    pub fn offered(self) -> Vec<String> {
        let offered: &[&str] = match self {
            Versions::Http1 => &["http/1.1"],
            Versions::Both | Versions::Http2 => &["http/1.1", "h2"],
        };
        offered.iter().map(|name| (*name).to_owned()).collect()
    }

    /// Whether a connected stream is to carry HTTP/2.
    pub fn are_http2(self, stream: &Stream) -> bool {
        self == Versions::Http2 || stream.protocol() == Some(b"h2")
    }
}

impl Connector {
    /// The same settings, with nothing of what was done by them. For a forked child, where the look-ups of the
    /// parent never end.
    #[must_use]
    pub fn renewed(&self) -> Self {
        Self {
            resolver: self.resolver.renewed(),
            ..self.clone()
        }
    }

    /// A connected stream to `origin`, or to the Unix socket of the settings, with TLS where the scheme asks
    /// for it.
    ///
    /// `timeout` bounds each attempt to connect as a whole (name resolution and all addresses), and each
    /// handshake, as httpcore does. Before the k-th retry it waits 0, 0.5, 1, 2, 4, ... seconds. `server_name`
    /// is what the certificate must name in place of the origin's host.
    ///
    /// # Errors
    ///
    /// `Connect` or `ConnectTimeout`, of the last attempt.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future closes every socket that it has opened. A name look-up that has begun goes on
    /// in its thread, unheard.
    pub async fn connect(
        &self,
        origin: &Origin,
        server_name: Option<&str>,
        timeout: Option<Duration>,
        runtime: &Handle,
    ) -> Result<Stream> {
        let mut retries = self.retries;
        let mut pause = Duration::ZERO;
        loop {
            let attempt = async {
                let stream = self.attempt(origin, timeout, runtime).await?;
                if !origin.is_secure() {
                    return Ok(stream);
                }
                self.secure(stream, origin, server_name, timeout, runtime)
                    .await
            };
            let error = match attempt.await {
                Ok(stream) => return Ok(stream),
                Err(error) => error,
            };
            if retries == 0 {
                return Err(error);
            }
            retries -= 1;
            sleep(pause, runtime).await;
            pause = pause.saturating_mul(2).max(FIRST_PAUSE);
        }
    }

    /// One attempt, without retries and without TLS.
    ///
    /// # Errors
    ///
    /// `Connect` or `ConnectTimeout`.
    ///
    /// # Cancel safety
    ///
    /// As [`Connector::connect`].
    pub async fn attempt(
        &self,
        origin: &Origin,
        timeout: Option<Duration>,
        runtime: &Handle,
    ) -> Result<Stream> {
        let opened = async {
            match &self.uds {
                Some(path) => socket::connect_unix(path, &self.socket_options, runtime).await,
                None => self.connect_tcp(origin, runtime).await,
            }
        };
        within(timeout, opened, runtime).await.map(Stream::Plain)
    }

    /// Puts TLS over a stream to `origin`. Where the first session turns out to be unproven, connects a second
    /// time: its handshake has been seen by the server, and cannot be gone on with.
    ///
    /// # Errors
    ///
    /// `Connect` or `ConnectTimeout`; also without a TLS context.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future closes the stream.
    pub async fn secure(
        &self,
        stream: Stream,
        origin: &Origin,
        server_name: Option<&str>,
        timeout: Option<Duration>,
        runtime: &Handle,
    ) -> Result<Stream> {
        let context = self.tls.as_ref().ok_or_else(no_tls)?;
        let hello = Hello {
            server_name: Some(match server_name {
                Some(name) => name.to_owned(),
                None => String::from_utf8_lossy(&origin.host).into_owned(),
            }),
            protocols: self.versions.offered(),
        };
        let first = {
            let (context, hello) = (Arc::clone(context), hello.clone());
            let open = move || context.open(&hello);
            shake_hands(stream, open, Vec::new(), timeout, runtime).await
        };
        let Some(unproven) = first.as_ref().err().and_then(unproven) else {
            return first;
        };
        let stream = self.attempt(origin, timeout, runtime).await?;
        let again = {
            let (context, hello) = (Arc::clone(context), hello.clone());
            let open = move || context.open_again(&hello, &unproven);
            shake_hands(stream, open, Vec::new(), timeout, runtime).await
        };
        if again.is_ok() {
            context.remember(&hello);
        }
        again
    }

    async fn connect_tcp(&self, origin: &Origin, runtime: &Handle) -> Result<SocketStream> {
        let port = u16::try_from(origin.port).map_err(|_| resolve::no_such_port())?;
        let local = match &self.local_address {
            Some(address) => Some(self.local_addresses(address, runtime).await?),
            None => None,
        };
        let mut addresses = self.resolver.look_up(&origin.host, port, runtime).await?;
        if let Some(local) = &local {
            addresses.retain(|address| source_for(address, local).is_some());
            if addresses.is_empty() {
                return Err(Error::message(
                    Kind::Connect,
                    "local_address is of another family than every address of the host",
                ));
            }
        }
        let connect = |address| {
            let source = local.as_ref().and_then(|local| source_for(&address, local));
            socket::connect_tcp(address, source, &self.socket_options, runtime)
        };
        race::connect_first(addresses, connect, runtime).await
    }

    async fn local_addresses(&self, address: &str, runtime: &Handle) -> Result<Vec<IpAddr>> {
        let found = self
            .resolver
            .look_up(address.as_bytes(), 0, runtime)
            .await?;
        Ok(found.iter().map(SocketAddr::ip).collect())
    }
}

/// Puts TLS over a stream from which `received` was read before.
///
/// # Errors
///
/// `Connect` or `ConnectTimeout`.
///
/// # Cancel safety
///
/// Dropping the future closes the stream.
pub async fn start_tls(
    stream: Stream,
    context: Arc<dyn tls::Context>,
    hello: Hello,
    received: Vec<u8>,
    timeout: Option<Duration>,
    runtime: &Handle,
) -> Result<Stream> {
    let open = move || context.open(&hello);
    shake_hands(stream, open, received, timeout, runtime).await
}

async fn shake_hands(
    stream: Stream,
    open: impl FnOnce() -> std::result::Result<Box<dyn tls::Session>, tls::Failure> + Send + 'static,
    received: Vec<u8>,
    timeout: Option<Duration>,
    runtime: &Handle,
) -> Result<Stream> {
    let shaken = async {
        TlsStream::handshake(stream, open, received, runtime)
            .await
            .map_err(|error| Error::io(Kind::Connect, error))
    };
    let stream = within(timeout, shaken, runtime).await?;
    Ok(Stream::Secure(Box::new(stream)))
}

/// Why another session might succeed, if it might.
fn unproven(error: &Error) -> Option<tls::Failure> {
    let Cause::Io(error) = error.cause() else {
        return None;
    };
    let failure = tls::Failure::inside(error)?;
    failure.is_unproven().then(|| failure.clone())
}

fn no_tls() -> Error {
    Error::message(Kind::Connect, "there is no TLS context for this scheme")
}

/// Fails with `ConnectTimeout` once the time is over.
async fn within<T>(
    timeout: Option<Duration>,
    step: impl Future<Output = Result<T>>,
    runtime: &Handle,
) -> Result<T> {
    let Some(timeout) = timeout else {
        return step.await;
    };
    let limit = {
        let _context = runtime.enter();
        tokio::time::timeout(timeout, step)
    };
    limit
        .await
        .unwrap_or_else(|_| Err(Error::new(Kind::ConnectTimeout)))
}

/// httpcore's first pause that is not zero.
const FIRST_PAUSE: Duration = Duration::from_millis(500);

fn source_for(address: &SocketAddr, local: &[IpAddr]) -> Option<SocketAddr> {
    let suits = |ip: &&IpAddr| ip.is_ipv4() == address.is_ipv4();
    local.iter().find(suits).map(|ip| SocketAddr::new(*ip, 0))
}

/// Sleeps on the given runtime, whichever polls.
async fn sleep(pause: Duration, runtime: &Handle) {
    if !pause.is_zero() {
        let sleep = {
            let _context = runtime.enter();
            tokio::time::sleep(pause)
        };
        sleep.await;
    }
}
