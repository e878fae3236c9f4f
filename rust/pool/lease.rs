//! Lease: the right to one connection of a pool, from assignment until the response is closed.

use std::mem;
use std::sync::Arc;
use std::time::Instant;

use super::{Grant, Pool, Shareable};
use crate::ledger::{Entry, Item};
use crate::origin::Origin;

/// One slot of a pool, held by one request. It is handed out before the connection is opened.
///
/// # Drop
///
/// The only way a slot comes back, after success, error, timeout, cancellation and panic alike: a parked
/// connection becomes idle, else the slot is free. The next request in the queue has it before `drop`
/// returns.
#[derive(Debug)]
pub struct Lease<C: Shareable, O> {
    pool: Arc<Pool<C, O>>,
    id: u64,
    ticket: u64,
    origin: Origin,
    connection: Holding<C>,
    _entry: Entry,
}

/// What a lease has of its connection.
#[derive(Debug)]
enum Holding<C> {
    /// An idle connection that came with it and was not taken yet. It goes back as it came.
    Assigned(C),
    /// The request has it, or is opening it.
    Taken,
    /// The request is done with it, and it can serve another.
    Parked(C),
}

impl<C: Shareable, O> Lease<C, O> {
    pub(super) fn new(pool: Arc<Pool<C, O>>, grant: Grant<C>) -> Self {
        Self {
            pool,
            id: grant.id,
            ticket: grant.ticket,
            origin: grant.origin,
            connection: grant.parked.map_or(Holding::Taken, Holding::Assigned),
            _entry: Entry::new(Item::Lease),
        }
    }

    /// The connection's id.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// Its request's place among all, for [`Pool::acquire_again`].
    pub fn ticket(&self) -> u64 {
        self.ticket
    }

    /// Where the connection leads.
    pub fn origin(&self) -> &Origin {
        &self.origin
    }

    /// The idle connection that came with the lease; `None` if there was none, so that it must connect.
    pub fn take(&mut self) -> Option<C> {
        match mem::replace(&mut self.connection, Holding::Taken) {
            Holding::Assigned(connection) | Holding::Parked(connection) => Some(connection),
            Holding::Taken => None,
        }
    }

    /// The connection that came was dead: the lease connects anew, and keeps its turn.
    pub fn connecting(&mut self) {
        let actions = self.pool.state.lock().connecting(self.id);
        self.pool.act(actions);
    }

    /// The connection is open, and serves this request alone.
    pub fn connected(&mut self) {
        let actions = self.pool.state.lock().connected(Instant::now(), self.id);
        self.pool.act(actions);
    }

    /// The connection is open, and serves other requests as well, by handles like this one, as soon as
    /// [`Pool::limit`] tells how many. It is the pool's from here on: releasing the lease does not close it.
    pub fn share(&mut self, handle: C) {
        let actions = self.pool.state.lock().share(self.id, self.ticket, handle);
        self.pool.act(actions);
    }

    /// The request is done with the connection, which can serve another one. It stays active until the
    /// lease drops.
    pub fn park(&mut self, connection: C) {
        self.connection = Holding::Parked(connection);
    }
}

impl<C: Shareable, O> Drop for Lease<C, O> {
    fn drop(&mut self) {
        let parked = self.take();
        self.pool.release(self.id, self.ticket, parked);
    }
}
