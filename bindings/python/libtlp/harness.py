"""lm-evaluation-harness on libtlp.

    python -m libtlp.harness run --tasks TASK \\
        --model libtlp --model_args pretrained=model.gguf,plan=p.json

is lm_eval with the model "libtlp"; so is lm_eval after `import libtlp.harness`.
Arguments of the model: pretrained (a file or a folder), plan, n_ctx (4096 at
most, unless it is given), n_seq (8), max_gen_toks (256), and further options of
a session, such as backend=cuda; lm_eval's own --device is not read.
"""
from typing import Any, Iterable, Optional, Sequence, Tuple

from lm_eval import utils
from lm_eval.api.model import TemplateLM
from lm_eval.api.registry import register_model

from libtlp.engine import Engine, Request
from libtlp.model import Model

# Names of generation options in the harness, and here.
_SAMPLING = {"temperature": "temperature", "top_p": "top_p", "top_k": "top_k",
             "min_p": "min_p", "seed": "seed",
             "repetition_penalty": "repeat_penalty"}

Scored = Tuple[Any, Sequence[int], Sequence[int]]


@register_model("libtlp")
class LibtlpLM(TemplateLM):  # type: ignore[misc]
    """A model under a plan; its requests run side by side in an engine."""

    def __init__(self, pretrained: str, plan: Optional[str] = None,
                 n_ctx: int = 0, n_seq: int = 8, max_gen_toks: int = 256,
                 batch_size: Any = None, max_batch_size: Any = None,
                 device: Optional[str] = None, **options: Any) -> None:
        super().__init__()
        del device  # lm_eval says cuda:0 where nobody asked for it
        self.batch_size, self.max_batch_size = batch_size, max_batch_size
        self.model = Model(pretrained)
        self.engine = Engine(self.model, plan, n_ctx=int(n_ctx),
                             n_seq=int(n_seq), **options)
        self.max_length = int(self.engine.stats().n_ctx)
        self.max_gen_toks = int(max_gen_toks)
        self.n_waiting = 4 * int(n_seq)

    # ---- tokens ----

    @property
    def eot_token_id(self) -> int:
        return int(self.model.info.eos)

    @property
    def prefix_token_id(self) -> int:
        bos = int(self.model.info.bos)
        return bos if bos >= 0 else self.eot_token_id

    def tok_encode(self, string: str, add_special_tokens: Optional[bool] = None,
                   **_: Any) -> "list[int]":
        return self.model.tokenize(string, special=True,
                                   bos=add_special_tokens is not False)

    @property
    def tokenizer_name(self) -> str:
        return str(self.model.info.fingerprint)

    def chat_template(self, chat_template: Any = False) -> Optional[str]:
        if isinstance(chat_template, str):
            return self.model.get_metadata("tokenizer.chat_template."
                                           + chat_template)
        return self.model.get_metadata("tokenizer.chat_template") \
            if chat_template else None

    def apply_chat_template(self, chat_history: "list[dict[str, str]]",
                            add_generation_prompt: bool = True) -> str:
        return self.model.chat_text(
            chat_history, add_generation_prompt=add_generation_prompt,
            continue_final_message=not add_generation_prompt)

    # ---- requests ----

    def _run(self, prompts: "Iterable[tuple[Sequence[int], dict[str, Any]]]",
             title: str, quiet: bool) -> "list[Any]":
        """The events of all requests, some of which run at a time."""
        from tqdm import tqdm  # pylint: disable=import-outside-toplevel

        jobs = list(prompts)
        running: "dict[int, Request]" = {}
        results = []
        for i in tqdm(range(len(jobs)), desc=title, disable=quiet):
            for j in range(i, min(i + self.n_waiting, len(jobs))):
                if j >= i + len(running):
                    running[j] = self.engine.submit(jobs[j][0], **jobs[j][1])
            results.append(list(running.pop(i).checked()))
        return results

    def _loglikelihood_tokens(self, requests: Sequence[Scored],
                              disable_tqdm: bool = False, **_: Any
                              ) -> "list[tuple[float, bool]]":
        whole = [(list(context) + list(end))[-self.max_length:]
                 for _, context, end in requests]
        n_end = [len(end) for _, _, end in requests]
        for ids, n in zip(whole, n_end):
            if not 0 < n < len(ids):
                raise ValueError(f"a continuation of {n} tokens in a context of "
                                 f"{self.max_length}")
        options = {"n_predict": -1, "prompt_logprobs": 1, "n_top": 1}
        scored = []
        for events, n in zip(self._run(((ids, options) for ids in whole),
                                       "Scoring", disable_tqdm), n_end):
            tokens = [e for e in events if e.kind == "prompt_token"][-n:]
            scored.append((sum(e.logprob for e in tokens),
                           all(e.top[0][0] == e.token for e in tokens)))
        return scored

    def loglikelihood_rolling(self, requests: Any, disable_tqdm: bool = False
                              ) -> "list[float]":
        windows, owner = [], []
        for i, request in enumerate(requests):
            for window in utils.get_rolling_token_windows(
                    token_list=self.tok_encode(request.args[0]),
                    prefix_token=self.prefix_token_id,
                    max_seq_len=self.max_length - 1, context_len=1):
                context, end = utils.make_disjoint_window(window)
                windows.append((None, context, end))
                owner.append(i)
        sums = [0.0] * len(requests)
        for i, (value, _) in zip(owner, self._loglikelihood_tokens(
                windows, disable_tqdm=disable_tqdm)):
            sums[i] += value
        return sums

    def _generation(self, context: str, kwargs: "dict[str, Any]"
                    ) -> "tuple[list[int], dict[str, Any]]":
        kwargs = dict(kwargs)
        until = kwargs.pop("until", None) or []
        n = int(kwargs.pop("max_gen_toks", self.max_gen_toks))
        draws = kwargs.pop("do_sample", None)
        options = {_SAMPLING[k]: kwargs.pop(k) for k in list(kwargs)
                   if k in _SAMPLING}
        if kwargs:
            raise ValueError(f"generation option {min(kwargs)!r} is unknown")
        if draws is False:
            options["temperature"] = 0
        elif draws and not options.get("temperature"):
            options["temperature"] = 1.0
        if n >= self.max_length:
            raise ValueError(f"max_gen_toks {n}: less than the "
                             f"{self.max_length} positions expected")
        ids = self.tok_encode(context)[n - self.max_length:]
        stop = [until] if isinstance(until, str) else list(until)
        return ids, {"n_predict": n, "stop": [s for s in stop if s], **options}

    def generate_until(self, requests: Any, disable_tqdm: bool = False
                       ) -> "list[str]":
        jobs = [self._generation(*request.args) for request in requests]
        return ["".join(e.text for e in events if e.kind in ("token", "stop"))
                for events in self._run(jobs, "Generating", disable_tqdm)]


def main() -> None:
    """lm_eval with this model among its models."""
    from lm_eval.__main__ import cli_evaluate  # pylint: disable=C0415

    cli_evaluate()


if __name__ == "__main__":
    main()
