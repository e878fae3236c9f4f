//! Heads: a request as HTTP/2 has it, and a response as the engine tells it.
//!
//! The request's head was checked and rendered for HTTP/1.1 ([`RequestHead`]); what HTTP/2 says in another way or
//! must not say (RFC 9113 section 8.2.2) is translated here. No I/O.

use std::fmt::Write as _;

use bytes::Bytes;
use http::header::{HeaderMap, HeaderName, HeaderValue};
use http::{Method, Request, Response, Uri, Version};

use crate::connection::framing::FramingHeaders;
use crate::connection::{HeaderList, RequestHead, ResponseHead};
use crate::error::{Error, Kind, Result};

/// Headers that belong to one HTTP/1.1 connection; RFC 9113 section 8.2.2. `Host` becomes `:authority`.
const LEFT_OUT: [&[u8]; 6] = [
    b"host",
    b"connection",
    b"keep-alive",
    b"proxy-connection",
    b"transfer-encoding",
    b"upgrade",
];

/// The request, without its body.
///
/// # Errors
///
/// `LocalProtocol` for what HTTP/2 cannot carry: a `TE` other than `trailers`, control characters in a value, a
/// target or `Host` that is part of no URL.
pub(super) fn request(scheme: &[u8], head: &RequestHead) -> Result<Request<()>> {
    let mut headers = HeaderMap::new();
    let mut authority = None;
    for (name, value) in head.headers() {
        if name.eq_ignore_ascii_case(b"host") {
            authority = Some(value);
        }
        if LEFT_OUT
            .iter()
            .any(|left_out| name.eq_ignore_ascii_case(left_out))
        {
            continue;
        }
        if name.eq_ignore_ascii_case(b"te") && !value.eq_ignore_ascii_case(b"trailers") {
            return Err(illegal("TE header", value));
        }
        let name = HeaderName::from_bytes(name).map_err(|_| illegal("header name", name))?;
        let value = HeaderValue::from_bytes(value).map_err(|_| illegal("header value", value))?;
        headers.append(name, value);
    }
    let (method, target) = head.method_and_target();
    let method = Method::from_bytes(method).map_err(|_| illegal("method", method))?;
    let authority = authority.unwrap_or_default();
    let uri = if method == Method::CONNECT {
        Uri::try_from(target)
    } else {
        Uri::builder()
            .scheme(scheme)
            .authority(authority)
            .path_and_query(target)
            .build()
            .map_err(|_| illegal("target or Host", target))
            .map(Ok)?
    }
    .map_err(|_| illegal("target", target))?;
    let mut request = Request::new(());
    *request.method_mut() = method;
    *request.uri_mut() = uri;
    *request.version_mut() = Version::HTTP_2;
    *request.headers_mut() = headers;
    Ok(request)
}

fn illegal(what: &str, value: &[u8]) -> Error {
    let mut text = format!("HTTP/2 cannot carry this {what}: ");
    write!(text, "{}", value.escape_ascii()).expect("writing to a String cannot fail");
    Error::message(Kind::LocalProtocol, text)
}

/// The head of a response.
///
/// # Errors
///
/// `RemoteProtocol` for lengths that contradict each other.
pub(super) fn response<B>(response: &Response<B>, stream_id: u32) -> Result<ResponseHead> {
    let mut lengths = FramingHeaders::default();
    for value in response.headers().get_all(http::header::CONTENT_LENGTH) {
        lengths
            .look(b"content-length", value.as_bytes())
            .map_err(|rule| Error::message(Kind::RemoteProtocol, rule))?;
    }
    Ok(ResponseHead {
        status: response.status().as_u16(),
        version: Bytes::from_static(b"HTTP/2"),
        reason: None,
        headers: list(response.headers()),
        stream_id: Some(stream_id),
    })
}

/// The headers as they came, but that equal names stand together.
pub(super) fn list(headers: &HeaderMap) -> HeaderList {
    headers
        .iter()
        .map(|(name, value)| (name.as_str().as_bytes(), value.as_bytes()))
        .collect()
}
