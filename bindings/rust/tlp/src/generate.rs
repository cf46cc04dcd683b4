//! Generation of texts and tokens.

use crate::buffer;
use crate::error::{check, Result};
use crate::hook::{on_text, Hook};
use crate::{Sampler, Session};
use std::ops::ControlFlow;
use tlp_sys as sys;

/// Why a text ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StopReason {
    /// It has n_predict tokens.
    Length,
    /// A token ended it, or its grammar is complete.
    End,
    /// A stop string.
    String,
    /// The sequence is full.
    Context,
    /// The program's function.
    Callback,
    /// A stop token.
    Token,
    /// It was canceled.
    Cancel,
    /// Its deadline has passed.
    Deadline,
    /// It failed.
    Error,
    /// A reason that this crate does not know, or none.
    Other,
}

impl StopReason {
    pub(crate) fn from_raw(reason: i32) -> StopReason {
        match reason as sys::tlp_stop_reason {
            sys::TLP_STOP_LENGTH => StopReason::Length,
            sys::TLP_STOP_END => StopReason::End,
            sys::TLP_STOP_STRING => StopReason::String,
            sys::TLP_STOP_CONTEXT => StopReason::Context,
            sys::TLP_STOP_CALLBACK => StopReason::Callback,
            sys::TLP_STOP_TOKEN => StopReason::Token,
            sys::TLP_STOP_CANCEL => StopReason::Cancel,
            sys::TLP_STOP_DEADLINE => StopReason::Deadline,
            sys::TLP_STOP_ERROR => StopReason::Error,
            _ => StopReason::Other,
        }
    }
}

/// Options of [`Session::generate`].
#[derive(Clone, Debug, Default)]
pub struct GenerateOptions {
    /// Most tokens; 0 = until the sequence is full.
    pub n_predict: i32,
    /// Go on behind tokens that end a text.
    pub ignore_end: bool,
    /// Texts that end the text.
    pub stop: Vec<String>,
    /// [`SPECIAL`](crate::SPECIAL) or 0.
    pub flags: u32,
    /// Sequence to extend.
    pub seq: i32,
}

/// Result of [`Session::generate`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Generated {
    /// Tokens that were chosen.
    pub n_generated: i32,
    /// Why the text ended.
    pub stop_reason: StopReason,
    /// Token that was chosen, but not evaluated; -1 = none.
    pub last_token: i32,
}

impl Session {
    /// Generates text.  `text` receives each piece as soon as it is certain, and
    /// `Break` ends the text.
    pub fn generate<F>(
        &mut self,
        sampler: &mut Sampler,
        options: &GenerateOptions,
        text: F,
    ) -> Result<Generated>
    where
        F: FnMut(&str) -> ControlFlow<()>,
    {
        let (_texts, stop) = buffer::c_texts("stop", &options.stop)?;
        let mut hook = Hook::new(text);
        let data: *mut Hook<F> = &mut hook;
        let raw = sys::tlp_generate_options {
            struct_size: std::mem::size_of::<sys::tlp_generate_options>(),
            n_predict: options.n_predict,
            ignore_end: options.ignore_end.into(),
            stop: stop.as_ptr(),
            n_stop: stop.len(),
            flags: options.flags,
            seq: options.seq,
            text: Some(on_text::<F>),
            text_data: data.cast(),
            ..Default::default()
        };
        let mut result = sys::tlp_generate_result {
            struct_size: std::mem::size_of::<sys::tlp_generate_result>(),
            ..Default::default()
        };
        // SAFETY: handles, texts and hook live for the call.
        let status =
            unsafe { sys::tlp_session_generate(&mut result, self.raw(), sampler.raw(), &raw) };
        let status = check(status);
        hook.resume();
        sampler.resume();
        status?;
        Ok(Generated {
            n_generated: result.n_generated,
            stop_reason: StopReason::from_raw(result.stop_reason),
            last_token: result.last_token,
        })
    }

    /// Iterates over the tokens that follow sequence 0, up to one that ends the
    /// text.  The sequence must have logits: evaluate a prompt first.
    pub fn tokens<'a>(&'a mut self, sampler: &'a mut Sampler) -> Tokens<'a> {
        Tokens {
            session: self,
            sampler,
            last: None,
            ended: false,
        }
    }
}

/// Iterator of [`Session::tokens`].  It ends behind the first error.
pub struct Tokens<'a> {
    session: &'a mut Session,
    sampler: &'a mut Sampler,
    last: Option<i32>,
    ended: bool,
}

impl Tokens<'_> {
    fn choose(&mut self) -> Result<i32> {
        if let Some(token) = self.last {
            self.session.decode(token)?;
        }
        self.session.sample(0, self.sampler)
    }
}

impl Iterator for Tokens<'_> {
    type Item = Result<i32>;

    fn next(&mut self) -> Option<Result<i32>> {
        if self.ended {
            return None;
        }
        let chosen = self.choose();
        match chosen {
            Ok(token) if self.session.plan().model().is_end(token) => {
                self.ended = true;
                None
            }
            Ok(token) => {
                self.last = Some(token);
                Some(Ok(token))
            }
            Err(error) => {
                self.ended = true;
                Some(Err(error))
            }
        }
    }
}
