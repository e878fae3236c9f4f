//! The border: the only room where `pyo3` may be written.
//!
//! Everything that Python sees is in the one list below, and documented in `_rust.pyi`. The classes of
//! the two doors come in pairs with equal methods: `AsyncPool` and `AsyncExchange` return awaitables,
//! `Pool` and `Exchange` the values themselves.
//!
//! Tokio's workers never touch Python: what they finish crosses as plain data through a `port`.

mod alone;
mod awaiting;
mod block_on;
mod call_out;
mod convert;
mod exceptions;
mod exchange;
mod fair;
mod life;
mod models;
mod modules;
mod network_stream;
mod outgoing;
mod plain;
mod pool;
mod port;
mod running;
mod settings;
mod ssl;
mod turns;
mod unread;
mod watch;

use pyo3::prelude::*;

/// The native half of `httpcore_hyper`.
#[pymodule(gil_used = false)]
mod _rust {
    use super::*;

    #[pymodule_export]
    use super::awaiting::{Near, Ready};
    #[pymodule_export]
    use super::exceptions::Moved;
    #[pymodule_export]
    use super::exchange::{AsyncExchange, Exchange};
    #[pymodule_export]
    use super::life::{after_fork_in_child, after_fork_in_parent, before_fork, ledger};
    #[pymodule_export]
    use super::models::Models;
    #[pymodule_export]
    use super::network_stream::{
        AsyncNetworkStream, AsyncOperation, BlockingOperation, NetworkStream,
    };
    #[pymodule_export]
    use super::pool::{AsyncPool, Pool};
    #[pymodule_export]
    use super::port::{Place, Port};
    #[pymodule_export]
    use super::unread::Unread;
    #[pymodule_export]
    use super::watch::Watch;

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        super::life::claim(module.py())?;
        crate::process::watch_forks();
        crate::visits::watch_exit(crate::visits::Library::Cryptography);
        crate::panics::keep();
        module.add("__version__", env!("CARGO_PKG_VERSION"))
    }
}
