//! Samplers: choice of the next token.

use crate::error::{check, Result};
use crate::hook::Hook;
use crate::{Grammar, Model, Session};
use std::cell::Cell;
use std::marker::PhantomData;
use std::os::raw::{c_int, c_void};
use std::ptr::{null_mut, NonNull};
use tlp_sys as sys;

/// Options of a sampler.  The default is greedy.
#[derive(Clone, Default)]
pub struct SamplerOptions {
    /// 0 = greedy.
    pub temperature: f32,
    /// Most probable tokens to keep; 0 = all.
    pub top_k: i32,
    /// Share of the probability to keep; 0 = all.
    pub top_p: f32,
    /// Least share of the highest probability; 0 = off.
    pub min_p: f32,
    /// Divides logits of tokens in the window; 0 = off.
    pub repeat_penalty: f32,
    /// Lowers logits by the count of the token in the window.
    pub frequency_penalty: f32,
    /// Lowers logits of tokens in the window.
    pub presence_penalty: f32,
    /// Tokens in the window.
    pub penalty_last_n: i32,
    /// Equal seeds give equal choices.
    pub seed: u64,
    /// Values to add to logits, each with its token.
    pub bias: Vec<(i32, f32)>,
    /// Grammar of the text.
    pub grammar: Option<Grammar>,
}

impl SamplerOptions {
    /// Calls `f` with the struct of C.
    pub(crate) fn with_raw<T>(&self, f: impl FnOnce(sys::tlp_sampler_options) -> T) -> T {
        let bias: Vec<sys::tlp_logit_bias> = self
            .bias
            .iter()
            .map(|&(token, bias)| sys::tlp_logit_bias { token, bias })
            .collect();
        f(sys::tlp_sampler_options {
            struct_size: std::mem::size_of::<sys::tlp_sampler_options>(),
            temperature: self.temperature,
            top_k: self.top_k,
            top_p: self.top_p,
            min_p: self.min_p,
            repeat_penalty: self.repeat_penalty,
            frequency_penalty: self.frequency_penalty,
            presence_penalty: self.presence_penalty,
            penalty_last_n: self.penalty_last_n,
            seed: self.seed,
            bias: bias.as_ptr(),
            n_bias: bias.len(),
            grammar: self.grammar.as_ref().map_or(null_mut(), |g| g.raw()),
            ..Default::default()
        })
    }
}

type LogitsHook = Hook<Box<dyn FnMut(&mut [f32]) + Send>>;

/// Chooses tokens.  One thread at a time may use it.
pub struct Sampler {
    sampler: NonNull<sys::tlp_sampler>,
    // NULL, or from Box::into_raw; the library holds this pointer too.
    hook: *mut LogitsHook,
    _model: Model,
    not_sync: PhantomData<Cell<()>>,
}

// SAFETY: a sampler may move between threads (docs/threads.md), and its function
// is Send.
unsafe impl Send for Sampler {}

impl Drop for Sampler {
    fn drop(&mut self) {
        // SAFETY: this struct owns the handle, and the hook, which the library
        // no longer uses once the handle is free.
        unsafe {
            sys::tlp_sampler_free(self.sampler.as_ptr());
            if !self.hook.is_null() {
                drop(Box::from_raw(self.hook));
            }
        }
    }
}

unsafe extern "C" fn on_logits(logits: *mut f32, n: i32, data: *mut c_void) -> c_int {
    // SAFETY: the library lends n logits and the hook of the sampler.
    let (hook, row) = unsafe {
        (
            &mut *data.cast::<LogitsHook>(),
            std::slice::from_raw_parts_mut(logits, n as usize),
        )
    };
    c_int::from(hook.call(|f| f(row)).is_none())
}

impl Sampler {
    /// Makes a sampler.
    pub fn new(model: &Model, options: &SamplerOptions) -> Result<Sampler> {
        Sampler::create(model, options, null_mut())
    }

    /// Makes a sampler with a function that changes each row of n_vocab logits
    /// before a token is chosen.
    pub fn with_logits(
        model: &Model,
        options: &SamplerOptions,
        logits: impl FnMut(&mut [f32]) + Send + 'static,
    ) -> Result<Sampler> {
        let hook = Box::into_raw(Box::new(Hook::new(
            Box::new(logits) as Box<dyn FnMut(&mut [f32]) + Send>
        )));
        let made = Sampler::create(model, options, hook);
        if made.is_err() {
            // SAFETY: no sampler has taken the hook.
            drop(unsafe { Box::from_raw(hook) });
        }
        made
    }

    fn create(model: &Model, options: &SamplerOptions, hook: *mut LogitsHook) -> Result<Sampler> {
        let mut sampler = null_mut();
        options.with_raw(|mut raw| {
            if !hook.is_null() {
                raw.logits = Some(on_logits);
                raw.logits_data = hook.cast();
            }
            // SAFETY: the library copies the options, and keeps the grammar.
            check(unsafe { sys::tlp_sampler_create(&mut sampler, model.raw(), &raw) })
        })?;
        Ok(Sampler {
            sampler: NonNull::new(sampler).expect("a sampler with TLP_OK"),
            hook,
            _model: model.clone(),
            not_sync: PhantomData,
        })
    }

    pub(crate) fn raw(&mut self) -> *mut sys::tlp_sampler {
        self.sampler.as_ptr()
    }

    /// Resumes the panic of the function, if there was one.
    pub(crate) fn resume(&mut self) {
        if !self.hook.is_null() {
            // SAFETY: no call of the library runs, so the hook is ours.
            unsafe { (*self.hook).resume() }
        }
    }

    /// Adds a token to the window of the penalties.
    pub fn accept(&mut self, token: i32) {
        // SAFETY: the library ignores tokens that it does not have.
        unsafe { sys::tlp_sampler_accept(self.raw(), token) }
    }

    /// Empties the window, and begins with the seed again.
    pub fn reset(&mut self) {
        // SAFETY: the sampler lives.
        unsafe { sys::tlp_sampler_reset(self.raw()) }
    }
}

impl Session {
    /// Chooses a token from a row of the last evaluation.
    pub fn sample(&mut self, row: usize, sampler: &mut Sampler) -> Result<i32> {
        let mut token = 0;
        // SAFETY: both handles are borrowed for this call alone.
        let status = unsafe { sys::tlp_session_sample(&mut token, self.raw(), row, sampler.raw()) };
        let result = check(status);
        sampler.resume();
        result.map(|()| token)
    }
}
