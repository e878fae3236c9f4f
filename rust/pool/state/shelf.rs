//! Shelf: which connections are idle, and which can be had by a request of their origin.
//!
//! Ids only, in the orders that the rules ask for. What is idle or available is for `state` to say.

use std::collections::{BTreeSet, HashMap};
use std::time::Instant;

use crate::origin::Origin;

/// Ids of connections, each set in creation order.
#[derive(Debug, Default)]
pub(super) struct Shelf {
    idle: BTreeSet<u64>,
    /// Of the idle ones, those that expire.
    expiries: BTreeSet<(Instant, u64)>,
    /// Invariant: no set is empty.
    available: HashMap<Origin, BTreeSet<u64>>,
}

impl Shelf {
    pub(super) fn idle(&self) -> usize {
        self.idle.len()
    }

    pub(super) fn first_idle(&self) -> Option<u64> {
        self.idle.first().copied()
    }

    /// The idle one that expires first, if it has by now.
    pub(super) fn first_expired(&self, now: Instant) -> Option<u64> {
        let (at, id) = self.expiries.first().copied()?;
        (at <= now).then_some(id)
    }

    /// The first one that a request of the origin can have.
    pub(super) fn first_available(&self, origin: &Origin) -> Option<u64> {
        self.available.get(origin)?.first().copied()
    }

    pub(super) fn rest(&mut self, id: u64, expires: Option<Instant>) {
        self.idle.insert(id);
        self.expiries.extend(expires.map(|at| (at, id)));
    }

    /// It is idle no more.
    pub(super) fn wake(&mut self, id: u64, expires: Option<Instant>) {
        self.idle.remove(&id);
        if let Some(at) = expires {
            self.expiries.remove(&(at, id));
        }
    }

    pub(super) fn offer(&mut self, id: u64, origin: &Origin) {
        match self.available.get_mut(origin) {
            Some(of_origin) => {
                of_origin.insert(id);
            }
            None => {
                self.available.insert(origin.clone(), BTreeSet::from([id]));
            }
        }
    }

    /// It can be had no more.
    pub(super) fn withhold(&mut self, id: u64, origin: &Origin) {
        if let Some(of_origin) = self.available.get_mut(origin) {
            of_origin.remove(&id);
            if of_origin.is_empty() {
                self.available.remove(origin);
            }
        }
    }

    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }
}
