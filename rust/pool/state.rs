//! State: all the facts of a pool, and httpcore's rules on them.
//!
//! Pure: no I/O, no clock (each call is given the time), no lock, no task, nothing of Python. It never
//! drops, wakes or calls anything foreign: what is to be closed, woken or dropped is returned, and
//! `mod.rs` does it outside the lock.
//!
//! The rules, as httpcore has them. Requests are served in the order they came, over all origins: the
//! first one gets the first idle connection of its origin in creation order, else a new one while there
//! are fewer than `max_connections`, else the first idle connection of any origin is closed and a new one
//! takes its place, else everybody waits. So whoever is first can use whatever becomes free, and one
//! queue is enough: the next to be served is always its head.
//!
//! Assigning changes the connection's state in the same step, so that no connection has two requests.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::time::{Duration, Instant};

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
}

/// How much there is of everything, in httpcore's terms.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Requests with a connection, until their response is closed.
    pub active_requests: usize,
    /// Requests without.
    pub queued_requests: usize,
    /// Connections that are not idle.
    pub active_connections: usize,
    /// Connections that are kept alive.
    pub idle_connections: usize,
}

/// `C`: a connection between two requests. `O`: who a request belongs to. `W`: how it is woken.
#[derive(Debug)]
pub(super) struct State<C, O, W> {
    limits: Limits,
    /// Of the connections made so far, which are also their ids.
    made: u64,
    /// Of the requests queued so far.
    tickets: u64,
    /// Idle connections are closed when they are released; see `retire`.
    retired: bool,
    /// By id, so in creation order. Invariant: never more than `max_connections`.
    connections: BTreeMap<u64, Connection<C, O>>,
    /// Invariant: exactly the ids whose connection is idle. Never more than `max_keepalive_connections`
    /// between two calls.
    idle: BTreeSet<u64>,
    /// The same, by origin. Invariant: no set is empty.
    idle_by_origin: HashMap<Origin, BTreeSet<u64>>,
    /// The same, by expiry, if there is one.
    expiries: BTreeSet<(Instant, u64)>,
    /// By ticket, so first come, first served. Invariant: between two calls it is empty unless the
    /// connections are at their limit and none is idle.
    queue: BTreeMap<u64, Waiting<O, W>>,
    /// Leases whose connections were taken away by `close`: they count as requests, and hold no slot.
    orphans: HashSet<u64>,
}

#[derive(Debug)]
struct Connection<C, O> {
    origin: Origin,
    request_count: u64,
    holder: Holder<C, O>,
}

#[derive(Debug)]
enum Holder<C, O> {
    /// A lease of this owner.
    Lease { owner: O, connecting: bool },
    /// The pool.
    Idle { parked: C, expires: Option<Instant> },
}

#[derive(Debug)]
struct Waiting<O, W> {
    origin: Origin,
    owner: O,
    waiter: W,
}

/// A connection for a request: one that was idle, or a slot to connect in.
#[derive(Debug)]
pub(super) struct Grant<C> {
    pub(super) id: u64,
    pub(super) origin: Origin,
    /// `None`: the lease has to connect.
    pub(super) parked: Option<C>,
}

/// What came of asking for a connection.
#[derive(Debug)]
pub(super) enum Acquired<C> {
    Granted(Grant<C>),
    Queued { ticket: u64 },
}

/// What the caller has to do, outside the lock.
#[derive(Debug)]
#[must_use]
pub(super) struct Actions<C, O, W> {
    /// To be woken with their grants.
    pub(super) granted: Vec<(W, Grant<C>)>,
    /// To be dropped, which closes them.
    pub(super) closed: Vec<C>,
    /// To be dropped.
    pub(super) owners: Vec<O>,
}

impl<C, O, W> Default for Actions<C, O, W> {
    fn default() -> Self {
        Self {
            granted: Vec::new(),
            closed: Vec::new(),
            owners: Vec::new(),
        }
    }
}

/// What is left of a pool that was closed.
#[derive(Debug)]
pub(super) struct Remains<C, O, W> {
    /// Idle connections, to be dropped.
    pub(super) closed: Vec<C>,
    /// Owners of leases, to be interrupted.
    pub(super) leased: Vec<O>,
    /// Queued requests, to be failed.
    pub(super) queued: Vec<(O, W)>,
}

impl<C, O, W> State<C, O, W> {
    pub(super) fn new(limits: Limits) -> Self {
        Self {
            limits,
            made: 0,
            tickets: 0,
            retired: false,
            connections: BTreeMap::new(),
            idle: BTreeSet::new(),
            idle_by_origin: HashMap::new(),
            expiries: BTreeSet::new(),
            queue: BTreeMap::new(),
            orphans: HashSet::new(),
        }
    }

    /// A connection for a request of `owner`, or a place in the queue for the waiter that is made for it.
    pub(super) fn acquire(
        &mut self,
        now: Instant,
        origin: Origin,
        owner: O,
        waiter: impl FnOnce() -> W,
    ) -> (Acquired<C>, Actions<C, O, W>) {
        let mut actions = Actions::default();
        self.expire(now, &mut actions);
        // Nobody is ahead: were anything free, the queue's head would have it (see its invariant), and
        // what has just expired goes to the head below.
        if self.queue.is_empty() && self.has_room() {
            let grant = self.grant(origin, owner, &mut actions);
            return (Acquired::Granted(grant), actions);
        }
        self.tickets += 1;
        let ticket = self.tickets;
        let waiter = waiter();
        self.queue.insert(
            ticket,
            Waiting {
                origin,
                owner,
                waiter,
            },
        );
        self.assign(&mut actions);
        (Acquired::Queued { ticket }, actions)
    }

    /// Takes a request out of the queue. `None`: it has been granted a connection.
    pub(super) fn leave(&mut self, ticket: u64) -> Option<(O, W)> {
        let waiting = self.queue.remove(&ticket)?;
        Some((waiting.owner, waiting.waiter))
    }

    /// The idle connection that came with a lease was dead: the lease connects anew, in its slot.
    pub(super) fn connecting(&mut self, id: u64) {
        if let Some(connection) = self.connections.get_mut(&id)
            && let Holder::Lease { connecting, .. } = &mut connection.holder
        {
            *connecting = true;
            connection.request_count = 1;
        }
    }

    /// The lease has opened its connection.
    pub(super) fn connected(&mut self, id: u64) {
        if let Some(connection) = self.connections.get_mut(&id)
            && let Holder::Lease { connecting, .. } = &mut connection.holder
        {
            *connecting = false;
        }
    }

    /// A lease comes back, with its connection if that can be used again.
    pub(super) fn release(&mut self, now: Instant, id: u64, parked: Option<C>) -> Actions<C, O, W> {
        let mut actions = Actions::default();
        if self.orphans.remove(&id) {
            actions.closed.extend(parked);
            return actions;
        }
        match parked {
            Some(parked) if !self.retired => self.rest(now, id, parked, &mut actions),
            parked => {
                actions.closed.extend(parked);
                self.remove(id, &mut actions);
            }
        }
        self.expire(now, &mut actions);
        while self.idle.len() > self.limits.max_keepalive_connections {
            self.close_first_idle(&mut actions);
        }
        self.assign(&mut actions);
        actions
    }

    /// Ends every connection and every request. Leases still out there lose their slots.
    pub(super) fn close(&mut self) -> Remains<C, O, W> {
        let mut remains = self.drain_queue();
        self.forget_idle();
        for (id, connection) in std::mem::take(&mut self.connections) {
            match connection.holder {
                Holder::Lease { owner, .. } => {
                    self.orphans.insert(id);
                    remains.leased.push(owner);
                }
                Holder::Idle { parked, .. } => remains.closed.push(parked),
            }
        }
        remains
    }

    /// Lets nothing begin any more: idle connections are closed, queued requests leave, those in flight
    /// finish and their connections are closed after them.
    pub(super) fn retire(&mut self) -> Remains<C, O, W> {
        self.retired = true;
        let mut remains = self.drain_queue();
        let mut actions = Actions::<C, O, W>::default();
        while !self.idle.is_empty() {
            self.close_first_idle(&mut actions);
        }
        remains.closed = actions.closed;
        remains
    }

    pub(super) fn counts(&self) -> Counts {
        let leased = self.connections.len() - self.idle.len();
        Counts {
            active_requests: leased + self.orphans.len(),
            queued_requests: self.queue.len(),
            active_connections: leased,
            idle_connections: self.idle.len(),
        }
    }

    pub(super) fn connections(&self) -> Vec<ConnectionInfo> {
        let ids = self.connections.keys();
        ids.filter_map(|id| self.connection(*id)).collect()
    }

    pub(super) fn connection(&self, id: u64) -> Option<ConnectionInfo> {
        let connection = self.connections.get(&id)?;
        Some(ConnectionInfo {
            id,
            origin: connection.origin.clone(),
            status: match connection.holder {
                Holder::Lease {
                    connecting: true, ..
                } => Status::Connecting,
                Holder::Lease { .. } => Status::Active,
                Holder::Idle { .. } => Status::Idle,
            },
            request_count: connection.request_count,
        })
    }

    /// Serves the queue from its head, as far as there is room.
    fn assign(&mut self, actions: &mut Actions<C, O, W>) {
        while self.has_room() {
            let Some((_, first)) = self.queue.pop_first() else {
                return;
            };
            let grant = self.grant(first.origin, first.owner, actions);
            actions.granted.push((first.waiter, grant));
        }
    }

    /// Whether any request can have a connection now. An idle one of another origin is as good as its
    /// own: it can be closed for it.
    fn has_room(&self) -> bool {
        !self.idle.is_empty() || self.connections.len() < self.limits.max_connections
    }

    /// The first idle connection of the origin, else a new one, for which an idle one makes room if it
    /// must. There has to be room.
    fn grant(&mut self, origin: Origin, owner: O, actions: &mut Actions<C, O, W>) -> Grant<C> {
        let first_idle = self
            .idle_by_origin
            .get(&origin)
            .and_then(|ids| ids.first().copied());
        if let Some(id) = first_idle {
            self.forget_idle_one(id);
            let connection = self.connections.get_mut(&id).expect("idle ids are known");
            connection.request_count += 1;
            let lease = Holder::Lease {
                owner,
                connecting: false,
            };
            let Holder::Idle { parked, .. } = std::mem::replace(&mut connection.holder, lease)
            else {
                unreachable!("idle ids are ids of idle connections");
            };
            return Grant {
                id,
                origin,
                parked: Some(parked),
            };
        }
        if self.connections.len() >= self.limits.max_connections {
            self.close_first_idle(actions);
        }
        self.made += 1;
        let id = self.made;
        self.connections.insert(
            id,
            Connection {
                origin: origin.clone(),
                request_count: 1,
                holder: Holder::Lease {
                    owner,
                    connecting: true,
                },
            },
        );
        Grant {
            id,
            origin,
            parked: None,
        }
    }

    /// A leased connection becomes idle.
    fn rest(&mut self, now: Instant, id: u64, parked: C, actions: &mut Actions<C, O, W>) {
        let Some(connection) = self.connections.get_mut(&id) else {
            actions.closed.push(parked);
            return;
        };
        let expires = self
            .limits
            .keepalive_expiry
            .and_then(|after| now.checked_add(after));
        let idle = Holder::Idle { parked, expires };
        match std::mem::replace(&mut connection.holder, idle) {
            Holder::Lease { owner, .. } => actions.owners.push(owner),
            Holder::Idle { .. } => unreachable!("a lease is released once"),
        }
        self.idle.insert(id);
        let of_origin = self.idle_by_origin.entry(connection.origin.clone());
        of_origin.or_default().insert(id);
        self.expiries.extend(expires.map(|at| (at, id)));
    }

    fn remove(&mut self, id: u64, actions: &mut Actions<C, O, W>) {
        if let Some(Connection {
            holder: Holder::Lease { owner, .. },
            ..
        }) = self.connections.remove(&id)
        {
            actions.owners.push(owner);
        }
    }

    fn expire(&mut self, now: Instant, actions: &mut Actions<C, O, W>) {
        while let Some((at, id)) = self.expiries.first().copied() {
            if at > now {
                return;
            }
            self.close_idle(id, actions);
        }
    }

    fn close_first_idle(&mut self, actions: &mut Actions<C, O, W>) {
        if let Some(id) = self.idle.first().copied() {
            self.close_idle(id, actions);
        }
    }

    fn close_idle(&mut self, id: u64, actions: &mut Actions<C, O, W>) {
        self.forget_idle_one(id);
        if let Some(Connection {
            holder: Holder::Idle { parked, .. },
            ..
        }) = self.connections.remove(&id)
        {
            actions.closed.push(parked);
        }
    }

    /// Takes an id out of the idle sets; its connection is about to be leased or closed.
    fn forget_idle_one(&mut self, id: u64) {
        self.idle.remove(&id);
        let connection = &self.connections[&id];
        if let Some(of_origin) = self.idle_by_origin.get_mut(&connection.origin) {
            of_origin.remove(&id);
            if of_origin.is_empty() {
                self.idle_by_origin.remove(&connection.origin);
            }
        }
        if let Holder::Idle {
            expires: Some(at), ..
        } = connection.holder
        {
            self.expiries.remove(&(at, id));
        }
    }

    fn forget_idle(&mut self) {
        self.idle.clear();
        self.idle_by_origin.clear();
        self.expiries.clear();
    }

    fn drain_queue(&mut self) -> Remains<C, O, W> {
        let queue = std::mem::take(&mut self.queue).into_values();
        Remains {
            closed: Vec::new(),
            leased: Vec::new(),
            queued: queue
                .map(|waiting| (waiting.owner, waiting.waiter))
                .collect(),
        }
    }
}
