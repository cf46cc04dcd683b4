"""The part of llama-cpp-python's class Llama that programs use most.

    from libtlp.compat import Llama

    llama = Llama("model.gguf", n_ctx=2048, plan="par:12-13,14-15")
    print(llama("Q: Name the planets. A:", max_tokens=32, stop=["Q:"]))

bindings/python/README.md lists the differences.  An argument that this class
does not know raises TypeError, as everywhere in Python; nothing is ignored.
"""
import json
import time
import uuid
from typing import Any, Iterator, Optional, Sequence, Union

from libtlp._options import Keep
from libtlp.engine import Engine, Event
from libtlp.model import Model
from libtlp.plan import Path, Plan, plan_of
from libtlp.sampler import Grammar, Sampler
from libtlp.session import Session, session_options

# What ends a choice, in OpenAI's words.
_FINISH = {"length": "length", "context": "length"}
_SAMPLING = {"temperature": 0.8, "top_p": 0.95, "min_p": 0.05, "top_k": 40,
             "repeat_penalty": 1.0, "frequency_penalty": 0.0,
             "presence_penalty": 0.0}
Stop = Union[str, Sequence[str], None]


class LlamaGrammar:
    """A grammar that waits for its model."""

    def __init__(self, text: Optional[str] = None, schema: Any = None) -> None:
        self.text, self.schema = text, schema

    @classmethod
    def from_string(cls, grammar: str, verbose: bool = False) -> "LlamaGrammar":
        """A grammar in GBNF."""
        del verbose
        return cls(text=grammar)

    @classmethod
    def from_json_schema(cls, json_schema: str, verbose: bool = False
                         ) -> "LlamaGrammar":
        """The grammar of a JSON schema."""
        del verbose
        return cls(schema=json_schema)

    def of(self, model: Model) -> Grammar:
        """The grammar for a model."""
        return Grammar(model, self.text, schema=self.schema)


class _Answer:
    """The parts of an answer in OpenAI's form."""

    def __init__(self, llama: "Llama", chat: bool, stream: bool) -> None:
        self.chat = chat
        self.base = {
            "id": ("chatcmpl-" if chat else "cmpl-") + uuid.uuid4().hex,
            "object": ("chat.completion" + ".chunk" * stream) if chat
            else "text_completion",
            "created": int(time.time()), "model": llama.model_path}

    def chunk(self, text: str, finish: Optional[str] = None, first: bool = False
              ) -> "dict[str, Any]":
        """A piece of a stream."""
        choice: "dict[str, Any]" = {"index": 0, "logprobs": None,
                                    "finish_reason": finish}
        if self.chat:
            delta = {"role": "assistant"} if first else \
                {"content": text} if text else {}
            choice["delta"] = delta
        else:
            choice["text"] = text
        return {**self.base, "choices": [choice]}

    def whole(self, text: str, finish: str, end: Event, logprobs: Any
              ) -> "dict[str, Any]":
        """A complete answer."""
        choice: "dict[str, Any]" = {"index": 0, "logprobs": logprobs,
                                    "finish_reason": finish}
        if self.chat:
            choice["message"] = {"role": "assistant", "content": text}
        else:
            choice["text"] = text
        return {**self.base, "choices": [choice], "usage": {
            "prompt_tokens": end.n_prompt,
            "completion_tokens": end.n_generated,
            "total_tokens": end.n_prompt + end.n_generated}}


class Llama:
    """A model under a plan, with the names of llama-cpp-python."""

    def __init__(self, model_path: str, *,
                 plan: "Optional[Union[Plan, Path]]" = None, n_ctx: int = 512,
                 n_batch: int = 512, n_threads: Optional[int] = None,
                 n_threads_batch: Optional[int] = None, seed: int = -1,
                 logits_all: bool = False, vocab_only: bool = False,
                 use_mmap: bool = True, verbose: bool = False,
                 n_gpu_layers: int = 0, **options: Any) -> None:
        del verbose
        if n_gpu_layers:
            raise ValueError("n_gpu_layers: backend=\"cuda\" puts all layers on "
                             "GPUs, and there is no split of layers")
        self.model_path = model_path
        self.model = Model(model_path, vocab_only=vocab_only, mmap=use_mmap)
        self._seed, self._logits_all = seed, logits_all
        self._options = {"n_ctx": n_ctx or self.model.info.n_ctx_train,
                         "n_batch": n_batch, "n_thread": n_threads,
                         "n_thread_prefill": n_threads_batch, **options}
        session_options(self._options, Keep())  # refuses unknown names now
        self._engine: Optional[Engine] = None
        self._session: Optional[Session] = None
        self._plan = None if vocab_only else plan_of(self.model, plan)

    # ---- the two ways to evaluate; each is made when it is first used ----

    @property
    def engine(self) -> Engine:
        """The engine of completions."""
        if self._engine is None:
            self._engine = Engine(self.model, self._plan,
                                  **{"n_seq": 1, **self._options})
        return self._engine

    @property
    def session(self) -> Session:
        """The session of eval() and sample()."""
        if self._session is None:
            self._session = Session(self.model, self._plan, **self._options)
        return self._session

    def close(self) -> None:
        """Release everything."""
        for part in (self._engine, self._session, self.model):
            if part is not None:
                part.close()

    # ---- facts and tokens ----

    def n_ctx(self) -> int:
        """Positions of a sequence."""
        return int(self._options["n_ctx"])

    def n_vocab(self) -> int:
        """Tokens in the vocabulary."""
        return self.model.n_vocab

    def n_embd(self) -> int:
        """Width of the residual stream."""
        return int(self.model.info.n_embd)

    def token_bos(self) -> int:
        """Token that begins a text; -1: none."""
        return int(self.model.info.bos)

    def token_eos(self) -> int:
        """Token that ends a text; -1: none."""
        return int(self.model.info.eos)

    @property
    def metadata(self) -> "dict[str, str]":
        """Keys of the file."""
        return self.model.metadata()

    def tokenize(self, text: bytes, add_bos: bool = True, special: bool = False
                 ) -> "list[int]":
        """Ids of a text; BOS is added if the file asks for it."""
        return self.model.tokenize(text, special=special, bos=add_bos)

    def detokenize(self, tokens: Sequence[int], special: bool = False) -> bytes:
        """Bytes of ids."""
        return self.model.detokenize_bytes(list(tokens), special=special)

    # ---- evaluation by hand ----

    def reset(self) -> None:
        """Forget what was evaluated."""
        self.session.clear()

    @property
    def n_tokens(self) -> int:
        """Tokens that were evaluated."""
        return self.session.pos()

    def eval(self, tokens: Sequence[int]) -> None:
        """Evaluate further tokens."""
        self.session.eval(tokens, None, [True] * len(tokens)
                          if self._logits_all else None)

    @property
    def eval_logits(self) -> "list[list[float]]":
        """Rows of logits of the last eval(): one, or all with logits_all."""
        return [self.session.logits(i).tolist()
                for i in range(self.session.n_logits)]

    def sample(self, **options: Any) -> int:
        """Choose the next token; options as in create_completion."""
        sampling = {**_SAMPLING, **options}
        with Sampler(self.model, seed=self._next_seed(None),
                     **sampling) as sampler:
            return self.session.sample(sampler)

    def embed(self, input: str, normalize: bool = False) -> "list[float]":
        """One vector for a text."""
        return self.engine.embed(input, normalize=normalize)

    # ---- texts ----

    def _next_seed(self, seed: Optional[int]) -> int:
        chosen = self._seed if seed is None else seed
        return chosen if chosen >= 0 else uuid.uuid4().int & (2 ** 63 - 1)

    def _request(self, max_tokens: Optional[int], stop: Stop,
                 seed: Optional[int], grammar: Optional[LlamaGrammar],
                 logit_bias: "Optional[dict[Any, float]]",
                 sampling: "dict[str, Any]") -> "dict[str, Any]":
        for name in sampling:
            if name not in _SAMPLING:
                raise TypeError(f"unknown argument {name!r}")
        return {"n_predict": max_tokens if max_tokens and max_tokens > 0 else 0,
                "stop": stop or (), "seed": self._next_seed(seed),
                "grammar": grammar.of(self.model) if grammar else None,
                "bias": {int(k): v for k, v in (logit_bias or {}).items()},
                **_SAMPLING, **sampling}

    def _stream(self, answer: _Answer, prompt: Any, options: "dict[str, Any]",
                echo: str) -> "Iterator[dict[str, Any]]":
        request = self.engine.submit(prompt, **options)
        try:
            if answer.chat:
                yield answer.chunk("", first=True)
            elif echo:
                yield answer.chunk(echo)
            for event in request.checked():
                if event.text:
                    yield answer.chunk(event.text)
                if event.kind == "stop":
                    yield answer.chunk(
                        "", _FINISH.get(str(event.stop_reason), "stop"))
        finally:  # also where the caller leaves before the first event
            request.cancel()

    def _complete(self, answer: _Answer, prompt: Any, options: "dict[str, Any]",
                  echo: str) -> "dict[str, Any]":
        events = list(self.engine.submit(prompt, **options).checked())
        text = "".join(e.text for e in events if e.kind in ("token", "stop"))
        stop = next(e for e in events if e.kind == "stop")
        rows = self._logprobs(events) if options.get("logprobs") else None
        end = events[-1]
        end.n_prompt = next(e for e in events if e.kind == "prompt").n_prompt
        return answer.whole(echo + text,
                            _FINISH.get(str(stop.stop_reason), "stop"), end,
                            rows)

    def _logprobs(self, events: "list[Event]") -> "dict[str, Any]":
        tokens = [e for e in events if e.kind == "token"]

        def word(token: int) -> str:
            return self.model.token_bytes(token).decode("utf-8", "replace")

        return {"tokens": [word(e.token) for e in tokens],
                "token_logprobs": [e.logprob for e in tokens],
                "top_logprobs": [{word(t): p for t, p in e.top}
                                 for e in tokens]}

    def create_completion(self, prompt: "Union[str, Sequence[int]]",
                          max_tokens: Optional[int] = 16, *, echo: bool = False,
                          stop: Stop = None, stream: bool = False,
                          seed: Optional[int] = None,
                          logprobs: Optional[int] = None,
                          grammar: Optional[LlamaGrammar] = None,
                          logit_bias: "Optional[dict[Any, float]]" = None,
                          **sampling: Any) -> Any:
        """Continue a text: an answer in OpenAI's form, or with stream=True an
        iterator of its pieces.  max_tokens None or 0: until the context is
        full."""
        options = self._request(max_tokens, stop, seed, grammar, logit_bias,
                                sampling)
        if logprobs is not None:
            if stream:
                raise ValueError("logprobs are not part of a stream here")
            options.update(logprobs=1, n_top=logprobs)
        head = ""
        if echo:
            head = prompt if isinstance(prompt, str) \
                else self.model.detokenize(list(prompt))
        answer = _Answer(self, False, stream)
        make = self._stream if stream else self._complete
        return make(answer, prompt, options, head)

    __call__ = create_completion

    def create_chat_completion(self, messages: "Sequence[dict[str, Any]]", *,
                               max_tokens: Optional[int] = None,
                               stop: Stop = None, stream: bool = False,
                               seed: Optional[int] = None,
                               tools: Optional[Sequence[Any]] = None,
                               response_format: "Optional[dict[str, Any]]" = None,
                               grammar: Optional[LlamaGrammar] = None,
                               logit_bias: "Optional[dict[Any, float]]" = None,
                               **sampling: Any) -> Any:
        """Answer a conversation through the model's chat template."""
        if response_format and response_format.get("type") == "json_object":
            schema = response_format.get("schema", {"type": "object"})
            grammar = LlamaGrammar.from_json_schema(json.dumps(schema))
        options = self._request(max_tokens, stop, seed, grammar, logit_bias,
                                {"temperature": 0.2, **sampling})
        prompt = self.model.chat_tokens(messages, tools=tools)
        answer = _Answer(self, True, stream)
        make = self._stream if stream else self._complete
        return make(answer, prompt, options, "")
