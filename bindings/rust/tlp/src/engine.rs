//! Engines: many requests at a time.

use crate::error::{check, Error, Result};
use crate::options::facts;
use crate::{Event, Plan, Request, SessionOptions};
use std::ptr::{null_mut, NonNull};
use std::sync::Arc;
use std::time::Duration;
use tlp_sys as sys;

/// Options of an engine.  Zero means a default.
#[derive(Clone, Debug, Default)]
pub struct EngineOptions {
    /// Options of its session; n_seq is the number of choices at a time, 0 = 8.
    pub session: SessionOptions,
    /// Most requests that wait and run.
    pub n_request: i32,
    /// Most tokens of prompts in a step in which choices write text.
    pub n_chunk: i32,
    /// Most tokens to guess; -1 = none.
    pub n_draft: i32,
}

facts! {
    /// Counters of an engine.
    EngineStats: tlp_engine_stats {
        /// Requests that wait.
        n_waiting: i32,
        /// Requests that run.
        n_running: i32,
        /// Requests that were submitted.
        n_submitted: u64,
        /// Requests that have ended.
        n_ended: u64,
        /// Tokens that were generated.
        n_generated: u64,
        /// Steps.
        n_step: u64,
    }
}

/// Serves many requests at a time.  Any number of threads may submit, cancel and
/// take events.  A clone is another reference.
#[derive(Clone)]
pub struct Engine(Arc<Inner>);

struct Inner {
    engine: NonNull<sys::tlp_engine>,
    _plan: Plan,
}

// SAFETY: any number of threads may use an engine at a time, and a second thread
// that steps gets TLP_ESTATE (docs/threads.md).
unsafe impl Send for Inner {}
// SAFETY: as above.
unsafe impl Sync for Inner {}

impl Drop for Inner {
    fn drop(&mut self) {
        // SAFETY: this struct owns the handle, and the last reference is gone, so
        // no other call runs.
        unsafe { sys::tlp_engine_free(self.engine.as_ptr()) }
    }
}

impl Engine {
    /// Creates an engine.  It serves once [`Engine::start`] or [`Engine::step`] is
    /// called.
    pub fn new(plan: &Plan, options: &EngineOptions) -> Result<Engine> {
        let session = options.session.raw();
        let raw = sys::tlp_engine_options {
            struct_size: std::mem::size_of::<sys::tlp_engine_options>(),
            session: &session,
            n_request: options.n_request,
            n_chunk: options.n_chunk,
            n_draft: options.n_draft,
        };
        let mut engine = null_mut();
        // SAFETY: options live for the call.
        check(unsafe { sys::tlp_engine_create(&mut engine, plan.raw(), &raw) })?;
        Ok(Engine(Arc::new(Inner {
            engine: NonNull::new(engine).expect("an engine with TLP_OK"),
            _plan: plan.clone(),
        })))
    }

    fn raw(&self) -> *mut sys::tlp_engine {
        self.0.engine.as_ptr()
    }

    /// Starts a thread of the engine that takes all steps.
    pub fn start(&self) -> Result<()> {
        // SAFETY: the engine lives.
        check(unsafe { sys::tlp_engine_start(self.raw()) })
    }

    /// Ends all requests and the engine's thread.
    pub fn stop(&self) {
        // SAFETY: the engine lives.
        unsafe { sys::tlp_engine_stop(self.raw()) }
    }

    /// Takes one step on this thread.  Returns the requests that are left.
    pub fn step(&self) -> Result<i32> {
        let mut left = 0;
        // SAFETY: the engine lives.
        check(unsafe { sys::tlp_engine_step(&mut left, self.raw()) })?;
        Ok(left)
    }

    /// Submits a request.  Returns its number.
    pub fn submit(&self, request: &Request) -> Result<u64> {
        let mut id = 0;
        request.with_raw(|raw| {
            // SAFETY: the library copies the request.
            check(unsafe { sys::tlp_engine_submit(&mut id, self.raw(), raw) })
        })?;
        Ok(id)
    }

    /// Cancels a request, from any thread or signal handler.
    pub fn cancel(&self, request: u64) {
        // SAFETY: the engine lives; an unknown number does nothing.
        unsafe { sys::tlp_engine_cancel(self.raw(), request) }
    }

    /// Takes the oldest event.  None if there was none within `timeout`; a timeout
    /// of None waits without limit.
    pub fn next(&self, timeout: Option<Duration>) -> Result<Option<Event>> {
        let ms = timeout.map_or(-1, |t| t.as_millis().min(i32::MAX as u128) as i32);
        let mut event = null_mut();
        // SAFETY: the engine lives.
        check(unsafe { sys::tlp_engine_next(&mut event, self.raw(), ms) })?;
        Ok(NonNull::new(event).map(Event::take))
    }

    /// Iterates over events until [`Engine::stop`] or a failure of a rank.
    pub fn events(&self) -> Events {
        Events(self.clone())
    }

    /// Counters since the creation.
    pub fn stats(&self) -> Result<EngineStats> {
        let mut raw = EngineStats::raw();
        // SAFETY: the struct says its size.
        check(unsafe { sys::tlp_engine_get_stats(&mut raw, self.raw()) })?;
        Ok(EngineStats::from_raw(&raw))
    }
}

/// Iterator of [`Engine::events`].  It waits for each event.
pub struct Events(Engine);

impl Iterator for Events {
    type Item = Result<Event>;

    fn next(&mut self) -> Option<Result<Event>> {
        match self.0.next(None) {
            Ok(event) => event.map(Ok),
            Err(Error::Closed(_)) => None,
            Err(error) => Some(Err(error)),
        }
    }
}
