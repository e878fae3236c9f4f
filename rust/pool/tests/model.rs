//! Any sequence of operations: the state against a model that is too simple to be wrong.
//!
//! The model is httpcore's algorithm as it stands there, one list of connections and one of requests,
//! gone through from the front at every step, with its errors mended: a connection is reserved when it
//! is assigned, and the keep-alive limit counts idle connections.

use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::origin;
use crate::pool::state::{Acquired, Actions, Grant, State};
use crate::pool::{Counts, Limits, Sharing};

const HOSTS: [&str; 3] = ["a", "b", "c"];

#[derive(Clone, Debug)]
enum Operation {
    Acquire(usize),
    /// The n-th queued request leaves.
    Leave(usize),
    /// The n-th lease is given back, with a connection that can be used again or without.
    Release(usize, bool),
    Connected(usize),
    /// The n-th lease finds its connection dead.
    Dead(usize),
    Advance(u64),
    Close,
}

fn operations() -> impl Strategy<Value = Vec<Operation>> {
    let operation = prop_oneof![
        6 => (0..HOSTS.len()).prop_map(Operation::Acquire),
        2 => (0..8usize).prop_map(Operation::Leave),
        5 => (0..8usize, prop::bool::weighted(0.7)).prop_map(|(n, reusable)| Operation::Release(n, reusable)),
        2 => (0..8usize).prop_map(Operation::Connected),
        1 => (0..8usize).prop_map(Operation::Dead),
        2 => (0..8u64).prop_map(Operation::Advance),
        1 => Just(Operation::Close),
    ];
    prop::collection::vec(operation, 0..120)
}

/// A connection of the model.
#[derive(Clone, Debug, PartialEq)]
struct Modelled {
    host: usize,
    /// `None` while it is leased.
    idle_until: Option<u64>,
}

#[derive(Debug)]
struct Model {
    max: usize,
    keepalive: usize,
    expiry: u64,
    now: u64,
    connections: Vec<(u64, Modelled)>,
    queue: Vec<(u64, usize)>,
    made: u64,
    /// Ticket and connection of each grant, in order.
    grants: Vec<(u64, u64, bool)>,
}

impl Model {
    fn step(&mut self) {
        let now = self.now;
        self.connections
            .retain(|(_, connection)| connection.idle_until.is_none_or(|until| until > now));
        loop {
            let idle = |(_, connection): &&(u64, Modelled)| connection.idle_until.is_some();
            if self.connections.iter().filter(idle).count() <= self.keepalive {
                break;
            }
            let first = self
                .connections
                .iter()
                .position(|c| c.1.idle_until.is_some());
            self.connections
                .remove(first.expect("more than none is idle"));
        }
        let mut still = Vec::new();
        for (ticket, host) in std::mem::take(&mut self.queue) {
            let own = self
                .connections
                .iter()
                .position(|(_, c)| c.host == host && c.idle_until.is_some());
            if let Some(own) = own {
                self.connections[own].1.idle_until = None;
                self.grants.push((ticket, self.connections[own].0, true));
                continue;
            }
            if self.connections.len() >= self.max {
                let Some(first) = self
                    .connections
                    .iter()
                    .position(|c| c.1.idle_until.is_some())
                else {
                    still.push((ticket, host));
                    continue;
                };
                self.connections.remove(first);
            }
            self.made += 1;
            let leased = Modelled {
                host,
                idle_until: None,
            };
            self.connections.push((self.made, leased));
            self.grants.push((ticket, self.made, false));
        }
        self.queue = still;
    }
}

/// The state under test, with what its users hold.
struct Run {
    state: State<u64, (), u64>,
    start: Instant,
    /// Connections of the leases, oldest first, with their tickets.
    leases: Vec<(u64, u64)>,
    queued: Vec<(u64, u64)>,
    grants: Vec<(u64, u64, bool)>,
}

impl Run {
    fn granted(&mut self, request: u64, grant: Grant<u64>) {
        if let Some(parked) = grant.parked {
            assert_eq!(parked, grant.id, "a lease gets its own connection");
        }
        self.leases.push((grant.id, grant.ticket));
        self.grants
            .push((request, grant.id, grant.parked.is_some()));
    }

    fn act(&mut self, actions: Actions<u64, (), u64>) {
        for (request, grant) in actions.granted {
            self.queued.retain(|(_, queued)| *queued != request);
            self.granted(request, grant);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_sequence_is_as_the_model_has_it(
        operations in operations(),
        max in 1..4usize,
        keepalive in 0..4usize,
        expiry in prop_oneof![Just(0u64), Just(3u64), Just(1_000_000u64)],
    ) {
        let keepalive = keepalive.min(max);
        let limits = Limits {
            max_connections: max,
            max_keepalive_connections: keepalive,
            keepalive_expiry: Some(Duration::from_secs(expiry)),
            sharing: Sharing::Never,
        };
        let mut run = Run {
            state: State::new(limits),
            start: Instant::now(),
            leases: Vec::new(),
            queued: Vec::new(),
            grants: Vec::new(),
        };
        let mut model = Model {
            max, keepalive, expiry, now: 0,
            connections: Vec::new(), queue: Vec::new(), made: 0, grants: Vec::new(),
        };
        let mut requests = 0u64;
        let mut orphans = Vec::new();

        for operation in operations {
            let now = run.start + Duration::from_secs(model.now);
            match operation {
                Operation::Acquire(host) => {
                    requests += 1;
                    let (acquired, actions) =
                        run.state.acquire(now, origin(HOSTS[host]), (), None, |_| requests);
                    match acquired {
                        Acquired::Granted(grant) => run.granted(requests, grant),
                        Acquired::Queued { ticket } => run.queued.push((ticket, requests)),
                    }
                    run.act(actions);
                    model.queue.push((requests, host));
                    model.step();
                }
                Operation::Leave(n) if !run.queued.is_empty() => {
                    let (ticket, request) = run.queued.remove(n % run.queued.len());
                    let (left, _) = run.state.leave(now, ticket);
                    prop_assert_eq!(left.map(|(_, waiter)| waiter), Some(request));
                    prop_assert!(run.state.leave(now, ticket).0.is_none());
                    model.queue.retain(|(queued, _)| *queued != request);
                }
                Operation::Release(n, reusable) if !run.leases.is_empty() => {
                    let (id, ticket) = run.leases.remove(n % run.leases.len());
                    let actions = run.state.release(now, id, ticket, reusable.then_some(id));
                    run.act(actions);
                    if orphans.contains(&(id, ticket)) {
                        orphans.retain(|orphan| orphan.1 != ticket);
                        continue;
                    }
                    let at = model.connections.iter().position(|(known, _)| *known == id);
                    let at = at.expect("a leased connection is known");
                    if reusable {
                        model.connections[at].1.idle_until = Some(model.now + model.expiry);
                    } else {
                        model.connections.remove(at);
                    }
                    model.step();
                }
                Operation::Connected(n) if !run.leases.is_empty() => {
                    let _ = run.state.connected(now, run.leases[n % run.leases.len()].0);
                }
                Operation::Dead(n) if !run.leases.is_empty() => {
                    let _ = run.state.connecting(run.leases[n % run.leases.len()].0);
                }
                Operation::Advance(seconds) => model.now += seconds,
                Operation::Close => {
                    let remains = run.state.close();
                    let leased = run.leases.iter().filter(|id| !orphans.contains(id)).count();
                    prop_assert_eq!(remains.leased.len(), leased);
                    prop_assert_eq!(remains.queued.len(), run.queued.len());
                    run.queued.clear();
                    orphans.clone_from(&run.leases);
                    model.queue.clear();
                    model.connections.clear();
                }
                Operation::Leave(_) | Operation::Release(..) | Operation::Connected(_) | Operation::Dead(_) => {}
            }

            prop_assert_eq!(&run.grants, &model.grants);
            let counts = run.state.counts();
            let idle = model.connections.iter().filter(|c| c.1.idle_until.is_some()).count();
            prop_assert_eq!(counts, Counts {
                active_requests: run.leases.len(),
                queued_requests: model.queue.len(),
                active_connections: model.connections.len() - idle,
                idle_connections: idle,
            });
            prop_assert!(model.connections.len() <= max);
            prop_assert!(idle <= keepalive);
            let ids: Vec<_> = run.state.connections().iter().map(|info| info.id).collect();
            let expected: Vec<_> = model.connections.iter().map(|(id, _)| *id).collect();
            prop_assert_eq!(ids, expected);
        }

        let end = run.start + Duration::from_secs(model.now);
        for (ticket, _) in std::mem::take(&mut run.queued) {
            prop_assert!(run.state.leave(end, ticket).0.is_some());
        }
        for (id, ticket) in std::mem::take(&mut run.leases) {
            let _ = run.state.release(end, id, ticket, None);
        }
        let _ = run.state.close();
        prop_assert_eq!(run.state.counts(), Counts::default());
    }
}
