//! SOCKS5: the conversation with a proxy before a tunnel (RFC 1928, RFC 1929).
//!
//! Each reply is read to its last byte and not one further: whatever comes with it, or in however many pieces it
//! comes, the next reader finds what is his. The one method that is offered is the one that httpcore offers.

use std::io;
use std::net::IpAddr;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::proxy::Credentials;
use crate::error::{Error, Kind, Result};

const VERSION: u8 = 5;
const PASSWORD_VERSION: u8 = 1;
const NO_AUTHENTICATION: u8 = 0;
const USERNAME_PASSWORD: u8 = 2;
const CONNECT: u8 = 1;
const IPV4: u8 = 1;
const NAME: u8 = 3;
const IPV6: u8 = 4;
const SUCCEEDED: u8 = 0;

/// Asks the proxy behind `stream` to connect to a host.
///
/// # Errors
///
/// `Proxy` for a refusal, in httpcore's words, and for a reply that is none; `Read` and `Write`, with the stream's
/// error; `Connect` for a host that cannot be asked for; `LocalProtocol` for such credentials.
///
/// # Cancel safety
///
/// Given up in the middle, the stream is fit for dropping only.
pub(super) async fn converse(
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    host: &[u8],
    port: u16,
    credentials: Option<&Credentials>,
) -> Result<()> {
    // First, so that nothing is said that cannot be said to its end.
    let address = address(host)?;
    let login = credentials.map(login).transpose()?;

    let method = match login {
        Some(_) => USERNAME_PASSWORD,
        None => NO_AUTHENTICATION,
    };
    write(stream, &[VERSION, 1, method]).await?;
    let [version, chosen] = read(stream).await?;
    check_version(version)?;
    if chosen != method {
        return Err(refused(format!(
            "Requested {} from proxy server, but got {}.",
            method_name(method),
            method_name(chosen)
        )));
    }

    if let Some(login) = login {
        write(stream, &login).await?;
        if read(stream).await? != [PASSWORD_VERSION, SUCCEEDED] {
            return Err(refused("Invalid username/password"));
        }
    }

    let mut request = vec![VERSION, CONNECT, 0];
    request.extend_from_slice(&address);
    request.extend_from_slice(&port.to_be_bytes());
    write(stream, &request).await?;
    let [version, outcome] = read(stream).await?;
    check_version(version)?;
    if outcome != SUCCEEDED {
        return Err(refused(format!(
            "Proxy Server could not connect: {}.",
            outcome_name(outcome)
        )));
    }
    // Where the proxy connects from is of no interest, but it has to be read.
    let [_, kind] = read(stream).await?;
    let length = match kind {
        IPV4 => 4,
        IPV6 => 16,
        NAME => usize::from(read::<1>(stream).await?[0]),
        _ => {
            return Err(refused(
                "The proxy's reply has an address of no known kind.",
            ));
        }
    };
    let mut bound = [0; 256 + 2];
    fill(stream, &mut bound[..length + 2]).await
}

/// A host with the kind of its address before it: addresses as such, everything else as a name.
fn address(host: &[u8]) -> Result<Vec<u8>> {
    let text = std::str::from_utf8(host).unwrap_or_default();
    match text.parse::<IpAddr>() {
        Ok(IpAddr::V4(address)) => return Ok([&[IPV4][..], &address.octets()].concat()),
        Ok(IpAddr::V6(address)) => return Ok([&[IPV6][..], &address.octets()].concat()),
        Err(_) => {}
    }
    if !host.iter().all(u8::is_ascii_graphic) {
        return Err(Error::message(
            Kind::Connect,
            "the host has characters that no name has",
        ));
    }
    match u8::try_from(host.len()) {
        Ok(length @ 1..) => Ok([&[NAME, length][..], host].concat()),
        _ => Err(Error::message(
            Kind::Connect,
            "the host is empty, or longer than the 255 bytes that SOCKS5 has room for",
        )),
    }
}

fn login(credentials: &Credentials) -> Result<Vec<u8>> {
    let mut login = vec![PASSWORD_VERSION];
    for part in [&credentials.user, &credentials.password] {
        let length = u8::try_from(part.len()).map_err(|_| {
            Error::message(
                Kind::LocalProtocol,
                "a username or password is longer than the 255 bytes that SOCKS5 has room for",
            )
        })?;
        login.push(length);
        login.extend_from_slice(part);
    }
    Ok(login)
}

async fn write(stream: &mut (impl AsyncWrite + Unpin), bytes: &[u8]) -> Result<()> {
    let written = async {
        stream.write_all(bytes).await?;
        stream.flush().await
    };
    written.await.map_err(|error| Error::io(Kind::Write, error))
}

async fn read<const LENGTH: usize>(stream: &mut (impl AsyncRead + Unpin)) -> Result<[u8; LENGTH]> {
    let mut reply = [0; LENGTH];
    fill(stream, &mut reply).await?;
    Ok(reply)
}

async fn fill(stream: &mut (impl AsyncRead + Unpin), reply: &mut [u8]) -> Result<()> {
    match stream.read_exact(reply).await {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Err(refused(
            "The proxy closed the connection before it connected.",
        )),
        Err(error) => Err(Error::io(Kind::Read, error)),
    }
}

fn check_version(version: u8) -> Result<()> {
    if version == VERSION {
        return Ok(());
    }
    Err(refused("The proxy does not speak SOCKS5."))
}

fn refused(why: impl Into<std::borrow::Cow<'static, str>>) -> Error {
    Error::message(Kind::Proxy, why)
}

fn method_name(method: u8) -> &'static str {
    match method {
        NO_AUTHENTICATION => "NO AUTHENTICATION REQUIRED",
        1 => "GSSAPI",
        USERNAME_PASSWORD => "USERNAME/PASSWORD",
        0xff => "NO ACCEPTABLE METHODS",
        _ => "UNKNOWN",
    }
}

/// RFC 1928 §6.
fn outcome_name(outcome: u8) -> std::borrow::Cow<'static, str> {
    std::borrow::Cow::Borrowed(match outcome {
        1 => "General SOCKS server failure",
        2 => "Connection not allowed by ruleset",
        3 => "Network unreachable",
        4 => "Host unreachable",
        5 => "Connection refused",
        6 => "TTL expired",
        7 => "Command not supported",
        8 => "Address type not supported",
        _ => return format!("Unknown reply {outcome}").into(),
    })
}
