//! HTTP proxy: how a request is forwarded, and how a tunnel is asked for.
//!
//! The conversation before a tunnel is HTTP/1.1 of our own: one head out, one head in, and not one byte of
//! what follows is lost. Which way leads to an origin is not decided here.

use std::borrow::Cow;
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::runtime::Handle;

use super::proxy::HttpProxy;
use super::within;
use crate::connection::{Framing, HeadReader, RequestHead, ResponseHead};
use crate::error::{Error, Kind, Result};
use crate::origin::Origin;

/// One read of the proxy's answer. What comes with it belongs to the tunnel, and is kept.
const READ_SIZE: usize = 4096;

/// The target of a forwarded request: the URL as httpcore writes it, with the port only where it was given.
/// A target that is no path (`*`, or a URL) goes out as it is.
pub fn absolute<'a>(
    scheme: &[u8],
    host: &[u8],
    port: Option<i64>,
    target: &'a [u8],
) -> Cow<'a, [u8]> {
    if !target.starts_with(b"/") {
        return Cow::Borrowed(target);
    }
    let port = port.map(|port| format!(":{port}")).unwrap_or_default();
    let host = bracketed(host);
    Cow::Owned([scheme, b"://", &host, port.as_bytes(), target].concat())
}

impl HttpProxy {
    /// The proxy's headers, but for those that a request has as well, and then the request's.
    pub fn merged<'a>(&'a self, request: Headers<'a>) -> Headers<'a> {
        merged(slices(&self.headers), request)
    }
}

/// Names and values.
type Headers<'a> = Vec<(&'a [u8], &'a [u8])>;

fn slices(headers: &[(Bytes, Bytes)]) -> Headers<'_> {
    let pairs = headers.iter();
    pairs.map(|(name, value)| (&**name, &**value)).collect()
}

fn merged<'a>(mut first: Headers<'a>, then: Headers<'a>) -> Headers<'a> {
    first.retain(|(name, _)| {
        !then
            .iter()
            .any(|(other, _)| other.eq_ignore_ascii_case(name))
    });
    first.extend(then);
    first
}

/// The head that asks for a tunnel.
///
/// # Errors
///
/// `LocalProtocol` for headers that cannot be sent, or that announce a body.
pub(super) fn connect_head(origin: &Origin, headers: &[(Bytes, Bytes)]) -> Result<Vec<u8>> {
    let target = [
        &*bracketed(&origin.host),
        format!(":{}", origin.port).as_bytes(),
    ]
    .concat();
    let ours: Headers<'_> = vec![(b"Host", &target), (b"Accept", b"*/*")];
    let headers = merged(ours, slices(headers));
    let head = RequestHead::render(b"CONNECT", &target, headers.into_iter())?;
    match head.framing() {
        Framing::None | Framing::ContentLength(0) => Ok(head.into_bytes()),
        Framing::ContentLength(_) | Framing::Chunked => Err(Error::message(
            Kind::LocalProtocol,
            "a CONNECT has no body, and proxy_headers announce one",
        )),
    }
}

/// Sends the head. Whoever does not take it may have answered already, so that only a timeout is an error.
///
/// # Errors
///
/// `WriteTimeout`.
pub(super) async fn ask(
    stream: &mut (impl AsyncWrite + Unpin),
    head: &[u8],
    timeout: Option<Duration>,
    runtime: &Handle,
) -> Result<()> {
    let written = async {
        stream.write_all(head).await?;
        stream.flush().await
    };
    let written = async { Ok(written.await) };
    within(timeout, Kind::WriteTimeout, written, runtime)
        .await?
        .or(Ok(()))
}

/// The head of the answer, and what came behind it. `timeout` bounds each read.
///
/// # Errors
///
/// `ReadTimeout`; `Read`, with the stream's error; `RemoteProtocol` for what is no head, or ends before its end.
pub(super) async fn answer(
    stream: &mut (impl AsyncRead + Unpin),
    timeout: Option<Duration>,
    runtime: &Handle,
) -> Result<(ResponseHead, Vec<u8>)> {
    let mut reader = HeadReader::default();
    let mut buffer = vec![0; READ_SIZE];
    loop {
        let read = async {
            let read = stream.read(&mut buffer).await;
            read.map_err(|error| Error::io(Kind::Read, error))
        };
        let length = within(timeout, Kind::ReadTimeout, read, runtime).await?;
        if length == 0 {
            return Err(Error::message(
                Kind::RemoteProtocol,
                "Server disconnected without sending a response.",
            ));
        }
        if let Some((head, rest)) = reader.feed(&buffer[..length])? {
            return Ok((head, rest.to_vec()));
        }
    }
}

/// # Errors
///
/// `Proxy`, with the status and the reason, for any answer but a success.
pub(super) fn check(answer: &ResponseHead) -> Result<()> {
    if (200..300).contains(&answer.status) {
        return Ok(());
    }
    let reason: String = (answer.reason.iter().flatten())
        .filter(|byte| byte.is_ascii())
        .map(|byte| char::from(*byte))
        .collect();
    Err(Error::message(
        Kind::Proxy,
        format!("{} {reason}", answer.status),
    ))
}

/// A host as it stands before a port (RFC 3986 §3.2.2): IPv6 addresses in brackets.
fn bracketed(host: &[u8]) -> Cow<'_, [u8]> {
    if host.contains(&b':') && !host.starts_with(b"[") {
        Cow::Owned([b"[", host, b"]"].concat())
    } else {
        Cow::Borrowed(host)
    }
}
