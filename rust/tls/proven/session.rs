//! Session: TLS 1.3 by rustls, as a session like any other.

use std::io::{Read as _, Write as _};
use std::sync::{Arc, OnceLock};

use parking_lot::Mutex;
use rustls::client::Resumption;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::ServerName;
use rustls::version::TLS13;
use rustls::{AlertDescription, ClientConfig, ClientConnection, InvalidMessage, PeerMisbehaved};

use super::questions::Questions;
use super::verifier::{Asked, State, Verifier};
use crate::tls::client_hello::Offer;
use crate::tls::{Failure, Reason, Secured, Session, Turn};
use crate::visits::{Library, Visit};

/// A close_notify alert, with its record's header (RFC 8446 sections 5.1 and 6.1).
const GOODBYE: [u8; 7] = [21, 3, 3, 0, 2, 1, 0];

/// The most that one record holds in the clear.
const RECORD: usize = 16 * 1024;

/// A session by rustls.
pub(super) struct Proven {
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
    pub(super) fn new(
        provider: CryptoProvider,
        offer: &Offer,
        questions: Questions,
        server_name: ServerName<'static>,
        verifies: bool,
    ) -> Result<Self, rustls::Error> {
        let provider = Arc::new(provider);
        let hello = questions.hello.clone();
        let state = Arc::new(Mutex::new(State::asking(questions)));
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
        // Records are sealed and opened without random numbers; and a turn with them alone may be anybody's.
        let _visit = self.blocks().then(|| Visit::begin(Library::Cryptography));
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
            turn.failure = Some(told(&error));
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

    fn protocol(&self) -> Option<Vec<u8>> {
        self.connection.alpn_protocol().map(<[u8]>::to_vec)
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

/// What ends a session after its handshake. Where OpenSSL has words of its own for it, tools look for those.
fn told(error: &rustls::Error) -> Failure {
    let reason = match error {
        rustls::Error::AlertReceived(alert) => Reason::Alert(u8::from(*alert)),
        rustls::Error::DecryptError => Reason::Named("DECRYPTION_FAILED_OR_BAD_RECORD_MAC"),
        rustls::Error::PeerSentOversizedRecord => Reason::Named("DATA_LENGTH_TOO_LONG"),
        rustls::Error::InappropriateMessage { .. }
        | rustls::Error::InappropriateHandshakeMessage { .. }
        | rustls::Error::InvalidMessage(InvalidMessage::UnexpectedMessage(_)) => {
            Reason::Named("UNEXPECTED_MESSAGE")
        }
        rustls::Error::InvalidMessage(InvalidMessage::InvalidContentType) => {
            Reason::Named("BAD_RECORD_TYPE")
        }
        rustls::Error::InvalidMessage(InvalidMessage::MessageTooLarge) => {
            Reason::Named("ENCRYPTED_LENGTH_TOO_LONG")
        }
        rustls::Error::InvalidMessage(InvalidMessage::UnknownProtocolVersion) => {
            Reason::Named("WRONG_VERSION_NUMBER")
        }
        error => return Failure::new(format!("[SSL] {error}")),
    };
    Failure::with_reason(error.to_string(), reason)
}
