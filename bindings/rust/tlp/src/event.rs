//! Events of an engine.

use crate::buffer;
use crate::{Error, Logprob, StopReason};
use std::ptr::NonNull;
use tlp_sys as sys;

/// Kind of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum EventKind {
    /// The prompt is evaluated.
    Prompt,
    /// A token of the prompt.
    PromptToken,
    /// A token of a choice.
    Token,
    /// A choice has ended.
    Stop,
    /// The request has ended: its last event.
    End,
    /// An embedding.
    Embedding,
    /// A kind that this crate does not know.
    Other,
}

/// Something that happened to a request.
#[derive(Clone, Debug)]
pub struct Event {
    /// Number of the request.
    pub request: u64,
    /// What happened.
    pub kind: EventKind,
    /// Choice of the request.
    pub choice: i32,
    /// Token, or -1.
    pub token: i32,
    /// Log-probability of the token, nats, if the request asked for it.
    pub logprob: f32,
    /// Most probable tokens.
    pub top: Vec<Logprob>,
    /// Text that became certain.
    pub text: String,
    /// Why the choice ended.
    pub stop_reason: StopReason,
    /// Failure of the request.
    pub error: Option<Error>,
    /// Tokens of the prompt.
    pub n_prompt: i32,
    /// Tokens of the prompt that needed no evaluation.
    pub n_cached: i32,
    /// Tokens that were generated.
    pub n_generated: i32,
    /// Seconds since the request was submitted.
    pub seconds: f64,
}

impl Event {
    /// Copies an event of the library, and releases it.
    pub(crate) fn take(event: NonNull<sys::tlp_event>) -> Event {
        // SAFETY: the library gave the event to the caller.
        let raw = unsafe { event.as_ref() };
        let mut top = Vec::new();
        for i in 0..raw.n_top.max(0) as usize {
            // SAFETY: `top` has n_top entries.
            let entry = unsafe { &*raw.top.add(i) };
            top.push(Logprob {
                token: entry.token,
                logprob: entry.logprob,
            });
        }
        // SAFETY: the text has n_text bytes.
        let text = unsafe { buffer::bytes(raw.text, raw.n_text) };
        let error = if raw.status == sys::TLP_OK {
            None
        } else {
            Some(Error::new(raw.status, text.clone()))
        };
        let made = Event {
            request: raw.request,
            kind: kind(raw.kind),
            choice: raw.choice,
            token: raw.token,
            logprob: raw.logprob,
            top,
            text,
            stop_reason: StopReason::from_raw(raw.stop_reason),
            error,
            n_prompt: raw.n_prompt,
            n_cached: raw.n_cached,
            n_generated: raw.n_generated,
            seconds: raw.seconds,
        };
        // SAFETY: nothing borrows from the event any more.
        unsafe { sys::tlp_event_free(event.as_ptr()) };
        made
    }
}

fn kind(kind: i32) -> EventKind {
    match kind as sys::tlp_event_kind {
        sys::TLP_EVENT_PROMPT => EventKind::Prompt,
        sys::TLP_EVENT_PROMPT_TOKEN => EventKind::PromptToken,
        sys::TLP_EVENT_TOKEN => EventKind::Token,
        sys::TLP_EVENT_STOP => EventKind::Stop,
        sys::TLP_EVENT_END => EventKind::End,
        sys::TLP_EVENT_EMBEDDING => EventKind::Embedding,
        _ => EventKind::Other,
    }
}
