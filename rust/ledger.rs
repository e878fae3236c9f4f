//! Ledger: how much of everything the library holds in this process, for those who look for leaks.
//!
//! Whatever can be leaked carries an [`Entry`] from its making to its drop. An entry costs one atomic addition at
//! each end, so that it is always kept. A forked child begins with nothing, since it drops nothing of its
//! parent's: a number below zero there would mean that it did.

use std::sync::atomic::{AtomicIsize, Ordering};

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Item {
    /// Requests, from their start until nobody has them any more.
    Exchange,
    /// Requests in the queue of a pool.
    Queued,
    /// Slots of a pool that requests hold.
    Lease,
    /// Open connections, idle ones included.
    Connection,
    /// File descriptors: those of sockets, and those that wake event loops.
    Descriptor,
    /// Callers that an event loop is to wake.
    Waiter,
    /// Reads and writes on connections that have left HTTP.
    Operation,
    /// Tasks on a runtime.
    Task,
    /// Name look-ups and turns of TLS sessions, on threads that may block.
    Blocking,
    /// Runtimes of sync pools. The one of the async pools lives as long as the process.
    Runtime,
}

/// Every item, with the name that Python reads.
pub const ITEMS: [(Item, &str); 10] = [
    (Item::Exchange, "exchanges"),
    (Item::Queued, "queued"),
    (Item::Lease, "leases"),
    (Item::Connection, "connections"),
    (Item::Descriptor, "descriptors"),
    (Item::Waiter, "waiters"),
    (Item::Operation, "operations"),
    (Item::Task, "tasks"),
    (Item::Blocking, "blocking"),
    (Item::Runtime, "runtimes"),
];

/// On a cache line of its own: the loop's thread and the worker count different things at the same time.
#[repr(align(64))]
struct Count(AtomicIsize);

static HELD: [Count; ITEMS.len()] = [const { Count(AtomicIsize::new(0)) }; ITEMS.len()];

/// One thing that is held.
///
/// # Drop
///
/// Strikes it out.
#[derive(Debug)]
pub struct Entry(Item);

impl Entry {
    /// Enters one more.
    pub fn new(item: Item) -> Self {
        // The number alone is of interest, and nothing else hangs on it.
        HELD[item as usize].0.fetch_add(1, Ordering::Relaxed);
        Self(item)
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        HELD[self.0 as usize].0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// How many there are now.
pub fn held(item: Item) -> isize {
    HELD[item as usize].0.load(Ordering::Relaxed)
}

/// Begins anew, in a forked child: it has nothing of its own yet. Stores to atomics, and nothing else.
#[cfg(not(loom))]
pub(crate) fn clear() {
    for count in &HELD {
        count.0.store(0, Ordering::Relaxed);
    }
}
