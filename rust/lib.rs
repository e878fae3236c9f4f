//! httpcore's connection pools on Tokio and hyper.
//!
//! The rooms, in the one direction they depend in (each may use those below it, never above):
//!
//! ```text
//! python/      the border: the only room where pyo3 may be written
//! exchange     one request/response pair: acquire -> send -> head -> read -> drop
//! pool/        which request gets which connection, and when (decides, does no I/O)
//! connect/     origin -> connected stream (TCP, Unix sockets, retries, name resolution)
//! connection/  HTTP/1.1 over a connected stream
//! request  origin  error  timeouts  runtime      the plain values and clocks that they share
//! ```
//!
//! Everything outside `python/` compiles and is tested without an interpreter:
//! `cargo nextest run --no-default-features`.

pub mod connect;
pub mod connection;
pub mod error;
pub mod origin;
pub mod pool;
