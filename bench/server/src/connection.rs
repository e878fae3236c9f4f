//! Connection: reads requests, and answers them as their paths ask.

use std::cell::RefCell;
use std::collections::HashSet;
use std::io::{self, Write as _};
use std::time::{Duration, SystemTime};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::request::{Body, Request};
use crate::response::{BLOCK, Filling, LIKE_NGINX, SMALL, length, push_head};
use crate::route::Route;

/// How much is read at once.
const READ: usize = 256 * 1024;
/// What is echoed; a larger body has no use here.
const MAX_ECHO: usize = 64 * 1024 * 1024;
const CHUNKED: &[u8] = b"Transfer-Encoding: chunked\r\n";
const UNTIL_EOF: &[u8] = b"";
const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";
const INTERIM: &[u8] =
    b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nX-Nonce: interim\r\n\r\n";
/// The nonce of a response that nobody asked for.
const SMUGGLED: &[u8] = b"smuggled";
/// The sizes of chunks, in turn: around the lengths of their own size lines, and beyond one segment.
const CHUNK_SIZES: [u64; 6] = [1, 15, 16, 4096, 70_000, 7];

/// How often a request that waits for another to be held looks for it.
const LOOK: Duration = Duration::from_millis(1);

thread_local! {
    /// The requests that were ever held. There is one thread.
    static HELD: RefCell<HashSet<u64>> = RefCell::default();
}

struct Connection {
    stream: TcpStream,
    /// What was read and not used, from `start` on.
    received: Vec<u8>,
    start: usize,
    out: Vec<u8>,
}

/// What follows an answer.
#[derive(PartialEq, Eq)]
enum Then {
    NextRequest,
    Close,
}

/// Serves one connection to its end.
pub async fn serve(stream: TcpStream) -> io::Result<()> {
    let mut connection = Connection {
        stream,
        received: Vec::new(),
        start: 0,
        out: Vec::new(),
    };
    while let Some(request) = connection.receive_head().await? {
        if request.expects {
            connection.stream.write_all(CONTINUE).await?;
        }
        let body = connection
            .receive_body(request.body, request.route == Route::Echo)
            .await?;
        if connection.answer(&request, &body).await? == Then::Close {
            return Ok(());
        }
    }
    Ok(())
}

impl Connection {
    fn unused(&self) -> &[u8] {
        &self.received[self.start..]
    }

    /// Waits for more. False at the end of what the peer sends.
    async fn receive(&mut self) -> io::Result<bool> {
        self.received.drain(..self.start);
        self.start = 0;
        self.received.reserve(READ.min(self.received.len() + 4096));
        Ok(self.stream.read_buf(&mut self.received).await? > 0)
    }

    async fn receive_head(&mut self) -> io::Result<Option<Request>> {
        loop {
            if !self.unused().is_empty()
                && let Some((request, size)) = Request::parse(self.unused())?
            {
                self.start += size;
                return Ok(Some(request));
            }
            if !self.receive().await? {
                return Ok(None);
            }
        }
    }

    /// Reads a body to its end; returns it if it is to be kept.
    async fn receive_body(&mut self, body: Body, keep: bool) -> io::Result<Vec<u8>> {
        let mut kept = Vec::new();
        match body {
            Body::Length(length) => self.receive_bytes(length, keep, &mut kept).await?,
            Body::Chunked => loop {
                let (size, line) = loop {
                    match httparse::parse_chunk_size(self.unused()) {
                        Ok(httparse::Status::Complete((line, size))) => break (size, line),
                        Ok(httparse::Status::Partial) => self.must_receive().await?,
                        Err(_) => return Err(io::Error::other("no chunk size")),
                    }
                };
                self.start += line;
                self.receive_bytes(size, keep, &mut kept).await?;
                // The line end behind the data; the clients here send no trailers.
                self.receive_bytes(2, false, &mut Vec::new()).await?;
                if size == 0 {
                    break;
                }
            },
        }
        Ok(kept)
    }

    async fn receive_bytes(
        &mut self,
        mut missing: u64,
        keep: bool,
        kept: &mut Vec<u8>,
    ) -> io::Result<()> {
        while missing > 0 {
            if self.unused().is_empty() {
                self.must_receive().await?;
            }
            let there = self.unused().len();
            let taken = usize::try_from(missing).map_or(there, |missing| missing.min(there));
            if keep {
                if kept.len() + taken > MAX_ECHO {
                    return Err(io::Error::other("too much to echo"));
                }
                kept.extend_from_slice(&self.received[self.start..self.start + taken]);
            }
            self.start += taken;
            missing -= taken as u64;
        }
        Ok(())
    }

    async fn must_receive(&mut self) -> io::Result<()> {
        match self.receive().await? {
            true => Ok(()),
            false => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }

    async fn answer(&mut self, request: &Request, body: &[u8]) -> io::Result<Then> {
        let nonce = &*request.nonce;
        match request.route {
            Route::Small => self.send(nonce, SMALL, b"").await?,
            Route::LikeNginx => self.send(nonce, SMALL, LIKE_NGINX).await?,
            Route::Bytes(size) => self.send(nonce, size, b"").await?,
            Route::Late(millis) => {
                tokio::time::sleep(Duration::from_millis(millis)).await;
                self.send(nonce, SMALL, b"").await?;
            }
            Route::Interim(size) => {
                self.stream.write_all(INTERIM).await?;
                self.send(nonce, size, b"").await?;
            }
            Route::Chunked(size) => self.send_chunks(nonce, size).await?,
            Route::Drip(size) => self.drip(nonce, size).await?,
            Route::Echo => {
                self.out.clear();
                push_head(&mut self.out, nonce, &length(body.len() as u64));
                self.stream.write_all(&self.out).await?;
                self.stream.write_all(body).await?;
            }
            Route::Extra(size) => {
                self.out.clear();
                self.push_response(nonce, size);
                self.push_response(SMUGGLED, SMALL);
                self.stream.write_all(&self.out).await?;
            }
            Route::Eof(size) => {
                self.out.clear();
                push_head(&mut self.out, nonce, UNTIL_EOF);
                self.stream.write_all(&self.out).await?;
                self.fill(&mut Filling::new(nonce, size), size).await?;
                return self.finish().await;
            }
            Route::Close(size) => {
                self.send(nonce, size, b"Connection: close\r\n").await?;
                return self.finish().await;
            }
            Route::HangUp(size) => {
                self.send(nonce, size, b"").await?;
                return self.finish().await;
            }
            Route::Short(size) => {
                self.send_part(nonce, size).await?;
                return self.finish().await;
            }
            Route::Reset(size) => {
                self.send_part(nonce, size).await?;
                return self.reset();
            }
            Route::ResetHead(size) => {
                self.out.clear();
                push_head(&mut self.out, nonce, &length(SMALL));
                let size = usize::try_from(size).map_or(0, |size| size.min(self.out.len() - 1));
                self.stream.write_all(&self.out[..size]).await?;
                return self.reset();
            }
            Route::Held(id) => {
                while !HELD.with_borrow(|held| held.contains(&id)) {
                    tokio::time::sleep(LOOK).await;
                }
                self.send(nonce, SMALL, b"").await?;
            }
            Route::Hold(id) => return self.hold(id).await,
            Route::HoldBody(id) => {
                self.send_part(nonce, SMALL).await?;
                return self.hold(id).await;
            }
        }
        Ok(Then::NextRequest)
    }

    /// A whole response; a small one in one write.
    async fn send(&mut self, nonce: &[u8], size: u64, header: &[u8]) -> io::Result<()> {
        let mut filling = Filling::new(nonce, size);
        self.out.clear();
        push_head(&mut self.out, nonce, &[header, &length(size)].concat());
        let first = filling.next(size);
        let left = size - first.len() as u64;
        self.out.extend_from_slice(first);
        self.stream.write_all(&self.out).await?;
        self.fill(&mut filling, left).await
    }

    async fn fill(&mut self, filling: &mut Filling, mut left: u64) -> io::Result<()> {
        while left > 0 {
            let block = filling.next(left);
            left -= block.len() as u64;
            self.stream.write_all(block).await?;
        }
        Ok(())
    }

    fn push_response(&mut self, nonce: &[u8], size: u64) {
        let mut filling = Filling::new(nonce, size);
        push_head(&mut self.out, nonce, &length(size));
        let mut left = size.min(BLOCK as u64);
        while left > 0 {
            let part = filling.next(left);
            left -= part.len() as u64;
            self.out.extend_from_slice(part);
        }
    }

    /// `size` bytes of a body that is one byte longer.
    async fn send_part(&mut self, nonce: &[u8], size: u64) -> io::Result<()> {
        self.out.clear();
        push_head(&mut self.out, nonce, &length(size + 1));
        self.stream.write_all(&self.out).await?;
        self.fill(&mut Filling::new(nonce, size), size).await
    }

    async fn send_chunks(&mut self, nonce: &[u8], size: u64) -> io::Result<()> {
        let mut filling = Filling::new(nonce, size);
        self.out.clear();
        push_head(&mut self.out, nonce, CHUNKED);
        let mut left = size;
        for chunk in CHUNK_SIZES.iter().cycle() {
            let chunk = (*chunk).min(left);
            if chunk == 0 {
                break;
            }
            let data = filling.next(chunk);
            left -= data.len() as u64;
            write!(self.out, "{:x}\r\n", data.len())?;
            self.out.extend_from_slice(data);
            self.out.extend_from_slice(b"\r\n");
            self.stream.write_all(&self.out).await?;
            self.out.clear();
        }
        self.out.extend_from_slice(b"0\r\n\r\n");
        self.stream.write_all(&self.out).await
    }

    async fn drip(&mut self, nonce: &[u8], size: u64) -> io::Result<()> {
        self.out.clear();
        push_head(&mut self.out, nonce, &length(size));
        self.stream.write_all(&self.out).await?;
        let mut filling = Filling::new(nonce, size);
        for _ in 0..size {
            tokio::time::sleep(Duration::from_millis(1)).await;
            self.stream.write_all(filling.next(1)).await?;
        }
        Ok(())
    }

    /// Ends our direction, and waits for the peer to end its own: a close with bytes unread would be a RST.
    async fn finish(&mut self) -> io::Result<Then> {
        self.stream.shutdown().await?;
        loop {
            self.start = self.received.len();
            if !self.receive().await? {
                return Ok(Then::Close);
            }
        }
    }

    fn reset(&mut self) -> io::Result<Then> {
        socket2::SockRef::from(&self.stream).set_linger(Some(Duration::ZERO))?;
        Ok(Then::Close)
    }

    /// Answers nothing more, and tells when the peer ends the connection.
    async fn hold(&mut self, id: u64) -> io::Result<Then> {
        HELD.with_borrow_mut(|held| held.insert(id));
        let how = loop {
            self.start = self.received.len();
            match self.receive().await {
                Ok(true) => {}
                Ok(false) => break "fin",
                Err(_) => break "rst",
            }
        };
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let nanos = now.map_err(io::Error::other)?.as_nanos();
        let mut stdout = io::stdout().lock();
        writeln!(stdout, "ended {id} {how} {nanos}")?;
        stdout.flush()?;
        Ok(Then::Close)
    }
}
