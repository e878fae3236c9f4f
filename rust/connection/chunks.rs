//! Chunks: follows the framing of a chunked response body, beside hyper.
//!
//! hyper decodes the body and refuses what is malformed. Only one rule of h11's is missing there: a chunk
//! size has at most 20 digits, so that no two readers of leading zeros can differ. Nothing is decoded or
//! kept here.

/// h11's limit; 16 digits hold any size that fits.
const MAX_DIGITS: u8 = 20;

/// Where in the framing the bytes are.
#[derive(Debug, Default)]
pub(super) enum Chunks {
    /// Not a chunked body, or behind its last chunk.
    #[default]
    Off,
    /// In the digits of a size.
    Size { digits: u8, size: u64 },
    /// Behind the digits, in an extension or a line end.
    Extension { size: u64 },
    /// In data, with the line end behind it.
    Data { left: u64 },
    /// More digits than the rule allows.
    Illegal,
}

impl Chunks {
    /// A chunked body begins.
    pub(super) fn start(&mut self) {
        *self = Self::Size { digits: 0, size: 0 };
    }

    pub(super) fn is_illegal(&self) -> bool {
        matches!(self, Self::Illegal)
    }

    /// Takes the next bytes of the body.
    pub(super) fn feed(&mut self, mut bytes: &[u8]) {
        while let Some((first, rest)) = bytes.split_first() {
            match self {
                Self::Off | Self::Illegal => return,
                Self::Size { digits, size } => match (*first as char).to_digit(16) {
                    Some(_) if *digits == MAX_DIGITS => *self = Self::Illegal,
                    Some(digit) => {
                        *digits += 1;
                        // One that overflows is refused by hyper.
                        *size = size.wrapping_mul(16).wrapping_add(u64::from(digit));
                        bytes = rest;
                    }
                    None => *self = Self::Extension { size: *size },
                },
                Self::Extension { size } => {
                    let size = *size;
                    let Some(end) = bytes.iter().position(|byte| *byte == b'\n') else {
                        return;
                    };
                    bytes = &bytes[end + 1..];
                    *self = match size {
                        0 => Self::Off,
                        // Data is followed by a line end of two bytes.
                        size => Self::Data {
                            left: size.saturating_add(2),
                        },
                    };
                }
                Self::Data { left } => {
                    let skipped =
                        usize::try_from(*left).map_or(bytes.len(), |left| left.min(bytes.len()));
                    bytes = &bytes[skipped..];
                    *left -= skipped as u64;
                    if *left == 0 {
                        self.start();
                    }
                }
            }
        }
    }
}
