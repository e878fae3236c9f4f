//! The Tokio runtimes, and which process they belong to.
//!
//! Async pools share one multi-thread runtime; a sync pool owns a current-thread runtime that its
//! callers drive themselves. Both die with the process that made them: a forked child sees another
//! generation number, leaks what it inherited untouched, and builds its own on first use. Dropping an
//! inherited runtime would wait for threads that do not exist, and would edit the parent's epoll set.

use std::future::Future;
use std::io;
use std::sync::atomic::{AtomicPtr, Ordering};
use std::time::Duration;

use tokio::runtime::{Builder, Handle, Runtime};
use tokio::task::JoinHandle;

use crate::ledger::{Entry, Item};
use crate::process::generation;

/// Worker threads of the shared runtime. One is as fast as two on every load measured, since the
/// interpreter's own thread is the limit, and leaves the second core to it.
const WORKERS: usize = 1;

/// Threads for blocking work on one runtime, made when they are needed: name look-ups, which may hang for long,
/// and turns of TLS sessions, which must not have to wait for those.
const BLOCKING_THREADS: usize = 128;

/// How long such a thread waits for more to do. Long, since it costs little, and coming and going much.
const KEEP_ALIVE: Duration = Duration::from_secs(600);

struct Shared {
    generation: u64,
    runtime: Runtime,
}

/// The shared runtime of this process, or one of an ancestor (told by its generation). Never freed.
static SHARED: AtomicPtr<Shared> = AtomicPtr::new(std::ptr::null_mut());

/// The runtime that all async pools of this process share, made on first use.
///
/// # Errors
///
/// The threads or the epoll instance could not be made (resource limits).
#[allow(unsafe_code)] // reading a leaked, never freed allocation through an atomic pointer
pub fn shared() -> io::Result<Handle> {
    let current = SHARED.load(Ordering::Acquire);
    // SAFETY: the pointer is null or comes from `Box::leak` below, and is never freed.
    if let Some(shared) = unsafe { current.as_ref() }
        && shared.generation == generation()
    {
        return Ok(shared.runtime.handle().clone());
    }
    let made = Box::new(Shared {
        generation: generation(),
        runtime: limited(Builder::new_multi_thread().worker_threads(WORKERS))
            .thread_name("httpcore_hyper")
            .build()?,
    });
    let handle = made.runtime.handle().clone();
    let made = Box::into_raw(made);
    match SHARED.compare_exchange(current, made, Ordering::AcqRel, Ordering::Acquire) {
        Ok(_) => Ok(handle),
        Err(winner) => {
            // Another thread of this process was first. Its runtime serves; ours has no tasks yet.
            // SAFETY: `made` comes from `Box::into_raw` above and was not published.
            unsafe { Box::from_raw(made) }.runtime.shutdown_background();
            // SAFETY: as above; a lost exchange means that the winner is not null.
            let winner = unsafe { &*winner };
            Ok(winner.runtime.handle().clone())
        }
    }
}

/// Has a runtime run a task, which is in the ledger until it has ended.
pub fn spawn<F>(runtime: &Handle, task: F) -> JoinHandle<F::Output>
where
    F: Future<Output: Send> + Send + 'static,
{
    let entry = Entry::new(Item::Task);
    runtime.spawn(async move {
        let _entry = entry;
        task.await
    })
}

/// Has a thread that may block run something, which is in the ledger until it has ended.
pub fn spawn_blocking<T: Send + 'static>(
    runtime: &Handle,
    work: impl FnOnce() -> T + Send + 'static,
) -> JoinHandle<T> {
    let entry = Entry::new(Item::Blocking);
    runtime.spawn_blocking(move || {
        let _entry = entry;
        work()
    })
}

/// The same for a turn of a TLS session, on a thread of the shared runtime's if there can be one.
///
/// A thread that has been in OpenSSL takes a lock of the whole process when it ends, which a fork may leave held. So
/// these threads do not come and go with the pools.
pub fn spawn_turn<T: Send + 'static>(
    runtime: &Handle,
    turn: impl FnOnce() -> T + Send + 'static,
) -> JoinHandle<T> {
    spawn_blocking(shared().as_ref().unwrap_or(runtime), turn)
}

fn limited(builder: &mut Builder) -> &mut Builder {
    builder
        .enable_all()
        .max_blocking_threads(BLOCKING_THREADS)
        .thread_keep_alive(KEEP_ALIVE)
        .on_thread_start(prepare_thread)
}

/// What each thread of ours does first.
fn prepare_thread() {
    block_signals();
    run_in_batches();
}

/// Asks the kernel not to interrupt another thread for this one the moment it is woken.
///
/// On a busy core the interpreter's thread and the worker else take turns for every single request: two
/// switches on its way out and one for its answer. Without that the worker gets its turn when the interpreter
/// waits, or by its fair share, and finds several answers at once. Where a core is idle nothing changes.
#[cfg(target_os = "linux")]
#[allow(unsafe_code)] // sched_setscheduler has no safe binding
fn run_in_batches() {
    // The only priority that this policy has.
    let parameter = libc::sched_param { sched_priority: 0 };
    // SAFETY: the call reads one plain value on this stack, and changes the calling thread alone. A refusal
    // (a sandbox) leaves everything as it was.
    unsafe { libc::sched_setscheduler(0, libc::SCHED_BATCH, &raw const parameter) };
}

/// Other systems have no such policy.
#[cfg(not(target_os = "linux"))]
fn run_in_batches() {}

/// Python's signal handlers run on its main thread; the kernel must not pick one of ours, where a
/// blocked system call of the main thread would then not be interrupted.
#[cfg(unix)]
#[allow(unsafe_code)] // pthread_sigmask has no safe binding in std
pub fn block_signals() {
    // SAFETY: both calls only write into `every`, which is a plain value on this stack, and change the
    // mask of the calling thread alone.
    unsafe {
        let mut every = std::mem::MaybeUninit::<libc::sigset_t>::uninit();
        libc::sigfillset(every.as_mut_ptr());
        libc::pthread_sigmask(libc::SIG_BLOCK, every.as_ptr(), std::ptr::null_mut());
    }
}

/// Signals are delivered to no particular thread here.
#[cfg(not(unix))]
pub fn block_signals() {}

/// A sync pool's own runtime: its callers run it, several of them at once if they like.
///
/// # Drop
///
/// Never waits: blocking work that is still running is left to finish by itself.
#[derive(Debug)]
pub struct CallerRuntime {
    runtime: Option<Runtime>,
    _entry: Entry,
}

impl CallerRuntime {
    /// A runtime without threads of its own.
    ///
    /// # Errors
    ///
    /// The epoll instance could not be made (file descriptors are out).
    pub fn new() -> io::Result<Self> {
        Ok(Self {
            runtime: Some(limited(&mut Builder::new_current_thread()).build()?),
            _entry: Entry::new(Item::Runtime),
        })
    }

    /// The runtime itself.
    pub fn runtime(&self) -> &Runtime {
        self.runtime.as_ref().expect("taken only by Drop")
    }
}

impl Drop for CallerRuntime {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}
