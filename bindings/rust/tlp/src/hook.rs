//! Functions of the program that C calls.  A panic must not cross C: a hook
//! catches it, and resumes it after the call.

use std::any::Any;
use std::ops::ControlFlow;
use std::os::raw::{c_char, c_int, c_void};
use std::panic::{catch_unwind, resume_unwind, AssertUnwindSafe};
use tlp_sys as sys;

/// Receives the finished share of a long call, 0 to 1; `Break` cancels the call,
/// which then gives [`Error::Canceled`](crate::Error::Canceled).
pub type Progress<'a> = dyn FnMut(f64) -> ControlFlow<()> + 'a;

/// A function and the panic that it ended with.
pub(crate) struct Hook<F> {
    function: F,
    panic: Option<Box<dyn Any + Send>>,
}

impl<F> Hook<F> {
    pub(crate) fn new(function: F) -> Hook<F> {
        Hook {
            function,
            panic: None,
        }
    }

    /// Calls the function.  None if it panics or has panicked.
    pub(crate) fn call<T>(&mut self, call: impl FnOnce(&mut F) -> T) -> Option<T> {
        if self.panic.is_some() {
            return None;
        }
        let function = &mut self.function;
        match catch_unwind(AssertUnwindSafe(|| call(function))) {
            Ok(value) => Some(value),
            Err(panic) => {
                self.panic = Some(panic);
                None
            }
        }
    }

    /// Resumes the panic, if there was one.
    pub(crate) fn resume(&mut self) {
        if let Some(panic) = self.panic.take() {
            resume_unwind(panic);
        }
    }
}

/// Status of a C callback: anything but `Continue` stops the call.
fn stop(flow: Option<ControlFlow<()>>) -> c_int {
    c_int::from(flow != Some(ControlFlow::Continue(())))
}

unsafe extern "C" fn on_progress(done: f64, data: *mut c_void) -> c_int {
    // SAFETY: with_progress passes a hook of this type, and lends it to this call
    // alone.
    let hook = unsafe { &mut *data.cast::<Hook<&mut Progress<'_>>>() };
    stop(hook.call(|f| f(done)))
}

/// Makes a call with a progress function.
pub(crate) fn with_progress<T>(
    progress: Option<&mut Progress<'_>>,
    call: impl FnOnce(sys::tlp_progress_fn, *mut c_void) -> T,
) -> T {
    match progress {
        None => call(None, std::ptr::null_mut()),
        Some(f) => {
            let mut hook = Hook::new(f);
            let data: *mut Hook<_> = &mut hook;
            let out = call(Some(on_progress), data.cast());
            hook.resume();
            out
        }
    }
}

pub(crate) unsafe extern "C" fn on_text<F>(
    text: *const c_char,
    len: usize,
    data: *mut c_void,
) -> c_int
where
    F: FnMut(&str) -> ControlFlow<()>,
{
    if len == 0 {
        return 0;
    }
    // SAFETY: generate passes a Hook<F>, and `len` bytes are lent for this call.
    let (hook, bytes) = unsafe {
        (
            &mut *data.cast::<Hook<F>>(),
            std::slice::from_raw_parts(text.cast::<u8>(), len),
        )
    };
    stop(hook.call(|f| f(&String::from_utf8_lossy(bytes))))
}
