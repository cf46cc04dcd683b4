"""Requests of many clients on one session."""
import asyncio
import queue
import threading
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import (Any, AsyncIterator, Callable, Iterator, Optional, Sequence,
                    Union)

from libtlp import _callbacks, _options
from libtlp._handle import Handle
from libtlp._native import ffi, lib
from libtlp.errors import ClosedError, check, error_of
from libtlp.model import Messages, Model, chat_options
from libtlp.plan import Path, Plan, plan_of
from libtlp.sampler import sampler_options
from libtlp.session import STOP_REASONS, embed_options, session_options

KINDS = {1: "prompt", 2: "prompt_token", 3: "token", 4: "stop", 5: "end",
         6: "embedding"}

_REQUEST = ("n_predict", "n_choice", "ignore_end", "logprobs",
            "prompt_logprobs", "n_top", "priority", "client", "deadline")


@dataclass
class Event:
    """Something that happened to a request."""

    kind: str  # "prompt", "prompt_token", "token", "stop", "end", "embedding"
    choice: int
    token: int
    text: str
    logprob: float
    top: "list[tuple[int, float]]"
    stop_reason: Optional[str]
    n_prompt: int
    n_cached: int
    n_generated: int
    seconds: float
    error: Optional[Exception] = None
    embedding: "Optional[list[float]]" = None
    seq: int = -1  # of the choice, or of the prompt


@dataclass
class Completion:
    """A request that has ended: a text and a reason for each choice."""

    texts: "list[str]"
    tokens: "list[list[int]]"
    stop_reasons: "list[Optional[str]]"
    n_prompt: int = 0
    n_cached: int = 0
    n_generated: int = 0
    seconds: float = 0
    logprobs: "list[list[float]]" = field(default_factory=list)
    errors: "list[Exception]" = field(default_factory=list)

    @property
    def text(self) -> str:
        """The text of the first choice."""
        return self.texts[0]


def _event(e: Any) -> Event:
    text = ffi.buffer(e.text, e.n_text)[:].decode() if e.n_text else ""
    failed = e.status != 0
    return Event(KINDS.get(e.kind, "other"), e.choice, e.token,
                 "" if failed else text, e.logprob,
                 [(t.token, t.logprob) for t in e.top[0:e.n_top]]
                 if e.n_top else [],
                 STOP_REASONS.get(e.stop_reason), e.n_prompt, e.n_cached,
                 e.n_generated, e.seconds,
                 error_of(e.status, text) if failed else None,
                 list(e.embedding[0:e.n_embedding]) if e.n_embedding else None,
                 e.seq)


class Request:
    """A request that was submitted: an iterator of its events, synchronous or
    asynchronous, until its end."""

    def __init__(self, engine: "Engine", put: Callable[[Any], None],
                 events: Any) -> None:
        self.engine = engine
        self.id = 0
        self._put = put
        self._events = events
        self._ended = False

    def cancel(self) -> None:
        """End the request; nothing happens if it has ended."""
        self.engine._cancel(self.id)

    def _take(self, event: Any) -> Event:
        if isinstance(event, BaseException):
            self._ended = True
            raise event
        self._ended = event.kind == "end"
        return event  # type: ignore[no-any-return]

    def __iter__(self) -> Iterator[Event]:
        while not self._ended:
            yield self._take(self._events.get())

    async def __aiter__(self) -> AsyncIterator[Event]:
        while not self._ended:
            yield self._take(await self._events.get())

    def checked(self) -> Iterator[Event]:
        """The events; an error of a choice is raised, and leaving the iterator
        cancels the request."""
        try:
            for event in self:
                if event.error is not None:
                    raise event.error
                yield event
        finally:
            self.cancel()

    def wait(self) -> Completion:
        """Wait for the end.  An error of a choice is raised."""
        try:
            done = _Collector()
            for event in self:
                done.add(event)
        except BaseException:
            self.cancel()
            raise
        return done.result()

    async def result(self) -> Completion:
        """Wait for the end in asyncio.  A canceled task cancels the request."""
        done = _Collector()
        try:
            async for event in self:
                done.add(event)
        except BaseException:
            self.cancel()
            raise
        return done.result()


class _Collector:
    def __init__(self) -> None:
        self.texts: "dict[int, list[str]]" = {}
        self.tokens: "dict[int, list[int]]" = {}
        self.logprobs: "dict[int, list[float]]" = {}
        self.reasons: "dict[int, Optional[str]]" = {}
        self.errors: "list[Exception]" = []
        self.last: Optional[Event] = None
        self.prompt: Optional[Event] = None

    def add(self, e: Event) -> None:
        """Take an event into the result."""
        self.last = e
        if e.kind == "prompt":
            self.prompt = e
        if e.kind in ("token", "stop"):
            self.texts.setdefault(e.choice, []).append(e.text)
        if e.kind == "token":
            self.tokens.setdefault(e.choice, []).append(e.token)
            self.logprobs.setdefault(e.choice, []).append(e.logprob)
        if e.kind == "stop":
            self.reasons[e.choice] = e.stop_reason
            if e.error is not None:
                self.errors.append(e.error)

    def result(self) -> Completion:
        """The completion; raises the first error."""
        if self.errors:
            raise self.errors[0]
        n = range(max(self.reasons, default=-1) + 1)
        end, prompt = self.last, self.prompt or self.last
        assert end is not None and prompt is not None
        return Completion(
            ["".join(self.texts.get(i, [])) for i in n],
            [self.tokens.get(i, []) for i in n],
            [self.reasons.get(i) for i in n], prompt.n_prompt, prompt.n_cached,
            end.n_generated, end.seconds,
            [self.logprobs.get(i, []) for i in n], self.errors)


class Engine(Handle):
    """Requests on a session of its own; any thread may submit.

    plan and options are those of Session (n_seq: texts written at a time), with
    n_request, n_chunk and n_draft of the engine.
    """

    def __init__(self, model: Model, plan: "Optional[Union[Plan, Path]]" = None,
                 *, n_request: int = 0, n_chunk: int = 0, n_draft: int = 0,
                 progress: Any = None, **options: Any) -> None:
        keep = _options.Keep()
        opts = keep(_options.new("tlp_engine_options"))
        session = session_options(options, keep)
        caller = _callbacks.Caller(
            progress=_callbacks.progress_of(progress, "loading"))
        _callbacks.interruptible(caller, session)
        opts.session = session
        opts.n_request, opts.n_chunk, opts.n_draft = n_request, n_chunk, n_draft
        self.model = model
        self.plan = plan_of(model, plan)
        out = ffi.new("tlp_engine **")
        caller.check(lib.tlp_engine_create(out, self.plan.handle, opts))
        self._own(out[0], lib.tlp_engine_free)
        self._lock = threading.Lock()
        self._requests: "dict[int, tuple[Request, Any]]" = {}
        self._failure: Optional[BaseException] = None
        check(lib.tlp_engine_start(self.handle))
        self._thread = threading.Thread(target=self._hand_out,
                                        args=(self._pointer,),
                                        name="libtlp-engine", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End all requests, and release the engine."""
        if self.closed:
            return
        lib.tlp_engine_stop(self.handle)
        if threading.current_thread() is not self._thread:
            self._thread.join()
        super().close()

    def __del__(self) -> None:
        try:
            self.close()
        except Exception:  # pylint: disable=broad-except
            pass

    # ---- events ----

    def _hand_out(self, handle: Any) -> None:
        out = ffi.new("tlp_event **")
        while True:
            status = lib.tlp_engine_next(out, handle, -1)
            if status != 0:
                break
            key = int(ffi.cast("uintptr_t", out[0].user))
            event = _event(out[0])
            lib.tlp_event_free(out[0])
            with self._lock:
                request = self._requests[key][0]
                if event.kind == "end":
                    del self._requests[key]
            request._put(event)
        self._end(status)

    def _end(self, status: int) -> None:
        """No event will come: every request that is left fails."""
        try:
            check(status)
        except ClosedError:
            failure: Exception = ClosedError("the engine is closed")
        except Exception as e:  # pylint: disable=broad-except
            failure = e
        else:
            return
        with self._lock:
            left = [r for r, _ in self._requests.values()]
            self._requests.clear()
            self._failure = failure
        for request in left:
            request._put(failure)

    def _cancel(self, number: int) -> None:
        if not self.closed:
            lib.tlp_engine_cancel(self.handle, number)

    # ---- requests ----

    def submit(self, prompt: "Union[str, Sequence[int], Messages]",
               **options: Any) -> Request:
        """Submit a prompt: a text, token ids, or messages in the form of
        OpenAI's API.

        Options: n_predict, n_choice, stop (texts), stop_tokens, ignore_end,
        special, logprobs, prompt_logprobs, n_top, priority, client, deadline;
        chat: a dict of options of Model.chat_text; those of a Sampler.
        """
        events: "queue.SimpleQueue[Any]" = queue.SimpleQueue()
        return self._submit(Request(self, events.put, events), prompt, options)

    def submit_async(self, prompt: "Union[str, Sequence[int], Messages]",
                     **options: Any) -> Request:
        """Like submit, for `async for` and result() in a running event loop."""
        loop = asyncio.get_running_loop()
        events: "asyncio.Queue[Any]" = asyncio.Queue()

        def put(event: Any) -> None:
            try:
                loop.call_soon_threadsafe(events.put_nowait, event)
            except RuntimeError:  # the loop is closed: nobody waits
                pass
        return self._submit(Request(self, put, events), prompt, options)

    def _submit(self, request: Request, prompt: Any,
                options: "dict[str, Any]") -> Request:
        keep, handle = _options.Keep(), self.handle
        r = self._request(prompt, dict(options), keep)
        key = id(request)
        r.user = ffi.cast("void *", key)
        number = ffi.new("uint64_t *")
        with self._lock:
            if self._failure is not None:
                raise self._failure
            self._requests[key] = (request, keep)
        status = lib.tlp_engine_submit(number, handle, r)
        if status != 0:
            with self._lock:
                self._requests.pop(key, None)
            check(status)
        request.id = int(number[0])
        return request

    def _request(self, prompt: Any, options: "dict[str, Any]",
                 keep: _options.Keep) -> Any:
        r = keep(_options.new("tlp_request"))
        chat = options.pop("chat", {})
        self._prompt(r, prompt, chat, keep)
        stop = options.pop("stop", ())
        stop = [stop] if isinstance(stop, (str, bytes)) else list(stop)
        if stop:
            r.stop, r.n_stop = keep.texts(stop), len(stop)
        stop_tokens = list(options.pop("stop_tokens", ()))
        if stop_tokens:
            r.stop_tokens, r.n_stop_token = keep.ids(stop_tokens)
        if "pooling" in options:
            r.embed = embed_options(options.pop("pooling"),
                                    options.pop("normalize", True), keep)
        r.flags = int(options.pop("special", False))
        _options.fill(r, {k: options.pop(k) for k in _REQUEST
                          if k in options}, keep)
        if options:
            r.sampler = sampler_options(options, keep)
        return r

    def _prompt(self, r: Any, prompt: Any, chat: "dict[str, Any]",
                keep: _options.Keep) -> None:
        if isinstance(prompt, (str, bytes)):
            prompt = self.model.tokenize(prompt, bos=True)
        elif len(prompt) and isinstance(prompt[0], dict):
            prompt = self.model.chat_tokens(prompt, **chat)
        r.tokens, r.n_token = keep.ids(prompt)

    def generate(self, prompt: "Union[str, Sequence[int], Messages]",
                 **options: Any) -> Iterator[str]:
        """Pieces of text of one choice, as they become certain."""
        for event in self.submit(prompt, **options).checked():
            if event.text and event.kind in ("token", "stop"):
                yield event.text

    async def stream(self, prompt: "Union[str, Sequence[int], Messages]",
                     **options: Any) -> AsyncIterator[str]:
        """Pieces of text of one choice, for `async for`."""
        request = self.submit_async(prompt, **options)
        try:
            async for event in request:
                if event.error is not None:
                    raise event.error
                if event.text and event.kind in ("token", "stop"):
                    yield event.text
        finally:
            request.cancel()

    def complete(self, prompt: "Union[str, Sequence[int], Messages]",
                 **options: Any) -> Completion:
        """Submit a prompt, and wait for its end."""
        return self.submit(prompt, **options).wait()

    def embed(self, prompt: "Union[str, Sequence[int]]", *,
              pooling: str = "default", normalize: bool = True,
              **options: Any) -> "list[float]":
        """One vector for a text."""
        request = self.submit(prompt, pooling=pooling, normalize=normalize,
                              **options)
        return next(event.embedding for event in list(request.checked())
                    if event.embedding is not None)

    # ---- sequences ----

    def slot(self, seq: int) -> SimpleNamespace:
        """The use of a sequence, as it was after the engine's last step."""
        out = _options.new("tlp_slot")
        check(lib.tlp_engine_get_slot(out, self.handle, seq))
        return _options.read(out)

    def save_file(self, path: Path, seq: int = 0) -> int:
        """Save a sequence that no request uses; returns its positions."""
        n = ffi.new("int32_t *")
        check(lib.tlp_engine_save_file(n, self.handle, seq,
                                       str(path).encode()))
        return int(n[0])

    def load_file(self, path: Path, seq: int = 0) -> int:
        """Load a sequence, for prompts that begin like it; returns its
        positions."""
        n = ffi.new("int32_t *")
        check(lib.tlp_engine_load_file(n, self.handle, seq,
                                       str(path).encode()))
        return int(n[0])

    def clear(self, seq: int = 0) -> int:
        """Forget a sequence that no request uses; returns its positions."""
        n = ffi.new("int32_t *")
        check(lib.tlp_engine_clear(n, self.handle, seq))
        return int(n[0])

    # ---- facts ----

    def stats(self) -> SimpleNamespace:
        """Counters of the engine."""
        out = _options.new("tlp_engine_stats")
        check(lib.tlp_engine_get_stats(out, self.handle))
        return _options.read(out)

    def session_stats(self) -> SimpleNamespace:
        """Counters and sizes of its session."""
        out = _options.new("tlp_session_stats")
        check(lib.tlp_engine_get_session_stats(out, self.handle))
        return _options.read(out)
