"""Sessions: evaluation of tokens on one or more ranks."""
import queue
import threading
import weakref
from types import SimpleNamespace
from typing import Any, Iterator, Optional, Sequence, Union

from libtlp import _callbacks, _options
from libtlp._handle import Handle
from libtlp._interrupt import Abortable
from libtlp._native import ffi, lib
from libtlp.errors import check, copied_bytes, copied_ids
from libtlp.model import Model
from libtlp.plan import Path, Plan, plan_of
from libtlp.sampler import Sampler

STOP_REASONS = {0: None, 1: "length", 2: "end", 3: "stop", 4: "context",
                5: "callback", 6: "stop_token", 7: "cancel", 8: "deadline",
                9: "error"}


def session_options(options: "dict[str, Any]", keep: _options.Keep) -> Any:
    """A tlp_session_options.  devices is a list of device numbers."""
    options = dict(options)
    devices = options.pop("devices", None)
    opts = _options.fill(keep(_options.new("tlp_session_options")), options,
                         keep)
    if devices is not None:
        opts.devices, opts.n_device = keep.ids(list(devices))
    return opts


def embed_options(pooling: str, normalize: bool, keep: _options.Keep) -> Any:
    """A tlp_embed_options."""
    return _options.fill(keep(_options.new("tlp_embed_options")),
                         {"pooling": pooling, "no_normalize": not normalize},
                         keep)


class Generation:
    """Pieces of text as they become certain.  n_generated, stop_reason and
    last_token are known at the end."""

    n_generated = 0
    stop_reason: Optional[str] = None
    last_token = -1

    def __init__(self, pieces: Iterator[str]) -> None:
        self._pieces = pieces

    def __iter__(self) -> Iterator[str]:
        return self._pieces

    def __next__(self) -> str:
        return next(self._pieces)


class Session(Handle):
    """KV cache, sequences and logits.  One thread at a time may use it, besides
    abort(), which any thread may call.

    plan: a Plan, its text form, a file, or None for the serial plan.  Options
    are those of tlp_session_options: n_ctx, n_seq, n_batch, n_rank, n_thread,
    compute="f32", kv_type="q8_0", devices=[0, 1], backend="cuda", ...
    """

    def __init__(self, model: Model, plan: "Optional[Union[Plan, Path]]" = None,
                 *, progress: Any = None, **options: Any) -> None:
        keep = _options.Keep()
        opts = session_options(options, keep)
        caller = _callbacks.Caller(
            progress=_callbacks.progress_of(progress, "loading"))
        _callbacks.interruptible(caller, opts)
        self.model = model
        self.plan = plan_of(model, plan)
        self._views: "list[weakref.ref[Any]]" = []
        out = ffi.new("tlp_session **")
        caller.check(lib.tlp_session_create(out, self.plan.handle, opts))
        self._own(out[0], lib.tlp_session_free)

    def close(self) -> None:
        if not self.closed:
            self._drop_views()
        super().close()

    # ---- evaluation ----

    def _run(self, call: Any, *arguments: Any) -> None:
        """A call that changes what rows of logits stand on."""
        self._drop_views()
        with Abortable(self.handle):
            status = call(self.handle, *arguments)
        check(status)

    def _drop_views(self) -> None:
        # arrays that were cut out of an array keep it alive
        self._views = [view for view in self._views if view() is not None]
        if self._views:
            raise BufferError(
                "an array of logits(copy=False) is in use: its memory changes "
                "now; copy what you need, and delete the array")

    def prefill(self, tokens: Any) -> None:
        """Extend sequence 0, and keep the logits of the last token."""
        self._run(lib.tlp_session_prefill, _options.id_array(tokens),
                  len(tokens))

    def decode(self, token: int) -> None:
        """Extend sequence 0 by one token, and keep its logits."""
        self._run(lib.tlp_session_decode, token)

    def eval(self, tokens: Any, seqs: Any = None,
             want_logits: "Optional[Sequence[bool]]" = None) -> None:
        """Extend sequences.  want_logits: the tokens whose rows are kept (the
        last token of each sequence)."""
        keep = _options.Keep()
        batch = keep(_options.new("tlp_batch"))
        batch.tokens, batch.n = keep.ids(tokens)
        for name, values in (("seqs", seqs), ("want_logits", want_logits)):
            if values is not None and len(values) != len(tokens):
                raise ValueError(f"{name}: {len(values)} values for "
                                 f"{len(tokens)} tokens")
        if seqs is not None:
            batch.seqs = keep.ids(seqs)[0]
        if want_logits is not None:
            batch.want_logits = keep(ffi.new("uint8_t[]",
                                             [bool(w) for w in want_logits]))
        self._run(lib.tlp_session_eval, batch)

    def score(self, tokens: Any, seq: int = 0) -> Any:
        """Extend a sequence; log-probabilities of its tokens, an array."""
        import numpy  # pylint: disable=import-outside-toplevel

        out = numpy.empty(len(tokens), dtype=numpy.float32)
        self._drop_views()
        with Abortable(self.handle):
            status = lib.tlp_session_score(
                ffi.from_buffer("float[]", out), self.handle, seq,
                _options.id_array(tokens), len(tokens))
        check(status)
        return out

    def embed(self, tokens: Any, *, pooling: str = "default",
              normalize: bool = True, seq: int = 0) -> Any:
        """Extend a sequence; one vector for these tokens, an array of n_embd:
        the state behind the last token, or the mean of all (pooling="mean")."""
        import numpy  # pylint: disable=import-outside-toplevel

        out = numpy.empty(self.model.info.n_embd, dtype=numpy.float32)
        opts = embed_options(pooling, normalize, _options.Keep())
        self._drop_views()
        with Abortable(self.handle):
            status = lib.tlp_session_embed(
                ffi.from_buffer("float[]", out), self.handle, seq,
                _options.id_array(tokens), len(tokens), opts)
        check(status)
        return out

    # ---- logits ----

    @property
    def n_logits(self) -> int:
        """Rows that the last evaluation kept."""
        return int(lib.tlp_session_n_logits(self.handle))

    def logits(self, row: int = -1, *, copy: bool = True) -> Any:
        """A row of n_vocab logits.  With copy=False the array is the library's
        own memory: the next evaluation raises BufferError while it lives."""
        import numpy  # pylint: disable=import-outside-toplevel

        out = ffi.new("float **")
        index = row + self.n_logits if row < 0 else row
        if index < 0:
            raise IndexError(f"row {row} of {self.n_logits}")
        check(lib.tlp_session_logits(out, self.handle, index))
        n = self.model.n_vocab
        if copy:
            return numpy.frombuffer(memoryview(ffi.buffer(out[0], 4 * n)),
                                    dtype=numpy.float32).copy()
        # the memory keeps the session
        owner = ffi.gc(ffi.cast("float *", out[0]), _Held(self))
        view = memoryview(ffi.buffer(owner, 4 * n)).toreadonly()
        array = numpy.frombuffer(view, dtype=numpy.float32)
        self._views.append(weakref.ref(array))
        return array

    def find_row(self, seq: int = 0) -> int:
        """The row that follows the last token of a sequence."""
        row = ffi.new("size_t *")
        check(lib.tlp_session_find_row(row, self.handle, seq))
        return int(row[0])

    def logprobs(self, row: int, n_top: int = 0, token: Optional[int] = None
                 ) -> "tuple[list[tuple[int, float]], Optional[float]]":
        """The n_top likeliest tokens of a row, and the log-probability of one
        token."""
        top = ffi.new("tlp_logprob[]", max(n_top, 1))
        one = ffi.new("float *")
        check(lib.tlp_session_logprobs(
            top if n_top else ffi.NULL, n_top,
            ffi.NULL if token is None else one, self.handle, row, token or 0))
        found = [(t.token, t.logprob) for t in top[0:n_top] if t.token >= 0]
        return found, None if token is None else one[0]

    # ---- sequences ----

    def pos(self, seq: int = 0) -> int:
        """Positions that a sequence holds."""
        return int(lib.tlp_session_pos(self.handle, seq))

    def tokens(self, seq: int = 0) -> "list[int]":
        """Tokens that a sequence holds."""
        return copied_ids(lib.tlp_session_get_tokens, self.handle, seq)

    def rewind(self, pos: int, seq: int = 0) -> None:
        """Forget all positions from `pos` on."""
        check(lib.tlp_session_rewind(self.handle, seq, pos))

    def clear(self, seq: int = 0) -> None:
        """Forget a sequence."""
        check(lib.tlp_session_clear(self.handle, seq))

    def fork(self, dst: int, src: int = 0) -> None:
        """Make sequence dst a copy of sequence src."""
        check(lib.tlp_session_fork(self.handle, dst, src))

    def save(self, seq: int = 0) -> bytes:
        """A sequence as bytes."""
        return copied_bytes(lib.tlp_session_save, self.handle, seq)

    def load(self, saved: bytes, seq: int = 0) -> None:
        """Put a saved sequence in the place of sequence `seq`."""
        self._drop_views()
        check(lib.tlp_session_load(self.handle, seq, ffi.from_buffer(saved),
                                   len(saved)))

    def save_file(self, path: Path, seq: int = 0) -> None:
        """Save a sequence to a file."""
        check(lib.tlp_session_save_file(self.handle, seq, str(path).encode()))

    def load_file(self, path: Path, seq: int = 0) -> None:
        """Load a sequence from a file."""
        self._drop_views()
        check(lib.tlp_session_load_file(self.handle, seq, str(path).encode()))

    # ---- text ----

    def sample(self, sampler: Sampler, row: Optional[int] = None) -> int:
        """Choose the next token from a row (that of sequence 0)."""
        token = ffi.new("int32_t *")
        if row is None:
            row = self.find_row()
        sampler.check(lib.tlp_session_sample(token, self.handle, row,
                                             sampler.handle))
        return int(token[0])

    def generate(self, sampler: Optional[Sampler] = None, *,
                 n_predict: int = 0, stop: Sequence[str] = (), seq: int = 0,
                 ignore_end: bool = False, special: bool = False
                 ) -> Generation:
        """Text that continues a sequence, piece by piece, as an iterator.

        The library works on a thread of its own while the caller iterates;
        until the iterator ends or is closed, the session must not be used.
        """
        made = Generation(iter(()))
        made._pieces = self._generate(made, sampler, n_predict, stop, seq,
                                      ignore_end, special)
        return made

    def _generate(self, made: Generation, sampler: Optional[Sampler],
                  n_predict: int, stop: Sequence[str], seq: int,
                  ignore_end: bool, special: bool) -> Iterator[str]:
        pieces: "queue.SimpleQueue[Optional[str]]" = queue.SimpleQueue()
        ended = threading.Event()
        keep = _options.Keep()

        def take(text: str) -> bool:
            pieces.put(text)
            return ended.is_set()

        caller = _callbacks.Caller(text=take)
        opts = keep(_options.new("tlp_generate_options"))
        opts.n_predict = n_predict
        opts.ignore_end = ignore_end
        opts.flags = int(special)
        opts.seq = seq
        opts.text, opts.text_data = _callbacks.text, caller.handle
        if stop:
            opts.stop, opts.n_stop = keep.texts(stop), len(stop)
        result = keep(_options.new("tlp_generate_result"))
        failure: "list[BaseException]" = []

        def work() -> None:
            try:
                status = lib.tlp_session_generate(
                    result, self.handle,
                    sampler.handle if sampler else ffi.NULL, opts)
                (sampler.check if sampler else caller.check)(status)
            except BaseException as e:  # pylint: disable=broad-except
                failure.append(e)
            finally:
                pieces.put(None)

        self._drop_views()
        thread = threading.Thread(target=work, name="libtlp-generate")
        thread.start()
        try:
            while (piece := pieces.get()) is not None:
                yield piece
        except GeneratorExit:  # the text so far stays
            raise
        except BaseException:
            if thread.is_alive():
                lib.tlp_session_abort(self.handle)
            raise
        finally:
            ended.set()
            thread.join()
        if failure:
            raise failure[0]
        made.n_generated = int(result.n_generated)
        made.stop_reason = STOP_REASONS.get(result.stop_reason)
        made.last_token = int(result.last_token)

    # ---- facts ----

    def abort(self) -> None:
        """Stop the call that is running; any thread may do this."""
        lib.tlp_session_abort(self.handle)

    def set_threads(self, n_decode: int, n_prefill: int = 0) -> None:
        """Change the numbers of threads, from the next step on."""
        check(lib.tlp_session_set_threads(self.handle, n_decode, n_prefill))

    def stats(self) -> SimpleNamespace:
        """Counters and sizes."""
        out = _options.new("tlp_session_stats")
        check(lib.tlp_session_get_stats(out, self.handle))
        return _options.read(out)

    def reset_stats(self) -> None:
        """Set the counters to zero."""
        lib.tlp_session_reset_stats(self.handle)


class _Held:
    """Keeps a session for as long as its memory is borrowed."""

    def __init__(self, session: Session) -> None:
        self.session = session

    def __call__(self, _pointer: Any) -> None:
        """The memory is no longer borrowed."""


def session_need(plan: Plan, rank: int = -1, **options: Any) -> SimpleNamespace:
    """Memory that a session would need, without creating it."""
    keep = _options.Keep()
    out = _options.new("tlp_need")
    check(lib.tlp_session_need(out, plan.handle, session_options(options, keep),
                               rank))
    return _options.read(out)
