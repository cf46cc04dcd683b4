"""libtlp: decoder language models with layer parallelism.

    import libtlp

    model = libtlp.Model("model.gguf")
    with libtlp.Engine(model, "par:12-13,14-15", n_ctx=2048) as engine:
        for piece in engine.generate([{"role": "user", "content": "Hello"}],
                                     n_predict=64):
            print(piece, end="", flush=True)
"""
from libtlp import evaluation, plot, tune
from libtlp._native import build_info, version
from libtlp.engine import Completion, Engine, Event, Request
from libtlp.errors import (AbiError, BufferTooSmallError, BusyError,
                           CanceledError, ClosedError, CommError, DeviceError,
                           FormatError, FullError, InputOutputError,
                           InvalidArgumentError, MismatchError, NoGainError,
                           NotSupportedError, OutOfMemoryError, StateError,
                           TimedOutError, TlpError, UnreachedError)
from libtlp.model import Model
from libtlp.plan import Plan
from libtlp.processes import comm_rank, run_worker, run_workers
from libtlp.sampler import Grammar, Sampler
from libtlp.session import Generation, Session, session_need

__version__ = "0.1.0"

__all__ = [
    "AbiError", "BufferTooSmallError", "BusyError", "CanceledError",
    "ClosedError", "CommError", "Completion", "DeviceError", "Engine", "Event",
    "FormatError", "FullError", "Generation", "Grammar", "InputOutputError",
    "InvalidArgumentError", "MismatchError", "Model", "NoGainError",
    "NotSupportedError", "OutOfMemoryError", "Plan", "Request", "Sampler",
    "Session", "StateError", "TimedOutError", "TlpError", "UnreachedError",
    "build_info", "comm_rank", "evaluation", "plot", "run_worker",
    "run_workers", "session_need", "tune", "version",
]
