"""Quality of plans: divergence, perplexity, tasks, drills, intervals."""
import math
from types import SimpleNamespace
from typing import Any, Optional, Sequence

from libtlp import _options
from libtlp._handle import Handle
from libtlp._native import ffi, lib
from libtlp.errors import check
from libtlp.model import Model
from libtlp.plan import Path
from libtlp.session import Session

DRILLS = ("copy-words", "copy-digits", "add", "add-tens")


def compare_logits(reference: Any, logits: Any) -> SimpleNamespace:
    """Difference of a row of logits from a reference row: kl, top1, ..."""
    import numpy  # pylint: disable=import-outside-toplevel

    rows = [numpy.ascontiguousarray(r, dtype=numpy.float32)
            for r in (reference, logits)]
    if rows[0].ndim != 1 or rows[0].shape != rows[1].shape:
        raise ValueError(f"rows of {rows[0].shape} and {rows[1].shape}: two "
                         "rows of equal length expected")
    out = _options.new("tlp_divergence")
    check(lib.tlp_logits_compare(out, ffi.from_buffer("float[]", rows[0]),
                                 ffi.from_buffer("float[]", rows[1]),
                                 len(rows[0])))
    return _options.read(out)


def perplexity(session: Session, tokens: Any, n_ctx: int = 512) -> float:
    """Perplexity of a text in windows of n_ctx tokens, each from position 0, on
    sequence 0."""
    total, n = 0.0, 0
    for at in range(0, len(tokens), n_ctx):
        window = tokens[at:at + n_ctx]
        if len(window) < 2:
            break
        session.clear()
        total -= float(session.score(window)[1:].sum(dtype="float64"))
        n += len(window) - 1
    if n == 0:
        raise ValueError("a text of at least two tokens expected")
    return math.exp(total / n)


def bootstrap_mean(sums: Sequence[float],
                   weights: Optional[Sequence[float]] = None,
                   level: float = 0.95, seed: int = 0) -> "tuple[float, float]":
    """A confidence interval of a weighted mean."""
    lo, hi = ffi.new("double *"), ffi.new("double *")
    array = ffi.new("double[]", list(sums))
    if weights is not None and len(weights) != len(sums):
        raise ValueError("as many weights as sums expected")
    check(lib.tlp_bootstrap_mean(
        lo, hi, array,
        ffi.NULL if weights is None else ffi.new("double[]", list(weights)),
        len(sums), level, seed))
    return lo[0], hi[0]


class Task(Handle):
    """Multiple-choice questions in a file of JSON lines: query, choices, gold.
    len() is their number."""

    def __init__(self, model: Model, path: Path, **options: Any) -> None:
        keep = _options.Keep()
        opts = _options.fill(_options.new("tlp_task_options"), options, keep)
        out = ffi.new("tlp_task **")
        check(lib.tlp_task_load(out, model.handle, str(path).encode(), opts))
        self._own(out[0], lib.tlp_task_free)
        info = _options.new("tlp_task_info")
        check(lib.tlp_task_get_info(info, self.handle))
        self.info = _options.read(info)

    def __len__(self) -> int:
        return int(self.info.n_item)

    def answer(self, index: int, session: Session) -> SimpleNamespace:
        """best, best_norm, gold and the log-probability of every choice; uses
        sequence 0."""
        item, out = _options.new("tlp_task_item"), _options.new("tlp_answer")
        check(lib.tlp_task_get_item(item, self.handle, index))
        logprob = ffi.new("double[]", item.n_choice)
        check(lib.tlp_task_answer(out, logprob, self.handle, index,
                                  session.handle))
        answer = _options.read(out)
        answer.gold, answer.logprobs = item.gold, list(logprob)
        return answer

    def accuracy(self, session: Session) -> SimpleNamespace:
        """acc and acc_norm, 0 to 1."""
        answers = [self.answer(i, session) for i in range(len(self))]
        n = len(answers)
        return SimpleNamespace(
            n=n, acc=sum(a.best == a.gold for a in answers) / n,
            acc_norm=sum(a.best_norm == a.gold for a in answers) / n)


def drill(kind: str, index: int, session: Session, seed: int = 0) -> bool:
    """Does the session copy or add right?  Kinds: copy-words, copy-digits, add,
    add-tens; uses sequence 0."""
    if kind not in DRILLS:
        raise ValueError(f"kind {kind!r}: one of {', '.join(DRILLS)} expected")
    out, exact = _options.new("tlp_drill"), ffi.new("int32_t *")
    check(lib.tlp_drill_get(out, DRILLS.index(kind), seed, index))
    check(lib.tlp_drill_run(exact, out, session.model.handle, session.handle))
    return bool(exact[0])
