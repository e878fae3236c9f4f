//! Proxy: what one is, and what it is told of its user.
//!
//! Nothing is said to a proxy here: that is `http_proxy` and `socks5`.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;

use crate::origin::Origin;
use crate::tls;

/// What stands between a pool and all of its origins.
#[derive(Clone, Debug)]
pub struct Proxy {
    /// Where it listens. Over TLS, if it is an HTTP proxy and the scheme is `https`.
    pub origin: Origin,
    /// How it is spoken to.
    pub protocol: Protocol,
}

/// How a proxy is spoken to.
#[derive(Clone)]
pub enum Protocol {
    /// Requests to `http` origins are forwarded, a tunnel leads to all others.
    Http(HttpProxy),
    /// A tunnel leads to every origin, whose name the proxy looks up.
    Socks5(Option<Credentials>),
}

/// What an HTTP proxy is told.
#[derive(Clone)]
pub struct HttpProxy {
    /// Sent with each forwarded request and each CONNECT; never into a tunnel.
    pub headers: Vec<(Bytes, Bytes)>,
    /// Makes the TLS sessions with the proxy itself.
    pub tls: Option<Arc<dyn tls::Context>>,
}

/// A user's name and password.
#[derive(Clone)]
pub struct Credentials {
    /// Who it is.
    pub user: Bytes,
    /// How the proxy knows.
    pub password: Bytes,
}

impl fmt::Debug for Protocol {
    /// Headers and credentials are the user's secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Protocol::Http(_) => "Http",
            Protocol::Socks5(_) => "Socks5",
        })
    }
}

impl Proxy {
    /// The HTTP proxy that is sent the requests to an origin themselves, if this is one.
    pub fn forwards(&self, origin: &Origin) -> Option<&HttpProxy> {
        self.http().filter(|_| *origin.scheme == *b"http")
    }

    /// The HTTP proxy that is asked for a tunnel to an origin, if this is one.
    pub(super) fn tunnels(&self, origin: &Origin) -> Option<&HttpProxy> {
        self.http().filter(|_| *origin.scheme != *b"http")
    }

    /// The HTTP proxy, if it is spoken to over TLS.
    pub(super) fn secured(&self) -> Option<&HttpProxy> {
        self.http().filter(|_| self.origin.is_secure())
    }

    fn http(&self) -> Option<&HttpProxy> {
        match &self.protocol {
            Protocol::Http(http) => Some(http),
            Protocol::Socks5(_) => None,
        }
    }
}
