//! Facts: what a pool is told, and what it tells. Plain values; the rules on them are `state`'s.

use std::time::Duration;

use crate::origin::Origin;

/// How many connections there may be, and for how long they are kept.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Over all origins, connecting and idle ones included.
    pub max_connections: usize,
    /// Of idle connections.
    pub max_keepalive_connections: usize,
    /// How long a connection may be idle. `None`: for ever. Zero: not at all.
    pub keepalive_expiry: Option<Duration>,
    /// Which connections may turn out to serve several requests at once.
    pub sharing: Sharing,
}

/// Which connections may turn out to serve several requests at once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sharing {
    /// None.
    #[default]
    Never,
    /// Those that negotiate their protocol with TLS.
    Secure,
    /// All.
    Always,
}

/// A connection as the pool keeps it.
pub trait Shareable: Sized {
    /// Another handle on the same connection, for one more request. Asked only of connections that were
    /// shared (`Lease::share`); it must be cheap, and call nothing else: the pool is locked.
    fn share(&self) -> Option<Self>;
}

/// What a connection is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// Being opened for the request that it is assigned to.
    Connecting,
    /// Serving a request, until its response is closed.
    Active,
    /// Kept alive.
    Idle,
}

/// A connection, as it is told to people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectionInfo {
    /// Never used twice in one pool; ascends in creation order.
    pub id: u64,
    /// Where it leads.
    pub origin: Origin,
    /// What it is doing.
    pub status: Status,
    /// How many requests it has been assigned.
    pub request_count: u64,
    /// How many it serves now, and how many wait for what it becomes.
    pub requests: usize,
    /// It serves several requests at once.
    pub shared: bool,
}

/// How much there is of everything, in httpcore's terms.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Requests with a connection, until their response is closed; also those that wait for what the
    /// connection becomes.
    pub active_requests: usize,
    /// Requests without.
    pub queued_requests: usize,
    /// Connections that are not idle.
    pub active_connections: usize,
    /// Connections that are kept alive.
    pub idle_connections: usize,
}
