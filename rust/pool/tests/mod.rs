//! The pool's rules: by name, against a model, and under loom.

#[cfg(loom)]
mod loom;
#[cfg(not(loom))]
mod model;
#[cfg(not(loom))]
mod rules;

use bytes::Bytes;

use crate::origin::Origin;

pub(super) fn origin(host: &'static str) -> Origin {
    Origin {
        scheme: Bytes::from_static(b"http"),
        host: Bytes::from_static(host.as_bytes()),
        port: 80,
    }
}
