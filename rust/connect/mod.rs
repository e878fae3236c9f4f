//! Connect: from an origin to a connected stream.
//!
//! `resolve` turns a host into addresses, `race` tries them (happy eyeballs), `socket` opens one of them,
//! `stream` is what comes out, `view` a look at it from outside, `lull` keeps it awake in a fast download.
//! Here are the rules over all of it: what is tried how often, and for how long. Everything runs in the
//! caller's own future: dropping it closes every socket at once.

mod lull;
mod race;
mod resolve;
mod socket;
mod stream;
#[cfg(test)]
mod tests;
mod view;

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use tokio::runtime::Handle;

use crate::error::{Error, Kind, Result};
use crate::origin::Origin;
use resolve::Resolver;
pub use socket::{SocketOption, SocketOptionValue};
pub use stream::Stream;
pub use view::{Address, SocketView};

/// Opens connections, with the settings of one pool.
#[derive(Debug, Default)]
pub struct Connector {
    /// Attempts after the first one, for `Connect` and `ConnectTimeout` failures.
    pub retries: u32,
    /// The address to connect from: an IP address, or a name of this host. `0.0.0.0` and `::` only force
    /// the family.
    pub local_address: Option<String>,
    /// A Unix socket that takes the place of TCP for every origin.
    pub uds: Option<PathBuf>,
    /// Set after connecting, in this order.
    pub socket_options: Vec<SocketOption>,
    /// How names are looked up; tests put their own answers here.
    pub(crate) resolver: Resolver,
}

impl Connector {
    /// A connected stream to `origin`, or to the Unix socket of the settings.
    ///
    /// `timeout` bounds each attempt as a whole: name resolution and all addresses. Before the k-th retry
    /// it waits 0, 0.5, 1, 2, 4, ... seconds, as httpcore does.
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
        timeout: Option<Duration>,
        runtime: &Handle,
    ) -> Result<Stream> {
        let mut retries = self.retries;
        let mut pause = Duration::ZERO;
        loop {
            let error = match self.attempt(origin, timeout, runtime).await {
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

    /// One attempt, without retries.
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
        match timeout {
            None => opened.await,
            Some(timeout) => {
                let limit = {
                    let _context = runtime.enter();
                    tokio::time::timeout(timeout, opened)
                };
                limit
                    .await
                    .unwrap_or_else(|_| Err(Error::new(Kind::ConnectTimeout)))
            }
        }
    }

    async fn connect_tcp(&self, origin: &Origin, runtime: &Handle) -> Result<Stream> {
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
