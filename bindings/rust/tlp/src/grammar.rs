//! Grammars of texts.

use crate::buffer;
use crate::error::{check, Result};
use crate::Model;
use std::ptr::{null_mut, NonNull};
use std::sync::Arc;
use tlp_sys as sys;

/// A grammar for one model.  Immutable.  A clone is another reference.
#[derive(Clone)]
pub struct Grammar(Arc<Inner>);

struct Inner {
    grammar: NonNull<sys::tlp_grammar>,
    _model: Model,
}

// SAFETY: any number of threads may use a grammar at a time (docs/threads.md).
unsafe impl Send for Inner {}
// SAFETY: as above.
unsafe impl Sync for Inner {}

impl Drop for Inner {
    fn drop(&mut self) {
        // SAFETY: this struct owns the handle.
        unsafe { sys::tlp_grammar_free(self.grammar.as_ptr()) }
    }
}

impl Grammar {
    fn take(model: &Model, status: i32, grammar: *mut sys::tlp_grammar) -> Result<Grammar> {
        check(status)?;
        Ok(Grammar(Arc::new(Inner {
            grammar: NonNull::new(grammar).expect("a grammar with TLP_OK"),
            _model: model.clone(),
        })))
    }

    /// Reads a grammar in GBNF.
    pub fn parse(model: &Model, text: &str) -> Result<Grammar> {
        let mut out = null_mut();
        // SAFETY: the text has its length.
        let status = unsafe {
            sys::tlp_grammar_parse(&mut out, model.raw(), text.as_ptr().cast(), text.len())
        };
        Grammar::take(model, status, out)
    }

    /// Makes the grammar of the JSON texts that a JSON schema allows.
    pub fn from_schema(model: &Model, json: &str) -> Result<Grammar> {
        let mut out = null_mut();
        // SAFETY: the text has its length.
        let status = unsafe {
            sys::tlp_grammar_from_schema(&mut out, model.raw(), json.as_ptr().cast(), json.len())
        };
        Grammar::take(model, status, out)
    }

    /// The grammar in GBNF.
    pub fn text(&self) -> Result<String> {
        buffer::string(|buf, cap, len| {
            // SAFETY: the buffer has `cap` bytes.
            unsafe { sys::tlp_grammar_get_text(buf, cap, len, self.raw()) }
        })
    }

    pub(crate) fn raw(&self) -> *mut sys::tlp_grammar {
        self.0.grammar.as_ptr()
    }
}
