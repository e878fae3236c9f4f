//! Questions: what one connection asks the configuration, and the answers that hold for a while.
//!
//! What is done with an answer is not known here.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rustls::SignatureScheme;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::CertificateDer;

use crate::tls::client_hello::Offer;
use crate::tls::oracle::{Verdict, Witness};
use crate::tls::{Context, Failure, Hello};

/// What one connection has to ask the configuration.
#[derive(Debug)]
pub(super) struct Questions {
    pub(super) judge: Arc<dyn Context>,
    pub(super) hello: Hello,
    /// All of the configuration that can be read.
    pub(super) attributes: Vec<u8>,
    pub(super) answers: Arc<Answers>,
    /// A session that has sent its ClientHello, where one was needed for that already.
    pub(super) witness: Option<Witness>,
}

impl Questions {
    /// What the configuration offers to this server.
    pub(super) fn offer(&mut self) -> Result<Offer, Unproven> {
        let context = (self.attributes.clone(), self.hello.protocols.clone());
        let known = self.answers.offers.try_lock();
        if let Some(offer) = known.and_then(|known| known.get(&context)) {
            return Ok(offer);
        }
        let witness = Witness::open(&*self.judge, &self.hello)?;
        let offer = Offer::read(witness.flight())
            .ok_or_else(|| Unproven::because("the ClientHello cannot be read"))?;
        self.witness = Some(witness);
        if let Some(mut known) = self.answers.offers.try_lock() {
            known.put(context, offer.clone());
        }
        Ok(offer)
    }

    /// The configuration's verdict on a chain.
    pub(super) fn ask(
        self,
        chain: Vec<CertificateDer<'static>>,
        scheme: SignatureScheme,
        provider: &Arc<CryptoProvider>,
    ) -> Verdict {
        let name = self.hello.server_name.clone().unwrap_or_default();
        let case = (self.attributes.clone(), name, chain.clone());
        let answers = Arc::clone(&self.answers);
        let known = answers.accepted.try_lock();
        if known.and_then(|known| known.get(&case)).is_some() {
            return Verdict::Accepted;
        }
        let witness = match self.witness() {
            Ok(witness) => witness,
            Err(failure) => return Verdict::Unclear(failure.to_string()),
        };
        let verdict = witness.ask(chain, scheme, provider);
        if matches!(verdict, Verdict::Accepted)
            && let Some(mut known) = answers.accepted.try_lock()
        {
            known.put(case, ());
        }
        verdict
    }

    pub(super) fn witness(self) -> Result<Witness, Failure> {
        match self.witness {
            Some(witness) => Ok(witness),
            None => Witness::open(&*self.judge, &self.hello),
        }
    }
}

/// How long an answer holds. Of a configuration not all can be read: what is changed of it in a way that no
/// attribute shows (another cipher list, one more revocation list) takes effect that much later. Refusals are
/// asked for anew each time.
const HOLDS: Duration = Duration::from_secs(1);

/// How many answers are kept; beyond it all are forgotten.
const MAX_ANSWERS: usize = 256;

/// What a configuration has answered lately, so that many new connections do not ask it the same.
#[derive(Debug, Default)]
pub(super) struct Answers {
    offers: Mutex<Lately<Asking, Offer>>,
    accepted: Mutex<Lately<Shown, ()>>,
}

/// Attributes and protocols.
type Asking = (Vec<u8>, Vec<String>);

/// Attributes, name and chain.
type Shown = (Vec<u8>, String, Vec<CertificateDer<'static>>);

/// Answers that hold for a while.
#[derive(Debug)]
struct Lately<K, V>(HashMap<K, (Instant, V)>);

impl<K, V> Default for Lately<K, V> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl<K: Eq + std::hash::Hash, V: Clone> Lately<K, V> {
    fn get(&self, key: &K) -> Option<V> {
        let (since, value) = self.0.get(key)?;
        (since.elapsed() < HOLDS).then(|| value.clone())
    }

    fn put(&mut self, key: K, value: V) {
        if self.0.len() >= MAX_ANSWERS {
            self.0.clear();
        }
        self.0.insert(key, (Instant::now(), value));
    }
}

/// Why rustls does not serve.
pub(super) enum Unproven {
    Because(String),
    /// Nobody can: the configuration itself refuses to begin.
    Refused(Failure),
}

impl Unproven {
    pub(super) fn because(reason: impl Into<String>) -> Self {
        Self::Because(reason.into())
    }
}

impl From<Failure> for Unproven {
    fn from(failure: Failure) -> Self {
        Self::Refused(failure)
    }
}
