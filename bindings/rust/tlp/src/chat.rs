//! Chat templates.

use crate::buffer;
use crate::{Model, Result};
use std::ffi::CString;
use tlp_sys as sys;

/// One message of a chat.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// "system", "user", "assistant", ...
    pub role: String,
    /// Text of the message.
    pub content: String,
}

impl Message {
    /// Makes a message.
    pub fn new(role: impl Into<String>, content: impl Into<String>) -> Message {
        Message {
            role: role.into(),
            content: content.into(),
        }
    }
}

/// Options of a chat template.
#[derive(Clone, Debug, Default)]
pub struct ChatOptions {
    /// End with the beginning of the assistant's turn.
    pub add_generation_prompt: bool,
    /// Leave the last message open, so that the model continues its text.
    pub continue_final_message: bool,
    /// Tools as a JSON array.
    pub tools_json: Option<String>,
    /// Variables of the template as a JSON object.
    pub kwargs_json: Option<String>,
    /// A template in place of the file's.
    pub chat_template: Option<String>,
}

/// A chat in the form of C, with the texts that its pointers need.
pub(crate) struct RawChat {
    _texts: Vec<CString>,
    pub(crate) messages: Vec<sys::tlp_chat_message>,
    pub(crate) options: sys::tlp_chat_options,
}

impl RawChat {
    pub(crate) fn new(messages: &[Message], options: &ChatOptions) -> Result<RawChat> {
        let mut texts = Vec::new();
        let mut keep = |name: &str, text: &str| -> Result<*const std::os::raw::c_char> {
            let text = buffer::c_text(name, text)?;
            // The characters do not move with the CString.
            let pointer = text.as_ptr();
            texts.push(text);
            Ok(pointer)
        };
        let mut list = Vec::new();
        for message in messages {
            list.push(sys::tlp_chat_message {
                role: keep("role", &message.role)?,
                content: keep("content", &message.content)?,
            });
        }
        let mut raw = sys::tlp_chat_options {
            struct_size: std::mem::size_of::<sys::tlp_chat_options>(),
            add_generation_prompt: options.add_generation_prompt.into(),
            continue_final_message: options.continue_final_message.into(),
            ..Default::default()
        };
        if let Some(text) = &options.tools_json {
            raw.tools_json = keep("tools_json", text)?;
        }
        if let Some(text) = &options.kwargs_json {
            raw.kwargs_json = keep("kwargs_json", text)?;
        }
        if let Some(text) = &options.chat_template {
            raw.chat_template = keep("chat_template", text)?;
        }
        Ok(RawChat {
            _texts: texts,
            messages: list,
            options: raw,
        })
    }
}

impl Model {
    /// Tokens of a chat by the model's template.
    pub fn chat_tokens(&self, messages: &[Message], options: &ChatOptions) -> Result<Vec<i32>> {
        let chat = RawChat::new(messages, options)?;
        buffer::array(|ids, cap, count| {
            // SAFETY: `chat` holds what its pointers need.
            unsafe {
                sys::tlp_chat_tokenize(
                    ids,
                    cap,
                    count,
                    self.raw(),
                    chat.messages.as_ptr(),
                    chat.messages.len(),
                    &chat.options,
                )
            }
        })
    }

    /// Text of a chat by the model's template.
    pub fn chat_text(&self, messages: &[Message], options: &ChatOptions) -> Result<String> {
        let chat = RawChat::new(messages, options)?;
        buffer::string(|buf, cap, len| {
            // SAFETY: `chat` holds what its pointers need.
            unsafe {
                sys::tlp_chat_render(
                    buf,
                    cap,
                    len,
                    self.raw(),
                    chat.messages.as_ptr(),
                    chat.messages.len(),
                    &chat.options,
                )
            }
        })
    }
}
