//! Sessions: evaluation of tokens on one or more ranks.

use crate::buffer;
use crate::error::{check, Error, Result};
use crate::options::{facts, options, SessionOptions};
use crate::Plan;
use std::cell::Cell;
use std::marker::PhantomData;
use std::path::Path;
use std::ptr::{null, null_mut, NonNull};
use std::sync::Arc;
use tlp_sys as sys;

/// KV cache, sequences and logits.  One thread at a time may use it.
pub struct Session {
    inner: Arc<Inner>,
    plan: Plan,
    n_vocab: usize,
    n_embd: usize,
    not_sync: PhantomData<Cell<()>>,
}

struct Inner {
    session: NonNull<sys::tlp_session>,
    _plan: Plan,
}

// SAFETY: a session may move between threads, and any thread may free it.
unsafe impl Send for Inner {}
// SAFETY: threads share this struct through AbortHandle alone, which calls
// tlp_session_abort alone; any thread may call that.
unsafe impl Sync for Inner {}

impl Drop for Inner {
    fn drop(&mut self) {
        // SAFETY: this struct owns the handle.
        unsafe { sys::tlp_session_free(self.session.as_ptr()) }
    }
}

/// Stops the running call of a session from any thread.  The session's memory
/// stays while a handle lives.
#[derive(Clone)]
pub struct AbortHandle(Arc<Inner>);

impl AbortHandle {
    /// Stops the running call, or the next one if none runs.  A signal handler may
    /// call this function; it may not drop the handle.
    pub fn abort(&self) {
        // SAFETY: any thread and any signal handler may call this function while
        // the session lives, and this handle keeps it alive.
        unsafe { sys::tlp_session_abort(self.0.session.as_ptr()) }
    }
}

/// A token and the natural logarithm of its probability.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Logprob {
    /// Id.
    pub token: i32,
    /// Nats.
    pub logprob: f32,
}

/// How the states of tokens become one vector.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Pooling {
    /// The model's own, else the last token.
    #[default]
    Default = sys::TLP_POOLING_DEFAULT as isize,
    /// State of the last token.
    Last = sys::TLP_POOLING_LAST as isize,
    /// Mean of all states.
    Mean = sys::TLP_POOLING_MEAN as isize,
}

options! {
    /// Options of an embedding.
    EmbedOptions: tlp_embed_options {
        /// Pooling of the states.
        pooling: Pooling,
        /// Leave the length of the vector as it is.
        no_normalize: bool,
    }
}

facts! {
    /// Counters of a session.
    SessionStats: tlp_session_stats {
        /// Tokens of prompts.
        n_prefill: u64,
        /// Tokens that were decoded.
        n_decode: u64,
        /// Steps.
        n_step: u64,
        /// Time in evaluations, seconds.
        seconds: f64,
        /// Bytes of the cache.
        kv_bytes: u64,
        /// Bytes of weights.
        weight_bytes: u64,
        /// Ranks.
        n_rank: i32,
        /// Threads of each rank.
        n_thread: i32,
    }
}

impl Session {
    /// Creates a session for a plan.
    pub fn new(plan: &Plan, options: &SessionOptions) -> Result<Session> {
        let info = plan.model().info()?;
        let mut session = null_mut();
        // SAFETY: options live for the call.
        check(unsafe { sys::tlp_session_create(&mut session, plan.raw(), &options.raw()) })?;
        let session = NonNull::new(session).expect("a session with TLP_OK");
        Ok(Session {
            inner: Arc::new(Inner {
                session,
                _plan: plan.clone(),
            }),
            plan: plan.clone(),
            n_vocab: info.n_vocab as usize,
            n_embd: info.n_embd as usize,
            not_sync: PhantomData,
        })
    }

    pub(crate) fn raw(&self) -> *mut sys::tlp_session {
        self.inner.session.as_ptr()
    }

    /// The plan of the session.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// A handle that stops calls from another thread.
    pub fn abort_handle(&self) -> AbortHandle {
        AbortHandle(self.inner.clone())
    }

    /// Appends tokens to sequence 0, and keeps the logits of the last one.
    pub fn prefill(&mut self, tokens: &[i32]) -> Result<()> {
        // SAFETY: the slice has its length.
        check(unsafe { sys::tlp_session_prefill(self.raw(), tokens.as_ptr(), tokens.len()) })
    }

    /// Appends one token to sequence 0, and keeps its logits.
    pub fn decode(&mut self, token: i32) -> Result<()> {
        // SAFETY: the library checks the token.
        check(unsafe { sys::tlp_session_decode(self.raw(), token) })
    }

    /// Appends tokens to sequences: `tokens[i]` to `seqs[i]`.  The last token of
    /// each sequence keeps a row of logits; rows count in the order of the array.
    pub fn eval(&mut self, tokens: &[i32], seqs: &[i32]) -> Result<()> {
        if tokens.len() != seqs.len() {
            return Err(Error::Invalid(format!(
                "{} tokens and {} sequences: equal numbers expected",
                tokens.len(),
                seqs.len()
            )));
        }
        let batch = sys::tlp_batch {
            struct_size: std::mem::size_of::<sys::tlp_batch>(),
            n: tokens.len(),
            tokens: tokens.as_ptr(),
            seqs: seqs.as_ptr(),
            want_logits: null(),
        };
        // SAFETY: both arrays have n values.
        check(unsafe { sys::tlp_session_eval(self.raw(), &batch) })
    }

    /// Rows of logits of the last evaluation.
    pub fn n_logits(&self) -> usize {
        // SAFETY: the session lives.
        unsafe { sys::tlp_session_n_logits(self.raw()) }
    }

    /// A row of logits: n_vocab values, borrowed until the next call that changes
    /// the session.
    pub fn logits(&mut self, row: usize) -> Result<&[f32]> {
        let mut logits = null();
        // SAFETY: the library checks the row.
        check(unsafe { sys::tlp_session_logits(&mut logits, self.raw(), row) })?;
        // SAFETY: a row has n_vocab values until the next evaluation, which the
        // borrow of the session excludes.
        Ok(unsafe { std::slice::from_raw_parts(logits, self.n_vocab) })
    }

    /// The `n_top` most probable tokens of a row, the most probable first; at most
    /// 256.
    pub fn top(&mut self, row: usize, n_top: usize) -> Result<Vec<Logprob>> {
        if n_top > 256 {
            return Err(Error::Invalid(format!("n_top {}: at most 256", n_top)));
        }
        let mut top: Vec<sys::tlp_logprob> = Vec::new();
        top.resize_with(n_top, Default::default);
        // SAFETY: `top` has n_top entries, and NULL asks for no further number.
        check(unsafe {
            sys::tlp_session_logprobs(top.as_mut_ptr(), n_top, null_mut(), self.raw(), row, 0)
        })?;
        Ok(top
            .iter()
            .map(|t| Logprob {
                token: t.token,
                logprob: t.logprob,
            })
            .collect())
    }

    /// Appends tokens to a sequence.  Result i is the natural logarithm of the
    /// probability of token i after all tokens before it.
    pub fn score(&mut self, seq: i32, tokens: &[i32]) -> Result<Vec<f32>> {
        let mut out = vec![0.0; tokens.len()];
        // SAFETY: both arrays have n values.
        check(unsafe {
            sys::tlp_session_score(
                out.as_mut_ptr(),
                self.raw(),
                seq,
                tokens.as_ptr(),
                tokens.len(),
            )
        })?;
        Ok(out)
    }

    /// Appends tokens to a sequence, and pools their states: n_embd values.
    pub fn embed(&mut self, seq: i32, tokens: &[i32], pooling: Pooling) -> Result<Vec<f32>> {
        let options = EmbedOptions {
            pooling,
            no_normalize: false,
        };
        let mut out = vec![0.0; self.n_embd];
        // SAFETY: `out` has n_embd values, `tokens` its length.
        check(unsafe {
            sys::tlp_session_embed(
                out.as_mut_ptr(),
                self.raw(),
                seq,
                tokens.as_ptr(),
                tokens.len(),
                &options.raw(),
            )
        })?;
        Ok(out)
    }

    /// Positions that a sequence holds; negative if there is no such sequence.
    pub fn pos(&self, seq: i32) -> i32 {
        // SAFETY: the library checks the number.
        unsafe { sys::tlp_session_pos(self.raw(), seq) }
    }

    /// Tokens that a sequence holds.
    pub fn tokens_of(&self, seq: i32) -> Result<Vec<i32>> {
        buffer::array(|ids, cap, count| {
            // SAFETY: the buffer has `cap` ids.
            unsafe { sys::tlp_session_get_tokens(ids, cap, count, self.raw(), seq) }
        })
    }

    /// Forgets the positions of a sequence from `pos` on.
    pub fn rewind(&mut self, seq: i32, pos: i32) -> Result<()> {
        // SAFETY: the library checks the numbers.
        check(unsafe { sys::tlp_session_rewind(self.raw(), seq, pos) })
    }

    /// Makes sequence `dst` a copy of `src`.
    pub fn fork(&mut self, dst: i32, src: i32) -> Result<()> {
        // SAFETY: the library checks the numbers.
        check(unsafe { sys::tlp_session_fork(self.raw(), dst, src) })
    }

    /// Forgets a sequence; -1 = all.
    pub fn clear(&mut self, seq: i32) -> Result<()> {
        // SAFETY: the library checks the number.
        check(unsafe { sys::tlp_session_clear(self.raw(), seq) })
    }

    /// Bytes of a sequence, for [`Session::load`].
    pub fn save(&mut self, seq: i32) -> Result<Vec<u8>> {
        buffer::array::<u8>(|buf, cap, len| {
            // SAFETY: the buffer has `cap` bytes.
            unsafe { sys::tlp_session_save(buf.cast(), cap, len, self.raw(), seq) }
        })
    }

    /// Replaces a sequence by a saved one.
    pub fn load(&mut self, seq: i32, saved: &[u8]) -> Result<()> {
        // SAFETY: the slice has its length; the library checks its content.
        check(unsafe { sys::tlp_session_load(self.raw(), seq, saved.as_ptr().cast(), saved.len()) })
    }

    /// Saves a sequence to a file.
    pub fn save_file(&mut self, seq: i32, path: impl AsRef<Path>) -> Result<()> {
        let path = buffer::c_path(path.as_ref())?;
        // SAFETY: the path lives for the call.
        check(unsafe { sys::tlp_session_save_file(self.raw(), seq, path.as_ptr()) })
    }

    /// Loads a sequence from a file.
    pub fn load_file(&mut self, seq: i32, path: impl AsRef<Path>) -> Result<()> {
        let path = buffer::c_path(path.as_ref())?;
        // SAFETY: the path lives for the call.
        check(unsafe { sys::tlp_session_load_file(self.raw(), seq, path.as_ptr()) })
    }

    /// Counters since the creation.
    pub fn stats(&self) -> Result<SessionStats> {
        let mut raw = SessionStats::raw();
        // SAFETY: the struct says its size.
        check(unsafe { sys::tlp_session_get_stats(&mut raw, self.raw()) })?;
        Ok(SessionStats::from_raw(&raw))
    }
}
