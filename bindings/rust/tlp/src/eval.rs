//! Quality of plans.

use crate::error::{check, Error, Result};
use crate::options::facts;
use crate::Session;
use tlp_sys as sys;

facts! {
    /// Difference of a row of logits from a reference row.
    Divergence: tlp_divergence {
        /// KL(reference || row), nats.
        kl: f64,
        /// Top token of the reference.
        reference_top1: i32,
        /// Top token of the row.
        top1: i32,
    }
}

/// Compares a row of n_vocab logits with a reference row.
pub fn compare_logits(reference: &[f32], logits: &[f32]) -> Result<Divergence> {
    if reference.len() != logits.len() {
        return Err(Error::Invalid(format!(
            "rows of {} and {} logits: equal lengths expected",
            reference.len(),
            logits.len()
        )));
    }
    let mut raw = Divergence::raw();
    // SAFETY: both rows have the length that is passed.
    check(unsafe {
        sys::tlp_logits_compare(
            &mut raw,
            reference.as_ptr(),
            logits.as_ptr(),
            reference.len(),
        )
    })?;
    Ok(Divergence::from_raw(&raw))
}

/// Perplexity of a text in windows of `n_ctx` tokens, each from position 0, on
/// sequence 0, whose content is lost.
pub fn perplexity(session: &mut Session, tokens: &[i32], n_ctx: usize) -> Result<f64> {
    let (mut total, mut n) = (0.0, 0);
    for window in tokens.chunks(n_ctx.max(2)).filter(|w| w.len() > 1) {
        session.clear(0)?;
        let scores = session.score(0, window)?;
        total -= scores[1..].iter().map(|x| f64::from(*x)).sum::<f64>();
        n += window.len() - 1;
    }
    if n == 0 {
        return Err(Error::Invalid(
            "tokens: a text of at least two expected".into(),
        ));
    }
    Ok((total / n as f64).exp())
}

/// Confidence interval (lower, upper) of a mean of at least two values, by the
/// bootstrap.
pub fn bootstrap_mean(values: &[f64], level: f64, seed: u64) -> Result<(f64, f64)> {
    let (mut lo, mut hi) = (0.0, 0.0);
    // SAFETY: the slice has its length; NULL = weights of 1.
    check(unsafe {
        sys::tlp_bootstrap_mean(
            &mut lo,
            &mut hi,
            values.as_ptr(),
            std::ptr::null(),
            values.len(),
            level,
            seed,
        )
    })?;
    Ok((lo, hi))
}
