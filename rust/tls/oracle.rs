//! Oracle: what would the user's own configuration say of a server's certificates?
//!
//! A session of that configuration is shown the real chain by a server in memory, which cannot sign for it.
//! OpenSSL looks at the chain before it looks at the signature: a complaint about the chain is the verdict, in
//! OpenSSL's own words, and a complaint about the signature alone means that the chain and the name are good.
//! That order is checked with chains of our own before anything is believed; see [`Controls`].

use std::fmt;
use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::pki_types::CertificateDer;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::{CertifiedKey, Signer, SigningKey};
use rustls::{ServerConfig, ServerConnection, SignatureAlgorithm, SignatureScheme, version::TLS13};

use super::{Complaint, Context, Failure, Hello, Session, Turn};

/// What a session says of a chain.
#[derive(Debug)]
pub(super) enum Verdict {
    /// The chain and the name are good.
    Accepted,
    /// They are not, and that is why.
    Rejected(Failure),
    /// It cannot be told; whoever asked must not go on.
    Unclear(String),
}

/// A session that has sent its ClientHello, kept to be asked.
pub(super) struct Witness {
    session: Box<dyn Session>,
    flight: Vec<u8>,
}

impl fmt::Debug for Witness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Witness").finish_non_exhaustive()
    }
}

/// A handshake that ends within so many flights each way: one for the key that the server would rather have.
const FLIGHTS: usize = 4;

impl Witness {
    /// Opens a session and has it make its ClientHello.
    pub(super) fn open(context: &dyn Context, hello: &Hello) -> Result<Self, Failure> {
        let mut session = context.open(hello)?;
        let mut turn = Turn::default();
        session.turn(&mut turn);
        match turn.failure {
            Some(failure) => Err(failure),
            None => Ok(Self {
                session,
                flight: turn.sealed,
            }),
        }
    }

    /// The ClientHello, as it would leave.
    pub(super) fn flight(&self) -> &[u8] {
        &self.flight
    }

    /// Shows it a chain, whose first certificate has a key for `scheme`.
    pub(super) fn ask(
        mut self,
        chain: Vec<CertificateDer<'static>>,
        scheme: SignatureScheme,
        provider: &Arc<CryptoProvider>,
    ) -> Verdict {
        match self.show(chain, scheme, provider) {
            Ok(Some(failure)) => match failure.complaint() {
                Complaint::Certificate => Verdict::Rejected(failure),
                Complaint::Signature => Verdict::Accepted,
                Complaint::Other => Verdict::Unclear(failure.to_string()),
            },
            Ok(None) => Verdict::Unclear("a forged signature was not noticed".to_owned()),
            Err(error) => Verdict::Unclear(error.to_string()),
        }
    }

    /// Has it hear what a server said to another ClientHello: the failure that it ends with, `None` if it does
    /// not.
    pub(super) fn hear(mut self, heard: Vec<u8>, ended: bool) -> Option<Failure> {
        let mut turn = Turn {
            received: heard,
            ended,
            ..Turn::default()
        };
        self.session.turn(&mut turn);
        turn.failure
    }

    /// The failure that the session ends with; `None` if it does not.
    fn show(
        &mut self,
        chain: Vec<CertificateDer<'static>>,
        scheme: SignatureScheme,
        provider: &Arc<CryptoProvider>,
    ) -> Result<Option<Failure>, rustls::Error> {
        let shown = CertifiedKey::new(chain, Arc::new(Forger(scheme)));
        let mut config = ServerConfig::builder_with_provider(Arc::clone(provider))
            .with_protocol_versions(&[&TLS13])?
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(Fixed(Arc::new(shown))));
        config.send_tls13_tickets = 0;
        let mut server = ServerConnection::new(Arc::new(config))?;
        let mut from_client = std::mem::take(&mut self.flight);
        for _ in 0..FLIGHTS {
            let mut unread = &from_client[..];
            while !unread.is_empty() {
                server.read_tls(&mut unread).map_err(general)?;
                server.process_new_packets()?;
            }
            let mut turn = Turn::default();
            while server.wants_write() {
                server.write_tls(&mut turn.received).map_err(general)?;
            }
            self.session.turn(&mut turn);
            if turn.failure.is_some() || turn.is_shaken {
                return Ok(turn.failure);
            }
            from_client = turn.sealed;
        }
        Ok(None)
    }
}

fn general(error: std::io::Error) -> rustls::Error {
    rustls::Error::General(error.to_string())
}

/// Shows one chain to everybody.
#[derive(Debug)]
struct Fixed(Arc<CertifiedKey>);

impl ResolvesServerCert for Fixed {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0))
    }
}

/// Signs without a key.
#[derive(Clone, Copy, Debug)]
struct Forger(SignatureScheme);

impl SigningKey for Forger {
    fn choose_scheme(&self, offered: &[SignatureScheme]) -> Option<Box<dyn Signer>> {
        offered
            .contains(&self.0)
            .then(|| Box::new(*self) as Box<dyn Signer>)
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        match self.0 {
            SignatureScheme::ED25519 => SignatureAlgorithm::ED25519,
            SignatureScheme::ECDSA_NISTP256_SHA256
            | SignatureScheme::ECDSA_NISTP384_SHA384
            | SignatureScheme::ECDSA_NISTP521_SHA512 => SignatureAlgorithm::ECDSA,
            _ => SignatureAlgorithm::RSA,
        }
    }
}

impl Signer for Forger {
    fn sign(&self, _message: &[u8]) -> Result<Vec<u8>, rustls::Error> {
        // As long as a signature of an RSA key of 2048 bits; no key signs anything with zeros.
        Ok(vec![0; 256])
    }

    fn scheme(&self) -> SignatureScheme {
        self.0
    }
}

/// Chains whose verdicts are known, to learn whether sessions say what is expected of them.
///
/// One authority, with a certificate of each kind of key for `control.test`, and one certificate that nobody has
/// signed. They are valid from 2000 to 2999, and their keys are kept nowhere.
pub(super) struct Controls;

impl Controls {
    pub(super) const AUTHORITY: &'static [u8] = include_bytes!("controls/authority.der");
    const STRANGER: &'static [u8] = include_bytes!("controls/stranger.der");
    const GOOD: [(SignatureScheme, &'static [u8]); 3] = [
        (
            SignatureScheme::ECDSA_NISTP256_SHA256,
            include_bytes!("controls/ecdsa.der"),
        ),
        (
            SignatureScheme::RSA_PSS_SHA256,
            include_bytes!("controls/rsa.der"),
        ),
        (
            SignatureScheme::ED25519,
            include_bytes!("controls/ed25519.der"),
        ),
    ];

    fn hello() -> Hello {
        Hello {
            server_name: Some("control.test".to_owned()),
            protocols: Vec::new(),
        }
    }

    /// Whether sessions of a context that trusts the authority alone tell good from bad. The text says what
    /// they did instead.
    pub(super) fn check_library(
        trusting: &dyn Context,
        provider: &Arc<CryptoProvider>,
    ) -> Result<(), String> {
        for (scheme, leaf) in Self::GOOD {
            let verdict = Self::verdict(trusting, leaf, scheme, provider)?;
            if !matches!(verdict, Verdict::Accepted) {
                return Err(format!(
                    "a good chain ({scheme:?}) was not accepted: {verdict:?}"
                ));
            }
        }
        Self::check_context(trusting, provider)
    }

    /// Whether sessions of a context that looks at certificates refuse one that nobody has signed.
    pub(super) fn check_context(
        context: &dyn Context,
        provider: &Arc<CryptoProvider>,
    ) -> Result<(), String> {
        let scheme = SignatureScheme::ECDSA_NISTP256_SHA256;
        match Self::verdict(context, Self::STRANGER, scheme, provider)? {
            Verdict::Rejected(_) => Ok(()),
            verdict => Err(format!("a bad chain was not rejected: {verdict:?}")),
        }
    }

    fn verdict(
        context: &dyn Context,
        leaf: &'static [u8],
        scheme: SignatureScheme,
        provider: &Arc<CryptoProvider>,
    ) -> Result<Verdict, String> {
        let witness = Witness::open(context, &Self::hello()).map_err(|error| error.to_string())?;
        Ok(witness.ask(vec![CertificateDer::from(leaf)], scheme, provider))
    }
}
