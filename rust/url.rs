//! Url: the parts of a URL that can be read in one way only.
//!
//! httpcore reads URLs with Python's `urllib`, which has a rule for each of the rare ones: users and passwords, IPv6,
//! capitals, control characters, fragments, parameters. None of these rules is repeated here. A URL that would need
//! one is not read at all, and whoever asks lets httpcore read it.

use crate::origin::{default_port, is_served};

/// What httpcore's `URL` would hold.
#[derive(Debug, PartialEq, Eq)]
pub struct Url<'a> {
    /// One that the engine serves.
    pub scheme: &'a [u8],
    /// A name, or an IPv4 address, in lower case.
    pub host: &'a [u8],
    /// `None` if the URL has none.
    pub port: Option<u16>,
    /// The path, and the query behind it.
    pub target: &'a [u8],
}

impl<'a> Url<'a> {
    /// The parts of a plain URL; `None` for any other, which need not be wrong.
    pub fn plain(url: &'a [u8]) -> Option<Self> {
        let colon = url.iter().position(|&byte| byte == b':')?;
        let scheme = &url[..colon];
        if !is_served(scheme) {
            return None;
        }
        let rest = url[colon..].strip_prefix(b"://")?;
        let slash = rest.iter().position(|&byte| byte == b'/');
        let (authority, target) = rest.split_at(slash.unwrap_or(rest.len()));
        let (host, port) = match authority.iter().position(|&byte| byte == b':') {
            Some(colon) => (&authority[..colon], Some(port(&authority[colon + 1..])?)),
            None => (authority, None),
        };
        let is_plain = !host.is_empty()
            && host.iter().all(|&byte| is_of_a_name(byte))
            && target.iter().all(|&byte| is_of_a_target(byte))
            // An empty query is left out.
            && !target.ends_with(b"?");
        is_plain.then_some(Self {
            scheme,
            host,
            port,
            target: if target.is_empty() { b"/" } else { target },
        })
    }

    /// What the `Host` header says: the port only if it is not the scheme's own.
    pub fn host_header(&self) -> Vec<u8> {
        let own = default_port(self.scheme);
        let mut value = self.host.to_vec();
        if let Some(port) = self.port.filter(|port| *port != own) {
            value.push(b':');
            value.extend_from_slice(port.to_string().as_bytes());
        }
        value
    }
}

/// A port as it is usually written: without a sign, a zero in front, or nothing at all.
fn port(digits: &[u8]) -> Option<u16> {
    let is_plain =
        matches!(digits, [b'1'..=b'9', rest @ ..] if rest.iter().all(u8::is_ascii_digit));
    is_plain.then(|| str::from_utf8(digits).ok()?.parse().ok())?
}

fn is_of_a_name(byte: u8) -> bool {
    matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_')
}

/// Not `#`, behind which stands a fragment, nor `;`, behind which `urllib` finds parameters.
fn is_of_a_target(byte: u8) -> bool {
    byte.is_ascii_graphic() && !matches!(byte, b'#' | b';')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(url: &str) -> Option<(&str, &str, Option<u16>, &str)> {
        let url = Url::plain(url.as_bytes())?;
        let text = |bytes| str::from_utf8(bytes).expect("a plain URL is ASCII");
        Some((text(url.scheme), text(url.host), url.port, text(url.target)))
    }

    #[test]
    fn plain_urls_are_taken_apart() {
        let cases = [
            ("http://example.com", ("http", "example.com", None, "/")),
            ("https://a-b.c_d/", ("https", "a-b.c_d", None, "/")),
            (
                "ws://127.0.0.1:80/x/y",
                ("ws", "127.0.0.1", Some(80), "/x/y"),
            ),
            ("wss://h:65535/?q=1", ("wss", "h", Some(65535), "/?q=1")),
            (
                "http://h//x/../y?a=/b:c?@[]|",
                ("http", "h", None, "//x/../y?a=/b:c?@[]|"),
            ),
            ("http://h/%C3%A9", ("http", "h", None, "/%C3%A9")),
        ];
        for (url, expected) in cases {
            assert_eq!(parts(url), Some(expected), "{url}");
        }
    }

    #[test]
    fn no_rare_url_is_read() {
        for url in [
            "",
            "http",
            "http:",
            "http:/h/",
            "http:///",
            "http://",
            "HTTP://h/",
            "ftp://h/",
            "//h/",
            "/x",
            " http://h/",
            "http://H/",
            "http://u@h/",
            "http://u:p@h/",
            "http://[::1]/",
            "http://h:/",
            "http://h:0/",
            "http://h:080/",
            "http://h:65536/",
            "http://h:+1/",
            "http://h:1:2/",
            "http://h:x/",
            "http://h?q",
            "http://h#f",
            "http://h/#f",
            "http://h/x;p",
            "http://h/?",
            "http://h/?q=1;r=2",
            "http://h/a b",
            "http://h/\n",
            "http://h/\t",
            "http://h/\u{e9}",
            "http://\u{e9}/",
            "http://h\\x/",
        ] {
            assert_eq!(parts(url), None, "{url:?}");
        }
    }

    #[test]
    fn the_host_header_has_a_port_that_is_not_the_schemes_own() {
        for (url, expected) in [
            ("http://h/", "h"),
            ("http://h:80/", "h"),
            ("https://h:80/", "h:80"),
            ("wss://h:443/", "h"),
            ("ws://h:443/", "h:443"),
        ] {
            let url = Url::plain(url.as_bytes()).expect("the URL is plain");
            assert_eq!(url.host_header(), expected.as_bytes());
        }
    }
}
