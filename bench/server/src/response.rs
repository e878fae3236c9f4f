//! Response: heads, and bodies that tell which request they answer.

/// What a small JSON answer weighs.
pub const SMALL: u64 = 242;
/// What nginx sends beside the length, for comparisons with it: clients have work with each header.
pub const LIKE_NGINX: &[u8] = b"Server: bench_server\r\n\
Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n\
Content-Type: application/octet-stream\r\n\
Last-Modified: Sun, 06 Nov 1994 08:49:37 GMT\r\n\
Connection: keep-alive\r\n\
ETag: \"2ebc9b71-f2\"\r\n\
Accept-Ranges: bytes\r\n";
/// How much of a large body is written at once.
pub const BLOCK: usize = 256 * 1024;
/// What fills the body of a request without a nonce.
const NO_NONCE: &[u8] = b"x";

/// Endless repetitions of a nonce, from which a body is cut.
pub struct Filling {
    block: Vec<u8>,
    at: usize,
}

impl Filling {
    /// `size` is how much of it will be wanted.
    pub fn new(nonce: &[u8], size: u64) -> Self {
        let unit = if nonce.is_empty() { NO_NONCE } else { nonce };
        let wanted = usize::try_from(size).map_or(BLOCK, |size| size.min(BLOCK));
        // A whole number of repetitions, so that one block follows the other.
        let block = unit.repeat(wanted.div_ceil(unit.len()).max(1));
        Self { block, at: 0 }
    }

    /// The next bytes, at most `size` of them.
    pub fn next(&mut self, size: u64) -> &[u8] {
        let rest = &self.block[self.at..];
        let taken = usize::try_from(size).map_or(rest.len(), |size| size.min(rest.len()));
        self.at = (self.at + taken) % self.block.len();
        &rest[..taken]
    }
}

/// A status line and headers up to the empty line.
pub fn push_head(out: &mut Vec<u8>, nonce: &[u8], framing: &[u8]) {
    out.extend_from_slice(b"HTTP/1.1 200 OK\r\n");
    if !nonce.is_empty() {
        out.extend_from_slice(b"X-Nonce: ");
        out.extend_from_slice(nonce);
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(framing);
    out.extend_from_slice(b"\r\n");
}

pub fn length(size: u64) -> Vec<u8> {
    format!("Content-Length: {size}\r\n").into_bytes()
}
