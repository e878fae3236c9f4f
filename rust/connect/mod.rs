//! Connect: from an origin to a connected stream.
//!
//! `resolve` turns a host into addresses, `race` tries them (happy eyeballs), `socket` opens one of them,
//! `socket_stream` is what comes out, `layers` puts TLS over it, `view` is a look at it from outside, `lull` keeps
//! it awake where something is about to come. `way` has what follows what, `proxy` what may stand between,
//! `http_proxy` and `socks5` what is said to it.
//! Here are the rules over all of it: what is tried how often, and for how long. Everything runs in the
//! caller's own future: dropping it closes every socket at once.

#[cfg(feature = "faulty-io")]
mod faulty;
pub mod http_proxy;
mod layers;
mod lull;
mod proxy;
mod race;
mod resolve;
mod socket;
mod socket_stream;
mod socks5;
#[cfg(test)]
mod tests;
mod view;
mod way;

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;

use crate::error::{Error, Kind, Result};
use crate::origin::Origin;
use crate::tls::{self, Hello, TlsStream};
pub use layers::Stream;
pub use lull::Look;
pub use proxy::{Credentials, HttpProxy, Protocol, Proxy};
use resolve::Resolver;
pub use socket::{SocketOption, SocketOptionValue};
use socket_stream::SocketStream;
pub use view::{Address, SocketView};
pub use way::{Destination, Leg, Seen, Way};

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
    /// A Unix socket that takes the place of TCP for every origin, or towards the proxy.
    pub uds: Option<PathBuf>,
    /// Set after connecting, in this order.
    pub socket_options: Vec<SocketOption>,
    /// Makes the TLS sessions of `https` and `wss`. Without it connecting to such an origin fails.
    pub tls: Option<Arc<dyn tls::Context>>,
    /// What every connection goes through.
    pub proxy: Option<Proxy>,
    /// How names are looked up; tests put their own answers here.
    pub(crate) resolver: Resolver,
    /// The id of each HTTP/2 connection's first stream, if it is not 1: where the ids end.
    #[cfg(test)]
    pub(crate) first_stream: Option<u32>,
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

    /// Whether a stream that leads to an origin is to carry HTTP/2. To a proxy itself it is HTTP/1.1 always.
    pub fn speaks_http2(&self, origin: &Origin, stream: &Stream) -> bool {
        let proxy = self.proxy.as_ref();
        let forwarded = proxy.is_some_and(|proxy| proxy.forwards(origin).is_some());
        !forwarded && (self.versions == Versions::Http2 || stream.protocol() == Some(b"h2"))
    }

    /// A stream that leads to an origin: through the proxy or to the Unix socket of the settings, with TLS where the
    /// scheme asks for it.
    ///
    /// Tried again after `Connect` and `ConnectTimeout`, wherever on the way. Before the k-th retry it waits 0, 0.5,
    /// 1, 2, 4, ... seconds.
    ///
    /// # Errors
    ///
    /// Those of the last attempt: see [`Connector::take`].
    ///
    /// # Cancel safety
    ///
    /// As [`Connector::take`].
    pub async fn connect(&self, to: &Destination, seen: Seen<'_>, runtime: &Handle) -> Result<Way> {
        let mut retries = self.retries;
        let mut pause = Duration::ZERO;
        loop {
            let error = match self.attempt(to, seen, runtime).await {
                Ok(way) => return Ok(way),
                Err(error) => error,
            };
            // A proxy's refusal, or its silence, is an answer.
            if retries == 0 || !matches!(error.kind(), Kind::Connect | Kind::ConnectTimeout) {
                return Err(error);
            }
            retries -= 1;
            sleep(pause, runtime).await;
            pause = pause.saturating_mul(2).max(FIRST_PAUSE);
        }
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
    let stream = within(timeout, Kind::ConnectTimeout, shaken, runtime).await?;
    Ok(Stream::Secure(Box::new(stream)))
}

fn no_tls() -> Error {
    Error::message(Kind::Connect, "there is no TLS context for this scheme")
}

/// Fails with the timeout's kind once the time is over.
async fn within<T>(
    timeout: Option<Duration>,
    kind: Kind,
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
    limit.await.unwrap_or_else(|_| Err(Error::new(kind)))
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
