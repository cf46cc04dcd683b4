//! Models: weights, vocabulary and metadata of a file.

use crate::buffer;
use crate::error::{check, Result};
use crate::hook::{with_progress, Progress};
use std::os::raw::{c_char, c_int, c_void};
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::path::Path;
use std::ptr::{null_mut, NonNull};
use std::sync::Arc;
use tlp_sys as sys;

/// Weight of a line of log text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogLevel {
    /// A failure that a call also returns.
    Error,
    /// A problem that the library worked around.
    Warn,
    /// A fact that interests a user.
    Info,
    /// A fact that interests a developer.
    Debug,
}

type Log = Box<dyn Fn(LogLevel, &str) + Send + Sync>;

/// Options of [`Model::open_with`].
#[derive(Default)]
pub struct ModelOptions {
    /// Read the file into memory instead of mapping it.
    pub no_mmap: bool,
    /// Read vocabulary and metadata, no tensors.
    pub vocab_only: bool,
    /// Receives lines about the model, its plans and its sessions, on any thread.
    /// Panics of this function are dropped, because no call belongs to a line.
    pub log: Option<Log>,
}

/// An opened model file.  Immutable.  A clone is another reference.
#[derive(Clone)]
pub struct Model(Arc<Inner>);

struct Inner {
    model: NonNull<sys::tlp_model>,
    // Freed behind the model: plans and sessions hold this struct too.
    _log: Option<Box<Log>>,
}

// SAFETY: any number of threads may use a model at a time (docs/threads.md), and
// the log function is Send and Sync.
unsafe impl Send for Inner {}
// SAFETY: as above.
unsafe impl Sync for Inner {}

impl Drop for Inner {
    fn drop(&mut self) {
        // SAFETY: this struct owns the handle.
        unsafe { sys::tlp_model_free(self.model.as_ptr()) }
    }
}

unsafe extern "C" fn on_log(level: c_int, text: *const c_char, data: *mut c_void) {
    // SAFETY: open_with passes a Box<Log> that outlives the model.
    let log = unsafe { &*data.cast::<Log>() };
    let level = match level as u32 {
        x if x == sys::TLP_LOG_ERROR => LogLevel::Error,
        x if x == sys::TLP_LOG_WARN => LogLevel::Warn,
        x if x == sys::TLP_LOG_INFO => LogLevel::Info,
        _ => LogLevel::Debug,
    };
    // SAFETY: the library lends a text that ends in NUL.
    let text = unsafe { buffer::text(text) };
    let _ = catch_unwind(AssertUnwindSafe(|| log(level, &text)));
}

impl Model {
    /// Opens a GGUF file or a folder of Hugging Face.
    pub fn open(path: impl AsRef<Path>) -> Result<Model> {
        Model::open_with(path, ModelOptions::default(), None)
    }

    /// Opens a file with options and a progress function.
    pub fn open_with(
        path: impl AsRef<Path>,
        options: ModelOptions,
        progress: Option<&mut Progress<'_>>,
    ) -> Result<Model> {
        let path = buffer::c_path(path.as_ref())?;
        let log = options.log.map(Box::new);
        let mut raw = sys::tlp_model_options {
            struct_size: std::mem::size_of::<sys::tlp_model_options>(),
            no_mmap: options.no_mmap.into(),
            vocab_only: options.vocab_only.into(),
            ..Default::default()
        };
        if let Some(log) = &log {
            let log: *const Log = &**log;
            raw.log = Some(on_log);
            raw.log_data = log as *mut c_void;
        }
        with_progress(progress, |function, data| {
            raw.progress = function;
            raw.progress_data = data;
            let mut model = null_mut();
            // SAFETY: path and options live; the log function lives as long as
            // the model.
            check(unsafe { sys::tlp_model_open(&mut model, path.as_ptr(), &raw) })?;
            let model = NonNull::new(model).expect("a model with TLP_OK");
            Ok(Model(Arc::new(Inner { model, _log: log })))
        })
    }

    pub(crate) fn raw(&self) -> *mut sys::tlp_model {
        self.0.model.as_ptr()
    }

    /// Facts about the model.
    pub fn info(&self) -> Result<ModelInfo> {
        let mut raw = sys::tlp_model_info {
            struct_size: std::mem::size_of::<sys::tlp_model_info>(),
            ..Default::default()
        };
        // SAFETY: the struct says its size.
        check(unsafe { sys::tlp_model_get_info(&mut raw, self.raw()) })?;
        Ok(ModelInfo {
            arch: buffer::field(&raw.arch),
            name: buffer::field(&raw.name),
            quant: buffer::field(&raw.quant),
            n_layer: raw.n_layer,
            n_embd: raw.n_embd,
            n_vocab: raw.n_vocab,
            n_ctx_train: raw.n_ctx_train,
            bos: raw.bos,
            eos: raw.eos,
            eot: raw.eot,
            n_param: raw.n_param,
            n_bytes: raw.n_bytes,
        })
    }

    /// The value of a metadata key as text.
    pub fn meta(&self, key: &str) -> Result<String> {
        let key = buffer::c_text("key", key)?;
        buffer::string(|buf, cap, len| {
            // SAFETY: the buffer has `cap` bytes.
            unsafe { sys::tlp_model_get_meta(buf, cap, len, self.raw(), key.as_ptr()) }
        })
    }
}

/// Facts about a model.  A token of -1 does not exist.
#[derive(Clone, Debug)]
pub struct ModelInfo {
    /// Architecture: "llama", "qwen3", ...
    pub arch: String,
    /// Name in the file.
    pub name: String,
    /// Type of most weights.
    pub quant: String,
    /// Layers.
    pub n_layer: i32,
    /// Width of the residual stream, and values of an embedding.
    pub n_embd: i32,
    /// Tokens, and values of a row of logits.
    pub n_vocab: i32,
    /// Positions of the training.
    pub n_ctx_train: i32,
    /// Token that begins a text.
    pub bos: i32,
    /// Token that ends a text.
    pub eos: i32,
    /// Token that ends a turn.
    pub eot: i32,
    /// Parameters.
    pub n_param: i64,
    /// Bytes of all tensors.
    pub n_bytes: i64,
}
