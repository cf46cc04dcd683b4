//! Decoder language models with layer parallelism: the safe interface of libtlp.
//!
//! A [`Model`] holds weights and vocabulary, a [`Plan`] says which layers run side
//! by side, and a [`Session`] evaluates tokens.  An [`Engine`] serves many
//! requests at a time.
//!
//! ```no_run
//! use std::ops::ControlFlow;
//! # fn main() -> tlp::Result<()> {
//! let model = tlp::Model::open("model.gguf")?;
//! let plan = tlp::Plan::parse(&model, "par:12-13,14-15")?;
//! let mut session = tlp::Session::new(&plan, &Default::default())?;
//! let mut sampler = tlp::Sampler::new(&model, &Default::default())?;
//! session.prefill(&model.tokenize("Once upon a time", tlp::BOS)?)?;
//! session.generate(&mut sampler, &Default::default(), |text| {
//!     print!("{}", text);
//!     ControlFlow::Continue(())
//! })?;
//! # Ok(())
//! # }
//! ```
//!
//! # Threads
//! Any number of threads may use a model, a plan, a grammar or an engine.  A
//! session, a sampler and a stream belong to one thread at a time, and may move:
//!
//! ```
//! fn shared<T: Send + Sync>() {}
//! fn moved<T: Send>() {}
//! shared::<tlp::Model>();
//! shared::<tlp::Plan>();
//! shared::<tlp::Grammar>();
//! shared::<tlp::Engine>();
//! shared::<tlp::AbortHandle>();
//! moved::<tlp::Session>();
//! moved::<tlp::Sampler>();
//! moved::<tlp::Stream>();
//! ```
//! ```compile_fail,E0277
//! fn shared<T: Sync>() {}
//! shared::<tlp::Session>();
//! ```
//! ```compile_fail,E0277
//! fn shared<T: Sync>() {}
//! shared::<tlp::Sampler>();
//! ```
//! ```compile_fail,E0277
//! fn shared<T: Sync>() {}
//! shared::<tlp::Stream>();
//! ```
//!
//! # Rows
//! A row of logits borrows its session, so it cannot outlive the next evaluation:
//!
//! ```compile_fail,E0499
//! fn f(session: &mut tlp::Session) -> tlp::Result<f32> {
//!     let row = session.logits(0)?;
//!     session.decode(1)?;
//!     Ok(row[0])
//! }
//! ```
#![deny(missing_docs)]
#![deny(unsafe_op_in_unsafe_fn)]

mod buffer;
mod chat;
mod engine;
mod error;
pub mod eval;
mod event;
mod generate;
mod grammar;
mod hook;
mod model;
mod options;
mod plan;
mod request;
mod sampler;
mod session;
mod stream;
mod text;
pub mod tune;

pub use chat::{ChatOptions, Message};
pub use engine::{Engine, EngineOptions, EngineStats, Events};
pub use error::{Error, Result};
pub use event::{Event, EventKind};
pub use generate::{GenerateOptions, Generated, StopReason, Tokens};
pub use grammar::Grammar;
pub use hook::Progress;
pub use model::{LogLevel, Model, ModelInfo, ModelOptions};
pub use options::{Compute, Isa, KvType, SessionOptions};
pub use plan::{Plan, PlanCost};
pub use request::{Prompt, Request};
pub use sampler::{Sampler, SamplerOptions};
pub use session::{AbortHandle, Logprob, Pooling, Session, SessionStats};
pub use stream::Stream;
pub use text::{BOS, EOS, SPECIAL};

/// Version of the loaded library: "major.minor.patch".
pub fn version() -> String {
    // SAFETY: the function has no arguments and returns a static text.
    unsafe { buffer::text(tlp_sys::tlp_version_string()) }
}

/// One line about the build and the kernels that this machine would use.
pub fn build_info() -> String {
    // SAFETY: as for the version.
    unsafe { buffer::text(tlp_sys::tlp_build_info()) }
}
