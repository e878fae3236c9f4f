//! The stream around a session, with a session that only turns bits over: its handshake is one word each
//! way. What is tested is who waits for whom; cryptography has its tests where it is done.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::mpsc;
use std::time::Duration;

use tokio::io::{
    AsyncRead as _, AsyncReadExt as _, AsyncWrite as _, AsyncWriteExt as _, DuplexStream, ReadBuf,
};
use tokio::runtime::Handle;

use super::{Context, Failure, Hello, Secured, Session, TlsStream, Turn};
use crate::connection::NetworkStream as _;

/// A test that takes longer than this hangs.
const HANGS: Duration = Duration::from_secs(30);
const HELLO: &[u8] = b"hello";
/// What the toy takes for the peer's goodbye, and for a record that cannot be right.
const GOODBYE: u8 = 0;
const FORGED: u8 = 1;

/// How the toy behaves.
#[derive(Clone, Debug, Default)]
struct Toy {
    refuses: bool,
    panics: bool,
    /// Its turns wait for a word on this channel, once hands are shaken.
    gate: Option<Arc<std::sync::Mutex<mpsc::Receiver<()>>>>,
}

impl Context for Toy {
    fn open(&self, hello: &Hello) -> Result<Box<dyn Session>, Failure> {
        if hello.server_name.is_none() {
            return Err(Failure::new("nobody is named"));
        }
        Ok(Box::new(ToySession {
            toy: self.clone(),
            greeted: false,
            received: Vec::new(),
            shaken: false,
        }))
    }
}

struct ToySession {
    toy: Toy,
    greeted: bool,
    received: Vec<u8>,
    shaken: bool,
}

impl Session for ToySession {
    fn turn(&mut self, turn: &mut Turn) {
        assert!(!self.toy.panics, "as it was told");
        if self.shaken
            && let Some(gate) = &self.toy.gate
        {
            gate.lock()
                .expect("nobody panics")
                .recv()
                .expect("the test says so");
        }
        self.received.append(&mut turn.received);
        if !self.greeted {
            self.greeted = true;
            turn.sealed.extend_from_slice(HELLO);
        }
        if !self.shaken && self.received.starts_with(HELLO) {
            self.received.drain(..HELLO.len());
            self.shaken = true;
            if self.toy.refuses {
                turn.sealed.extend_from_slice(b"no");
                turn.failure = Some(Failure::new("not with you"));
                return;
            }
        }
        if !self.shaken && turn.ended {
            turn.failure = Some(Failure::new("the peer has gone"));
        }
        if self.shaken {
            for byte in self.received.drain(..) {
                match !byte {
                    GOODBYE => turn.is_closed = true,
                    FORGED => turn.failure = Some(Failure::new("forged")),
                    byte => turn.opened.push(byte),
                }
            }
            turn.sealed
                .extend(turn.outgoing.drain(..).map(|byte| !byte));
            turn.is_closed |= turn.ended;
        }
        turn.is_shaken = self.shaken;
    }

    fn secured(&self) -> Secured {
        Arc::new("a toy")
    }
}

fn hello() -> Hello {
    Hello {
        server_name: Some("example.com".to_owned()),
        protocols: Vec::new(),
    }
}

async fn shake(toy: Toy, pipe: DuplexStream) -> io::Result<TlsStream<DuplexStream>> {
    let runtime = Handle::current();
    let shaking = TlsStream::handshake(pipe, move || toy.open(&hello()), Vec::new(), &runtime);
    tokio::time::timeout(HANGS, shaking)
        .await
        .expect("the test hangs")
}

/// A stream and its peer's end of the pipe, after the handshake.
async fn pair(toy: Toy) -> (TlsStream<DuplexStream>, DuplexStream) {
    let (ours, mut theirs) = tokio::io::duplex(1 << 20);
    theirs.write_all(HELLO).await.expect("there is room");
    let stream = shake(toy, ours).await.expect("hands are shaken");
    let mut greeting = [0; HELLO.len()];
    theirs.read_exact(&mut greeting).await.expect("it greets");
    assert_eq!(greeting, HELLO);
    (stream, theirs)
}

fn turned(bytes: &[u8]) -> Vec<u8> {
    bytes.iter().map(|byte| !byte).collect()
}

#[tokio::test]
async fn bytes_pass_through_the_session_both_ways() {
    let (mut stream, mut peer) = pair(Toy::default()).await;
    stream.write_all(b"ping").await.expect("it is taken");
    stream.flush().await.expect("it is sent");
    let mut sealed = [0; 4];
    peer.read_exact(&mut sealed).await.expect("it came");
    assert_eq!(sealed.to_vec(), turned(b"ping"));
    peer.write_all(&turned(b"pong"))
        .await
        .expect("there is room");
    let mut opened = [0; 4];
    stream.read_exact(&mut opened).await.expect("it came");
    assert_eq!(&opened, b"pong");
}

#[tokio::test]
async fn a_large_body_passes_whole() {
    let (mut stream, mut peer) = pair(Toy::default()).await;
    let body: Vec<u8> = (0..3_000_000_u32).map(|n| (n % 199) as u8 + 2).collect();
    let sealed = turned(&body);
    let writing = async {
        stream.write_all(&body).await.expect("it is taken");
        stream.flush().await.expect("it is sent");
        let mut back = vec![0; body.len()];
        stream.read_exact(&mut back).await.expect("it came");
        assert!(back == body);
    };
    let echoing = async {
        let mut came = vec![0; sealed.len()];
        peer.read_exact(&mut came).await.expect("it came");
        assert!(came == sealed);
        peer.write_all(&came).await.expect("it is taken");
    };
    tokio::time::timeout(HANGS, async { tokio::join!(writing, echoing) })
        .await
        .expect("the test hangs");
}

#[tokio::test]
async fn what_came_before_the_session_is_its_first_input() {
    let (ours, mut theirs) = tokio::io::duplex(64);
    let runtime = Handle::current();
    let received = [HELLO, &turned(b"early")].concat();
    let mut stream =
        TlsStream::handshake(ours, || Toy::default().open(&hello()), received, &runtime)
            .await
            .expect("hands are shaken");
    let mut early = [0; 5];
    stream.read_exact(&mut early).await.expect("it is here");
    assert_eq!(&early, b"early");
    theirs
        .read_exact(&mut [0; HELLO.len()])
        .await
        .expect("it greets");
}

#[tokio::test]
async fn a_refusal_is_told_to_the_peer_and_to_the_caller() {
    let (ours, mut theirs) = tokio::io::duplex(64);
    theirs.write_all(HELLO).await.expect("there is room");
    let toy = Toy {
        refuses: true,
        ..Toy::default()
    };
    let error = shake(toy, ours).await.expect_err("it refuses");
    let failure = error
        .get_ref()
        .and_then(|error| error.downcast_ref::<Failure>());
    assert_eq!(
        failure.expect("it is the session's").to_string(),
        "not with you"
    );
    let mut said = Vec::new();
    theirs.read_to_end(&mut said).await.expect("it is closed");
    assert_eq!(said, b"hellono");
}

#[tokio::test]
async fn what_fails_right_behind_the_handshake_is_the_readers_to_find() {
    let (ours, mut theirs) = tokio::io::duplex(64);
    let sent = [HELLO, &[!FORGED]].concat();
    theirs.write_all(&sent).await.expect("there is room");
    let shaken = shake(Toy::default(), ours).await;
    let mut stream = shaken.expect("hands were shaken");
    let error = stream.read(&mut [0; 1]).await.expect_err("it is over");
    assert_eq!(error.to_string(), "forged");
}

#[tokio::test]
async fn an_end_within_the_handshake_is_the_sessions_to_judge() {
    let (ours, theirs) = tokio::io::duplex(64);
    drop(theirs);
    assert!(shake(Toy::default(), ours).await.is_err());
}

#[tokio::test]
async fn a_name_that_is_refused_is_an_error() {
    let (ours, _theirs) = tokio::io::duplex(64);
    let nobody = Hello {
        server_name: None,
        ..hello()
    };
    let runtime = Handle::current();
    let open = move || Toy::default().open(&nobody);
    let shaken = TlsStream::handshake(ours, open, Vec::new(), &runtime).await;
    assert_eq!(
        shaken.expect_err("it is refused").to_string(),
        "nobody is named"
    );
}

#[tokio::test]
async fn an_error_comes_behind_the_bytes_before_it() {
    let (mut stream, mut peer) = pair(Toy::default()).await;
    let sent = [turned(b"last words"), vec![!FORGED]].concat();
    peer.write_all(&sent).await.expect("there is room");
    let mut words = [0; 10];
    stream
        .read_exact(&mut words)
        .await
        .expect("they came first");
    assert_eq!(&words, b"last words");
    for _ in 0..2 {
        let error = stream.read(&mut [0; 1]).await.expect_err("it is over");
        assert_eq!(error.to_string(), "forged");
    }
    assert!(stream.write_all(b"x").await.is_err());
}

#[tokio::test]
async fn a_goodbye_is_the_end_whatever_the_socket_does() {
    let (mut stream, mut peer) = pair(Toy::default()).await;
    peer.write_all(&[!b'x', !GOODBYE])
        .await
        .expect("there is room");
    let mut said = Vec::new();
    stream.read_to_end(&mut said).await.expect("it ends");
    assert_eq!(said, b"x");
    assert!(stream.is_readable());
}

#[tokio::test]
async fn a_panic_in_the_session_is_an_error_here() {
    let (ours, _theirs) = tokio::io::duplex(64);
    let toy = Toy {
        panics: true,
        ..Toy::default()
    };
    assert!(shake(toy, ours).await.is_err());
}

#[tokio::test]
async fn a_reader_and_a_writer_are_both_woken() {
    let (word, gate) = mpsc::channel();
    let toy = Toy {
        gate: Some(Arc::new(std::sync::Mutex::new(gate))),
        ..Toy::default()
    };
    let (stream, mut peer) = pair(toy).await;
    let stream = Arc::new(tokio::sync::Mutex::new(stream));
    // Each takes the lock for one poll only, as an upgraded stream does.
    let writer = tokio::spawn({
        let stream = Arc::clone(&stream);
        poll_fn(move |cx| {
            let mut stream = stream.try_lock().expect("polls do not overlap");
            Pin::new(&mut *stream).poll_write(cx, b"ping")
        })
    });
    writer.await.expect("it runs").expect("it is taken");
    let flushing = {
        let stream = Arc::clone(&stream);
        poll_fn(move |cx| {
            let mut stream = stream.try_lock().expect("polls do not overlap");
            Pin::new(&mut *stream).poll_flush(cx)
        })
    };
    let reading = poll_fn(|cx| {
        let mut space = [0; 8];
        let mut buffer = ReadBuf::new(&mut space);
        let mut stream = stream.try_lock().expect("polls do not overlap");
        let polled = Pin::new(&mut *stream).poll_read(cx, &mut buffer);
        polled.map_ok(|()| buffer.filled().to_vec())
    });
    let answering = async {
        // The session is away with the write by now, and both wait for it.
        tokio::task::yield_now().await;
        word.send(()).expect("the session waits");
        let mut sealed = [0; 4];
        peer.read_exact(&mut sealed).await.expect("it came");
        word.send(()).expect("the session will wait");
        peer.write_all(&turned(b"pong"))
            .await
            .expect("there is room");
    };
    let (flushed, read, ()) =
        tokio::time::timeout(HANGS, async { tokio::join!(flushing, reading, answering) })
            .await
            .expect("the test hangs");
    flushed.expect("it is sent");
    assert_eq!(read.expect("it came"), b"pong");
}

/// What is read of a ClientHello, against one of rustls's own.
#[cfg(feature = "rustls")]
mod offers {
    use std::sync::Arc;

    use proptest::prelude::*;
    use rustls::pki_types::ServerName;
    use rustls::{ClientConfig, ClientConnection, RootCertStore, version::TLS13};

    use super::super::client_hello::Offer;

    /// A first flight, with what it was made of.
    fn flight() -> (Vec<u8>, Offer) {
        let provider = Arc::new(super::super::provider());
        let config = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&[&TLS13])
            .expect("the provider has TLS 1.3")
            .with_root_certificates(RootCertStore::empty())
            .with_no_client_auth();
        let name = ServerName::try_from("example.com").expect("it is a name");
        let mut connection =
            ClientConnection::new(Arc::new(config), name).expect("the configuration is whole");
        let mut flight = Vec::new();
        connection.write_tls(&mut flight).expect("memory takes it");
        let offer = Offer {
            versions: vec![0x0304],
            cipher_suites: provider
                .cipher_suites
                .iter()
                .filter(|suite| suite.tls13().is_some())
                .map(|suite| suite.suite().into())
                .collect(),
            groups: provider
                .kx_groups
                .iter()
                .map(|group| group.name().into())
                .collect(),
            signature_schemes: provider
                .signature_verification_algorithms
                .supported_schemes()
                .into_iter()
                .map(u16::from)
                .collect(),
        };
        (flight, offer)
    }

    #[test]
    fn what_is_offered_is_read() {
        let (flight, offer) = flight();
        let mut read = Offer::read(&flight).expect("it is a ClientHello");
        // A signal about renegotiation (RFC 5746), and no suite.
        read.cipher_suites.retain(|suite| *suite != 0x00ff);
        assert_eq!(read, offer);
    }

    #[test]
    fn a_flight_that_is_cut_off_is_none() {
        let (flight, _) = flight();
        for length in 0..flight.len() {
            assert_eq!(Offer::read(&flight[..length]), None);
        }
    }

    #[test]
    fn a_flight_in_several_records_is_one() {
        let (flight, _) = flight();
        let (header, message) = flight.split_at(5);
        let (one, other) = message.split_at(100);
        let record = |fragment: &[u8]| {
            let length = u16::try_from(fragment.len())
                .expect("it is short")
                .to_be_bytes();
            [&header[..3], &length, fragment].concat()
        };
        let split = [record(one), record(other)].concat();
        assert_eq!(Offer::read(&split), Offer::read(&flight));
    }

    proptest! {
        #[test]
        fn noise_is_none_and_never_a_panic(noise in proptest::collection::vec(any::<u8>(), 0..600)) {
            let _ = Offer::read(&noise);
        }

        #[test]
        fn a_flight_with_noise_in_it_is_never_a_panic(at in 0_usize..200, byte in any::<u8>()) {
            let (mut flight, _) = flight();
            flight[at] = byte;
            let _ = Offer::read(&flight);
        }
    }
}
