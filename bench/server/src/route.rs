//! Route: what the path of a request asks for.

/// What is done with a request, once it has been read to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Route {
    /// `/small`, and every path that is none of the others: 242 bytes.
    Small,
    /// `/like-nginx`: `/small` with as many headers as nginx sends.
    LikeNginx,
    /// `/bytes/N`: that many, by Content-Length.
    Bytes(u64),
    /// `/chunked/N`: that many, in chunks of uneven sizes, each of which goes out by itself.
    Chunked(u64),
    /// `/eof/N`: that many, and a FIN to end them.
    Eof(u64),
    /// `/late/MS`: `/small` after so many milliseconds.
    Late(u64),
    /// `/drip/N`: so many bytes, one each millisecond.
    Drip(u64),
    /// `/interim/N`: two informational heads, then `/bytes/N`.
    Interim(u64),
    /// `/extra/N`: `/bytes/N`, and in the same write a whole response that nobody asked for.
    Extra(u64),
    /// `/close/N`: `/bytes/N` with `Connection: close`, which is done.
    Close(u64),
    /// `/hang-up/N`: `/bytes/N`, after which the connection is closed without a word.
    HangUp(u64),
    /// `/short/N`: a FIN after N bytes of N + 1.
    Short(u64),
    /// `/reset/N`: a RST after N bytes of N + 1.
    Reset(u64),
    /// `/reset-head/N`: a RST after so many bytes of a head.
    ResetHead(u64),
    /// `/hold/ID`: no answer. The end of the connection is noted on standard output.
    Hold(u64),
    /// `/hold-body/ID`: a head and a piece of a body, and then as `/hold`.
    HoldBody(u64),
    /// `/held/ID`: `/small`, once that request is held.
    Held(u64),
    /// `/echo`: the request's body.
    Echo,
}

impl Route {
    pub fn of(path: &str) -> Self {
        let mut parts = path.trim_start_matches('/').splitn(2, '/');
        let name = parts.next().unwrap_or_default();
        let number = parts.next().and_then(|text| text.parse().ok()).unwrap_or(0);
        match name {
            "like-nginx" => Self::LikeNginx,
            "bytes" => Self::Bytes(number),
            "chunked" => Self::Chunked(number),
            "eof" => Self::Eof(number),
            "late" => Self::Late(number),
            "drip" => Self::Drip(number),
            "interim" => Self::Interim(number),
            "extra" => Self::Extra(number),
            "close" => Self::Close(number),
            "hang-up" => Self::HangUp(number),
            "short" => Self::Short(number),
            "reset" => Self::Reset(number),
            "reset-head" => Self::ResetHead(number),
            "hold" => Self::Hold(number),
            "hold-body" => Self::HoldBody(number),
            "held" => Self::Held(number),
            "echo" => Self::Echo,
            _ => Self::Small,
        }
    }
}
