//! The gate and its sessions without an interpreter: rustls itself stands in for the user's configuration, and for
//! the servers.
//!
//! What the configurations of Python say is tested where they are. Here is what theirs cannot be brought to offer
//! wherever the tests are run.

use std::sync::{Arc, Mutex};

use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use rustls::version::TLS13;
use rustls::{
    CertificateError, ClientConfig, ClientConnection, Error, NamedGroup, RootCertStore,
    ServerConfig, ServerConnection,
};

use super::{Facts, Judge, Look, Proving};
use crate::tls::{Complaint, Context, Failure, Hello, Policy, Secured, Session, Turn};

/// A certificate for `server.test`, signed by its own key, from 2000 to 2999; and that key.
const CERTIFICATE: &[u8] = include_bytes!("tests/server.der");
const KEY: &[u8] = include_bytes!("tests/server.key");

/// More flights than any handshake has, with one for the key that the server would rather have.
const FLIGHTS: usize = 8;

/// A configuration that trusts one certificate, and offers these groups, the best first.
#[derive(Clone, Debug)]
struct Configuration {
    trusted: CertificateDer<'static>,
    groups: Vec<NamedGroup>,
    explained: Arc<Mutex<Vec<String>>>,
}

fn trusting(certificate: &[u8], groups: &[NamedGroup]) -> Configuration {
    Configuration {
        trusted: CertificateDer::from(certificate.to_vec()),
        groups: groups.to_vec(),
        explained: Arc::default(),
    }
}

/// The provider with these groups alone, in this order.
fn limited(groups: &[NamedGroup]) -> Arc<CryptoProvider> {
    let mut provider = crate::tls::provider();
    let all = std::mem::take(&mut provider.kx_groups);
    provider.kx_groups = groups
        .iter()
        .filter_map(|name| all.iter().copied().find(|group| group.name() == *name))
        .collect();
    assert_eq!(provider.kx_groups.len(), groups.len(), "rustls has them");
    Arc::new(provider)
}

impl Context for Configuration {
    fn open(&self, hello: &Hello) -> Result<Box<dyn Session>, Failure> {
        let mut trusted = RootCertStore::empty();
        let failed = |error: Error| Failure::new(error.to_string());
        trusted.add(self.trusted.clone()).map_err(failed)?;
        let config = ClientConfig::builder_with_provider(limited(&self.groups))
            .with_protocol_versions(&[&TLS13])
            .map_err(failed)?
            .with_root_certificates(trusted)
            .with_no_client_auth();
        let name = hello.server_name.clone().unwrap_or_default();
        let name = ServerName::try_from(name).map_err(|error| Failure::new(error.to_string()))?;
        let connection = ClientConnection::new(Arc::new(config), name).map_err(failed)?;
        Ok(Box::new(Own(connection)))
    }
}

impl Judge for Configuration {
    fn look(&self) -> Look {
        Look {
            objection: None,
            verifies: true,
            attributes: Vec::new(),
        }
    }

    fn trusting(&self, authority: &[u8]) -> Result<Box<dyn Context>, Failure> {
        Ok(Box::new(trusting(authority, &self.groups)))
    }

    fn explain(&self, reason: &str) {
        let mut explained = self.explained.lock().expect("nobody panics");
        explained.push(reason.to_owned());
    }
}

/// A session of the configuration itself.
struct Own(ClientConnection);

impl Session for Own {
    fn turn(&mut self, turn: &mut Turn) {
        let mut unread = &turn.received[..];
        while !unread.is_empty() && turn.failure.is_none() {
            let read = self.0.read_tls(&mut unread).map_err(general);
            let taken = read.and_then(|_| self.0.process_new_packets());
            turn.failure = taken.err().map(|error| {
                // rustls has one word for a signature on a certificate and for one in a handshake. No certificate of
                // these tests has a bad one.
                let complaint = match error {
                    Error::InvalidCertificate(CertificateError::BadSignature) => {
                        Complaint::Signature
                    }
                    Error::InvalidCertificate(_) => Complaint::Certificate,
                    _ => Complaint::Other,
                };
                Failure::with_cause(error.to_string(), Arc::new(()), complaint)
            });
        }
        turn.is_shaken = !self.0.is_handshaking();
        while self.0.wants_write() {
            self.0.write_tls(&mut turn.sealed).expect("memory takes it");
        }
    }

    fn secured(&self) -> Secured {
        Arc::new("the configuration's own")
    }
}

fn general(error: std::io::Error) -> Error {
    Error::General(error.to_string())
}

fn hello() -> Hello {
    Hello {
        server_name: Some("server.test".to_owned()),
        protocols: Vec::new(),
    }
}

/// A server that has these groups and no others.
fn server(groups: &[NamedGroup]) -> ServerConnection {
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(KEY));
    let config = ServerConfig::builder_with_provider(limited(groups))
        .with_protocol_versions(&[&TLS13])
        .expect("the provider has TLS 1.3")
        .with_no_client_auth()
        .with_single_cert(vec![CertificateDer::from(CERTIFICATE)], key)
        .expect("the key is the certificate's");
    ServerConnection::new(Arc::new(config)).expect("the configuration is whole")
}

/// Has both shake hands. Returns what the session has sent first, and how it failed, if it did.
fn shake(session: &mut dyn Session, server: &mut ServerConnection) -> (Vec<u8>, Option<Failure>) {
    let mut first = None;
    let mut received = Vec::new();
    for _ in 0..FLIGHTS {
        let mut turn = Turn {
            received: std::mem::take(&mut received),
            ..Turn::default()
        };
        session.turn(&mut turn);
        first.get_or_insert_with(|| turn.sealed.clone());
        if turn.failure.is_some() {
            return (first.expect("it was set"), turn.failure);
        }
        let mut unread = &turn.sealed[..];
        while !unread.is_empty() {
            server.read_tls(&mut unread).expect("memory gives it");
            // Its complaint is for the client, who is told of it below.
            let _ = server.process_new_packets();
        }
        while server.wants_write() {
            server.write_tls(&mut received).expect("memory takes it");
        }
        if turn.is_shaken && !server.is_handshaking() {
            return (first.expect("it was set"), None);
        }
    }
    panic!("no handshake has so many flights");
}

/// Whether rustls does the session's bytes.
fn is_proven(session: &dyn Session) -> bool {
    session.secured().downcast_ref::<Facts>().is_some()
}

#[test]
fn a_good_server_is_served_and_a_strangers_is_refused() {
    let groups = [NamedGroup::X25519];
    let proving = Proving::new(trusting(CERTIFICATE, &groups), Policy::Rustls);
    let mut session = proving.open(&hello()).expect("it is proven");
    assert!(is_proven(&*session));
    let (_, failure) = shake(&mut *session, &mut server(&groups));
    assert!(failure.is_none(), "{failure:?}");

    let stranger = super::Controls::AUTHORITY;
    let proving = Proving::new(trusting(stranger, &groups), Policy::Rustls);
    let mut session = proving.open(&hello()).expect("it is proven");
    let (_, failure) = shake(&mut *session, &mut server(&groups));
    let failure = failure.expect("nobody has signed it");
    assert_eq!(failure.complaint(), Complaint::Certificate);
    assert!(!failure.is_unproven());
}

/// Set in the processes of the test below.
#[cfg(unix)]
const EXITS: &str = "HTTPCORE_HYPER_TEST_EXITS";

/// So many that an exit which does not wait aborts in one of them nearly always: in one of twelve.
#[cfg(unix)]
const PROCESSES: usize = 40;

/// Each thread's first random numbers come from a generator that the process shares, and gives up as it exits.
#[cfg(unix)]
#[test]
fn an_exit_amid_the_first_handshakes_of_threads_is_quiet() {
    const NAME: &str = "tls::proven::tests::an_exit_amid_the_first_handshakes_of_threads_is_quiet";
    if std::env::var_os(EXITS).is_some() {
        exit_amid_handshakes();
    }
    let program = std::env::current_exe().expect("a test has a path");
    for _ in 0..PROCESSES {
        let output = std::process::Command::new(&program)
            .args(["--exact", NAME])
            .env(EXITS, "1")
            .output()
            .expect("a test can be run again");
        assert_eq!(output.status.code(), Some(0), "{output:?}");
    }
}

#[cfg(unix)]
fn exit_amid_handshakes() -> ! {
    crate::visits::watch_exit(crate::visits::Library::Cryptography);
    let groups = [NamedGroup::X25519];
    let proving = Arc::new(Proving::new(trusting(CERTIFICATE, &groups), Policy::Rustls));
    let (begun, all) = std::sync::mpsc::channel();
    for _ in 0..8 {
        let (proving, begun) = (Arc::clone(&proving), begun.clone());
        std::thread::spawn(move || {
            loop {
                let proving = Arc::clone(&proving);
                let first = std::thread::spawn(move || proving.open(&hello()).is_ok());
                let is_proven = first.join().expect("nobody panics");
                // Nobody listens any more as the process exits.
                let _ = begun.send(is_proven);
            }
        });
    }
    assert!(all.iter().take(200).all(|is_proven| is_proven));
    std::process::exit(0)
}

/// One half of the key is of a kind that quantum computers do not break. `ring` has none of them.
#[cfg(feature = "aws-lc-rs")]
mod hybrid {
    use super::*;
    use crate::tls::client_hello::Offer;

    const HYBRID: NamedGroup = NamedGroup::X25519MLKEM768;

    #[test]
    fn a_server_that_has_no_other_group_is_served() {
        // As OpenSSL 3.5 offers them by default, and with the key for another one in the first flight.
        for groups in [
            [HYBRID, NamedGroup::X25519],
            [NamedGroup::X25519, HYBRID],
            [NamedGroup::secp256r1, HYBRID],
        ] {
            let proving = Proving::new(trusting(CERTIFICATE, &groups), Policy::Rustls);
            let mut session = proving.open(&hello()).expect("it is proven");
            let mut server = server(&[HYBRID]);
            let (flight, failure) = shake(&mut *session, &mut server);
            assert!(failure.is_none(), "{groups:?}: {failure:?}");
            assert!(is_proven(&*session));
            let agreed = server.negotiated_key_exchange_group();
            assert_eq!(agreed.expect("they agreed").name(), HYBRID);
            // The order is the configuration's.
            let offered = Offer::read(&flight).expect("it is a ClientHello").groups;
            assert_eq!(offered, groups.map(u16::from));
        }
    }

    #[test]
    fn it_is_not_offered_where_the_configuration_does_not() {
        let groups = [NamedGroup::X25519, NamedGroup::secp256r1];
        let configuration = trusting(CERTIFICATE, &groups);
        let explained = Arc::clone(&configuration.explained);
        let proving = Proving::new(configuration, Policy::Auto);
        let mut session = proving.open(&hello()).expect("it is proven");
        assert!(is_proven(&*session));
        let (flight, failure) = shake(&mut *session, &mut server(&[HYBRID]));
        let offered = Offer::read(&flight).expect("it is a ClientHello").groups;
        assert_eq!(offered, groups.map(u16::from));
        // The configuration has the last word, which is the same one.
        let failure = failure.expect("they share none");
        assert!(failure.is_unproven());
        let mut again = proving
            .open_again(&hello(), &failure)
            .expect("there may be another");
        assert!(!is_proven(&*again));
        let (flight, failure) = shake(&mut *again, &mut server(&[HYBRID]));
        let offered = Offer::read(&flight).expect("it is a ClientHello").groups;
        assert_eq!(offered, groups.map(u16::from));
        assert!(failure.is_some());
        let explained = explained.lock().expect("nobody panics");
        assert!(explained[0].contains("handshake failed"), "{explained:?}");
    }
}
