//! ClientHello: what a session of the user's own context offers (RFC 8446 section 4.1.2).
//!
//! Of a context's limits many are no attributes; but its first flight shows them all. Nothing here knows what
//! is done with it.

/// What is offered, in the order of preference. The numbers are the registry's.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Offer {
    pub(super) versions: Vec<u16>,
    pub(super) cipher_suites: Vec<u16>,
    pub(super) groups: Vec<u16>,
    pub(super) signature_schemes: Vec<u16>,
}

const HANDSHAKE: u8 = 22;
const CLIENT_HELLO: u8 = 1;
const SUPPORTED_GROUPS: u16 = 10;
const SIGNATURE_ALGORITHMS: u16 = 13;
const SUPPORTED_VERSIONS: u16 = 43;

impl Offer {
    /// Reads a first flight: one ClientHello, in one record or several. `None` if it is anything else.
    pub(super) fn read(flight: &[u8]) -> Option<Self> {
        let mut message = Vec::new();
        let mut records = Reader(flight);
        while !records.0.is_empty() {
            let kind = records.u8()?;
            let _version = records.u16()?;
            let fragment = records.vector(2)?;
            if kind != HANDSHAKE {
                return None;
            }
            message.extend_from_slice(fragment.0);
        }
        let mut message = Reader(&message);
        if message.u8()? != CLIENT_HELLO {
            return None;
        }
        let mut hello = message.vector(3)?;
        let _version_and_random = hello.take(2 + 32)?;
        let _session_id = hello.vector(1)?;
        let mut offer = Self {
            cipher_suites: hello.vector(2)?.u16s()?,
            ..Self::default()
        };
        let _compression = hello.vector(1)?;
        let mut extensions = hello.vector(2)?;
        while !extensions.0.is_empty() {
            let kind = extensions.u16()?;
            let mut extension = extensions.vector(2)?;
            match kind {
                SUPPORTED_GROUPS => offer.groups = extension.vector(2)?.u16s()?,
                SIGNATURE_ALGORITHMS => offer.signature_schemes = extension.vector(2)?.u16s()?,
                SUPPORTED_VERSIONS => offer.versions = extension.vector(1)?.u16s()?,
                _ => {}
            }
        }
        Some(offer)
    }
}

/// Bytes that have not been read yet.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    fn u8(&mut self) -> Option<u8> {
        Some(self.take(1)?[0])
    }

    fn u16(&mut self) -> Option<u16> {
        let bytes = self.take(2)?;
        Some(u16::from_be_bytes([bytes[0], bytes[1]]))
    }

    /// What follows a length of that many bytes.
    fn vector(&mut self, width: usize) -> Option<Reader<'a>> {
        let length = self
            .take(width)?
            .iter()
            .fold(0, |length, byte| length << 8 | usize::from(*byte));
        Some(Reader(self.take(length)?))
    }

    fn u16s(mut self) -> Option<Vec<u16>> {
        let mut numbers = Vec::with_capacity(self.0.len() / 2);
        while !self.0.is_empty() {
            numbers.push(self.u16()?);
        }
        Some(numbers)
    }
}
