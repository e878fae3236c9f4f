//! Connections that serve several requests at once: the rules by name, and any sequence of operations.

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::origin;
use crate::pool::state::{Acquired, Actions, Grant, State};
use crate::pool::{Counts, Limits, Sharing, Status};

/// The state under test, with what its users hold. Requests are known by the number of their waiter.
struct Run {
    state: State<u64, (), u64>,
    now: Instant,
    requests: u64,
    /// Requests with a connection: its id, and their ticket.
    leases: BTreeMap<u64, Grant<u64>>,
    /// Requests without, with their tickets, and whether they have joined a connection.
    waiting: BTreeMap<u64, (u64, bool)>,
    hosts: HashMap<u64, &'static str>,
}

impl Run {
    fn new(max_connections: usize) -> Self {
        Self {
            state: State::new(Limits {
                max_connections,
                max_keepalive_connections: max_connections,
                keepalive_expiry: Some(Duration::from_secs(5)),
                sharing: Sharing::Always,
            }),
            now: Instant::now(),
            requests: 0,
            leases: BTreeMap::new(),
            waiting: BTreeMap::new(),
            hosts: HashMap::new(),
        }
    }

    fn acquire(&mut self, host: &'static str) -> u64 {
        self.requests += 1;
        let request = self.requests;
        self.hosts.insert(request, host);
        let mut joins = false;
        let (acquired, actions) = self
            .state
            .acquire(self.now, origin(host), (), None, |joined| {
                joins = joined;
                request
            });
        match acquired {
            Acquired::Granted(grant) => {
                self.leases.insert(request, grant);
            }
            Acquired::Queued { ticket } => {
                self.waiting.insert(request, (ticket, joins));
            }
        }
        self.act(actions);
        request
    }

    fn act(&mut self, actions: Actions<u64, (), u64>) {
        for (request, joined) in actions.moved {
            if let Some(waiting) = self.waiting.get_mut(&request) {
                waiting.1 = joined;
            }
        }
        for (request, grant) in actions.granted {
            assert!(self.waiting.remove(&request).is_some(), "served once");
            self.leases.insert(request, grant);
        }
    }

    fn share(&mut self, request: u64) -> u64 {
        let (id, ticket) = (self.leases[&request].id, self.leases[&request].ticket);
        let actions = self.state.share(id, ticket, id);
        self.act(actions);
        id
    }

    fn limit(&mut self, id: u64, capacity: usize) {
        let actions = self.state.limit(self.now, id, capacity);
        self.act(actions);
    }

    fn withdraw(&mut self, id: u64) {
        let actions = self.state.withdraw(self.now, id);
        self.act(actions);
    }

    fn release(&mut self, request: u64) {
        let grant = self.leases.remove(&request).expect("it has a lease");
        let actions = self.state.release(self.now, grant.id, grant.ticket, None);
        self.act(actions);
    }

    fn connected(&mut self, request: u64) {
        let actions = self.state.connected(self.now, self.leases[&request].id);
        self.act(actions);
    }

    fn joined(&self) -> Vec<u64> {
        let joined = self.waiting.iter().filter(|(_, waiting)| waiting.1);
        joined.map(|(request, _)| *request).collect()
    }

    fn counts(&self) -> (usize, usize, usize, usize) {
        let counts = self.state.counts();
        (
            counts.active_requests,
            counts.queued_requests,
            counts.active_connections,
            counts.idle_connections,
        )
    }
}

#[test]
fn requests_wait_for_what_a_connection_becomes_instead_of_opening_more() {
    let mut run = Run::new(10);
    let first = run.acquire("a");
    let others = [run.acquire("a"), run.acquire("a")];
    assert_eq!(run.joined(), others);
    assert_eq!(run.counts(), (3, 0, 1, 0));
    let id = run.share(first);
    assert_eq!(
        run.joined(),
        others,
        "its peer has not said how many it takes"
    );
    run.limit(id, 100);
    assert!(run.waiting.is_empty());
    assert!(others.iter().all(|request| run.leases[request].id == id));
    assert_eq!(run.counts(), (3, 0, 1, 0));
}

#[test]
fn requests_scatter_where_a_connection_serves_one_at_a_time() {
    let mut run = Run::new(10);
    let first = run.acquire("a");
    let others = [run.acquire("a"), run.acquire("a"), run.acquire("a")];
    run.connected(first);
    // Its origin is known by then: nobody waits for the next connection.
    assert!(run.waiting.is_empty());
    let ids: Vec<u64> = others
        .iter()
        .map(|request| run.leases[request].id)
        .collect();
    assert_eq!(ids, [2, 3, 4]);
}

#[test]
fn requests_go_on_without_the_one_that_failed_to_connect() {
    let mut run = Run::new(1);
    let first = run.acquire("a");
    let second = run.acquire("a");
    let third = run.acquire("a");
    run.release(first);
    assert!(run.leases[&second].parked.is_none(), "it connects itself");
    assert_eq!(run.joined(), [third]);
}

#[test]
fn failed_connect_serves_whoever_is_first_in_the_queue() {
    let mut run = Run::new(1);
    let first = run.acquire("a");
    let second = run.acquire("b");
    let third = run.acquire("a");
    run.release(first);
    assert!(run.leases.contains_key(&second));
    assert_eq!(run.waiting[&third], (3, false));
}

#[test]
fn requests_beyond_the_limit_of_streams_open_another_connection() {
    let mut run = Run::new(2);
    let first = run.acquire("a");
    let id = run.share(first);
    run.limit(id, 2);
    let second = run.acquire("a");
    assert_eq!(run.leases[&second].id, id);
    let third = run.acquire("a");
    assert_ne!(run.leases[&third].id, id);
    let fourth = run.acquire("a");
    assert_eq!(run.joined(), [fourth]);
    run.release(second);
    let fifth = run.acquire("a");
    assert_eq!(run.leases[&fifth].id, id, "the first connection with room");
}

#[test]
fn raised_limit_serves_the_queue_and_a_lowered_one_takes_nothing_away() {
    let mut run = Run::new(1);
    let first = run.acquire("a");
    let id = run.share(first);
    run.limit(id, 1);
    let others: Vec<u64> = (0..3).map(|_| run.acquire("a")).collect();
    assert_eq!(run.counts(), (1, 3, 1, 0));
    run.limit(id, 3);
    assert_eq!(run.counts(), (3, 1, 1, 0));
    run.limit(id, 1);
    run.release(first);
    assert_eq!(run.counts(), (2, 1, 1, 0));
    run.release(others[0]);
    run.release(others[1]);
    assert!(run.leases.contains_key(&others[2]));
}

#[test]
fn withdrawn_connection_ends_with_its_last_request() {
    let mut run = Run::new(1);
    let first = run.acquire("a");
    let id = run.share(first);
    run.limit(id, 100);
    run.withdraw(id);
    let second = run.acquire("a");
    assert_eq!(run.counts(), (1, 1, 1, 0));
    run.release(first);
    assert_ne!(run.leases[&second].id, id);
}

#[test]
fn withdrawn_idle_connection_is_gone_at_once() {
    let mut run = Run::new(1);
    let first = run.acquire("a");
    let id = run.share(first);
    run.limit(id, 100);
    run.release(first);
    assert_eq!(run.counts(), (0, 0, 0, 1));
    run.withdraw(id);
    assert_eq!(run.counts(), (0, 0, 0, 0));
}

#[test]
fn shared_connection_is_idle_without_requests_and_expires() {
    let mut run = Run::new(2);
    let first = run.acquire("a");
    let id = run.share(first);
    run.limit(id, 100);
    let second = run.acquire("a");
    run.release(first);
    assert_eq!(run.counts(), (1, 0, 1, 0));
    run.release(second);
    assert_eq!(
        run.state.connection(id).map(|info| info.status),
        Some(Status::Idle)
    );
    run.now += Duration::from_secs(6);
    let third = run.acquire("a");
    assert_ne!(run.leases[&third].id, id);
}

#[test]
fn idle_shared_connection_makes_room_for_another_origin() {
    let mut run = Run::new(1);
    let first = run.acquire("a");
    let id = run.share(first);
    run.limit(id, 100);
    let second = run.acquire("b");
    assert_eq!(run.counts(), (1, 1, 1, 0));
    // Whoever shares it need not wait for the one that cannot.
    let third = run.acquire("a");
    assert_eq!(run.leases[&third].id, id);
    run.release(first);
    run.release(third);
    assert!(run.leases[&second].parked.is_none());
    assert_eq!(run.counts(), (1, 0, 1, 0));
}

#[test]
fn idle_connection_that_somebody_has_joined_is_not_closed_for_another() {
    let mut run = Run::new(1);
    let first = run.acquire("a");
    let id = run.share(first);
    run.release(first);
    assert_eq!(run.counts(), (0, 0, 0, 1));
    // Its peer has yet to say how many streams it takes.
    run.acquire("a");
    assert_eq!(run.joined().len(), 1);
    assert_eq!(run.counts(), (1, 0, 1, 0));
    run.acquire("b");
    run.now += Duration::from_secs(10);
    run.acquire("a");
    assert_eq!(run.counts(), (2, 1, 1, 0));
    run.limit(id, 100);
    assert_eq!((run.leases.len(), run.waiting.len()), (2, 1));
}

#[test]
fn last_request_that_leaves_a_connection_makes_it_idle() {
    let mut run = Run::new(1);
    let first = run.acquire("a");
    let second = run.acquire("a");
    run.share(first);
    run.release(first);
    assert_eq!(run.counts(), (1, 0, 1, 0));
    let (ticket, joined) = run.waiting.remove(&second).expect("it waits");
    assert!(joined);
    let (left, actions) = run.state.leave(run.now, ticket);
    assert!(left.is_some());
    run.act(actions);
    assert_eq!(run.counts(), (0, 0, 0, 1));
}

const HOSTS: [&str; 3] = ["a", "b", "c"];

#[derive(Clone, Debug)]
enum Operation {
    Acquire(usize),
    Leave(usize),
    Release(usize),
    /// The n-th lease opens its connection: one that is shared, or its own.
    Share(usize),
    Connected(usize),
    /// The n-th connection.
    Limit(usize, usize),
    Withdraw(usize),
    Advance(u64),
    Close,
}

fn operations() -> impl Strategy<Value = Vec<Operation>> {
    let operation = prop_oneof![
        8 => (0..HOSTS.len()).prop_map(Operation::Acquire),
        2 => (0..8usize).prop_map(Operation::Leave),
        5 => (0..8usize).prop_map(Operation::Release),
        4 => (0..8usize).prop_map(Operation::Share),
        2 => (0..8usize).prop_map(Operation::Connected),
        4 => (0..4usize, 0..5usize).prop_map(|(n, most)| Operation::Limit(n, most)),
        1 => (0..4usize).prop_map(Operation::Withdraw),
        1 => (0..8u64).prop_map(Operation::Advance),
        1 => Just(Operation::Close),
    ];
    prop::collection::vec(operation, 0..150)
}

fn nth(keys: impl ExactSizeIterator<Item = u64> + Clone, n: usize) -> Option<u64> {
    let length = keys.len();
    (length > 0).then(|| {
        keys.clone()
            .nth(n % length)
            .expect("n is within the length")
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_sequence_keeps_the_rules(operations in operations(), max in 1..4usize) {
        let mut run = Run::new(max);
        // What the test itself knows of each shared connection: how many it takes, and whether it is over.
        let mut shared: BTreeMap<u64, (Option<usize>, bool)> = BTreeMap::new();
        let mut orphans: Vec<u64> = Vec::new();

        for operation in operations {
            match operation {
                Operation::Acquire(host) => {
                    run.acquire(HOSTS[host]);
                }
                Operation::Leave(n) => {
                    if let Some(request) = nth(run.waiting.keys().copied(), n) {
                        let (ticket, _) = run.waiting.remove(&request).expect("it waits");
                        let (left, actions) = run.state.leave(run.now, ticket);
                        prop_assert_eq!(left.map(|(_, waiter)| waiter), Some(request));
                        run.act(actions);
                    }
                }
                Operation::Release(n) => {
                    if let Some(request) = nth(run.leases.keys().copied(), n) {
                        run.release(request);
                        orphans.retain(|orphan| *orphan != request);
                    }
                }
                Operation::Share(n) | Operation::Connected(n) => {
                    if let Some(request) = nth(run.leases.keys().copied(), n)
                        && !orphans.contains(&request)
                        && run.state.connection(run.leases[&request].id).map(|info| info.status)
                            == Some(Status::Connecting)
                    {
                        if matches!(operation, Operation::Share(_)) {
                            let id = run.share(request);
                            shared.insert(id, (None, false));
                        } else {
                            run.connected(request);
                        }
                    }
                }
                Operation::Limit(n, most) => {
                    if let Some(id) = nth(shared.keys().copied(), n) {
                        run.limit(id, most);
                        shared.get_mut(&id).expect("it is known").0 = Some(most);
                    }
                }
                Operation::Withdraw(n) => {
                    if let Some(id) = nth(shared.keys().copied(), n) {
                        run.withdraw(id);
                        shared.get_mut(&id).expect("it is known").1 = true;
                    }
                }
                Operation::Advance(seconds) => run.now += Duration::from_secs(seconds),
                Operation::Close => {
                    let remains = run.state.close();
                    prop_assert_eq!(remains.queued.len(), run.waiting.len());
                    prop_assert_eq!(remains.leased.len() + orphans.len(), run.leases.len());
                    run.waiting.clear();
                    orphans = run.leases.keys().copied().collect();
                }
            }

            let infos = run.state.connections();
            let counts = run.state.counts();
            let joined = run.joined().len();
            prop_assert!(infos.len() <= max);
            prop_assert_eq!(counts.active_requests, run.leases.len() + joined);
            prop_assert_eq!(counts.queued_requests, run.waiting.len() - joined);
            let served: usize = infos.iter().map(|info| info.requests).sum();
            prop_assert_eq!(counts.active_requests, served + orphans.len(), "nobody waits for what is gone");
            prop_assert_eq!(counts.active_connections + counts.idle_connections, infos.len());
            if counts.queued_requests > 0 {
                prop_assert_eq!(counts.active_connections, max, "nobody waits while there is room");
            }
            for info in &infos {
                let users = run
                    .leases
                    .iter()
                    .filter(|(request, grant)| grant.id == info.id && !orphans.contains(request))
                    .count();
                prop_assert_eq!(info.shared, shared.contains_key(&info.id));
                if !info.shared {
                    prop_assert!(users <= 1, "one request at a time");
                    continue;
                }
                let (most, is_over) = shared[&info.id];
                let waits = run.waiting.iter().any(|(request, (_, joined))| {
                    !joined && origin(run.hosts[request]) == info.origin
                });
                let has_room = !is_over && most.is_none_or(|most| users < most);
                prop_assert!(!(waits && has_room), "nobody waits for a stream that is free");
                prop_assert!(!is_over || users > 0, "one that is over goes with its last request");
                prop_assert!(info.status != Status::Idle || users == 0);
            }
        }

        // One that leaves may make room for another.
        while let Some((request, (ticket, _))) = run.waiting.pop_first() {
            let (left, actions) = run.state.leave(run.now, ticket);
            prop_assert_eq!(left.map(|(_, waiter)| waiter), Some(request));
            run.act(actions);
        }
        while let Some(request) = run.leases.keys().next().copied() {
            run.release(request);
        }
        let _ = run.state.close();
        prop_assert_eq!(run.state.counts(), Counts::default());
    }
}
