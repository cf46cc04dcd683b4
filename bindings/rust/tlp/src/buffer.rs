//! Texts and arrays between Rust and C.

use crate::error::{check, Error, Result};
use std::ffi::{CStr, CString};
use std::os::raw::c_char;
use std::path::Path;
use tlp_sys as sys;

/// Copies a text of the library.
///
/// # Safety
/// `text` is NULL or points to a text that ends in NUL.
pub(crate) unsafe fn text(text: *const c_char) -> String {
    if text.is_null() {
        return String::new();
    }
    // SAFETY: the caller promises a text that ends in NUL.
    unsafe { CStr::from_ptr(text) }
        .to_string_lossy()
        .into_owned()
}

/// Copies a text of `len` bytes, which may hold NUL.
///
/// # Safety
/// `text` points to `len` bytes, or `len` is 0.
pub(crate) unsafe fn bytes(text: *const c_char, len: usize) -> String {
    if len == 0 {
        return String::new();
    }
    // SAFETY: the caller promises `len` bytes.
    let bytes = unsafe { std::slice::from_raw_parts(text.cast::<u8>(), len) };
    String::from_utf8_lossy(bytes).into_owned()
}

/// Copies a text that stands in an array of a struct.
pub(crate) fn field(bytes: &[c_char]) -> String {
    let bytes: Vec<u8> = bytes
        .iter()
        .take_while(|c| **c != 0)
        .map(|c| *c as u8)
        .collect();
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Makes a C text.  A text with a NUL is an error, never cut.
pub(crate) fn c_text(name: &str, text: impl Into<Vec<u8>>) -> Result<CString> {
    CString::new(text).map_err(|e| {
        Error::Invalid(format!(
            "{}: a NUL at byte {}, which no text may hold",
            name,
            e.nul_position()
        ))
    })
}

/// Makes the C text of a path.
pub(crate) fn c_path(path: &Path) -> Result<CString> {
    use std::os::unix::ffi::OsStrExt;
    c_text("path", path.as_os_str().as_bytes())
}

/// Makes C texts, with pointers to them.  The pointers live as long as the texts.
pub(crate) fn c_texts(name: &str, texts: &[String]) -> Result<(Vec<CString>, Vec<*const c_char>)> {
    let owned: Vec<CString> = texts
        .iter()
        .map(|t| c_text(name, t.as_str()))
        .collect::<Result<_>>()?;
    let pointers = owned.iter().map(|t| t.as_ptr()).collect();
    Ok((owned, pointers))
}

/// Collects an array that `call` copies: (buffer, room, size that is needed).
pub(crate) fn array<T: Copy + Default>(
    mut call: impl FnMut(*mut T, usize, *mut usize) -> sys::tlp_status,
) -> Result<Vec<T>> {
    let mut values = vec![T::default(); 256];
    loop {
        let mut n = 0;
        let status = call(values.as_mut_ptr(), values.len(), &mut n);
        if status == sys::TLP_EBUFS && n >= values.len() {
            // A text needs room for its NUL, which the size does not count.
            values.resize(n + 1, T::default());
            continue;
        }
        check(status)?;
        values.truncate(n);
        return Ok(values);
    }
}

/// Collects a text as [`array`] does.
pub(crate) fn string(
    mut call: impl FnMut(*mut c_char, usize, *mut usize) -> sys::tlp_status,
) -> Result<String> {
    let bytes = array::<u8>(|buf, cap, len| call(buf.cast(), cap, len))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
