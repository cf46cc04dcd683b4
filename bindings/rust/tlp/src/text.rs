//! Tokens of texts and texts of tokens.

use crate::buffer;
use crate::{Model, Result};
use tlp_sys as sys;

/// Flag of [`Model::tokenize`]: texts of control tokens become the tokens.  Flag
/// of [`Model::detokenize`] and [`Stream`](crate::Stream): control tokens have a
/// text.
pub const SPECIAL: u32 = sys::TLP_TOKENIZE_SPECIAL;
/// Flag of [`Model::tokenize`]: begin with the token BOS where the model wants it.
pub const BOS: u32 = sys::TLP_TOKENIZE_BOS;
/// Flag of [`Model::tokenize`]: end with EOS where the model wants it.
pub const EOS: u32 = sys::TLP_TOKENIZE_EOS;

impl Model {
    /// Tokens of a text, which may hold any bytes, NUL too.  `flags` are
    /// [`SPECIAL`], [`BOS`] and [`EOS`], joined by `|`.
    pub fn tokenize(&self, text: impl AsRef<[u8]>, flags: u32) -> Result<Vec<i32>> {
        let text = text.as_ref();
        buffer::array(|ids, cap, count| {
            // SAFETY: the buffer has `cap` ids, and the text `len` bytes.
            unsafe {
                sys::tlp_tokenize(
                    ids,
                    cap,
                    count,
                    self.raw(),
                    text.as_ptr().cast(),
                    text.len(),
                    flags,
                )
            }
        })
    }

    /// Bytes of tokens, exactly: a part of a character stays a part.  `flags` is
    /// [`SPECIAL`] or 0.
    pub fn detokenize(&self, ids: &[i32], flags: u32) -> Result<Vec<u8>> {
        buffer::array::<u8>(|buf, cap, len| {
            // SAFETY: the buffer has `cap` bytes, and `ids` its length.
            unsafe {
                sys::tlp_detokenize(
                    buf.cast(),
                    cap,
                    len,
                    self.raw(),
                    ids.as_ptr(),
                    ids.len(),
                    flags,
                )
            }
        })
    }

    /// Bytes of one token.
    pub fn piece(&self, id: i32) -> Result<Vec<u8>> {
        buffer::array::<u8>(|buf, cap, len| {
            // SAFETY: the buffer has `cap` bytes.
            unsafe { sys::tlp_token_get_piece(buf.cast(), cap, len, self.raw(), id) }
        })
    }

    /// Whether a token ends a text or a turn.
    pub fn is_end(&self, id: i32) -> bool {
        // SAFETY: the model lives; the library checks the id.
        unsafe { sys::tlp_token_is_end(self.raw(), id) != 0 }
    }
}
