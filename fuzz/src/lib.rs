//! Properties of the core that must hold for any input: one function each, for a fuzzer to call.
//!
//! ```text
//! response   any bytes in answer to a request, in any pieces
//! chunked    chunked bodies as they may be, in any pieces, and what follows them
//! request    any request: what is refused, and what is on the wire of what is not
//! failures   sockets that fail at any byte, in either direction
//! pool       any sequence of what the users of a pool may do
//! ```
//!
//! A property that does not hold panics. Nothing here needs a socket, a runtime or a clock: [`wire`] is a peer
//! in memory that says when its bytes arrive, and [`exchange`] polls until nothing moves any more.

pub mod chunked;
pub mod exchange;
pub mod failures;
pub mod pool;
pub mod request;
pub mod response;
pub mod wire;
