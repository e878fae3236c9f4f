//! The pool's rules: by name, against a model, and under loom.

#[cfg(loom)]
mod loom;
#[cfg(not(loom))]
mod model;
#[cfg(not(loom))]
mod rules;
#[cfg(not(loom))]
mod sharing;

use bytes::Bytes;

use crate::origin::Origin;
#[cfg(not(loom))]
use crate::pool::Shareable;

pub(super) fn origin(host: &'static str) -> Origin {
    Origin {
        scheme: Bytes::from_static(b"http"),
        host: Bytes::from_static(host.as_bytes()),
        port: 80,
    }
}

/// A connection that is known by its number.
#[cfg(not(loom))]
impl Shareable for u64 {
    fn share(&self) -> Option<Self> {
        Some(*self)
    }
}
