"""Models: weights, vocabulary, metadata, chat templates."""
import json
import os
from typing import Any, Iterator, Optional, Sequence, Union

from libtlp import _callbacks, _options
from libtlp._handle import Handle
from libtlp._native import ffi, lib, text_of
from libtlp.errors import check, copied_ids, copied_bytes

Messages = Sequence["dict[str, Any]"]
_TOKENIZE_SPECIAL, _TOKENIZE_BOS, _TOKENIZE_EOS = 1, 2, 4


class Model(Handle):
    """A model file: GGUF, or a folder of Hugging Face.  Immutable; any number
    of threads may use it."""

    def __init__(self, path: "str | os.PathLike[str]", *,
                 vocab_only: bool = False, mmap: bool = True,
                 trust_sample: bool = False, progress: Any = None) -> None:
        caller = _callbacks.Caller(
            progress=_callbacks.progress_of(progress, "loading"))
        opts = _options.new("tlp_model_options")
        opts.no_mmap = not mmap
        opts.vocab_only = vocab_only
        opts.trust_sample = trust_sample
        opts.log = _callbacks.log
        _callbacks.interruptible(caller, opts)
        out = ffi.new("tlp_model **")
        self.path = os.fspath(path)
        caller.check(lib.tlp_model_open(out, self.path.encode(), opts))
        self._own(out[0], lib.tlp_model_free)
        info = _options.new("tlp_model_info")
        check(lib.tlp_model_get_info(info, self.handle))
        self.info = _options.read(info)

    def __repr__(self) -> str:
        return f"<libtlp.Model {self.path!r}, {self.info.arch}, " \
               f"{self.info.n_layer} layers, {self.info.quant}>"

    @property
    def n_vocab(self) -> int:
        """Tokens in the vocabulary."""
        return int(self.info.n_vocab)

    def digest(self) -> str:
        """SHA-256 over hyper-parameters and all tensors."""
        return copied_bytes(lib.tlp_model_get_digest, self.handle).decode()

    def metadata(self) -> "dict[str, str]":
        """All keys of the file, with their values as text."""
        keys = [text_of(lib.tlp_model_meta_key(self.handle, i))
                for i in range(self.info.n_meta)]
        return {key: self.get_metadata(key) for key in keys}

    def get_metadata(self, key: str) -> str:
        """The value of one key as text."""
        return copied_bytes(lib.tlp_model_get_meta, self.handle,
                           key.encode()).decode("utf-8", "replace")

    def tensors(self) -> Iterator[Any]:
        """Name, type and size of every tensor."""
        for i in range(self.info.n_tensor):
            info = _options.new("tlp_tensor_info")
            check(lib.tlp_model_get_tensor(info, self.handle, i))
            yield _options.read(info)

    # ---- tokens ----

    def tokenize(self, text: Union[str, bytes], *, special: bool = False,
                 bos: bool = False, eos: bool = False) -> "list[int]":
        """Ids of a text.  special: text such as <|im_start|> becomes one token;
        bos, eos: add them if the file asks for them."""
        raw = text.encode() if isinstance(text, str) else text
        flags = special * _TOKENIZE_SPECIAL | bos * _TOKENIZE_BOS \
            | eos * _TOKENIZE_EOS
        return copied_ids(lib.tlp_tokenize, self.handle, raw, len(raw), flags)

    def detokenize_bytes(self, ids: Any, *, special: bool = False) -> bytes:
        """The exact bytes of ids."""
        array = _options.id_array(ids)
        return copied_bytes(lib.tlp_detokenize, self.handle, array, len(ids),
                           int(special))

    def detokenize(self, ids: Any, *, special: bool = False) -> str:
        """Text of ids; bytes that are not UTF-8 become U+FFFD."""
        return self.detokenize_bytes(ids, special=special).decode("utf-8",
                                                                  "replace")

    def token_bytes(self, token: int) -> bytes:
        """The bytes of one token inside a text."""
        return copied_bytes(lib.tlp_token_get_piece, self.handle, token)

    def token_is_end(self, token: int) -> bool:
        """Does the token end a text or a chat turn?"""
        return bool(lib.tlp_token_is_end(self.handle, token))

    # ---- conversations ----

    def chat_tokens(self, messages: Messages, **options: Any) -> "list[int]":
        """Ids of a conversation in the way of the chat template.  The messages
        have the form of OpenAI's API; options are those of chat_text."""
        keep = _options.Keep()
        opts = chat_options(messages, options, keep)
        return copied_ids(lib.tlp_chat_tokenize, self.handle, ffi.NULL, 0, opts)

    def chat_text(self, messages: Messages, **options: Any) -> str:
        """Text of a conversation.  Options: add_generation_prompt (True),
        continue_final_message, tools, documents, kwargs (a dict for the
        template), chat_template, template_name, now."""
        keep = _options.Keep()
        opts = chat_options(messages, options, keep)
        return copied_bytes(lib.tlp_chat_render, self.handle, ffi.NULL, 0,
                           opts).decode("utf-8", "replace")


def chat_options(messages: Optional[Messages], options: "dict[str, Any]",
                 keep: _options.Keep) -> Any:
    """A tlp_chat_options."""
    options = dict(options)
    opts = keep(_options.new("tlp_chat_options"))
    goes_on = options.get("continue_final_message", False)
    opts.add_generation_prompt = options.pop("add_generation_prompt",
                                             not goes_on)
    for name in ("tools", "documents", "kwargs"):
        value = options.pop(name, None)
        if value is not None:
            options[name + "_json"] = json.dumps(value)
    if messages is not None:
        options["messages_json"] = json.dumps(list(messages))
    return _options.fill(opts, options, keep)
