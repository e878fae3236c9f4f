//! Call out: how code of Python's is called from threads that the interpreter may end.
//!
//! Up to CPython 3.13 a thread that wants the GIL back from an interpreter that is ending is ended on the spot, by
//! unwinding its stack (`pthread_exit`), and that aborts the process where it meets Rust. Every thread but the main
//! one can meet it, in any Python code that lets go of the GIL: a daemon thread's, and those of the engine that
//! do TLS by Python's `ssl`. So such code is called through here, where the unwinding stops: the thread sleeps
//! instead until the process is gone, as CPython 3.14 has it.
//!
//! pyo3 does the same wherever it takes the GIL itself. Calls that run no Python code and do not let go of the GIL
//! need none of it. A call may only be left this way where no lock of ours is held.

use std::hint::black_box;
use std::mem;

use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyString, PyTuple};

use crate::visits;

/// Calls a method that may run Python code.
pub(super) trait CallOut<'py> {
    /// Without arguments.
    fn call_out0(&self, name: &Bound<'py, PyString>) -> PyResult<Bound<'py, PyAny>>;

    /// With one argument.
    fn call_out1(
        &self,
        name: &Bound<'py, PyString>,
        argument: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyAny>>;

    /// With a tuple of arguments.
    fn call_out<A>(&self, name: &Bound<'py, PyString>, arguments: A) -> PyResult<Bound<'py, PyAny>>
    where
        A: IntoPyObject<'py, Target = PyTuple, Output = Bound<'py, PyTuple>, Error = PyErr>;
}

/// Imports a module, whose code may be run by it.
#[allow(unsafe_code)] // as below
pub(super) fn import<'py>(
    py: Python<'py>,
    name: &Bound<'py, PyString>,
) -> PyResult<Bound<'py, PyAny>> {
    let function = black_box(ffi::PyImport_Import as *const ());
    // SAFETY: the same function, but for what it says of unwinding.
    let import: unsafe extern "C-unwind" fn(Object) -> Object = unsafe { mem::transmute(function) };
    // SAFETY: a module's name, as the function wants it; attached.
    called(py, || unsafe { import(name.as_ptr()) })
}

type Object = *mut ffi::PyObject;

/// The two functions with an ABI that admits to unwinding: without it the compiler leaves out what runs then.
type CallMethod = unsafe extern "C-unwind" fn(Object, Object, ...) -> Object;
type Call = unsafe extern "C-unwind" fn(Object, Object, Object) -> Object;

#[allow(unsafe_code)] // calls by CPython's own interface, see above
impl<'py> CallOut<'py> for Bound<'py, PyAny> {
    fn call_out0(&self, name: &Bound<'py, PyString>) -> PyResult<Bound<'py, PyAny>> {
        // SAFETY: a method's name and no argument, as the function wants them; attached, which `self` proves.
        called(self.py(), || unsafe {
            call_method()(
                self.as_ptr(),
                name.as_ptr(),
                std::ptr::null_mut::<ffi::PyObject>(),
            )
        })
    }

    fn call_out1(
        &self,
        name: &Bound<'py, PyString>,
        argument: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyAny>> {
        // SAFETY: as above, with one argument.
        called(self.py(), || unsafe {
            call_method()(
                self.as_ptr(),
                name.as_ptr(),
                argument.as_ptr(),
                std::ptr::null_mut::<ffi::PyObject>(),
            )
        })
    }

    fn call_out<A>(&self, name: &Bound<'py, PyString>, arguments: A) -> PyResult<Bound<'py, PyAny>>
    where
        A: IntoPyObject<'py, Target = PyTuple, Output = Bound<'py, PyTuple>, Error = PyErr>,
    {
        let arguments = arguments.into_pyobject(self.py())?;
        let method = self.getattr(name)?;
        let call = call();
        // SAFETY: a callable, a tuple and no keywords, as the function wants them; attached.
        called(self.py(), || unsafe {
            call(method.as_ptr(), arguments.as_ptr(), std::ptr::null_mut())
        })
    }
}

#[allow(unsafe_code)] // as above
fn call_method() -> CallMethod {
    // In a black box, or the compiler finds out which function it is, and that it is said not to unwind.
    let function = black_box(ffi::PyObject_CallMethodObjArgs as *const ());
    // SAFETY: the same function, but for what it says of unwinding.
    unsafe { mem::transmute(function) }
}

#[allow(unsafe_code)] // as above
fn call() -> Call {
    let function = black_box(ffi::PyObject_Call as *const ());
    // SAFETY: the same function, but for what it says of unwinding.
    unsafe { mem::transmute(function) }
}

#[allow(unsafe_code)] // as above
fn called<'py>(py: Python<'py>, call: impl FnOnce() -> Object) -> PyResult<Bound<'py, PyAny>> {
    let sleeper = Sleeper;
    let result = call();
    mem::forget(sleeper);
    // SAFETY: what a call returns is a new reference, or null with the exception set.
    unsafe { Bound::from_owned_ptr_or_err(py, result) }
}

/// # Drop
///
/// Never ends. Only a thread's end comes here, through a stack that must not be unwound further; the GIL is not held then.
struct Sleeper;

impl Drop for Sleeper {
    fn drop(&mut self) {
        visits::stay();
    }
}
