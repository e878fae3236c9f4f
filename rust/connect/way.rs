//! Way: from nothing to a stream that leads to an origin, leg by leg.
//!
//! A direct way is a socket, and TLS where the scheme asks for it. Through a proxy there may be TLS with the proxy,
//! its agreement to a tunnel, and TLS with the origin inside. Each leg is one that httpcore tells of by itself, so
//! that a caller can take one at a time. What is said to a proxy is in `http_proxy` and `socks5`.

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;

use super::proxy::{Protocol, Proxy};
use super::{
    Connector, SocketView, Stream, http_proxy, no_tls, resolve, shake_hands, socket, socks5, within,
};
use crate::connection::ResponseHead;
use crate::error::{Cause, Error, Kind, Result};
use crate::origin::Origin;
use crate::timeouts::Timeouts;
use crate::tls::{self, Hello};

/// One part of a way. Those that a way does not need are over at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Leg {
    /// A socket: to the origin, or to the proxy.
    Socket,
    /// TLS with the proxy.
    ProxyTls,
    /// An HTTP proxy is asked for a tunnel.
    Ask,
    /// It has answered, whatever it says.
    Answer,
    /// The proxy has agreed. With SOCKS5 that is the whole conversation.
    Agreement,
    /// TLS with the origin.
    OriginTls,
}

impl Leg {
    /// The one that follows; `None` when the way is at its end.
    pub fn next(self) -> Option<Self> {
        Some(match self {
            Leg::Socket => Leg::ProxyTls,
            Leg::ProxyTls => Leg::Ask,
            Leg::Ask => Leg::Answer,
            Leg::Answer => Leg::Agreement,
            Leg::Agreement => Leg::OriginTls,
            Leg::OriginTls => return None,
        })
    }
}

/// Where a way leads, and how long each wait on it may take.
#[derive(Clone, Debug)]
pub struct Destination {
    /// The origin.
    pub origin: Origin,
    /// Whom its certificate must name in place of its host.
    pub server_name: Option<String>,
    /// `connect` bounds each attempt to open a socket as a whole (name resolution and all addresses), each TLS
    /// handshake, and a conversation in SOCKS5; `write` and `read` each wait while a tunnel is asked for.
    pub timeouts: Timeouts,
}

/// Is told of the connection to an HTTP proxy on which a tunnel is being asked for. What it gives is dropped when
/// that is over.
pub type Seen<'a> = &'a (dyn Fn(SocketView) -> Box<dyn Send> + Sync);

/// A way as far as it goes by now.
///
/// # Drop
///
/// Closes the socket at once.
pub struct Way {
    stream: Stream,
    /// Came behind the proxy's answer: the first bytes of the tunnel.
    received: Vec<u8>,
    answer: Option<ResponseHead>,
    _seen: Option<Box<dyn Send>>,
}

impl fmt::Debug for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Way").finish_non_exhaustive()
    }
}

impl Way {
    fn over(stream: Stream) -> Self {
        Self {
            stream,
            received: Vec::new(),
            answer: None,
            _seen: None,
        }
    }

    /// The stream as it is by now.
    pub fn stream(&self) -> &Stream {
        &self.stream
    }

    /// The stream, of a way that is at its end.
    pub fn into_stream(self) -> Stream {
        self.stream
    }

    /// What an HTTP proxy has answered.
    pub fn answer(&self) -> Option<&ResponseHead> {
        self.answer.as_ref()
    }
}

impl Connector {
    /// Takes one leg. `way` is `None` before the first.
    ///
    /// # Errors
    ///
    /// `Connect` and `ConnectTimeout`; from a proxy also `Proxy`, and the errors of reading and writing.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future closes the socket, and every other that it has opened. A name look-up that has begun
    /// goes on in its thread, unheard.
    pub async fn take(
        &self,
        leg: Leg,
        way: Option<Way>,
        to: &Destination,
        seen: Seen<'_>,
        runtime: &Handle,
    ) -> Result<Way> {
        let Some(way) = way else {
            return self.socket(to, runtime).await;
        };
        match leg {
            Leg::Socket => Ok(way),
            Leg::ProxyTls => self.proxy_tls(way, to, runtime).await,
            Leg::Ask => self.ask(way, to, seen, runtime).await,
            Leg::Answer => self.answer(way, to, runtime).await,
            Leg::Agreement => self.agreement(way, to, runtime).await,
            Leg::OriginTls => self.origin_tls(way, to, seen, runtime).await,
        }
    }

    /// All of it, once.
    pub(super) async fn attempt(
        &self,
        to: &Destination,
        seen: Seen<'_>,
        runtime: &Handle,
    ) -> Result<Way> {
        let way = self.up_to_the_origin(to, seen, runtime).await?;
        self.origin_tls(way, to, seen, runtime).await
    }

    /// All legs but the last.
    async fn up_to_the_origin(
        &self,
        to: &Destination,
        seen: Seen<'_>,
        runtime: &Handle,
    ) -> Result<Way> {
        let way = self.socket(to, runtime).await?;
        let way = self.proxy_tls(way, to, runtime).await?;
        let way = self.ask(way, to, seen, runtime).await?;
        let way = self.answer(way, to, runtime).await?;
        self.agreement(way, to, runtime).await
    }

    async fn socket(&self, to: &Destination, runtime: &Handle) -> Result<Way> {
        let origin = match &self.proxy {
            Some(proxy) => &proxy.origin,
            None => &to.origin,
        };
        let opened = async {
            match &self.uds {
                Some(path) => socket::connect_unix(path, &self.socket_options, runtime).await,
                None => self.connect_tcp(origin, runtime).await,
            }
        };
        let timeout = to.timeouts.connect;
        let socket = within(timeout, Kind::ConnectTimeout, opened, runtime).await?;
        Ok(Way::over(Stream::Plain(socket)))
    }

    async fn proxy_tls(&self, way: Way, to: &Destination, runtime: &Handle) -> Result<Way> {
        let Some((proxy, http)) = self
            .proxy()
            .and_then(|proxy| Some((proxy, proxy.secured()?)))
        else {
            return Ok(way);
        };
        let hello = Hello {
            server_name: Some(String::from_utf8_lossy(&proxy.origin.host).into_owned()),
            protocols: vec!["http/1.1".to_owned()],
        };
        let again = self.socket(to, runtime);
        secure(
            http.tls.as_ref(),
            &hello,
            way,
            again,
            to.timeouts.connect,
            runtime,
        )
        .await
    }

    async fn ask(
        &self,
        mut way: Way,
        to: &Destination,
        seen: Seen<'_>,
        runtime: &Handle,
    ) -> Result<Way> {
        if let Some(http) = self.proxy().and_then(|proxy| proxy.tunnels(&to.origin)) {
            let head = http_proxy::connect_head(&to.origin, &http.headers)?;
            way._seen = Some(seen(way.stream.view()));
            http_proxy::ask(&mut way.stream, &head, to.timeouts.write, runtime).await?;
        }
        Ok(way)
    }

    async fn answer(&self, mut way: Way, to: &Destination, runtime: &Handle) -> Result<Way> {
        if self
            .proxy()
            .is_some_and(|proxy| proxy.tunnels(&to.origin).is_some())
        {
            let timeout = to.timeouts.read;
            let (head, received) = http_proxy::answer(&mut way.stream, timeout, runtime).await?;
            way.answer = Some(head);
            way.received = received;
        }
        Ok(way)
    }

    async fn agreement(&self, mut way: Way, to: &Destination, runtime: &Handle) -> Result<Way> {
        if let Some(answer) = &way.answer {
            http_proxy::check(answer)?;
            if !to.origin.is_secure() && !way.received.is_empty() {
                // It would be taken for the answer to a request that has not been sent.
                return Err(Error::message(
                    Kind::RemoteProtocol,
                    "The origin was heard through the tunnel before it was asked anything.",
                ));
            }
        }
        if let Some(Protocol::Socks5(credentials)) = self.proxy().map(|proxy| &proxy.protocol) {
            let port = u16::try_from(to.origin.port).map_err(|_| resolve::no_such_port())?;
            let host = &to.origin.host;
            let conversation = socks5::converse(&mut way.stream, host, port, credentials.as_ref());
            let timeout = to.timeouts.connect;
            within(timeout, Kind::ConnectTimeout, conversation, runtime).await?;
        }
        Ok(way)
    }

    async fn origin_tls(
        &self,
        way: Way,
        to: &Destination,
        seen: Seen<'_>,
        runtime: &Handle,
    ) -> Result<Way> {
        if !to.origin.is_secure() {
            return Ok(way);
        }
        let hello = Hello {
            server_name: Some(match &to.server_name {
                Some(name) => name.clone(),
                None => String::from_utf8_lossy(&to.origin.host).into_owned(),
            }),
            protocols: self.versions.offered(),
        };
        let again = self.up_to_the_origin(to, seen, runtime);
        secure(
            self.tls.as_ref(),
            &hello,
            way,
            again,
            to.timeouts.connect,
            runtime,
        )
        .await
    }

    fn proxy(&self) -> Option<&Proxy> {
        self.proxy.as_ref()
    }
}

/// Puts TLS over a way. Where the first session turns out to be unproven, goes the way up to there `again`: its
/// handshake has been seen by the server, and cannot be gone on with.
async fn secure(
    context: Option<&Arc<dyn tls::Context>>,
    hello: &Hello,
    way: Way,
    again: impl Future<Output = Result<Way>>,
    timeout: Option<Duration>,
    runtime: &Handle,
) -> Result<Way> {
    let context = context.ok_or_else(no_tls)?;
    let first = {
        let (context, hello) = (Arc::clone(context), hello.clone());
        let open = move || context.open(&hello);
        secure_once(way, open, timeout, runtime).await
    };
    let Some(unproven) = first.as_ref().err().and_then(unproven) else {
        return first;
    };
    let way = again.await?;
    let second = {
        let (context, hello) = (Arc::clone(context), hello.clone());
        let open = move || context.open_again(&hello, &unproven);
        secure_once(way, open, timeout, runtime).await
    };
    if second.is_ok() {
        context.remember(hello);
    }
    second
}

async fn secure_once(
    mut way: Way,
    open: impl FnOnce() -> std::result::Result<Box<dyn tls::Session>, tls::Failure> + Send + 'static,
    timeout: Option<Duration>,
    runtime: &Handle,
) -> Result<Way> {
    let received = std::mem::take(&mut way.received);
    way.stream = shake_hands(way.stream, open, received, timeout, runtime).await?;
    Ok(way)
}

/// Why another session might succeed, if it might.
fn unproven(error: &Error) -> Option<tls::Failure> {
    let Cause::Io(error) = error.cause() else {
        return None;
    };
    let failure = tls::Failure::inside(error)?;
    failure.is_unproven().then(|| failure.clone())
}
