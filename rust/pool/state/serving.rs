//! Serving: which request gets which connection, whenever something has changed.
//!
//! The rules of `mod.rs`, step by step. Nothing here is called from outside of the state.

use std::time::Instant;

use super::queue::Waiting;
use super::{Actions, Connection, Grant, Holder, Seat, Shareable, Shared, Sharing, State};
use crate::origin::Origin;

/// How many origins are remembered to serve one request at a time. Forgetting them costs a handshake's wait.
const MOST_SOLO: usize = 1024;

impl<C: Shareable, O, W: Clone> State<C, O, W> {
    /// Serves the queue from its head, as far as there is room for any origin.
    pub(super) fn assign(&mut self, now: Instant, actions: &mut Actions<C, O, W>) {
        while self.has_room() {
            let Some((ticket, first)) = self.queue.pop() else {
                return;
            };
            self.place(now, ticket, first, actions);
        }
    }

    /// Serves those in the queue whose own origin has a connection for them; nobody else can have that.
    pub(super) fn fill(&mut self, now: Instant, origin: &Origin, actions: &mut Actions<C, O, W>) {
        while self.shelf.first_available(origin).is_some() {
            let Some((ticket, first)) = self.queue.pop_of(origin) else {
                return;
            };
            self.place(now, ticket, first, actions);
        }
    }

    /// Has those in the queue join a connection that may turn out to serve them as well.
    pub(super) fn invite(&mut self, id: u64, actions: &mut Actions<C, O, W>) {
        let Some(connection) = self.connections.get(&id) else {
            return;
        };
        let origin = connection.origin.clone();
        if !self.is_joining(&Seat::At(id)) || self.shelf.first_available(&origin).is_none() {
            return;
        }
        while let Some((ticket, waiting)) = self.queue.pop_of(&origin) {
            actions.moved.push((waiting.waiter.clone(), true));
            self.join(id, ticket, waiting);
        }
    }

    pub(super) fn join(&mut self, id: u64, ticket: u64, waiting: Waiting<O, W>) {
        self.joined_at.insert(ticket, id);
        let joined = self.joined.entry(id);
        joined
            .or_insert_with(super::Queue::new)
            .push(ticket, waiting);
    }

    /// It is known what a connection has become, or that it has become nothing: those who joined it are in the queue
    /// again, each in its old place, and have what there is for them, this connection included.
    pub(super) fn disperse(&mut self, now: Instant, id: u64, actions: &mut Actions<C, O, W>) {
        let Some(mut joined) = self.joined.remove(&id) else {
            return;
        };
        let mut tickets = Vec::with_capacity(joined.len());
        let mut origin = None;
        while let Some((ticket, waiting)) = joined.pop() {
            self.joined_at.remove(&ticket);
            tickets.push(ticket);
            origin.get_or_insert_with(|| waiting.origin.clone());
            self.queue.push(ticket, waiting);
        }
        self.review(now, id, actions);
        self.assign(now, actions);
        if let Some(origin) = &origin {
            self.fill(now, origin, actions);
        }
        let left = tickets.iter().filter_map(|ticket| self.queue.get(*ticket));
        actions
            .moved
            .extend(left.map(|waiting| (waiting.waiter.clone(), false)));
    }

    /// Gives a waiting request what there is for it, else a place in the queue.
    fn place(
        &mut self,
        now: Instant,
        ticket: u64,
        waiting: Waiting<O, W>,
        actions: &mut Actions<C, O, W>,
    ) {
        match self.seat(&waiting.origin) {
            None => self.queue.push(ticket, waiting),
            Some(Seat::At(id)) if self.is_joining(&Seat::At(id)) => {
                actions.moved.push((waiting.waiter.clone(), true));
                self.join(id, ticket, waiting);
                self.review(now, id, actions);
            }
            Some(seat) => {
                let Waiting {
                    origin,
                    owner,
                    waiter,
                } = waiting;
                let grant = self.grant(now, &seat, ticket, origin, owner, actions);
                actions.granted.push((waiter, grant));
            }
        }
    }

    /// Whether any request can have a connection now. An idle one of another origin is as good as its
    /// own: it can be closed for it.
    fn has_room(&self) -> bool {
        self.shelf.idle() > 0 || self.connections.len() < self.limits.max_connections
    }

    /// The first available connection of the origin, else a new one.
    pub(super) fn seat(&self, origin: &Origin) -> Option<Seat> {
        match self.shelf.first_available(origin) {
            Some(id) => Some(Seat::At(id)),
            None => self.has_room().then_some(Seat::New),
        }
    }

    /// Whether a request can but join the connection, and wait for what it becomes.
    pub(super) fn is_joining(&self, seat: &Seat) -> bool {
        let Seat::At(id) = seat else {
            return false;
        };
        match self
            .connections
            .get(id)
            .map(|connection| &connection.holder)
        {
            Some(Holder::Lease { connecting, .. }) => *connecting,
            Some(Holder::Shared(shared)) => shared.capacity.is_none(),
            Some(Holder::Idle { .. }) | None => false,
        }
    }

    /// A place that is there, for which an idle connection makes room if it must.
    pub(super) fn grant(
        &mut self,
        now: Instant,
        seat: &Seat,
        ticket: u64,
        origin: Origin,
        owner: O,
        actions: &mut Actions<C, O, W>,
    ) -> Grant<C> {
        self.leased += 1;
        let Seat::At(id) = *seat else {
            return self.grant_new(ticket, origin, owner, actions);
        };
        let connection = self
            .connections
            .get_mut(&id)
            .expect("available ids are known");
        connection.request_count += 1;
        let parked = match &mut connection.holder {
            Holder::Shared(shared) => {
                shared.owners.insert(ticket, owner);
                let handle = shared.connection.share();
                self.review(now, id, actions);
                handle
            }
            holder => {
                let lease = Holder::Lease {
                    ticket,
                    owner,
                    connecting: false,
                };
                let Holder::Idle { parked, expires } = std::mem::replace(holder, lease) else {
                    unreachable!("whoever can but join is not granted");
                };
                self.shelf.wake(id, expires);
                self.shelf.withhold(id, &origin);
                Some(parked)
            }
        };
        Grant {
            id,
            ticket,
            origin,
            parked,
        }
    }

    fn grant_new(
        &mut self,
        ticket: u64,
        origin: Origin,
        owner: O,
        actions: &mut Actions<C, O, W>,
    ) -> Grant<C> {
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
                    ticket,
                    owner,
                    connecting: true,
                },
            },
        );
        if self.may_share(&origin) {
            self.shelf.offer(id, &origin);
            self.invite(id, actions);
        }
        Grant {
            id,
            ticket,
            origin,
            parked: None,
        }
    }

    fn may_share(&self, origin: &Origin) -> bool {
        let shares = match self.limits.sharing {
            Sharing::Never => false,
            Sharing::Secure => origin.is_secure(),
            Sharing::Always => true,
        };
        shares && !self.retired && !self.solo.contains(origin)
    }

    /// A connection of the origin serves one request at a time.
    pub(super) fn note_solo(&mut self, origin: Origin) {
        if self.limits.sharing == Sharing::Never {
            return;
        }
        if self.solo.len() >= MOST_SOLO {
            self.solo.clear();
        }
        self.solo.insert(origin);
    }

    pub(super) fn shared(&mut self, id: u64) -> Option<&mut Shared<C, O>> {
        match &mut self.connections.get_mut(&id)?.holder {
            Holder::Shared(shared) => Some(shared),
            Holder::Lease { .. } | Holder::Idle { .. } => None,
        }
    }

    /// Brings the shelf in line with what has become of a shared connection, and closes one that is over and that
    /// nobody uses.
    pub(super) fn review(&mut self, now: Instant, id: u64, actions: &mut Actions<C, O, W>) {
        let Some(Connection {
            origin,
            holder: Holder::Shared(shared),
            ..
        }) = self.connections.get_mut(&id)
        else {
            return;
        };
        let is_unused = shared.owners.is_empty() && !self.joined.contains_key(&id);
        let is_over = shared.is_over || self.retired;
        if !is_over && shared.has_room() {
            self.shelf.offer(id, origin);
        } else {
            self.shelf.withhold(id, origin);
        }
        if let Some(expires) = shared.resting
            && (!is_unused || is_over)
        {
            shared.resting = None;
            self.shelf.wake(id, expires);
        }
        if is_unused && is_over {
            if let Some(Connection {
                holder: Holder::Shared(shared),
                ..
            }) = self.connections.remove(&id)
            {
                actions.closed.push(shared.connection);
            }
        } else if is_unused && shared.resting.is_none() {
            let after = self.limits.keepalive_expiry;
            let expires = after.and_then(|after| now.checked_add(after));
            shared.resting = Some(expires);
            self.shelf.rest(id, expires);
        }
    }

    /// A leased connection becomes idle.
    pub(super) fn rest(
        &mut self,
        now: Instant,
        id: u64,
        parked: C,
        actions: &mut Actions<C, O, W>,
    ) {
        let Some(connection) = self.connections.get_mut(&id) else {
            actions.closed.push(parked);
            return;
        };
        let after = self.limits.keepalive_expiry;
        let expires = after.and_then(|after| now.checked_add(after));
        let idle = Holder::Idle { parked, expires };
        match std::mem::replace(&mut connection.holder, idle) {
            Holder::Lease { owner, .. } => actions.owners.push(owner),
            Holder::Idle { .. } | Holder::Shared(_) => unreachable!("a lease is released once"),
        }
        self.shelf.rest(id, expires);
        self.shelf.offer(id, &connection.origin);
    }

    /// The lease of a connection has nothing to give back.
    pub(super) fn remove(&mut self, id: u64, actions: &mut Actions<C, O, W>) {
        if let Some(Connection {
            origin,
            holder: Holder::Lease { owner, .. },
            ..
        }) = self.connections.remove(&id)
        {
            self.shelf.withhold(id, &origin);
            actions.owners.push(owner);
        }
    }

    /// Closes what is too old or too much, and serves whoever can be served then.
    pub(super) fn tidy(&mut self, now: Instant, actions: &mut Actions<C, O, W>) {
        self.expire(now, actions);
        while self.shelf.idle() > self.limits.max_keepalive_connections {
            self.close_first_idle(actions);
        }
        self.assign(now, actions);
    }

    /// After a change to a shared connection: whoever is first has what anybody can have, the others what only their
    /// origin can.
    pub(super) fn settle(&mut self, now: Instant, id: u64, actions: &mut Actions<C, O, W>) {
        self.tidy(now, actions);
        let connection = self.connections.get(&id);
        if let Some(origin) = connection.map(|connection| connection.origin.clone()) {
            self.fill(now, &origin, actions);
        }
    }

    pub(super) fn expire(&mut self, now: Instant, actions: &mut Actions<C, O, W>) {
        while let Some(id) = self.shelf.first_expired(now) {
            self.close_idle(id, actions);
        }
    }

    pub(super) fn close_first_idle(&mut self, actions: &mut Actions<C, O, W>) {
        if let Some(id) = self.shelf.first_idle() {
            self.close_idle(id, actions);
        }
    }

    fn close_idle(&mut self, id: u64, actions: &mut Actions<C, O, W>) {
        let Some(connection) = self.connections.remove(&id) else {
            return;
        };
        self.shelf.withhold(id, &connection.origin);
        let (closed, expires) = match connection.holder {
            Holder::Idle { parked, expires } => (parked, expires),
            Holder::Shared(shared) => (shared.connection, shared.resting.flatten()),
            Holder::Lease { .. } => unreachable!("idle ids are ids of idle connections"),
        };
        self.shelf.wake(id, expires);
        actions.closed.push(closed);
    }
}

impl<C, O> Shared<C, O> {
    /// Whether one more request can have it, or join it.
    fn has_room(&self) -> bool {
        let room = self
            .capacity
            .is_none_or(|capacity| self.owners.len() < capacity);
        room && !self.is_over
    }
}
