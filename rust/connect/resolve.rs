//! Resolve: names to addresses by the system's getaddrinfo, off the loop and within a bound.
//!
//! getaddrinfo cannot be cancelled. A look-up whose caller has gone keeps its thread until the system
//! answers, so threads are counted: the look-ups beyond the bound wait for one, inside their callers'
//! connect timeouts, and nothing grows.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use dns_lookup::{AddrInfoHints, SockType, getaddrinfo};
use tokio::runtime::Handle;
use tokio::sync::Semaphore;

use crate::error::{Error, Kind, Result};
use crate::runtime::spawn_blocking;
use crate::visits::{Library, Visit};

/// Look-ups at one time for one pool: as many as the runtime has threads for blocking work, less some for
/// others.
const LOOK_UPS: usize = 8;

/// The longest label of a name (RFC 1035 §2.3.4).
const LONGEST_LABEL: usize = 63;

/// `EAI_SERVICE`: glibc's answer to a port that cannot be one.
const EAI_SERVICE: i32 = -8;

/// What a look-up gives.
type Answer = Result<Vec<SocketAddr>>;

/// Looks names up. Clones share their bound.
#[derive(Clone)]
pub(crate) struct Resolver {
    threads: Arc<Semaphore>,
    query: Arc<Query>,
}

/// Blocks until it has an answer.
type Query = dyn Fn(&str, u16) -> Answer + Send + Sync;

impl Default for Resolver {
    fn default() -> Self {
        Self::new(ask_system)
    }
}

impl std::fmt::Debug for Resolver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Resolver").finish_non_exhaustive()
    }
}

impl Resolver {
    /// A resolver with this blocking query.
    pub(crate) fn new(query: impl Fn(&str, u16) -> Answer + Send + Sync + 'static) -> Self {
        Self {
            threads: Arc::new(Semaphore::new(LOOK_UPS)),
            query: Arc::new(query),
        }
    }

    /// A resolver with the same query and a bound of its own.
    pub(super) fn renewed(&self) -> Self {
        Self {
            threads: Arc::new(Semaphore::new(LOOK_UPS)),
            query: Arc::clone(&self.query),
        }
    }

    /// The addresses of a host, in the resolver's order and never none. An IP address is its own.
    ///
    /// # Cancel safety
    ///
    /// A look-up that has begun goes on in its thread, and keeps its place until it ends.
    pub(super) async fn look_up(&self, host: &[u8], port: u16, runtime: &Handle) -> Answer {
        let host = checked(host)?;
        if let Ok(address) = host.parse::<IpAddr>() {
            return Ok(vec![SocketAddr::new(address, port)]);
        }
        let permit = Arc::clone(&self.threads)
            .acquire_owned()
            .await
            .map_err(|_| Error::message(Kind::Connect, "the resolver is closed"))?;
        let query = Arc::clone(&self.query);
        let host = host.to_owned();
        let thread = spawn_blocking(runtime, move || {
            let _permit = permit;
            query(&host, port)
        });
        let found = thread
            .await
            .map_err(|_| Error::message(Kind::Connect, "the name look-up was abandoned"))??;
        if found.is_empty() {
            return Err(Error::message(Kind::Connect, "the host has no address"));
        }
        Ok(found)
    }
}

/// A port above 65535, in glibc's words.
pub(super) fn no_such_port() -> Error {
    Error::resolve(EAI_SERVICE, "Servname not supported for ai_socktype")
}

/// Names that no resolver should be asked for, since asking with some of them asks for something else: a
/// NUL ends a C string.
fn checked(host: &[u8]) -> Result<&str> {
    let refused = |why: &'static str| Err(Error::message(Kind::Connect, why));
    let Ok(host) = std::str::from_utf8(host) else {
        return refused("the host is not ASCII");
    };
    if host.is_empty() {
        return refused("the host is empty");
    }
    if !host.bytes().all(|byte| byte.is_ascii_graphic()) {
        return refused("the host has characters that no name has");
    }
    let is_address = host.contains(':');
    let mut labels = host.strip_suffix('.').unwrap_or(host).split('.');
    if !is_address && labels.any(|label| label.is_empty() || label.len() > LONGEST_LABEL) {
        return refused("the host has an empty label, or one of more than 63 bytes");
    }
    Ok(host)
}

fn ask_system(host: &str, port: u16) -> Answer {
    let hints = AddrInfoHints {
        socktype: SockType::Stream.into(),
        ..AddrInfoHints::default()
    };
    let _visit = Visit::begin(Library::Resolver);
    let found = getaddrinfo(Some(host), None, Some(hints)).map_err(|error| {
        let code = error.error_num();
        // The crate says "failed to lookup address information: ..." before the system's own words.
        let text = io::Error::from(error).to_string();
        Error::resolve(code, text.rsplit(": ").next().unwrap_or_default())
    })?;
    let addresses = found.filter_map(std::result::Result::ok);
    Ok(addresses
        .map(|info| {
            let mut address = info.sockaddr;
            address.set_port(port);
            address
        })
        .collect())
}
