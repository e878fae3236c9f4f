//! Engine: what all exchanges of one pool share, and what they leave behind for each other.

use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use tokio::runtime::Handle;

use crate::connect::{Connector, Stream};
use crate::connection::{Http1, Http2, Upgraded};
use crate::pool::{Pool, Shareable};
use crate::timeouts::Watchdog;
use crate::views::{Registered, Views};

/// What the pool tells when it closes the connection under a request.
pub trait Interrupt: Send + Sync {
    /// Ends the exchange: its socket is closed and whoever waits for it gets a `Kind::Read` error.
    fn interrupt(self: Arc<Self>);
}

/// How the pool finds the exchange that holds a lease.
pub type Owner = Weak<dyn Interrupt>;

/// A connection as the pool keeps it.
#[derive(Debug)]
pub enum Parked {
    /// HTTP/1.1, between two exchanges, with the timer that it keeps armed.
    Http1 {
        /// The connection.
        connection: Box<Open>,
        /// Its timer.
        watchdog: Watchdog,
    },
    /// HTTP/2: one of many handles.
    Http2(Arc<Multiplexed>),
}

impl Shareable for Parked {
    fn share(&self) -> Option<Self> {
        match self {
            Parked::Http1 { .. } => None,
            Parked::Http2(connection) => Some(Parked::Http2(Arc::clone(connection))),
        }
    }
}

/// An open HTTP/1.1 connection with its entry in the register.
#[derive(Debug)]
pub struct Open {
    pub(super) http: Http1<Stream>,
    pub(super) registered: Registered,
}

/// An open HTTP/2 connection with its entry in the register.
#[derive(Debug)]
pub struct Multiplexed {
    pub(super) http: Http2<Stream>,
    pub(super) registered: Registered,
    /// Armed timers that no exchange has at the moment; see [`Watchdog`].
    pub(super) watchdogs: Mutex<Vec<Watchdog>>,
}

/// The stream of a connection that is no HTTP any more, shared with those who read and write it.
///
/// # Drop
///
/// Closes it for them as well: it lives as long as the response that it came with.
#[derive(Debug)]
pub(super) struct Tunnel {
    pub(super) stream: Arc<Upgraded<Stream>>,
    pub(super) registered: Registered,
}

impl Drop for Tunnel {
    fn drop(&mut self) {
        self.stream.close();
    }
}

/// What all exchanges of one pool share.
#[derive(Debug)]
pub struct Engine {
    /// Who gets which connection.
    pub pool: Arc<Pool<Parked, Owner>>,
    /// How connections are opened.
    pub connector: Arc<Connector>,
    /// The runtime that sockets and timers belong to.
    pub runtime: Handle,
    /// The sockets of the open connections.
    pub views: Arc<Views>,
}

impl Engine {
    /// Closes every connection and fails every request of the pool, which stays usable.
    pub fn close(&self) {
        for owner in self.pool.close() {
            if let Some(exchange) = owner.upgrade() {
                exchange.interrupt();
            }
        }
    }
}
