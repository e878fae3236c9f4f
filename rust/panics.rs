//! Panics: a bug of this library, kept as text with its backtrace until it is raised in Python.

use std::backtrace::Backtrace;
use std::cell::RefCell;
use std::panic::{PanicHookInfo, set_hook};
use std::sync::Once;

thread_local! {
    static LAST: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Has panics kept instead of printed. Idempotent.
///
/// The hook belongs to this library alone: each native module carries a standard library of its own.
pub fn keep() {
    static KEEP: Once = Once::new();
    KEEP.call_once(|| set_hook(Box::new(record)));
}

fn record(panic: &PanicHookInfo<'_>) {
    let text = format!("{panic}\n{}", Backtrace::force_capture());
    // A panic while this thread's storage is torn down has nobody left to tell.
    let _ = LAST.try_with(|last| *last.borrow_mut() = Some(text));
}

/// The panic that this thread caught last.
pub fn last() -> String {
    LAST.with(|last| last.borrow_mut().take())
        .unwrap_or_else(|| "a panic without a message".to_owned())
}
