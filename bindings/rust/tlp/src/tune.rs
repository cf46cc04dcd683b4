//! Making, adjusting, baking and training plans; quantizing models.

use crate::buffer;
use crate::error::{check, Result};
use crate::hook::{with_progress, Progress};
use crate::options::{facts, options};
use crate::{Model, Plan, SessionOptions};
use std::path::Path;
use std::ptr::null;
use tlp_sys as sys;

options! {
    /// Options of [`make`].  One of depth, max_kl, speedup and exchanges is the
    /// target; zero in any field means its default.
    MakeOptions: tlp_plan_make_options {
        /// Target: stages.
        depth: i32,
        /// Target: highest mean KL divergence, nats.
        max_kl: f64,
        /// Target: serial / plan, in stages.
        speedup: f64,
        /// Target: exchanges that a token waits for.
        exchanges: i32,
        /// Most layers of a group; 0 = 4.
        max_group: i32,
        /// Order of the windows.
        seed: u64,
    }
}

/// Searches for a plan on a text.  n_ctx of `session` is the length of a window.
pub fn make(
    model: &Model,
    tokens: &[i32],
    options: &MakeOptions,
    session: &SessionOptions,
    progress: Option<&mut Progress<'_>>,
) -> Result<Plan> {
    let session = session.raw();
    let mut raw = options.raw();
    raw.session = &session;
    with_progress(progress, |function, data| {
        raw.progress = function;
        raw.progress_data = data;
        // SAFETY: tokens and options live for the call.
        Plan::make(model, |out| unsafe {
            sys::tlp_plan_make(out, model.raw(), tokens.as_ptr(), tokens.len(), &raw)
        })
    })
}

options! {
    /// Options of [`adjust`].
    AdjustOptions: tlp_plan_adjust_options {
        /// Fit gains.
        gains: bool,
        /// Fit norms.
        norms: bool,
        /// Rank of corrections; 0 = none.
        rank: i32,
        /// Share of the windows that judges; 0 = 0.25.
        held_out: f64,
        /// Choice of these windows.
        seed: u64,
    }
}

facts! {
    /// Report of [`adjust`].
    AdjustReport: tlp_plan_adjust_report {
        /// Mean KL divergence before, nats.
        kl_before: f64,
        /// Mean KL divergence after, nats.
        kl_after: f64,
        /// Perplexity before.
        ppl_before: f64,
        /// Perplexity after.
        ppl_after: f64,
    }
}

/// Fits adjustments of a plan to a text.
pub fn adjust(
    plan: &Plan,
    tokens: &[i32],
    options: &AdjustOptions,
    session: &SessionOptions,
    progress: Option<&mut Progress<'_>>,
) -> Result<(Plan, AdjustReport)> {
    let session = session.raw();
    let mut raw = options.raw();
    raw.session = &session;
    let mut report = AdjustReport::raw();
    let made = with_progress(progress, |function, data| {
        raw.progress = function;
        raw.progress_data = data;
        // SAFETY: tokens, options and report live for the call.
        Plan::make(plan.model(), |out| unsafe {
            let (ids, n) = (tokens.as_ptr(), tokens.len());
            sys::tlp_plan_adjust(out, &mut report, plan.raw(), ids, n, &raw)
        })
    })?;
    Ok((made, AdjustReport::from_raw(&report)))
}

facts! {
    /// Report of [`quantize`].
    QuantizeReport: tlp_quantize_result {
        /// Tensors.
        n_tensor: i32,
        /// Tensors with another type than before.
        n_converted: i32,
        /// Matrices with another type than the wanted one.
        n_fallback: i32,
        /// Bytes of all tensors.
        n_bytes: i64,
    }
}

/// Writes a model with its matrices in another type; None = types stay.
pub fn quantize(
    model: &Model,
    path: impl AsRef<Path>,
    ty: Option<&str>,
    progress: Option<&mut Progress<'_>>,
) -> Result<QuantizeReport> {
    let path = buffer::c_path(path.as_ref())?;
    let ty = ty.map(|t| buffer::c_text("type", t)).transpose()?;
    let mut raw = sys::tlp_quantize_options {
        struct_size: std::mem::size_of::<sys::tlp_quantize_options>(),
        ..Default::default()
    };
    let mut result = QuantizeReport::raw();
    with_progress(progress, |function, data| {
        raw.progress = function;
        raw.progress_data = data;
        let ty = ty.as_ref().map_or(null(), |t| t.as_ptr());
        // SAFETY: texts, options and result live for the call.
        check(unsafe { sys::tlp_model_quantize(&mut result, model.raw(), path.as_ptr(), ty, &raw) })
    })?;
    Ok(QuantizeReport::from_raw(&result))
}
