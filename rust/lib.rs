//! httpcore's connection pools on Tokio and hyper.
//!
//! The rooms, in the one direction they depend in (each may use those below it, never above):
//!
//! ```text
//! python/      the border: the only room where pyo3 may be written
//! cell         one exchange, shared by its caller and the task that drives it
//! exchange     one request/response pair: acquire -> send -> head -> read -> drop
//! pool/        which request gets which connection, and when (decides, does no I/O)
//! connect/     origin -> connected stream (TCP, Unix sockets, TLS, retries, name resolution)
//! tls/         a TLS session over a connected stream
//! connection/  HTTP/1.1 over a connected stream
//! views        the sockets of a pool's connections, for those who look at them from outside
//! poll_set     sockets that a caller's event loop watches itself
//! courtesy     threads that give their core away, as long as it is this process that gets it
//! request  url  origin  error  heap  ledger  panics  process  timeouts  runtime  visits      the plain values and clocks they share
//! ```
//!
//! Everything outside `python/` compiles and is tested without an interpreter:
//! `cargo nextest run --no-default-features --features aws-lc-rs`.

pub mod error;
pub mod ledger;
pub mod origin;
pub mod pool;

// loom builds `pool/` and what it stands on, nothing else.
#[cfg(not(loom))]
pub mod cell;
#[cfg(not(loom))]
pub mod connect;
#[cfg(not(loom))]
pub mod connection;
#[cfg(not(loom))]
pub mod courtesy;
#[cfg(not(loom))]
pub mod exchange;
#[cfg(not(loom))]
pub mod heap;
#[cfg(not(loom))]
pub mod panics;
#[cfg(not(loom))]
pub mod poll_set;
#[cfg(not(loom))]
pub mod process;
#[cfg(all(feature = "python", not(loom)))]
mod python;
#[cfg(not(loom))]
pub mod request;
#[cfg(not(loom))]
pub mod runtime;
#[cfg(not(loom))]
pub mod timeouts;
#[cfg(not(loom))]
pub mod tls;
#[cfg(not(loom))]
pub mod url;
#[cfg(not(loom))]
pub mod views;
#[cfg(not(loom))]
pub mod visits;
