"""Sessions over several processes: ranks under mpirun.

    rank, n_rank = libtlp.comm_rank(comm="mpi")
    model = libtlp.Model("model.gguf")
    if rank == 0:
        session = libtlp.Session(model, "par:12-13", comm="mpi")
        ...
    else:
        libtlp.run_workers(model, comm="mpi")
"""
from typing import Any, Optional, Union

from libtlp import _callbacks, _options
from libtlp._native import ffi, lib
from libtlp.errors import ClosedError, check
from libtlp.model import Model
from libtlp.plan import Path, Plan, plan_of
from libtlp.session import session_options


def comm_rank(**options: Any) -> "tuple[int, int]":
    """The rank of this process and the number of ranks; the options are those
    of the later session."""
    keep = _options.Keep()
    rank, n_rank = ffi.new("int32_t *"), ffi.new("int32_t *")
    check(lib.tlp_comm_rank(rank, n_rank, session_options(options, keep)))
    return int(rank[0]), int(n_rank[0])


def run_worker(model: Model, plan: "Optional[Union[Plan, Path]]" = None, *,
               progress: Any = None, **options: Any) -> None:
    """Work as a rank other than 0 for one session or one training.  Without a
    plan, that of rank 0.  Raises ClosedError when rank 0 has left."""
    keep = _options.Keep()
    opts = session_options(options, keep)
    caller = _callbacks.Caller(
        progress=_callbacks.progress_of(progress, "loading"))
    _callbacks.interruptible(caller, opts)
    own = None if plan is None else plan_of(model, plan)
    caller.check(lib.tlp_worker_run(
        model.handle, ffi.NULL if own is None else own.handle, opts))


def run_workers(model: Model, plan: "Optional[Union[Plan, Path]]" = None,
                **options: Any) -> None:
    """Work for all sessions and trainings of rank 0, until it leaves."""
    try:
        while True:
            run_worker(model, plan, **options)
    except ClosedError:
        pass
