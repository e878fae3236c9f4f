//! Step: how far an exchange has come, and what it holds there.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use super::engine::{Multiplexed, Owner, Parked, Tunnel};
use super::link::Link;
use crate::connect::{Leg, SocketView, Stream, Way};
use crate::connection::{Http2, RequestHead};
use crate::error::Result;
use crate::pool::{Acquire, Lease};
use crate::request::RequestBody;

pub(super) type Connecting = Pin<Box<dyn Future<Output = Result<Way>> + Send>>;
pub(super) type Beginning = Pin<Box<dyn Future<Output = Result<Http2<Stream>>> + Send>>;

#[allow(clippy::large_enum_variant)] // an exchange is on the heap already, and most are `Open` for most of the time
pub(super) enum Step {
    Acquire {
        acquire: Acquire<Parked, Owner>,
        outgoing: Outgoing,
    },
    Connect {
        connect: Connecting,
        /// How far that leads.
        leg: Leg,
        lease: Lease<Parked, Owner>,
        outgoing: Outgoing,
    },
    /// There is a lease and no connection yet: before the first attempt to open one, and between two.
    Disconnected {
        lease: Lease<Parked, Owner>,
        outgoing: Outgoing,
    },
    /// On the way, between two legs.
    Underway {
        way: Way,
        leg: Leg,
        lease: Lease<Parked, Owner>,
        outgoing: Outgoing,
    },
    /// Connected, with TLS where there is any. HTTP has yet to begin.
    Connected {
        stream: Stream,
        lease: Lease<Parked, Owner>,
        outgoing: Outgoing,
    },
    /// HTTP/2 begins.
    Begin {
        begin: Beginning,
        view: SocketView,
        lease: Lease<Parked, Owner>,
        outgoing: Outgoing,
    },
    /// An HTTP/2 connection that was idle: what its server may have sent meanwhile is looked at first.
    Reuse {
        connection: Arc<Multiplexed>,
        lease: Lease<Parked, Owner>,
        outgoing: Outgoing,
        turns: u8,
    },
    Open {
        // Declared before the lease: on drop the socket closes before the slot is given to the next.
        link: Link,
        lease: Lease<Parked, Owner>,
    },
    /// The response has come and its connection left HTTP. Declared in this order as well.
    Upgraded {
        tunnel: Tunnel,
        _lease: Lease<Parked, Owner>,
    },
    /// The response is complete. The connection is parked in the lease if it can be used again; if not, it stays
    /// open as long as the response does, for those who ask it for its addresses.
    Complete {
        view: SocketView,
        _spent: Option<Link>,
        _lease: Lease<Parked, Owner>,
    },
    /// An error ended the exchange. Everything that it held is gone.
    Failed,
}

impl std::fmt::Debug for Step {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Step::Acquire { .. } => "Acquire",
            Step::Disconnected { .. } => "Disconnected",
            Step::Connect { .. } => "Connect",
            Step::Underway { .. } => "Underway",
            Step::Connected { .. } => "Connected",
            Step::Begin { .. } => "Begin",
            Step::Reuse { .. } => "Reuse",
            Step::Open { .. } => "Open",
            Step::Upgraded { .. } => "Upgraded",
            Step::Complete { .. } => "Complete",
            Step::Failed => "Failed",
        })
    }
}

/// What still has to be handed to the connection.
#[derive(Debug)]
pub(super) struct Outgoing {
    pub(super) head: RequestHead,
    pub(super) body: RequestBody,
}
