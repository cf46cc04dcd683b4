//! Text of tokens that come one by one.

use crate::buffer;
use crate::error::{check, Result};
use crate::Model;
use std::cell::Cell;
use std::marker::PhantomData;
use std::ptr::{null, null_mut, NonNull};
use tlp_sys as sys;

/// Turns tokens into whole characters, up to a stop string.  One thread at a time
/// may use it.
pub struct Stream {
    stream: NonNull<sys::tlp_stream>,
    _model: Model,
    not_sync: PhantomData<Cell<()>>,
}

// SAFETY: a stream may move between threads (docs/threads.md).
unsafe impl Send for Stream {}

impl Drop for Stream {
    fn drop(&mut self) {
        // SAFETY: this struct owns the handle.
        unsafe { sys::tlp_stream_free(self.stream.as_ptr()) }
    }
}

impl Stream {
    /// Makes a stream that ends at any of the stop strings.  `flags` is
    /// [`SPECIAL`](crate::SPECIAL) or 0.
    pub fn new(model: &Model, stop: &[String], flags: u32) -> Result<Stream> {
        let (_texts, pointers) = buffer::c_texts("stop", stop)?;
        let mut out = null_mut();
        // SAFETY: the texts live for the call.
        check(unsafe {
            sys::tlp_stream_create(
                &mut out,
                model.raw(),
                pointers.as_ptr(),
                pointers.len(),
                flags,
            )
        })?;
        Ok(Stream {
            stream: NonNull::new(out).expect("a stream with TLP_OK"),
            _model: model.clone(),
            not_sync: PhantomData,
        })
    }

    /// Adds a token.  Returns the text that became certain, and whether a stop
    /// string has ended the text.
    pub fn push(&mut self, token: i32) -> Result<(String, bool)> {
        let (mut text, mut len, mut stopped) = (null(), 0, 0);
        // SAFETY: the stream is borrowed for this call alone.
        check(unsafe {
            sys::tlp_stream_push(
                &mut text,
                &mut len,
                &mut stopped,
                self.stream.as_ptr(),
                token,
            )
        })?;
        // SAFETY: the library lends `len` bytes until the next call.
        Ok((unsafe { buffer::bytes(text, len) }, stopped != 0))
    }

    /// Returns the text that was held back, and ends the text.
    pub fn flush(&mut self) -> Result<String> {
        let (mut text, mut len) = (null(), 0);
        // SAFETY: the stream is borrowed for this call alone.
        check(unsafe { sys::tlp_stream_flush(&mut text, &mut len, self.stream.as_ptr()) })?;
        // SAFETY: as for push.
        Ok(unsafe { buffer::bytes(text, len) })
    }
}
