//! Queue: requests that wait, in the order they came, over all origins and for each of them.
//!
//! A pure collection: who is served, and when, is for `state` to say.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::origin::Origin;

/// A request that waits.
#[derive(Debug)]
pub(super) struct Waiting<O, W> {
    pub(super) origin: Origin,
    pub(super) owner: O,
    pub(super) waiter: W,
}

/// Requests by ticket, so first come, first served.
#[derive(Debug)]
pub(super) struct Queue<O, W> {
    by_ticket: BTreeMap<u64, Waiting<O, W>>,
    /// The same tickets. Invariant: no set is empty.
    by_origin: HashMap<Origin, BTreeSet<u64>>,
}

impl<O, W> Queue<O, W> {
    pub(super) fn new() -> Self {
        Self {
            by_ticket: BTreeMap::new(),
            by_origin: HashMap::new(),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.by_ticket.len()
    }

    pub(super) fn get(&self, ticket: u64) -> Option<&Waiting<O, W>> {
        self.by_ticket.get(&ticket)
    }

    pub(super) fn push(&mut self, ticket: u64, waiting: Waiting<O, W>) {
        let of_origin = self.by_origin.entry(waiting.origin.clone());
        of_origin.or_default().insert(ticket);
        self.by_ticket.insert(ticket, waiting);
    }

    pub(super) fn pop(&mut self) -> Option<(u64, Waiting<O, W>)> {
        let ticket = self
            .by_ticket
            .first_key_value()
            .map(|(ticket, _)| *ticket)?;
        Some((ticket, self.remove(ticket)?))
    }

    /// The first one for an origin.
    pub(super) fn pop_of(&mut self, origin: &Origin) -> Option<(u64, Waiting<O, W>)> {
        let ticket = self.by_origin.get(origin)?.first().copied()?;
        Some((ticket, self.remove(ticket)?))
    }

    pub(super) fn remove(&mut self, ticket: u64) -> Option<Waiting<O, W>> {
        let waiting = self.by_ticket.remove(&ticket)?;
        if let Some(of_origin) = self.by_origin.get_mut(&waiting.origin) {
            of_origin.remove(&ticket);
            if of_origin.is_empty() {
                self.by_origin.remove(&waiting.origin);
            }
        }
        Some(waiting)
    }

    /// All of them, in their order.
    pub(super) fn drain(&mut self) -> impl Iterator<Item = Waiting<O, W>> + use<O, W> {
        self.by_origin.clear();
        std::mem::take(&mut self.by_ticket).into_values()
    }
}
