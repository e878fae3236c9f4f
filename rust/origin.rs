//! Origin: the scheme, host and port that a connection belongs to.
//!
//! Plain data. Equality is exact, as httpcore's is: hosts differ by case, `ws` is not `http`, and
//! two names of one address are two origins, so connections are never coalesced.

use std::fmt;
use std::hash::{Hash, Hasher};

use bytes::Bytes;

/// Scheme, host and port, the key under which connections are shared.
///
/// The port is always filled in (80 for http and ws, 443 for https and wss) and may exceed 65535:
/// httpcore accepts such a URL and fails when it connects, with `ConnectError`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Origin {
    /// `http`, `https`, ... in lower case as it came.
    pub scheme: Bytes,
    /// The host as it stands in the URL, without brackets around IPv6 addresses.
    pub host: Bytes,
    /// The TCP port; see the type's note on its range.
    pub port: u32,
}

/// Whether the engine serves a scheme. `ws` and `wss` are HTTP until the server switches.
pub fn is_served(scheme: &[u8]) -> bool {
    matches!(scheme, b"http" | b"https" | b"ws" | b"wss")
}

/// The port of a URL that has none.
pub fn default_port(scheme: &[u8]) -> u16 {
    match scheme {
        b"https" | b"wss" => 443,
        _ => 80,
    }
}

/// Of the host and the port alone: they tell nearly all origins apart, and a request is hashed several times.
impl Hash for Origin {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write(&self.host);
        state.write_u32(self.port);
    }
}

impl Origin {
    /// Whether its connections speak TLS.
    pub fn is_secure(&self) -> bool {
        matches!(&*self.scheme, b"https" | b"wss")
    }
}

impl fmt::Display for Origin {
    /// `http://example.com:80`, as httpcore's `Origin.__str__`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}://{}:{}",
            self.scheme.escape_ascii(),
            self.host.escape_ascii(),
            self.port
        )
    }
}

impl fmt::Debug for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
