//! Exchange: one request on a connection in memory, polled until nothing moves any more.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use bytes::Bytes;
use httpcore_hyper::connection::{Http1, NetworkStream as _, RequestHead, ResponseHead};
use httpcore_hyper::error::{Error, Kind};

use crate::wire::Wire;

/// What came of one request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    pub head: Option<Head>,
    /// As much of it as came.
    pub body: Vec<u8>,
    pub end: End,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    pub status: u16,
    pub version: Vec<u8>,
    pub reason: Vec<u8>,
    pub headers: Vec<(Vec<u8>, Vec<u8>)>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// The response is complete; whether the connection may carry another request.
    Complete {
        fit: bool,
    },
    /// The connection is no HTTP any more.
    Upgraded,
    Failed {
        kind: Kind,
        text: String,
    },
    /// It would wait for ever, or for a timeout.
    Stuck,
}

/// Counts nothing and does nothing but to remember that it was woken.
#[derive(Debug, Default)]
struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Polls until it is ready. `None`: it is pending, and nobody will wake it.
pub fn until_quiet<T>(mut poll: impl FnMut(&mut Context<'_>) -> Poll<T>) -> Option<T> {
    let woken = Arc::new(Woken::default());
    let waker = Waker::from(Arc::clone(&woken));
    loop {
        woken.0.store(false, Ordering::Relaxed);
        match poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(value) => return Some(value),
            Poll::Pending if woken.0.load(Ordering::Relaxed) => {}
            Poll::Pending => return None,
        }
    }
}

fn failed(error: &Error) -> End {
    End::Failed {
        kind: error.kind(),
        text: error.to_string(),
    }
}

/// Sends a request with all of its body, and reads the response to its end.
pub fn run(http: &mut Http1<Wire>, wire: &Wire, head: RequestHead, body: &[u8]) -> Outcome {
    if let Some(end) = send(http, head, body) {
        return Outcome {
            head: None,
            body: Vec::new(),
            end,
        };
    }
    receive(http, wire)
}

/// Sends a request. `None`: it is out.
pub fn send(http: &mut Http1<Wire>, head: RequestHead, body: &[u8]) -> Option<End> {
    if let Err(error) = http.begin(head, Some(Bytes::copy_from_slice(body))) {
        return Some(failed(&error));
    }
    match until_quiet(|cx| http.poll_sent(cx)) {
        Some(Ok(())) => None,
        Some(Err(error)) => Some(failed(&error)),
        None => Some(End::Stuck),
    }
}

/// Reads the response to its end.
pub fn receive(http: &mut Http1<Wire>, wire: &Wire) -> Outcome {
    let outcome = read(http);
    if outcome.end == End::Stuck {
        // A socket would have woken nobody: there is something to read, and nobody waits for it.
        assert!(!wire.is_readable(), "a wake-up is lost");
    }
    outcome
}

fn read(http: &mut Http1<Wire>) -> Outcome {
    let mut outcome = Outcome {
        head: None,
        body: Vec::new(),
        end: End::Stuck,
    };
    match until_quiet(|cx| http.poll_head(cx)) {
        Some(Ok(head)) => outcome.head = Some(seen(&head)),
        Some(Err(error)) => {
            outcome.end = failed(&error);
            return outcome;
        }
        None => return outcome,
    }
    if http.is_upgraded() {
        outcome.end = End::Upgraded;
        return outcome;
    }
    loop {
        match until_quiet(|cx| http.poll_body(cx)) {
            Some(Ok(Some(bytes))) => outcome.body.extend_from_slice(&bytes),
            Some(Ok(None)) => {
                let fit = http.finish_exchange() && !http.is_stale();
                outcome.end = End::Complete { fit };
                return outcome;
            }
            Some(Err(error)) => {
                outcome.end = failed(&error);
                return outcome;
            }
            None => return outcome,
        }
    }
}

fn seen(head: &ResponseHead) -> Head {
    Head {
        status: head.status,
        version: head.version.to_vec(),
        reason: head.reason.as_deref().unwrap_or_default().to_vec(),
        headers: head
            .headers
            .iter()
            .map(|(name, value)| (name.to_vec(), value.to_vec()))
            .collect(),
    }
}

/// A request with `Host` and these headers.
pub fn request(method: &[u8], headers: &[(&[u8], &[u8])]) -> RequestHead {
    let all = [(&b"Host"[..], &b"x"[..])]
        .into_iter()
        .chain(headers.iter().copied());
    RequestHead::render(method, b"/", all).expect("the head is valid")
}

/// The answer to the request that follows, which must come as it was sent.
const NEXT: &[u8] = b"HTTP/1.1 200 Next\r\nX-Nonce: next\r\nContent-Length: 4\r\n\r\nnext";

/// A connection that is said to be fit for another request has nothing left of the last one.
pub fn check_next(http: &mut Http1<Wire>, wire: &Wire) {
    let before = wire.written().len();
    assert_eq!(send(http, request(b"GET", &[]), b""), None);
    assert_eq!(
        &wire.written()[before..],
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
    );
    let early = until_quiet(|cx| http.poll_head(cx));
    assert!(early.is_none(), "answered before the server did: {early:?}");
    wire.arrives([crate::wire::Arrival::Bytes(NEXT.to_vec())]);
    let outcome = receive(http, wire);
    let head = outcome.head.expect("the answer is well-formed");
    assert_eq!((head.status, &*head.reason), (200, &b"Next"[..]));
    assert_eq!(head.headers[0], (b"X-Nonce".to_vec(), b"next".to_vec()));
    assert_eq!(outcome.body, b"next");
    assert_eq!(outcome.end, End::Complete { fit: true });
}
