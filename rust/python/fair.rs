//! Fair: a loop that is busy all the time lets other threads have the interpreter.
//!
//! CPython asks the thread that runs to let go after 5 ms, unless it has let go by itself meanwhile, if only for a
//! moment. An event loop does so each time that it looks for events; where there always are some, the moment is too
//! short for a thread that has to be woken first, and starts its 5 ms afresh. Libraries whose loop writes and reads
//! sockets itself let go often and for longer. Ours has a worker do that, and so the other threads of a process would
//! wait for half a second beside it.

use std::cell::Cell;
use std::time::{Duration, Instant};

use pyo3::intern;
use pyo3::prelude::*;

use super::call_out::CallOut;
use super::modules;
use crate::ledger::{Item, held};

/// For so long a loop may keep the interpreter: CPython's own `sys.getswitchinterval()`.
const TURN: Duration = Duration::from_millis(5);

/// A loop that had a core for this part of its turn left no time for others. Beside a thread that computes as well it
/// has less, since CPython sees to it that both have their turns.
const BUSY: f64 = 0.5;

/// What a thread needs to wake up and take the interpreter; the kernel makes three times as much of it.
const PAUSE: Duration = Duration::from_micros(20);

thread_local! {
    /// When this thread's turn began, and what it had computed until then, in seconds.
    static BEGAN: Cell<Option<(Instant, f64)>> = const { Cell::new(None) };
}

/// Called by a loop between two pieces of its work: lets go of the interpreter for a moment, if a turn has passed, most
/// of it with computing, and there are threads that might want it.
///
/// # Errors
///
/// What a signal handler raised that ran meanwhile.
pub(super) fn take_turns(py: Python<'_>) -> PyResult<()> {
    let now = Instant::now();
    let began = BEGAN.get();
    if began.is_some_and(|(began, _)| now.duration_since(began) < TURN) {
        return Ok(());
    }
    let computed = thread_time(py)?;
    BEGAN.set(Some((now, computed)));
    let Some((began, before)) = began else {
        return Ok(());
    };
    let turn = now.duration_since(began).as_secs_f64();
    if computed - before >= turn * BUSY && are_there_others(py)? {
        py.detach(|| std::thread::sleep(PAUSE));
    }
    Ok(())
}

fn thread_time(py: Python<'_>) -> PyResult<f64> {
    let time = modules::time(py)?;
    time.call_out0(intern!(py, "thread_time"))?.extract()
}

/// Threads of Python's, or of the engine's that use Python's `ssl`. Others cannot be counted.
fn are_there_others(py: Python<'_>) -> PyResult<bool> {
    if held(Item::Blocking) > 0 {
        return Ok(true);
    }
    let threading = modules::threading(py)?;
    let count: usize = threading
        .call_out0(intern!(py, "active_count"))?
        .extract()?;
    Ok(count > 1)
}
