//! Request: what is taken from a head, and how its body ends.

use std::io;

use crate::route::Route;

/// More than any client here sends.
const MAX_HEADERS: usize = 64;

pub struct Request {
    pub route: Route,
    pub nonce: Vec<u8>,
    pub body: Body,
    /// The client waits for a 100 before it sends the body.
    pub expects: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Body {
    Length(u64),
    Chunked,
}

impl Request {
    /// The request at the beginning of `bytes` and the length of its head; `None` while that is not all there.
    pub fn parse(bytes: &[u8]) -> io::Result<Option<(Self, usize)>> {
        let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
        let mut head = httparse::Request::new(&mut headers);
        let size = match head.parse(bytes).map_err(io::Error::other)? {
            httparse::Status::Complete(size) => size,
            httparse::Status::Partial => return Ok(None),
        };
        let mut request = Self {
            route: Route::of(head.path.unwrap_or_default()),
            nonce: Vec::new(),
            body: Body::Length(0),
            expects: false,
        };
        for header in head.headers.iter() {
            if header.name.eq_ignore_ascii_case("x-nonce") {
                request.nonce = header.value.to_vec();
            } else if header.name.eq_ignore_ascii_case("transfer-encoding") {
                request.body = Body::Chunked;
            } else if header.name.eq_ignore_ascii_case("content-length") {
                request.body = Body::Length(number(header.value)?);
            } else if header.name.eq_ignore_ascii_case("expect") {
                request.expects = true;
            }
        }
        Ok(Some((request, size)))
    }
}

fn number(text: &[u8]) -> io::Result<u64> {
    let text = std::str::from_utf8(text).map_err(io::Error::other)?;
    text.parse().map_err(io::Error::other)
}
