"""Choice of the next token: samplers and grammars."""
import json
from typing import Any, Callable, Mapping, Optional, Union

from libtlp import _callbacks, _options
from libtlp._handle import Handle
from libtlp._native import ffi, lib
from libtlp.errors import check, copied_bytes
from libtlp.model import Model


class Grammar(Handle):
    """What a text must match: GBNF, or a JSON schema.  Immutable."""

    def __init__(self, model: Model, text: Optional[str] = None, *,
                 schema: "Optional[Union[str, Mapping[str, Any], bool]]" = None
                 ) -> None:
        if (text is None) == (schema is None):
            raise TypeError("Grammar: one of text and schema expected")
        out = ffi.new("tlp_grammar **")
        if text is not None:
            raw = text.encode()
            check(lib.tlp_grammar_parse(out, model.handle, raw, len(raw)))
        else:
            raw = (schema if isinstance(schema, str)
                   else json.dumps(schema)).encode()
            check(lib.tlp_grammar_from_schema(out, model.handle, raw, len(raw)))
        self._own(out[0], lib.tlp_grammar_free)

    @property
    def text(self) -> str:
        """The grammar in GBNF."""
        return copied_bytes(lib.tlp_grammar_get_text, self.handle).decode()


def sampler_options(options: "dict[str, Any]", keep: _options.Keep) -> Any:
    """A tlp_sampler_options.  bias is a dict from tokens to numbers, logits a
    function that changes a float32 array of all logits in place."""
    options = dict(options)
    bias = options.pop("bias", None)
    grammar = options.pop("grammar", None)
    logits = options.pop("logits", None)
    opts = _options.fill(keep(_options.new("tlp_sampler_options")), options,
                         keep)
    if bias:
        array = keep(ffi.new("tlp_logit_bias[]", list(bias.items())))
        opts.bias, opts.n_bias = array, len(bias)
    if grammar is not None:
        opts.grammar = keep(grammar).handle
    if logits is not None:
        caller = keep(_callbacks.Caller(logits=_with_array(logits)))
        opts.logits, opts.logits_data = _callbacks.logits, caller.handle
    return opts


def _with_array(function: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def call(row: Any) -> Any:
        import numpy  # pylint: disable=import-outside-toplevel

        return function(numpy.frombuffer(row, dtype=numpy.float32))
    return call


class Sampler(Handle):
    """Options, accepted tokens and random numbers.  Options: temperature (0:
    greedy), top_k, top_p, min_p, repeat_penalty, frequency_penalty,
    presence_penalty, penalty_last_n, seed, bias, grammar, logits."""

    def __init__(self, model: Model, **options: Any) -> None:
        self._keep = _options.Keep()
        opts = sampler_options(options, self._keep)
        out = ffi.new("tlp_sampler **")
        check(lib.tlp_sampler_create(out, model.handle, opts))
        self._own(out[0], lib.tlp_sampler_free)

    def check(self, status: int) -> None:
        """Raise what the logits function raised, or the status's exception."""
        for item in self._keep.items:
            if isinstance(item, _callbacks.Caller):
                item.check(status)
        check(status)

    def accept(self, token: int) -> None:
        """Add a token to the window of the penalties."""
        lib.tlp_sampler_accept(self.handle, token)

    def reset(self) -> None:
        """Empty the window, and restart the random numbers and the grammar."""
        lib.tlp_sampler_reset(self.handle)

    def set_mask(self, allowed: Any) -> None:
        """Allow some tokens alone: an array of n_vocab booleans; None: all."""
        if allowed is None:
            check(lib.tlp_sampler_set_mask(self.handle, ffi.NULL, 0))
            return
        import numpy  # pylint: disable=import-outside-toplevel

        bits = numpy.packbits(numpy.asarray(allowed, dtype=bool),
                              bitorder="little")
        words = numpy.zeros(-(-len(bits) // 4) * 4, dtype=numpy.uint8)
        words[:len(bits)] = bits
        check(lib.tlp_sampler_set_mask(
            self.handle, ffi.from_buffer("uint32_t[]", words),
            len(words) // 4))

    def pick(self, logits: Any) -> int:
        """Choose a token from n_vocab logits of the program."""
        import numpy  # pylint: disable=import-outside-toplevel

        row = numpy.ascontiguousarray(logits, dtype=numpy.float32)
        token = ffi.new("int32_t *")
        self.check(lib.tlp_sampler_pick(token, self.handle,
                                        ffi.from_buffer("float[]", row)))
        return int(token[0])
