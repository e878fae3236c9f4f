//! Proven: sessions by rustls, for a configuration that has the last word on every certificate.
//!
//! rustls does the bytes of TLS 1.3. It offers nothing that the configuration would not offer, and asks it for its
//! verdict on each chain. Whatever cannot be proven equal is no failure of the connection: it is
//! [unproven](Failure::is_unproven), and the configuration's own sessions serve instead.

use std::collections::HashMap;
use std::fmt;
use std::io::{Read as _, Write as _};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{ResolvesClientCert, Resumption};
use rustls::crypto::{CryptoProvider, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::sign::CertifiedKey;
use rustls::{
    AlertDescription, ClientConfig, ClientConnection, DigitallySignedStruct, PeerMisbehaved,
    SignatureScheme, version::TLS13,
};

use super::client_hello::Offer;
use super::oracle::{Controls, Verdict, Witness};
use super::{Context, Failure, Hello, Policy, Secured, Session, Turn};

/// The number of TLS 1.3 in a ClientHello.
const TLS_1_3: u16 = 0x0304;

/// A close_notify alert, with its record's header (RFC 8446 sections 5.1 and 6.1).
const GOODBYE: [u8; 7] = [21, 3, 3, 0, 2, 1, 0];

/// The most that one record holds in the clear.
const RECORD: usize = 16 * 1024;

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
    checked: OnceLock<Result<(), String>>,
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

/// Whether the library that judges says what is expected of it. The answer is one for the process.
static LIBRARY: OnceLock<Result<(), String>> = OnceLock::new();

impl<J: Judge + 'static> Proving<J> {
    /// Nothing is asked before the first session.
    pub fn new(judge: J, policy: Policy) -> Self {
        Self {
            judge: Arc::new(judge),
            policy,
            provider: Arc::new(super::provider()),
            answers: Arc::default(),
            checked: OnceLock::new(),
            unproven: Mutex::new(HashMap::new()),
        }
    }

    /// A session by rustls; else why there can be none.
    fn prove(&self, hello: &Hello) -> Result<Box<dyn Session>, Unproven> {
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
        LIBRARY
            .get_or_init(|| {
                let trusting = self.judge.trusting(Controls::AUTHORITY);
                let trusting = trusting.map_err(|error| error.to_string())?;
                Controls::check_library(&*trusting, &self.provider)
            })
            .clone()?;
        if !verifies {
            return Ok(());
        }
        self.checked
            .get_or_init(|| Controls::check_context(&*self.judge, &self.provider))
            .clone()
    }

    fn is_remembered(&self, name: &str) -> bool {
        let unproven = self.unproven.lock();
        unproven
            .get(name)
            .is_some_and(|since| since.elapsed() < REMEMBERED)
    }
}

/// What one connection has to ask the configuration.
#[derive(Debug)]
struct Questions {
    judge: Arc<dyn Context>,
    hello: Hello,
    attributes: Vec<u8>,
    answers: Arc<Answers>,
    /// A session that has sent its ClientHello, where one was needed for that already.
    witness: Option<Witness>,
}

impl Questions {
    /// What the configuration offers to this server.
    fn offer(&mut self) -> Result<Offer, Unproven> {
        let context = (self.attributes.clone(), self.hello.protocols.clone());
        if let Some(offer) = self.answers.offers.lock().get(&context) {
            return Ok(offer);
        }
        let witness = Witness::open(&*self.judge, &self.hello)?;
        let offer = Offer::read(witness.flight())
            .ok_or_else(|| Unproven::because("the ClientHello cannot be read"))?;
        self.witness = Some(witness);
        self.answers.offers.lock().put(context, offer.clone());
        Ok(offer)
    }

    /// The configuration's verdict on a chain.
    fn ask(
        self,
        chain: Vec<CertificateDer<'static>>,
        scheme: SignatureScheme,
        provider: &Arc<CryptoProvider>,
    ) -> Verdict {
        let name = self.hello.server_name.clone().unwrap_or_default();
        let case = (self.attributes.clone(), name, chain.clone());
        let answers = Arc::clone(&self.answers);
        if answers.accepted.lock().get(&case).is_some() {
            return Verdict::Accepted;
        }
        let witness = match self.witness() {
            Ok(witness) => witness,
            Err(failure) => return Verdict::Unclear(failure.to_string()),
        };
        let verdict = witness.ask(chain, scheme, provider);
        if matches!(verdict, Verdict::Accepted) {
            answers.accepted.lock().put(case, ());
        }
        verdict
    }

    fn witness(self) -> Result<Witness, Failure> {
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
struct Answers {
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
enum Unproven {
    Because(String),
    /// Nobody can: the configuration itself refuses to begin.
    Refused(Failure),
}

impl Unproven {
    fn because(reason: impl Into<String>) -> Self {
        Self::Because(reason.into())
    }
}

impl From<Failure> for Unproven {
    fn from(failure: Failure) -> Self {
        Self::Refused(failure)
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
        let mut unproven = self.unproven.lock();
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

/// Asks a witness for the verdict, when the server has signed for its chain.
#[derive(Debug)]
struct Verifier {
    provider: Arc<CryptoProvider>,
    schemes: Vec<SignatureScheme>,
    state: Arc<Mutex<State>>,
}

/// What the callbacks of rustls leave for the session.
#[derive(Debug, Default)]
struct State {
    questions: Option<Questions>,
    chain: Vec<CertificateDer<'static>>,
    /// The verdict, where there is more to say than rustls can.
    failure: Option<Failure>,
    wants_certificate: bool,
    accepted: bool,
}

impl ServerCertVerifier for Verifier {
    /// Keeps the chain. Nothing is accepted by this: what rustls asks for next decides.
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let chain = std::iter::once(end_entity).chain(intermediates);
        self.state.lock().chain = chain
            .map(|certificate| certificate.clone().into_owned())
            .collect();
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(unproven_error())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let (questions, chain) = {
            let mut state = self.state.lock();
            (state.questions.take(), state.chain.clone())
        };
        // One chain, one question: a server that asks twice is none that OpenSSL would serve.
        let questions = questions.ok_or_else(unproven_error)?;
        if chain.first().is_none_or(|leaf| leaf != cert) || !self.schemes.contains(&dss.scheme) {
            return Err(unproven_error());
        }
        let failure = match questions.ask(chain, dss.scheme, &self.provider) {
            Verdict::Accepted => None,
            Verdict::Rejected(failure) => Some(failure),
            Verdict::Unclear(reason) => Some(Failure::unproven(format!(
                "there is no clear verdict: {reason}"
            ))),
        };
        if failure.is_some() {
            self.state.lock().failure = failure;
            return Err(unproven_error());
        }
        let algorithms = &self.provider.signature_verification_algorithms;
        let valid = verify_tls13_signature(message, cert, dss, algorithms)?;
        self.state.lock().accepted = true;
        Ok(valid)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.schemes.clone()
    }
}

/// What rustls is told; the session knows better.
fn unproven_error() -> rustls::Error {
    rustls::Error::General("there is no verdict".to_owned())
}

/// Notes that the server asks for a certificate. Only the configuration knows whether it has one.
#[derive(Debug)]
struct Asked(Arc<Mutex<State>>);

impl ResolvesClientCert for Asked {
    fn resolve(
        &self,
        _root_hint_subjects: &[&[u8]],
        _sigschemes: &[SignatureScheme],
    ) -> Option<Arc<CertifiedKey>> {
        self.0.lock().wants_certificate = true;
        None
    }

    fn has_certs(&self) -> bool {
        true
    }
}

/// A session by rustls.
struct Proven {
    connection: ClientConnection,
    state: Arc<Mutex<State>>,
    /// What the server has said before it agreed to anything.
    heard: Vec<u8>,
    facts: Arc<Facts>,
}

/// What there is to know about such a session. Complete when its handshake is.
#[derive(Debug, Default)]
pub struct Facts {
    known: OnceLock<Known>,
    /// Whom the certificate names.
    pub server_name: String,
    /// Whether the configuration looks at certificates.
    pub verifies: bool,
}

/// What a handshake has agreed on.
#[derive(Debug)]
pub struct Known {
    /// The suite's name in the registry, and the size of its key in bits.
    pub cipher: (&'static str, u32),
    /// What was agreed on by ALPN.
    pub protocol: Option<Vec<u8>>,
    /// The server's chain, its own certificate first.
    pub chain: Vec<Vec<u8>>,
}

impl Facts {
    /// `None` before the handshake is over.
    pub fn known(&self) -> Option<&Known> {
        self.known.get()
    }
}

impl Proven {
    fn new(
        provider: CryptoProvider,
        offer: &Offer,
        questions: Questions,
        server_name: ServerName<'static>,
        verifies: bool,
    ) -> Result<Self, rustls::Error> {
        let provider = Arc::new(provider);
        let hello = questions.hello.clone();
        let state = Arc::new(Mutex::new(State {
            questions: Some(questions),
            ..State::default()
        }));
        let schemes: Vec<_> = provider
            .signature_verification_algorithms
            .supported_schemes()
            .into_iter()
            .filter(|scheme| offer.signature_schemes.contains(&u16::from(*scheme)))
            .collect();
        let verifier = Verifier {
            provider: Arc::clone(&provider),
            schemes,
            state: Arc::clone(&state),
        };
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&TLS13])?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier))
            .with_client_cert_resolver(Arc::new(Asked(Arc::clone(&state))));
        // A resumed session would be asked for no certificate, and so for no verdict.
        config.resumption = Resumption::disabled();
        config.alpn_protocols = hello
            .protocols
            .iter()
            .map(|protocol| protocol.as_bytes().to_vec())
            .collect();
        let mut connection = ClientConnection::new(Arc::new(config), server_name)?;
        // The stream limits what it hands over.
        connection.set_buffer_limit(None);
        Ok(Self {
            connection,
            state,
            heard: Vec::new(),
            facts: Arc::new(Facts {
                known: OnceLock::new(),
                server_name: hello.server_name.unwrap_or_default(),
                verifies,
            }),
        })
    }

    fn take_in(&mut self, turn: &mut Turn) -> Result<(), rustls::Error> {
        let mut unread = &turn.received[..];
        while !unread.is_empty() {
            self.connection
                .read_tls(&mut unread)
                .map_err(|error| rustls::Error::General(error.to_string()))?;
            let processed = self.connection.process_new_packets();
            // Also where it failed: what came before the failure is good.
            self.open(&mut turn.opened);
            if processed?.peer_has_closed() {
                turn.is_closed = true;
                break;
            }
        }
        Ok(())
    }

    fn open(&mut self, opened: &mut Vec<u8>) {
        let mut reader = self.connection.reader();
        loop {
            let start = opened.len();
            opened.resize(start + RECORD, 0);
            // There is no more, or the peer has closed, when it reads none or fails.
            let read = reader.read(&mut opened[start..]).unwrap_or(0);
            opened.truncate(start + read);
            if read == 0 {
                return;
            }
        }
    }

    /// Whether the server has agreed to anything.
    fn has_agreed(&self) -> bool {
        self.connection.protocol_version().is_some()
    }

    /// The failure of the handshake, whatever rustls says of it.
    fn failed(&mut self, error: Option<&rustls::Error>, ended: bool) -> Failure {
        let mut state = self.state.lock();
        if let Some(failure) = state.failure.take() {
            return failure;
        }
        let said = error.map_or_else(|| "the server ended it".to_owned(), ToString::to_string);
        let unproven = Failure::unproven(format!("the handshake failed: {said}"));
        if self.connection.protocol_version().is_some() || error.is_none_or(asks_for_more) {
            return unproven;
        }
        // To these bytes the configuration's own session has the same to say as to its own server.
        let Some(questions) = state.questions.take() else {
            return unproven;
        };
        drop(state);
        let heard = std::mem::take(&mut self.heard);
        let witness = questions.witness();
        let said = witness.ok().and_then(|witness| witness.hear(heard, ended));
        said.unwrap_or(unproven)
    }

    fn judge_handshake(
        &mut self,
        error: Option<&rustls::Error>,
        is_shaken: bool,
        turn: &Turn,
    ) -> Option<Failure> {
        // rustls waits for more after a goodbye where nothing was agreed on.
        let said_goodbye = turn.is_closed || (!self.has_agreed() && self.heard.ends_with(&GOODBYE));
        let ended = turn.ended || said_goodbye;
        if error.is_some() || (ended && !is_shaken) {
            // Said by the session, and not only by the socket, a goodbye is something to judge.
            let goodbye = rustls::Error::AlertReceived(AlertDescription::CloseNotify);
            let error = error.or(said_goodbye.then_some(&goodbye));
            return Some(self.failed(error, turn.ended));
        }
        let state = self.state.lock();
        if state.wants_certificate {
            return Some(Failure::unproven("the server asks for a certificate"));
        }
        (is_shaken && !state.accepted)
            .then(|| Failure::unproven("the handshake went by the verdict"))
    }

    fn know(&self) {
        let suite = self.connection.negotiated_cipher_suite();
        let name = suite.and_then(|suite| suite.suite().as_str());
        let name = name.unwrap_or_default();
        let bits = if name.contains("AES_128") { 128 } else { 256 };
        let chain = self.connection.peer_certificates().unwrap_or_default();
        // Set once, as the handshake is over once.
        let _ = self.facts.known.set(Known {
            cipher: (openssl_name(name), bits),
            protocol: self.connection.alpn_protocol().map(<[u8]>::to_vec),
            chain: chain
                .iter()
                .map(|certificate| certificate.to_vec())
                .collect(),
        });
    }
}

/// rustls calls the suites of TLS 1.3 by names of its own.
fn openssl_name(name: &'static str) -> &'static str {
    match name {
        "TLS13_AES_256_GCM_SHA384" => "TLS_AES_256_GCM_SHA384",
        "TLS13_AES_128_GCM_SHA256" => "TLS_AES_128_GCM_SHA256",
        "TLS13_CHACHA20_POLY1305_SHA256" => "TLS_CHACHA20_POLY1305_SHA256",
        other => other,
    }
}

impl Session for Proven {
    fn turn(&mut self, turn: &mut Turn) {
        let was_shaken = !self.connection.is_handshaking();
        if !self.has_agreed() {
            self.heard.extend_from_slice(&turn.received);
        }
        let taken = self.take_in(turn);
        turn.received.clear();
        let is_shaken = !self.connection.is_handshaking();
        if !was_shaken {
            if let Some(failure) = self.judge_handshake(taken.as_ref().err(), is_shaken, turn) {
                // Nothing more is said: whoever serves next begins anew.
                turn.failure = Some(failure);
                return;
            }
            if is_shaken {
                self.know();
            }
        } else if let Err(error) = taken {
            turn.failure = Some(Failure::new(told(&error)));
        }
        turn.is_shaken = is_shaken;
        turn.is_closed |= turn.ended;
        if is_shaken && !turn.outgoing.is_empty() {
            // Into a buffer without a limit: it takes all.
            let taken = self.connection.writer().write(&turn.outgoing).unwrap_or(0);
            turn.outgoing.drain(..taken);
        }
        while self.connection.wants_write() {
            // Into memory, which does not fail.
            if self.connection.write_tls(&mut turn.sealed).is_err() {
                break;
            }
        }
    }

    /// Not before the server has agreed to something. Some that cannot speak TLS 1.3 say nothing of it and leave.
    fn is_lost_for_good(&self) -> bool {
        self.has_agreed()
    }

    /// Its handshake asks for a verdict; afterwards it waits for nobody.
    fn blocks(&self) -> bool {
        self.connection.is_handshaking()
    }

    fn secured(&self) -> Secured {
        Arc::clone(&self.facts) as Secured
    }
}

/// Whether a server that says so might agree to what the configuration offers beyond TLS 1.3.
fn asks_for_more(error: &rustls::Error) -> bool {
    match error {
        rustls::Error::PeerMisbehaved(PeerMisbehaved::TooManyWarningAlertsReceived) => false,
        rustls::Error::PeerIncompatible(_) | rustls::Error::PeerMisbehaved(_) => true,
        rustls::Error::AlertReceived(alert) => matches!(
            alert,
            AlertDescription::HandshakeFailure
                | AlertDescription::IllegalParameter
                | AlertDescription::ProtocolVersion
                | AlertDescription::InsufficientSecurity
                | AlertDescription::MissingExtension
                | AlertDescription::UnsupportedExtension
        ),
        _ => false,
    }
}

/// OpenSSL's words for what ends a session, where it has some; tools look for them.
fn told(error: &rustls::Error) -> String {
    match error {
        rustls::Error::DecryptError => {
            "[SSL: DECRYPTION_FAILED_OR_BAD_RECORD_MAC] decryption failed or bad record mac"
                .to_owned()
        }
        rustls::Error::AlertReceived(alert) => format!("[SSL] the server sent an alert: {alert:?}"),
        error => format!("[SSL] {error}"),
    }
}
