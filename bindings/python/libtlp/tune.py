"""Plans made, adjusted, baked, trained and studied; models quantized."""
import os
from types import SimpleNamespace
from typing import Any, Callable, Optional

from libtlp import _callbacks, _options
from libtlp._native import ffi, lib
from libtlp.errors import NoGainError, check, copied_bytes
from libtlp.model import Model
from libtlp.plan import MODES, Path, Plan
from libtlp.session import Session, session_options

OBJECTIVES = {"both": 0, "kl": 1, "nll": 2}


def _path(path: Optional[Path], keep: _options.Keep) -> Any:
    return ffi.NULL if path is None else keep.text(os.fspath(path))


def _prepare(name: str, title: str, session: "Optional[dict[str, Any]]",
             progress: Any, options: "dict[str, Any]", keep: _options.Keep,
             **functions: Any) -> "tuple[Any, _callbacks.Caller]":
    """The options of a long call, and the caller of its functions."""
    opts = keep(_options.new(name))
    if session:
        opts.session = session_options(session, keep)
    caller = _callbacks.Caller(
        progress=_callbacks.progress_of(progress, title), **functions)
    _callbacks.interruptible(caller, opts)
    _options.fill(opts, options, keep)
    return opts, caller


def _made(caller: _callbacks.Caller, status: int, out: Any, report: Any,
          plan: Plan, path: Optional[Path]) -> "tuple[Plan, SimpleNamespace]":
    """The plan that a call made from another one, for the model at `path` or
    for the other plan's, and the report."""
    found = _options.read(report)
    try:
        caller.check(status)
    except NoGainError as e:
        e.report = found
        raise
    made = Plan._of(out[0], plan.model)
    return (made if path is None else made.carry(Model(path))), found


def _modes(modes: Any) -> int:
    bits = 0
    for mode in modes:
        if mode != "nosync" and mode not in MODES:
            raise ValueError(f"mode {mode!r}: one of {', '.join(MODES)} or "
                             "nosync expected")
        bits |= 65536 if mode == "nosync" else 1 << MODES.index(mode)
    return bits


def make(model: Model, tokens: Any, *, depth: int = 0, exchanges: int = 0,
         max_kl: float = 0, modes: Any = (), objective: str = "both",
         start: Optional[Plan] = None,
         point: Optional[Callable[[SimpleNamespace], None]] = None,
         session: "Optional[dict[str, Any]]" = None, progress: Any = None,
         **options: Any) -> Plan:
    """Search a plan: to a depth, to a number of exchanges, or to a KL
    divergence.  `point` receives every point of the front."""
    keep = _options.Keep()

    def see(struct: Any) -> None:
        if point is not None:
            found = _options.read(struct, without=("plan",))
            found.plan = Plan(model, _text_of(struct.plan))
            point(found)

    if objective not in OBJECTIVES:
        raise ValueError(f"objective {objective!r}: one of "
                         f"{', '.join(OBJECTIVES)} expected")
    opts, caller = _prepare(
        "tlp_plan_make_options", "searching", session, progress,
        {"depth": depth, "exchanges": exchanges, "max_kl": max_kl,
         "modes": _modes(modes), "objective": OBJECTIVES[objective],
         **options}, keep, point=see)
    opts.point, opts.point_data = _callbacks.plan_point, caller.handle
    if start is not None:
        opts.start = start.handle
    ids, n = keep.ids(tokens)
    out = ffi.new("tlp_plan **")
    caller.check(lib.tlp_plan_make(out, model.handle, ids, n, opts))
    return Plan._of(out[0], model)


def _text_of(plan: Any) -> str:
    return copied_bytes(lib.tlp_plan_format, plan, 0).decode()


def adjust(plan: Plan, tokens: Any, *, rank: int = 0, gains: bool = False,
           norms: bool = False, session: "Optional[dict[str, Any]]" = None,
           progress: Any = None, **options: Any
           ) -> "tuple[Plan, SimpleNamespace]":
    """Fit adjustments; the adjusted plan and a report."""
    keep = _options.Keep()
    opts, caller = _prepare(
        "tlp_plan_adjust_options", "adjusting", session, progress,
        {"rank": rank, "gains": gains, "norms": norms, **options}, keep)
    ids, n = keep.ids(tokens)
    out, report = ffi.new("tlp_plan **"), _options.new("tlp_plan_adjust_report")
    status = lib.tlp_plan_adjust(out, report, plan.handle, ids, n, opts)
    return _made(caller, status, out, report, plan, None)


def bake(plan: Plan, path: Path, tokens: Any, *,
         plan_path: Optional[Path] = None, type: Optional[str] = None,
         session: "Optional[dict[str, Any]]" = None, progress: Any = None,
         **options: Any) -> "tuple[Plan, SimpleNamespace]":
    """Write the model with the hidden units in the order that serves the plan
    best, and the plan for it."""
    keep = _options.Keep()
    opts, caller = _prepare(
        "tlp_plan_bake_options", "baking", session, progress,
        {"type": type, **options}, keep)
    opts.plan_path = _path(plan_path, keep)
    ids, n = keep.ids(tokens)
    out, report = ffi.new("tlp_plan **"), _options.new("tlp_plan_bake_report")
    status = lib.tlp_plan_bake(out, report, plan.handle, _path(path, keep), ids,
                               n, opts)
    return _made(caller, status, out, report, plan, path)


def train(plan: Plan, tokens: Any, *, path: Optional[Path] = None,
          plan_path: Optional[Path] = None, resume: Optional[Path] = None,
          point: Optional[Callable[[SimpleNamespace], None]] = None,
          session: "Optional[dict[str, Any]]" = None, progress: Any = None,
          **options: Any) -> "tuple[Plan, SimpleNamespace]":
    """Train the layers that a plan changes.  Options: full, rank (LoRA), norms,
    gains, corrections, n_token, seconds, rate, ...  `point` receives every
    validation.  With full=True the model goes to `path`."""
    keep = _options.Keep()

    def see(struct: Any) -> None:
        if point is not None:
            point(_options.read(struct))

    opts, caller = _prepare("tlp_plan_train_options", "training", session,
                            progress, options, keep, point=see)
    opts.point, opts.point_data = _callbacks.point, caller.handle
    opts.plan_path = _path(plan_path, keep)
    opts.resume_path = _path(resume, keep)
    ids, n = keep.ids(tokens)
    out, report = ffi.new("tlp_plan **"), _options.new("tlp_plan_train_report")
    status = lib.tlp_plan_train(out, report, plan.handle, _path(path, keep),
                                ids, n, opts)
    return _made(caller, status, out, report, plan, path)


def study(model: Model, tokens: Any, *,
          session: "Optional[dict[str, Any]]" = None, progress: Any = None,
          **options: Any) -> "list[dict[str, Any]]":
    """What each exchange and each pair costs alone: a row for each place."""
    keep = _options.Keep()
    rows: "list[dict[str, Any]]" = []

    def see(struct: Any) -> None:
        row = vars(_options.read(struct, without=("plan",)))
        row["kind"] = ("exchange", "pair")[row["kind"]]
        row["plan"] = _text_of(struct.plan)
        rows.append(row)

    opts, caller = _prepare("tlp_study_options", "studying", session, progress,
                            options, keep, place=see)
    opts.place, opts.place_data = _callbacks.place, caller.handle
    ids, n = keep.ids(tokens)
    caller.check(lib.tlp_model_study(model.handle, ids, n, opts))
    return rows


def quantize(model: Model, path: Path, type: str, *, progress: Any = None,
             **options: Any) -> SimpleNamespace:
    """Write the model with its matrices in another type."""
    keep = _options.Keep()
    opts, caller = _prepare("tlp_quantize_options", "quantizing", None,
                            progress, options, keep)
    result = _options.new("tlp_quantize_result")
    caller.check(lib.tlp_model_quantize(result, model.handle,
                                        _path(path, keep), type.encode(), opts))
    return _options.read(result)


class Link:
    """What ranks and messages cost, as a session has measured it."""

    def __init__(self, session: Session) -> None:
        self._link = _options.new("tlp_link")
        check(lib.tlp_session_measure(self._link, ffi.NULL, session.handle))

    def predict(self, plan: Plan, n_rank: int, n_tok: int = 1, pos: int = 0
                ) -> SimpleNamespace:
        """Seconds of an evaluation under a plan."""
        out = _options.new("tlp_prediction")
        check(lib.tlp_plan_predict(out, plan.handle, self._link, n_rank, n_tok,
                                   pos))
        return _options.read(out)
