//! Plans: which layers run side by side.

use crate::buffer;
use crate::error::{check, Result};
use crate::options::facts;
use crate::Model;
use std::path::Path;
use std::ptr::{null_mut, NonNull};
use std::sync::Arc;
use tlp_sys as sys;

/// Which layers run side by side, and how.  Immutable.  A clone is another
/// reference.
#[derive(Clone)]
pub struct Plan(Arc<Inner>);

struct Inner {
    plan: NonNull<sys::tlp_plan>,
    model: Model,
}

// SAFETY: any number of threads may use a plan at a time (docs/threads.md).
unsafe impl Send for Inner {}
// SAFETY: as above.
unsafe impl Sync for Inner {}

impl Drop for Inner {
    fn drop(&mut self) {
        // SAFETY: this struct owns the handle.
        unsafe { sys::tlp_plan_free(self.plan.as_ptr()) }
    }
}

facts! {
    /// What a plan costs for each decoded token.
    PlanCost: tlp_plan_cost {
        /// Ranks.
        n_rank: i32,
        /// Stages that run one after another.
        effective_depth: i32,
        /// Layers.
        n_layer: i32,
        /// All-reduces.
        allreduces: i32,
        /// Exchanges that a token waits for.
        exchanges: i32,
        /// Bytes that ranks send.
        comm_bytes: u64,
        /// Bytes of weights that the rank with the largest share reads.
        max_rank_bytes: u64,
    }
}

impl Plan {
    /// Takes the handle that `make` has made for a model.
    pub(crate) fn make(
        model: &Model,
        make: impl FnOnce(*mut *mut sys::tlp_plan) -> sys::tlp_status,
    ) -> Result<Plan> {
        let mut plan = null_mut();
        check(make(&mut plan))?;
        let plan = NonNull::new(plan).expect("a plan with TLP_OK");
        let model = model.clone();
        Ok(Plan(Arc::new(Inner { plan, model })))
    }

    /// Reads a plan from its text, such as "par:12-13,14-15" or "serial".
    pub fn parse(model: &Model, text: &str) -> Result<Plan> {
        let text = buffer::c_text("plan", text)?;
        // SAFETY: the text lives for the call.
        Plan::make(model, |out| unsafe {
            sys::tlp_plan_parse(out, model.raw(), text.as_ptr())
        })
    }

    /// Reads a plan from a file.
    pub fn load(model: &Model, path: impl AsRef<Path>) -> Result<Plan> {
        let path = buffer::c_path(path.as_ref())?;
        // SAFETY: the path lives for the call.
        Plan::make(model, |out| unsafe {
            sys::tlp_plan_load(out, model.raw(), path.as_ptr())
        })
    }

    /// Writes the plan to a file.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        let path = buffer::c_path(path.as_ref())?;
        // SAFETY: the path lives for the call.
        check(unsafe { sys::tlp_plan_save(self.raw(), path.as_ptr()) })
    }

    /// The plan as text.
    pub fn text(&self) -> Result<String> {
        self.format(sys::TLP_PLAN_TEXT as i32)
    }

    /// The plan as JSON.
    pub fn json(&self) -> Result<String> {
        self.format(sys::TLP_PLAN_JSON as i32)
    }

    fn format(&self, form: i32) -> Result<String> {
        buffer::string(|buf, cap, len| {
            // SAFETY: the buffer has `cap` bytes.
            unsafe { sys::tlp_plan_format(buf, cap, len, self.raw(), form) }
        })
    }

    /// What the plan costs on a number of ranks.
    pub fn cost(&self, n_rank: i32) -> Result<PlanCost> {
        let mut raw = PlanCost::raw();
        // SAFETY: the struct says its size.
        check(unsafe { sys::tlp_plan_get_cost(&mut raw, self.raw(), n_rank) })?;
        Ok(PlanCost::from_raw(&raw))
    }

    /// The model that the plan is for.
    pub fn model(&self) -> &Model {
        &self.0.model
    }

    pub(crate) fn raw(&self) -> *mut sys::tlp_plan {
        self.0.plan.as_ptr()
    }
}
