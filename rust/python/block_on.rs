//! Block on: the sync door. The calling thread runs the exchange itself.
//!
//! No Python code runs inside `block_on`: the exchange lives in its cell outside, and the wait returns
//! for each part and for each tick. Between two waits signals are checked, so that Ctrl-C and any other
//! handler of Python's runs within a tick; the handler may use the same pool.

use std::cell::Cell;
use std::future::poll_fn;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use pyo3::intern;
use pyo3::prelude::*;

use super::alone::Streak;
use super::call_out::CallOut;
use super::modules;
use crate::cell::{ExchangeCell, Failure, Part, Want};
use crate::connect::Look;
use crate::courtesy::Courtesy;
use crate::process::{ForkLocal, generation};
use crate::runtime::CallerRuntime;
use crate::timeouts::Watchdog;

/// How often a waiting main thread looks for signals: half of the promised 100 ms.
const TICK: Duration = Duration::from_millis(50);

/// A sync pool's runtime, with the ticks of its waiting callers.
pub(super) struct Callers {
    own: ForkLocal<Own>,
}

struct Own {
    /// Armed timers between two waits; see [`Watchdog`]. Declared first: they are the runtime's.
    ticks: Mutex<Vec<Watchdog>>,
    crowd: Crowd,
    runtime: CallerRuntime,
}

/// Who waits on a runtime: many threads, or one alone, again and again.
#[derive(Default)]
struct Crowd {
    waiting: AtomicUsize,
    streak: Streak,
    courtesy: Courtesy,
}

impl Crowd {
    /// Whether another thread waits, and giving way to it has been worth it.
    fn takes_turns(&self) -> bool {
        self.waiting.load(Ordering::Relaxed) > 0 && self.courtesy.is_due()
    }

    /// One more waits, until what is returned is dropped.
    fn enter(&self) -> Waits<'_> {
        thread_local! {
            /// Its address tells threads apart.
            static HERE: u8 = const { 0 };
        }
        if self.waiting.fetch_add(1, Ordering::Relaxed) > 0 {
            self.streak.breaks();
        } else {
            (self.streak).comes(HERE.with(|here| std::ptr::from_ref(here).addr()));
        }
        Waits(self)
    }
}

/// One waiting thread.
struct Waits<'a>(&'a Crowd);

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Callers {
    pub(super) fn new() -> std::io::Result<Self> {
        Ok(Self {
            own: ForkLocal::new(Own {
                ticks: Mutex::new(Vec::new()),
                crowd: Crowd::default(),
                runtime: CallerRuntime::new()?,
            }),
        })
    }

    /// What is the parent's is refused before anybody waits for it.
    fn own(&self) -> &Own {
        self.own
            .get()
            .expect("nobody waits for what a fork made foreign")
    }

    pub(super) fn handle(&self) -> tokio::runtime::Handle {
        self.own().runtime.runtime().handle().clone()
    }

    /// Waits for a part, with the GIL released: for a head among others by turns first, where the last look is with it.
    ///
    /// # Errors
    ///
    /// What a signal handler raised. The exchange goes on; the caller closes it.
    pub(super) fn wait(
        &self,
        py: Python<'_>,
        cell: &ExchangeCell,
        want: Want,
    ) -> PyResult<Result<Part, Failure>> {
        if let Some(part) = cell.try_take(want) {
            return Ok(part);
        }
        if want == Want::Head && self.own().crowd.takes_turns() {
            return self.wait_in_turn(py, cell);
        }
        self.wait_for(py, |cx| cell.poll_part(cx, want))
    }

    /// Waits for a head among others: sends the request, gives way to the other threads, and looks for the answer when this
    /// one has the interpreter again, instead of being woken by the answer only to wait for the interpreter then. Where that
    /// has not paid, or the answer is not there yet, the wait goes on as ever.
    fn wait_in_turn(&self, py: Python<'_>, cell: &ExchangeCell) -> PyResult<Result<Part, Failure>> {
        let poll = |cx: &mut Context<'_>| cell.poll_part(cx, Want::Head);
        let crowd = &self.own().crowd;
        let checks_signals = is_main_thread(py)?;
        let _waits = crowd.enter();
        let (mut head, gave_way) = py.detach(|| {
            let (head, pays) = Look::InPassing.before(|| self.glance(cell));
            if head.is_none() && pays {
                crowd.courtesy.give_way();
                return (None, true);
            }
            // Coming back for the interpreter would be in vain.
            let head = head.or_else(|| self.wait_one_tick(poll, checks_signals));
            (head, false)
        });
        if gave_way {
            head = Look::InPassing.run(|| self.glance(cell));
        }
        if let Some(head) = head {
            return Ok(head);
        }
        py.check_signals()?;
        self.wait_for(py, poll)
    }

    fn glance(&self, cell: &ExchangeCell) -> Option<Result<Part, Failure>> {
        let _context = self.own().runtime.runtime().enter();
        cell.glance(Want::Head)
    }

    /// Waits until `poll` is ready, with the GIL released.
    ///
    /// # Errors
    ///
    /// What a signal handler raised.
    pub(super) fn wait_for<T: Send>(
        &self,
        py: Python<'_>,
        mut poll: impl FnMut(&mut Context<'_>) -> Poll<T> + Send,
    ) -> PyResult<T> {
        let checks_signals = is_main_thread(py)?;
        loop {
            if let Some(ready) = py.detach(|| self.wait_one_tick(&mut poll, checks_signals)) {
                return Ok(ready);
            }
            py.check_signals()?;
        }
    }

    fn wait_one_tick<T>(
        &self,
        mut poll: impl FnMut(&mut Context<'_>) -> Poll<T>,
        ticks: bool,
    ) -> Option<T> {
        let Own {
            ticks: idle,
            crowd,
            runtime,
        } = self.own();
        let waits = crowd.enter();
        let mut poll = |cx: &mut Context<'_>| {
            if waits.0.streak.is_long() {
                Look::Patiently.run(|| poll(cx))
            } else {
                poll(cx)
            }
        };
        let runtime = runtime.runtime();
        if !ticks {
            return Some(runtime.block_on(poll_fn(poll)));
        }
        let mut tick = idle.lock().pop().unwrap_or_default();
        let end = Instant::now() + TICK;
        let ready = runtime.block_on(poll_fn(|cx| {
            if let Poll::Ready(ready) = poll(cx) {
                return Poll::Ready(Some(ready));
            }
            tick.poll_expired(cx, runtime.handle(), end).map(|()| None)
        }));
        idle.lock().push(tick);
        ready
    }
}

/// Python runs signal handlers on its main thread only; other threads wait without ticks.
fn is_main_thread(py: Python<'_>) -> PyResult<bool> {
    thread_local! {
        /// The answer and the generation it holds for: a fork makes its own thread the main one.
        static KNOWN: Cell<Option<(u64, bool)>> = const { Cell::new(None) };
    }
    if let Some((of, is_main)) = KNOWN.get()
        && of == generation()
    {
        return Ok(is_main);
    }
    let threading = modules::threading(py)?;
    let current = threading.call_out0(intern!(py, "get_ident"))?;
    let main = threading
        .call_out0(intern!(py, "main_thread"))?
        .getattr(intern!(py, "ident"))?;
    let is_main = current.eq(main)?;
    KNOWN.set(Some((generation(), is_main)));
    Ok(is_main)
}
