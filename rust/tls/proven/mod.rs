//! Proven: sessions by rustls, for a configuration that has the last word on every certificate.
//!
//! rustls does the bytes of TLS 1.3. It offers nothing that the configuration would not offer, and asks it for its
//! verdict on each chain. Whatever cannot be proven equal is no failure of the connection: it is
//! [unproven](Failure::is_unproven), and the configuration's own sessions serve instead.
//!
//! A pool's settings live on in a forked child, and so do these locks, held for ever there if another thread held
//! them at the fork. So nobody waits for them: what cannot be looked up at once is asked for again.
//!
//! Here is the gate: what must hold before rustls may begin. `questions` is what is asked of the configuration,
//! `verifier` asks in the middle of a handshake, `session` is the result.

mod questions;
mod session;
#[cfg(test)]
mod tests;
mod verifier;

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::ServerName;

use super::client_hello::Offer;
use super::oracle::Controls;
use super::{Context, Failure, Hello, Policy, Session};
use crate::visits::{Library, Visit};
use questions::{Answers, Questions, Unproven};
use session::Proven;
pub use session::{Facts, Known};

/// The number of TLS 1.3 in a ClientHello.
const TLS_1_3: u16 = 0x0304;

/// How long a server that rustls could not serve is left to the other sessions without another try.
const REMEMBERED: Duration = Duration::from_secs(600);

/// How many such servers are remembered; beyond it all are forgotten.
const MAX_REMEMBERED: usize = 1024;

/// What a configuration is like now. Looked at for each connection, since it may be changed at any time.
#[derive(Clone, Debug)]
pub struct Look {
    /// Why its sessions cannot be replaced at all.
    pub objection: Option<String>,
    /// Whether it looks at certificates.
    pub verifies: bool,
    /// All of it that can be read, to notice a change.
    pub attributes: Vec<u8>,
}

/// What has to be known of a configuration beside its sessions.
pub trait Judge: Context {
    /// A look at the configuration.
    fn look(&self) -> Look;

    /// A configuration of the same library that trusts this authority alone.
    ///
    /// # Errors
    ///
    /// The library refuses.
    fn trusting(&self, authority: &[u8]) -> Result<Box<dyn Context>, Failure>;

    /// Tells whoever listens why a connection is served by the configuration's own sessions.
    fn explain(&self, reason: &str);
}

/// Opens sessions by rustls where they are proven equal, and the configuration's own elsewhere.
pub struct Proving<J> {
    judge: Arc<J>,
    policy: Policy,
    provider: Arc<CryptoProvider>,
    answers: Arc<Answers>,
    /// Whether the configuration refuses what it must refuse; else what it did.
    checked: Mutex<Option<Result<(), String>>>,
    /// Servers that rustls could not serve, by the name that was asked for.
    unproven: Mutex<HashMap<String, Instant>>,
}

impl<J: fmt::Debug> fmt::Debug for Proving<J> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Proving")
            .field("judge", &self.judge)
            .field("policy", &self.policy)
            .finish_non_exhaustive()
    }
}

/// The library that judges says what is expected of it. What is known of it holds for the whole process.
static LIBRARY_IS_GOOD: AtomicBool = AtomicBool::new(false);

impl<J: Judge + 'static> Proving<J> {
    /// Nothing is asked before the first session.
    pub fn new(judge: J, policy: Policy) -> Self {
        Self {
            judge: Arc::new(judge),
            policy,
            provider: Arc::new(super::provider()),
            answers: Arc::default(),
            checked: Mutex::new(None),
            unproven: Mutex::new(HashMap::new()),
        }
    }

    /// A session by rustls; else why there can be none.
    fn prove(&self, hello: &Hello) -> Result<Box<dyn Session>, Unproven> {
        let _visit = Visit::begin(Library::Cryptography);
        let name = hello.server_name.as_deref().unwrap_or_default();
        if self.is_remembered(name) {
            return Err(Unproven::because(
                "rustls could not serve this server before",
            ));
        }
        let look = self.judge.look();
        if let Some(objection) = look.objection {
            return Err(Unproven::because(objection));
        }
        let server_name = server_name(name)
            .ok_or_else(|| Unproven::because("rustls has no such server names"))?;
        self.check(look.verifies).map_err(Unproven::because)?;
        let mut questions = Questions {
            judge: Arc::clone(&self.judge) as Arc<dyn Context>,
            hello: hello.clone(),
            attributes: look.attributes,
            answers: Arc::clone(&self.answers),
            witness: None,
        };
        let offer = questions.offer()?;
        let provider = narrowed(&self.provider, &offer)
            .ok_or_else(|| Unproven::because("the context offers nothing that rustls has"))?;
        let session = Proven::new(provider, &offer, questions, server_name, look.verifies);
        Ok(Box::new(
            session.map_err(|error| Unproven::because(error.to_string()))?,
        ))
    }

    fn check(&self, verifies: bool) -> Result<(), String> {
        if !LIBRARY_IS_GOOD.load(Ordering::Relaxed) {
            let trusting = self.judge.trusting(Controls::AUTHORITY);
            let trusting = trusting.map_err(|error| error.to_string())?;
            Controls::check_library(&*trusting, &self.provider)?;
            LIBRARY_IS_GOOD.store(true, Ordering::Relaxed);
        }
        if !verifies {
            return Ok(());
        }
        let known = self.checked.try_lock().and_then(|checked| checked.clone());
        known.unwrap_or_else(|| {
            let checked = Controls::check_context(&*self.judge, &self.provider);
            if let Some(mut known) = self.checked.try_lock() {
                *known = Some(checked.clone());
            }
            checked
        })
    }

    fn is_remembered(&self, name: &str) -> bool {
        let unproven = self.unproven.try_lock();
        unproven.is_some_and(|unproven| {
            let since = unproven.get(name);
            since.is_some_and(|since| since.elapsed() < REMEMBERED)
        })
    }
}

impl<J: Judge + 'static> Context for Proving<J> {
    fn open(&self, hello: &Hello) -> Result<Box<dyn Session>, Failure> {
        match (self.prove(hello), self.policy) {
            (Ok(session), _) => Ok(session),
            (Err(Unproven::Refused(failure)), _) => Err(failure),
            (Err(Unproven::Because(reason)), Policy::Rustls) => Err(refused(&reason)),
            (Err(Unproven::Because(reason)), _) => {
                self.judge.explain(&reason);
                self.judge.open(hello)
            }
        }
    }

    fn open_again(&self, hello: &Hello, failure: &Failure) -> Result<Box<dyn Session>, Failure> {
        if self.policy == Policy::Rustls {
            return Err(refused(&failure.to_string()));
        }
        self.judge.explain(&failure.to_string());
        self.judge.open(hello)
    }

    fn remember(&self, hello: &Hello) {
        let Some(mut unproven) = self.unproven.try_lock() else {
            return;
        };
        if unproven.len() >= MAX_REMEMBERED {
            unproven.clear();
        }
        let name = hello.server_name.clone().unwrap_or_default();
        unproven.insert(name, Instant::now());
    }
}

fn refused(reason: &str) -> Failure {
    Failure::new(format!("rustls cannot serve this connection: {reason}"))
}

/// The name as rustls has it, if that is what OpenSSL would ask for as well.
fn server_name(name: &str) -> Option<ServerName<'static>> {
    // rustls sends no final dot, where OpenSSL does.
    if name.ends_with('.') {
        return None;
    }
    ServerName::try_from(name.to_owned()).ok()
}

/// What rustls has of what is offered; `None` if that makes no handshake.
fn narrowed(provider: &CryptoProvider, offer: &Offer) -> Option<CryptoProvider> {
    let mut narrowed = provider.clone();
    narrowed.cipher_suites.retain(|suite| {
        suite.tls13().is_some() && offer.cipher_suites.contains(&u16::from(suite.suite()))
    });
    narrowed
        .kx_groups
        .retain(|group| offer.groups.contains(&u16::from(group.name())));
    // The order is the context's: what it would rather have comes first.
    let place = |number: u16, of: &[u16]| of.iter().position(|offered| *offered == number);
    narrowed
        .cipher_suites
        .sort_by_key(|suite| place(suite.suite().into(), &offer.cipher_suites));
    narrowed
        .kx_groups
        .sort_by_key(|group| place(group.name().into(), &offer.groups));
    let possible = offer.versions.contains(&TLS_1_3)
        && !narrowed.cipher_suites.is_empty()
        && !narrowed.kx_groups.is_empty();
    possible.then_some(narrowed)
}
