//! State: all the facts of a pool, and httpcore's rules on them.
//!
//! Pure: no I/O, no clock (each call is given the time), no lock, no task, nothing of Python. It never
//! drops, wakes or calls anything foreign, but for [`Shareable::share`]: what is to be closed, woken or
//! dropped is returned, and `mod.rs` does it outside the lock.
//!
//! The rules, as httpcore has them. Requests are served in the order they came, over all origins: the
//! first one gets the first available connection of its origin in creation order, else a new one while there
//! are fewer than `max_connections`, else the first idle connection of any origin is closed and a new one
//! takes its place, else it waits. Whoever comes behind it may only be served by a connection of its own
//! origin that takes several requests at once: nobody ahead of it could have had that.
//!
//! A connection serves one request at a time, or, once its holder has told so, as many as its peer allows
//! ([`State::share`]). Where it may turn out to do that, requests of its origin join it while it is being
//! opened, and wait for what it becomes, instead of opening more.
//!
//! Assigning changes the connection's state in the same step, so that no place is given away twice. Here are the facts and
//! what can happen to them; who is served then is `serving`'s.

mod queue;
mod serving;
mod shelf;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Instant;

use super::facts::{ConnectionInfo, Counts, Limits, Shareable, Sharing, Status};
use crate::origin::Origin;
use queue::{Queue, Waiting};
use shelf::Shelf;

/// `C`: a connection between two requests. `O`: who a request belongs to. `W`: how it is woken.
#[derive(Debug)]
pub(super) struct State<C, O, W> {
    limits: Limits,
    /// Of the connections made so far, which are also their ids.
    made: u64,
    /// Of the requests that came so far: one each, which it keeps as long as it lives.
    tickets: u64,
    /// Connections are closed when they are released; see `retire`.
    retired: bool,
    /// By id, so in creation order. Invariant: never more than `max_connections`.
    connections: BTreeMap<u64, Connection<C, O>>,
    /// Invariant: never more than `max_keepalive_connections` are idle between two calls.
    shelf: Shelf,
    /// Invariant: between two calls it is empty unless the connections are at their limit and none is idle, and
    /// holds no request whose origin has an available connection.
    queue: Queue<O, W>,
    /// Requests that joined a connection, by its id, until it is known what it becomes. Invariant: no queue is
    /// empty.
    joined: HashMap<u64, Queue<O, W>>,
    /// The same, by ticket.
    joined_at: HashMap<u64, u64>,
    /// Origins whose last connection turned out to serve one request at a time: nobody waits for what the next
    /// one becomes. Never more than `MOST_SOLO`.
    solo: HashSet<Origin>,
    /// How many tickets hold a connection.
    leased: usize,
    /// Tickets whose connections were taken away by `close`: they count as requests, and hold no slot.
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
    Lease {
        ticket: u64,
        owner: O,
        connecting: bool,
    },
    /// The pool.
    Idle { parked: C, expires: Option<Instant> },
    /// The pool, and whoever has a lease.
    Shared(Shared<C, O>),
}

/// A connection that serves several requests at once.
#[derive(Debug)]
struct Shared<C, O> {
    connection: C,
    /// By ticket.
    owners: BTreeMap<u64, O>,
    /// How many it serves at most. `None`: its peer has not said.
    capacity: Option<usize>,
    /// It takes no more requests.
    is_over: bool,
    /// Since nobody uses it: until when. The outer `None`: somebody does.
    resting: Option<Option<Instant>>,
}

/// A connection for a request: one that was there, or a slot to connect in.
#[derive(Debug)]
pub(super) struct Grant<C> {
    pub(super) id: u64,
    pub(super) ticket: u64,
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

/// Where a request could go now.
enum Seat {
    /// An available connection.
    At(u64),
    New,
}

/// What the caller has to do, outside the lock.
#[derive(Debug)]
#[must_use]
pub(super) struct Actions<C, O, W> {
    /// To be woken with their grants.
    pub(super) granted: Vec<(W, Grant<C>)>,
    /// To be told that they have (true), or no longer have (false), joined a connection.
    pub(super) moved: Vec<(W, bool)>,
    /// To be dropped, which closes them.
    pub(super) closed: Vec<C>,
    /// To be dropped: handles on connections that others still have.
    pub(super) handles: Vec<C>,
    /// To be dropped.
    pub(super) owners: Vec<O>,
}

impl<C, O, W> Default for Actions<C, O, W> {
    fn default() -> Self {
        Self {
            granted: Vec::new(),
            moved: Vec::new(),
            closed: Vec::new(),
            handles: Vec::new(),
            owners: Vec::new(),
        }
    }
}

/// What is left of a pool that was closed.
#[derive(Debug)]
pub(super) struct Remains<C, O, W> {
    /// Connections that the pool held, to be dropped.
    pub(super) closed: Vec<C>,
    /// Owners of leases, to be interrupted.
    pub(super) leased: Vec<O>,
    /// Requests that waited, to be failed.
    pub(super) queued: Vec<(O, W)>,
}

impl<C: Shareable, O, W: Clone> State<C, O, W> {
    pub(super) fn new(limits: Limits) -> Self {
        Self {
            limits,
            made: 0,
            tickets: 0,
            retired: false,
            connections: BTreeMap::new(),
            shelf: Shelf::default(),
            queue: Queue::new(),
            joined: HashMap::new(),
            joined_at: HashMap::new(),
            solo: HashSet::new(),
            leased: 0,
            orphans: HashSet::new(),
        }
    }

    /// A connection for a request of `owner`, or a place in the queue for the waiter that is made for it. A
    /// request that had its turn before and comes back has the `ticket` of that. The waiter is told whether the request
    /// joins a connection.
    pub(super) fn acquire(
        &mut self,
        now: Instant,
        origin: Origin,
        owner: O,
        ticket: Option<u64>,
        waiter: impl FnOnce(bool) -> W,
    ) -> (Acquired<C>, Actions<C, O, W>) {
        let mut actions = Actions::default();
        let ticket = ticket.unwrap_or_else(|| {
            self.tickets += 1;
            self.tickets
        });
        self.expire(now, &mut actions);
        // What has expired goes to those who are ahead.
        self.assign(now, &mut actions);
        let seat = self.seat(&origin);
        if let Some(seat) = &seat
            && !self.is_joining(seat)
        {
            let grant = self.grant(now, seat, ticket, origin, owner, &mut actions);
            return (Acquired::Granted(grant), actions);
        }
        let waiting = Waiting {
            origin,
            owner,
            waiter: waiter(seat.is_some()),
        };
        match seat {
            Some(Seat::At(id)) => {
                self.join(id, ticket, waiting);
                // One that was idle is in use again.
                self.review(now, id, &mut actions);
            }
            Some(Seat::New) | None => self.queue.push(ticket, waiting),
        }
        (Acquired::Queued { ticket }, actions)
    }

    /// Takes a request out of the queue. `None`: it has been granted a connection.
    pub(super) fn leave(
        &mut self,
        now: Instant,
        ticket: u64,
    ) -> (Option<(O, W)>, Actions<C, O, W>) {
        let mut actions = Actions::default();
        let waiting = match self.joined_at.remove(&ticket) {
            None => self.queue.remove(ticket),
            Some(id) => {
                let left = self
                    .joined
                    .get_mut(&id)
                    .and_then(|joined| joined.remove(ticket));
                if self.joined.get(&id).is_some_and(|joined| joined.len() == 0) {
                    self.joined.remove(&id);
                }
                // It may have been the last one who wanted the connection.
                self.review(now, id, &mut actions);
                self.tidy(now, &mut actions);
                left
            }
        };
        (
            waiting.map(|waiting| (waiting.owner, waiting.waiter)),
            actions,
        )
    }

    /// The idle connection that came with a lease was dead: the lease connects anew, in its slot.
    pub(super) fn connecting(&mut self, id: u64) -> Actions<C, O, W> {
        let mut actions = Actions::default();
        if let Some(connection) = self.connections.get_mut(&id)
            && let Holder::Lease { connecting, .. } = &mut connection.holder
        {
            *connecting = true;
            connection.request_count = 1;
            self.invite(id, &mut actions);
        }
        actions
    }

    /// The lease has opened its connection, which serves nobody else meanwhile.
    pub(super) fn connected(&mut self, now: Instant, id: u64) -> Actions<C, O, W> {
        let mut actions = Actions::default();
        if let Some(connection) = self.connections.get_mut(&id)
            && let Holder::Lease { connecting, .. } = &mut connection.holder
        {
            *connecting = false;
            self.shelf.withhold(id, &connection.origin);
            let origin = connection.origin.clone();
            self.note_solo(origin);
            self.disperse(now, id, &mut actions);
        }
        actions
    }

    /// The lease has opened a connection that serves others at the same time, once its peer has said how many.
    pub(super) fn share(&mut self, id: u64, ticket: u64, handle: C) -> Actions<C, O, W> {
        let mut actions = Actions::default();
        let Some(connection) = self.connections.get_mut(&id) else {
            // The pool was closed meanwhile.
            actions.handles.push(handle);
            return actions;
        };
        let shared = Holder::Shared(Shared {
            connection: handle,
            owners: BTreeMap::new(),
            capacity: None,
            is_over: false,
            resting: None,
        });
        match std::mem::replace(&mut connection.holder, shared) {
            Holder::Lease { owner, .. } => {
                if let Holder::Shared(shared) = &mut connection.holder {
                    shared.owners.insert(ticket, owner);
                }
            }
            Holder::Idle { .. } | Holder::Shared(_) => unreachable!("a lease shares once"),
        }
        let origin = connection.origin.clone();
        self.solo.remove(&origin);
        if self.retired {
            self.shelf.withhold(id, &origin);
        } else {
            // Also where its origin's connections were not expected to.
            self.shelf.offer(id, &origin);
            self.invite(id, &mut actions);
        }
        actions
    }

    /// So many requests a shared connection serves at most from now on. Those above that may stay.
    pub(super) fn limit(&mut self, now: Instant, id: u64, capacity: usize) -> Actions<C, O, W> {
        let mut actions = Actions::default();
        let Some(shared) = self.shared(id) else {
            return actions;
        };
        shared.capacity = Some(capacity);
        self.review(now, id, &mut actions);
        self.disperse(now, id, &mut actions);
        self.settle(now, id, &mut actions);
        actions
    }

    /// A shared connection takes no more requests. It is closed when it has served those that it has.
    pub(super) fn withdraw(&mut self, now: Instant, id: u64) -> Actions<C, O, W> {
        let mut actions = Actions::default();
        let Some(shared) = self.shared(id) else {
            return actions;
        };
        shared.is_over = true;
        self.review(now, id, &mut actions);
        self.disperse(now, id, &mut actions);
        self.settle(now, id, &mut actions);
        actions
    }

    /// A lease comes back, with its connection if that can be used again.
    pub(super) fn release(
        &mut self,
        now: Instant,
        id: u64,
        ticket: u64,
        parked: Option<C>,
    ) -> Actions<C, O, W> {
        let mut actions = Actions::default();
        if self.orphans.remove(&ticket) {
            actions.closed.extend(parked);
            return actions;
        }
        self.leased -= 1;
        if let Some(shared) = self.shared(id) {
            actions.owners.extend(shared.owners.remove(&ticket));
            actions.handles.extend(parked);
            self.review(now, id, &mut actions);
            self.settle(now, id, &mut actions);
            return actions;
        }
        match parked {
            Some(parked) if !self.retired => self.rest(now, id, parked, &mut actions),
            parked => {
                actions.closed.extend(parked);
                self.remove(id, &mut actions);
                self.disperse(now, id, &mut actions);
            }
        }
        self.tidy(now, &mut actions);
        actions
    }

    /// Ends every connection and every request. Leases still out there lose their slots.
    pub(super) fn close(&mut self) -> Remains<C, O, W> {
        let mut remains = self.drain_waiting();
        self.shelf.clear();
        for (_, connection) in std::mem::take(&mut self.connections) {
            match connection.holder {
                Holder::Lease { ticket, owner, .. } => {
                    self.orphans.insert(ticket);
                    remains.leased.push(owner);
                }
                Holder::Idle { parked, .. } => remains.closed.push(parked),
                Holder::Shared(shared) => {
                    self.orphans.extend(shared.owners.keys());
                    remains.leased.extend(shared.owners.into_values());
                    remains.closed.push(shared.connection);
                }
            }
        }
        self.leased = 0;
        remains
    }

    /// Lets nothing begin any more: idle connections are closed, requests that wait leave, those in flight
    /// finish and their connections are closed after them.
    pub(super) fn retire(&mut self, now: Instant) -> Remains<C, O, W> {
        self.retired = true;
        let mut remains = self.drain_waiting();
        let mut actions = Actions::<C, O, W>::default();
        while self.shelf.idle() > 0 {
            self.close_first_idle(&mut actions);
        }
        let ids: Vec<u64> = self.connections.keys().copied().collect();
        for id in ids {
            self.review(now, id, &mut actions);
        }
        self.shelf.clear();
        remains.closed = actions.closed;
        remains
    }

    pub(super) fn is_retired(&self) -> bool {
        self.retired
    }

    pub(super) fn counts(&self) -> Counts {
        Counts {
            active_requests: self.leased + self.joined_at.len() + self.orphans.len(),
            queued_requests: self.queue.len(),
            active_connections: self.connections.len() - self.shelf.idle(),
            idle_connections: self.shelf.idle(),
        }
    }

    pub(super) fn connections(&self) -> Vec<ConnectionInfo> {
        let ids = self.connections.keys();
        ids.filter_map(|id| self.connection(*id)).collect()
    }

    pub(super) fn connection(&self, id: u64) -> Option<ConnectionInfo> {
        let connection = self.connections.get(&id)?;
        let (status, shared, served) = match &connection.holder {
            Holder::Lease { connecting, .. } if *connecting => (Status::Connecting, false, 1),
            Holder::Lease { .. } => (Status::Active, false, 1),
            Holder::Idle { .. } => (Status::Idle, false, 0),
            Holder::Shared(shared) if shared.resting.is_some() => (Status::Idle, true, 0),
            Holder::Shared(shared) => (Status::Active, true, shared.owners.len()),
        };
        let joined = self.joined.get(&id).map_or(0, Queue::len);
        Some(ConnectionInfo {
            id,
            origin: connection.origin.clone(),
            status,
            request_count: connection.request_count,
            requests: served + joined,
            shared,
        })
    }

    fn drain_waiting(&mut self) -> Remains<C, O, W> {
        self.joined_at.clear();
        let joined = std::mem::take(&mut self.joined).into_values();
        let waiting = self
            .queue
            .drain()
            .chain(joined.flat_map(|mut joined| joined.drain()));
        Remains {
            closed: Vec::new(),
            leased: Vec::new(),
            queued: waiting
                .map(|waiting| (waiting.owner, waiting.waiter))
                .collect(),
        }
    }
}
