//! Verifier: what rustls asks in the middle of its handshake, and what is left for the session to know.

use std::sync::Arc;

use parking_lot::Mutex;
use rustls::client::ResolvesClientCert;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::sign::CertifiedKey;
use rustls::{DigitallySignedStruct, SignatureScheme};

use super::questions::Questions;
use crate::tls::Failure;
use crate::tls::oracle::Verdict;

/// Asks a witness for the verdict, when the server has signed for its chain.
#[derive(Debug)]
pub(super) struct Verifier {
    pub(super) provider: Arc<CryptoProvider>,
    /// What is accepted as a server's signature: all that the configuration would, and rustls can check.
    pub(super) schemes: Vec<SignatureScheme>,
    pub(super) state: Arc<Mutex<State>>,
}

/// What the callbacks of rustls leave for the session.
#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) questions: Option<Questions>,
    chain: Vec<CertificateDer<'static>>,
    /// The verdict, where there is more to say than rustls can.
    pub(super) failure: Option<Failure>,
    pub(super) wants_certificate: bool,
    pub(super) accepted: bool,
}

impl State {
    pub(super) fn asking(questions: Questions) -> Self {
        Self {
            questions: Some(questions),
            ..Self::default()
        }
    }
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
pub(super) struct Asked(pub(super) Arc<Mutex<State>>);

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
