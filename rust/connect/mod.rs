//! From an origin to a connected stream.
