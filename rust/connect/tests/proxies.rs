//! What proxies say, in any pieces: the verdict is that of the whole, and no byte behind it is lost.

use std::time::Duration;

use proptest::prelude::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};
use tokio::runtime::Handle;

use super::super::http_proxy::answer;
use super::super::proxy::Credentials;
use super::super::socks5::converse;
use crate::error::{Kind, Result};

/// Larger than everything that is said here: nobody waits for room.
const ROOM: usize = 64 * 1024;

/// So long a conversation may take whose peer has closed.
const HANGS: Duration = Duration::from_secs(10);

fn run<T>(test: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime can be built");
    runtime.block_on(async {
        tokio::time::timeout(HANGS, test)
            .await
            .expect("the test hangs")
    })
}

/// Says `bytes` in pieces, each read before the next comes, and closes; returns what `listen` made of it.
fn said<T, F>(bytes: &[u8], cuts: &[usize], listen: impl FnOnce(tokio::io::DuplexStream) -> F) -> T
where
    F: Future<Output = T>,
{
    run(async {
        let (mut peer, stream) = duplex(ROOM);
        let speaking = async {
            let mut from = 0;
            for cut in cuts.iter().copied().chain([bytes.len()]) {
                let to = cut.clamp(from, bytes.len());
                if peer.write_all(&bytes[from..to]).await.is_err() {
                    break;
                }
                from = to;
                tokio::task::yield_now().await;
            }
            // What the client says is not read: there is room for it.
            let _ = peer.shutdown().await;
            peer
        };
        tokio::join!(speaking, listen(stream)).1
    })
}

/// The verdict of a conversation in SOCKS5, and what is left behind it.
fn socks(bytes: &[u8], cuts: &[usize], login: bool) -> (Result<()>, Vec<u8>) {
    said(bytes, cuts, |mut stream| async move {
        let credentials = login.then(|| Credentials {
            user: "user".into(),
            password: "password".into(),
        });
        let verdict = converse(&mut stream, b"example.com", 443, credentials.as_ref()).await;
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest).await;
        (verdict, rest)
    })
}

fn told<T>(verdict: &Result<T>) -> Option<(Kind, String)> {
    let error = verdict.as_ref().err()?;
    Some((error.kind(), error.to_string()))
}

/// The answer to a CONNECT, and what came behind its head.
fn connect_answer(bytes: &[u8], cuts: &[usize]) -> (Result<(u16, usize)>, Vec<u8>) {
    said(bytes, cuts, |mut stream| async move {
        match answer(&mut stream, None, &Handle::current()).await {
            Ok((head, mut rest)) => {
                let _ = stream.read_to_end(&mut rest).await;
                (Ok((head.status, head.headers.len())), rest)
            }
            Err(error) => (Err(error), Vec::new()),
        }
    })
}

fn cuts() -> impl Strategy<Value = Vec<usize>> {
    prop::collection::vec(0..80usize, 0..12).prop_map(|mut cuts| {
        cuts.sort_unstable();
        cuts
    })
}

/// Replies of a proxy that agrees, and of others.
fn replies() -> impl Strategy<Value = (Vec<u8>, bool)> {
    let bound = prop_oneof![
        Just(b"\x01\x7f\x00\x00\x01\x1f\x90".to_vec()),
        Just([&b"\x04"[..], &[0; 16], b"\x1f\x90"].concat()),
        Just(b"\x03\x04host\x1f\x90".to_vec()),
        Just(b"\x09what".to_vec()),
    ];
    let outcome = prop_oneof![5 => Just(0u8), 1 => any::<u8>()];
    let method = prop_oneof![5 => Just(None), 1 => any::<u8>().prop_map(Some)];
    (any::<bool>(), method, outcome, bound).prop_map(|(login, method, outcome, bound)| {
        let wanted = if login { 2 } else { 0 };
        let mut replies = vec![5, method.unwrap_or(wanted)];
        if login {
            replies.extend([1, 0]);
        }
        replies.extend([5, outcome, 0]);
        replies.extend(bound);
        (replies, login)
    })
}

#[test]
fn agreement_leaves_every_byte_behind_it() {
    let replies = b"\x05\x00\x05\x00\x00\x03\x04host\x1f\x90behind";
    for cut in 0..replies.len() {
        let (verdict, rest) = socks(replies, &[cut], false);
        assert_eq!(told(&verdict), None, "cut at {cut}");
        assert_eq!(rest, b"behind", "cut at {cut}");
    }
}

#[test]
fn proxy_that_closes_in_the_middle_is_a_proxy_error() {
    let replies = b"\x05\x02\x01\x00\x05\x00\x00\x01\x7f\x00\x00\x01\x1f\x90";
    for length in 0..replies.len() {
        let (verdict, _) = socks(&replies[..length], &[], true);
        let (kind, _) = told(&verdict).expect("it was cut short");
        assert_eq!(kind, Kind::Proxy, "cut at {length}");
    }
}

#[test]
fn answer_to_connect_is_read_to_its_last_byte_and_no_further() {
    let bytes = b"HTTP/1.1 200 Connection established\r\nVia: 1.1 proxy\r\n\r\nbehind";
    for cut in 0..bytes.len() {
        let (verdict, rest) = connect_answer(bytes, &[cut]);
        assert_eq!(verdict.ok(), Some((200, 1)), "cut at {cut}");
        assert_eq!(rest, b"behind", "cut at {cut}");
    }
}

#[test]
fn answer_without_an_end_is_bounded() {
    let mut bytes = b"HTTP/1.1 200 OK\r\nX: ".to_vec();
    bytes.resize(ROOM, b'x');
    bytes.extend(vec![b'x'; 2 * ROOM]);
    let (verdict, _) = connect_answer(&bytes, &[]);
    let (kind, _) = told(&verdict).expect("it has no end");
    assert_eq!(kind, Kind::RemoteProtocol);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_pieces_of_socks_replies_are_the_whole(
        (replies, login) in replies(),
        tail in prop::collection::vec(any::<u8>(), 0..20),
        cuts in cuts(),
    ) {
        let bytes = [&replies[..], &tail].concat();
        let (whole, whole_rest) = socks(&bytes, &[], login);
        let (pieces, rest) = socks(&bytes, &cuts, login);
        prop_assert_eq!(told(&whole), told(&pieces));
        prop_assert_eq!(&whole_rest, &rest);
        if whole.is_ok() {
            prop_assert_eq!(rest, tail);
        }
    }

    #[test]
    fn any_bytes_of_a_socks_proxy_get_a_verdict(
        bytes in prop::collection::vec(any::<u8>(), 0..60),
        cuts in cuts(),
        login in any::<bool>(),
    ) {
        let (whole, _) = socks(&bytes, &[], login);
        let (pieces, _) = socks(&bytes, &cuts, login);
        prop_assert_eq!(told(&whole), told(&pieces));
        if let Some((kind, _)) = told(&whole) {
            prop_assert_eq!(kind, Kind::Proxy);
        }
    }

    #[test]
    fn any_pieces_of_an_answer_to_connect_are_the_whole(
        status in 200..600u16,
        reason in "[ -~]{0,20}",
        headers in prop::collection::vec("[A-Za-z-]{1,10}: [!-~]{0,10}", 0..5),
        tail in prop::collection::vec(any::<u8>(), 0..20),
        cuts in cuts(),
    ) {
        let mut head = format!("HTTP/1.1 {status} {reason}\r\n");
        for header in &headers {
            head.push_str(header);
            head.push_str("\r\n");
        }
        head.push_str("\r\n");
        let bytes = [head.as_bytes(), &tail].concat();
        let (whole, whole_rest) = connect_answer(&bytes, &[]);
        let (pieces, rest) = connect_answer(&bytes, &cuts);
        prop_assert_eq!(told(&whole), told(&pieces));
        prop_assert_eq!(&whole_rest, &rest);
        if let Ok(read) = whole {
            prop_assert_eq!(pieces.ok(), Some(read));
            prop_assert_eq!(rest, tail);
        }
    }

    #[test]
    fn any_bytes_of_an_http_proxy_get_a_verdict(
        bytes in prop::collection::vec(any::<u8>(), 0..200),
        cuts in cuts(),
    ) {
        let (whole, _) = connect_answer(&bytes, &[]);
        let (pieces, _) = connect_answer(&bytes, &cuts);
        prop_assert_eq!(whole.is_ok(), pieces.is_ok());
        if let Some((kind, _)) = told(&whole) {
            prop_assert_eq!(kind, Kind::RemoteProtocol);
        }
    }
}
