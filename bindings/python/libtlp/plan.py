"""Plans: which layers run side by side; made, adjusted, baked and trained."""
import os
from types import SimpleNamespace
from typing import Any, Optional, Union

from libtlp import _options
from libtlp._handle import Handle
from libtlp._native import ffi, lib
from libtlp.errors import check, copied_bytes
from libtlp.model import Model

MODES = ("serial", "lp", "par", "asym", "lp-code", "merge")
Path = Union[str, "os.PathLike[str]"]


class Plan(Handle):
    """A plan for one model.  Immutable; any number of threads may use it.

    text: the text form ("par:12-13;asym:20-21") or the JSON form.  Plan.load
    reads a file.  libtlp.tune makes and changes plans.
    """

    def __init__(self, model: Model, text: str = "serial") -> None:
        out = ffi.new("tlp_plan **")
        check(lib.tlp_plan_parse(out, model.handle, text.encode()))
        self.model = model
        self._own(out[0], lib.tlp_plan_free)

    @classmethod
    def _of(cls, pointer: Any, model: Model) -> "Plan":
        plan = cls.__new__(cls)
        plan.model = model
        plan._own(pointer, lib.tlp_plan_free)
        return plan

    @classmethod
    def load(cls, model: Model, path: Path) -> "Plan":
        """Read a plan and its adjustments."""
        out = ffi.new("tlp_plan **")
        check(lib.tlp_plan_load(out, model.handle, os.fspath(path).encode()))
        return cls._of(out[0], model)

    def save(self, path: Path) -> None:
        """Write the plan, and its adjustments beside it."""
        check(lib.tlp_plan_save(self.handle, os.fspath(path).encode()))

    @property
    def text(self) -> str:
        """The text form."""
        return copied_bytes(lib.tlp_plan_format, self.handle, 0).decode()

    @property
    def json(self) -> str:
        """The JSON form."""
        return copied_bytes(lib.tlp_plan_format, self.handle, 1).decode()

    def __repr__(self) -> str:
        return f"<libtlp.Plan {self.text!r}>"

    def cost(self, n_rank: int = 2) -> SimpleNamespace:
        """Work and messages of a token on n_rank ranks."""
        out = _options.new("tlp_plan_cost")
        check(lib.tlp_plan_get_cost(out, self.handle, n_rank))
        return _options.read(out)

    def stages(self) -> "list[SimpleNamespace]":
        """Mode, layers, left-out exchanges and tracks of each stage."""
        found = []
        for i in range(self.cost(1).effective_depth):
            out = _options.new("tlp_stage_info")
            check(lib.tlp_plan_get_stage(out, self.handle, i))
            stage = _options.read(out, without=("layers",))
            stage.mode = MODES[stage.mode]
            stage.layers = list(out.layers[0:out.n_member])
            found.append(stage)
        return found

    def carry(self, model: Model) -> "Plan":
        """An equal plan for another file of the model."""
        out = ffi.new("tlp_plan **")
        check(lib.tlp_plan_carry(out, self.handle, model.handle))
        return Plan._of(out[0], model)

    def adjustments(self) -> Optional[SimpleNamespace]:
        """Counts of the plan's adjustments; None without any."""
        out = _options.new("tlp_plan_adjust_info")
        check(lib.tlp_plan_get_adjust(out, self.handle))
        info = _options.read(out)
        return info if any(vars(info).values()) else None


def plan_of(model: Model, plan: "Optional[Union[Plan, Path]]") -> Plan:
    """A plan from what callers give: a Plan, a text form, or a file."""
    if isinstance(plan, Plan):
        if plan.model is not model:
            raise ValueError("the plan is for another Model object")
        return plan
    if plan is None:
        return Plan(model)
    name = os.fspath(plan)
    if name.endswith(".json") or os.path.isfile(name):
        return Plan.load(model, name)
    return Plan(model, name)
