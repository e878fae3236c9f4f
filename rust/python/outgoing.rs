//! Outgoing: the values that a request is made of, wherever they come from. Plain data.

use pyo3::prelude::*;

use crate::request::RequestBody;

/// What httpcore's `Request` holds, without an object of that class.
pub(super) struct Outgoing<'a> {
    pub(super) method: &'a [u8],
    pub(super) scheme: &'a [u8],
    pub(super) host: &'a [u8],
    pub(super) port: Option<i64>,
    pub(super) target: &'a [u8],
    pub(super) headers: Vec<(&'a [u8], &'a [u8])>,
    pub(super) body: RequestBody,
}

/// Those of a request's extensions that the engine heeds itself.
pub(super) struct Extensions<'a, 'py> {
    pub(super) timeout: Option<&'a Bound<'py, PyAny>>,
    /// `sni_hostname`.
    pub(super) server_name: Option<&'a Bound<'py, PyAny>>,
}
