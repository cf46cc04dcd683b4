//! Requests of an engine.

use crate::buffer;
use crate::chat::RawChat;
use crate::error::Result;
use crate::{ChatOptions, Message, SamplerOptions};
use std::ptr::null;
use tlp_sys as sys;

/// Prompt of a request.
#[derive(Clone, Debug)]
pub enum Prompt {
    /// Tokens.
    Tokens(Vec<i32>),
    /// A chat, which the model's template turns into tokens.
    Chat(Vec<Message>, ChatOptions),
}

/// A prompt and options.  Zero means a default.
#[derive(Clone)]
pub struct Request {
    /// Prompt.
    pub prompt: Prompt,
    /// Sampler of the first choice; choice i draws with seed + i.
    pub sampler: SamplerOptions,
    /// Most tokens of each choice; 0 = until the context is full; -1 = none.
    pub n_predict: i32,
    /// Texts to generate; 0 = 1.
    pub n_choice: i32,
    /// Texts that end a choice.
    pub stop: Vec<String>,
    /// Tokens that end a choice.
    pub stop_tokens: Vec<i32>,
    /// Go on behind tokens that end a text.
    pub ignore_end: bool,
    /// Give the log-probability of each token.
    pub logprobs: bool,
    /// Most probable tokens to give with each token.
    pub n_top: i32,
    /// Requests of higher priority begin first.
    pub priority: i32,
    /// Longest time, seconds; 0 = no limit.
    pub deadline: f64,
}

impl Request {
    /// A request with default options.
    pub fn new(prompt: Prompt) -> Request {
        Request {
            prompt,
            sampler: SamplerOptions::default(),
            n_predict: 0,
            n_choice: 0,
            stop: Vec::new(),
            stop_tokens: Vec::new(),
            ignore_end: false,
            logprobs: false,
            n_top: 0,
            priority: 0,
            deadline: 0.0,
        }
    }

    /// A request that continues tokens.
    pub fn tokens(tokens: impl Into<Vec<i32>>) -> Request {
        Request::new(Prompt::Tokens(tokens.into()))
    }

    /// A request for the assistant's answer.
    pub fn chat(messages: impl Into<Vec<Message>>) -> Request {
        let options = ChatOptions {
            add_generation_prompt: true,
            ..Default::default()
        };
        Request::new(Prompt::Chat(messages.into(), options))
    }

    /// Calls `f` with the struct of C.
    pub(crate) fn with_raw<T>(&self, f: impl FnOnce(&sys::tlp_request) -> Result<T>) -> Result<T> {
        let (_texts, stop) = buffer::c_texts("stop", &self.stop)?;
        let mut raw = sys::tlp_request {
            struct_size: std::mem::size_of::<sys::tlp_request>(),
            n_predict: self.n_predict,
            n_choice: self.n_choice,
            stop: stop.as_ptr(),
            n_stop: stop.len(),
            stop_tokens: self.stop_tokens.as_ptr(),
            n_stop_token: self.stop_tokens.len(),
            ignore_end: self.ignore_end.into(),
            logprobs: self.logprobs.into(),
            n_top: self.n_top,
            priority: self.priority,
            deadline: self.deadline,
            ..Default::default()
        };
        let chat;
        match &self.prompt {
            Prompt::Tokens(tokens) => {
                raw.tokens = tokens.as_ptr();
                raw.n_token = tokens.len();
            }
            Prompt::Chat(messages, options) => {
                chat = RawChat::new(messages, options)?;
                raw.messages = chat.messages.as_ptr();
                raw.n_message = chat.messages.len();
                raw.chat = &chat.options;
                raw.tokens = null();
            }
        }
        self.sampler.with_raw(|sampler| {
            raw.sampler = &sampler;
            f(&raw)
        })
    }
}
