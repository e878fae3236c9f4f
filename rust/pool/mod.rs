//! Which request gets which connection, and when.
