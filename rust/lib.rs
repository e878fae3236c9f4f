//! httpcore's connection pools on Tokio and hyper.
//!
//! The rooms, in the one direction they depend in (each may use those below it, never above):
//!
//! ```text
//! python/      the border: the only room where pyo3 may be written
//! cell         one exchange, shared by its caller and the task that drives it
//! exchange     one request/response pair: acquire -> send -> head -> read -> drop
//! pool/        which request gets which connection, and when (decides, does no I/O)
//! connect/     origin -> connected stream (TCP, Unix sockets, retries, name resolution)
//! connection/  HTTP/1.1 over a connected stream
//! request  origin  error  panics  timeouts  runtime      the plain values and clocks they share
//! ```
//!
//! Everything outside `python/` compiles and is tested without an interpreter:
//! `cargo nextest run --no-default-features`.

pub mod cell;
pub mod connect;
pub mod connection;
pub mod error;
pub mod exchange;
pub mod origin;
pub mod panics;
pub mod pool;
#[cfg(feature = "python")]
mod python;
pub mod request;
pub mod runtime;
pub mod timeouts;
