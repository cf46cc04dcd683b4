"""Functions of the program that the library calls.

An exception must not leave such a function: it is kept, the library is told to
stop, and the call that was running raises it.
"""
import logging
import sys
from typing import Any, Callable, Optional

from libtlp._native import ffi
from libtlp.errors import check

logger = logging.getLogger("libtlp")

_LEVELS = {1: logging.ERROR, 2: logging.WARNING, 3: logging.INFO,
           4: logging.DEBUG}


class Caller:
    """Python functions behind the user_data of a call's callbacks."""

    def __init__(self, **functions: Optional[Callable[..., Any]]) -> None:
        self.functions = functions
        self.error: Optional[BaseException] = None
        self.handle = ffi.new_handle(self)

    def call(self, name: str, *arguments: Any) -> Any:
        """The function's result; None when it raised."""
        function = self.functions.get(name)
        if function is None or self.error is not None:
            return None
        try:
            return function(*arguments)
        except BaseException as e:  # pylint: disable=broad-except
            self.error = e
            return None

    def check(self, status: int) -> None:
        """Raise what a function raised, else the exception of the status."""
        error, self.error = self.error, None
        if error is not None:
            raise error
        check(status)


def _callback(kind: str, error: Optional[int] = None
              ) -> "Callable[[Callable[..., Any]], Any]":
    """A function of C.  error: what it returns when Python cannot go on."""
    return ffi.callback(kind, error=error)  # type: ignore[no-any-return]


@_callback("tlp_progress_fn", error=1)
def progress(done: float, data: Any) -> int:
    """Ends the call if the function raises, or returns True."""
    caller = ffi.from_handle(data)
    result = caller.call("progress", done)
    return int(result is True or caller.error is not None)


@_callback("tlp_log_fn")
def log(level: int, text: Any, _data: Any) -> None:
    """Lines of the library go to the logger "libtlp"."""
    logger.log(_LEVELS.get(level, logging.INFO), "%s",
               ffi.string(text).decode("utf-8", "replace"))


@_callback("tlp_text_fn", error=1)
def text(piece: Any, n: int, data: Any) -> int:
    """Generated text; True ends the generation."""
    caller = ffi.from_handle(data)
    result = caller.call("text", bytes(ffi.buffer(piece, n)).decode())
    return int(result is True or caller.error is not None)


@_callback("tlp_logits_fn", error=1)
def logits(row: Any, n: int, data: Any) -> int:
    """Logits to be changed in place."""
    caller = ffi.from_handle(data)
    caller.call("logits", ffi.buffer(row, 4 * n))
    return int(caller.error is not None)


@_callback("tlp_train_point_fn")
def point(struct: Any, data: Any) -> None:
    """A validation of a training."""
    ffi.from_handle(data).call("point", struct)


@_callback("tlp_study_place_fn")
def place(struct: Any, data: Any) -> None:
    """A place of a study."""
    ffi.from_handle(data).call("place", struct)


@_callback("tlp_plan_point_fn")
def plan_point(struct: Any, data: Any) -> None:
    """A point of a search."""
    ffi.from_handle(data).call("point", struct)


def bar(title: str) -> Callable[[float], None]:
    """A bar of tqdm where there is one, else a line of text a second at most,
    and nothing where standard error is no terminal."""
    try:
        from tqdm.auto import tqdm  # pylint: disable=import-outside-toplevel
    except ImportError:
        return _plain_bar(title)
    shown = tqdm(total=1.0, desc=title, bar_format="{l_bar}{bar}| {elapsed}")

    def show(done: float) -> None:
        shown.update(done - shown.n)
        if done >= 1:
            shown.close()
    return show


def _plain_bar(title: str) -> Callable[[float], None]:
    last = [-1]

    def show(done: float) -> None:
        percent = int(100 * done)
        if percent != last[0] and sys.stderr.isatty():
            last[0] = percent
            end = "\n" if done >= 1 else ""
            print(f"\r{title}: {percent} %", end=end, file=sys.stderr,
                  flush=True)
    return show


def progress_of(given: Any, title: str) -> Optional[Callable[[float], Any]]:
    """The function for `progress`: True is a bar, None is none."""
    return bar(title) if given is True else given or None


def interruptible(caller: Caller, options: Any) -> None:
    """Let Python look for signals while the library works: a KeyboardInterrupt
    in the callback ends the call."""
    caller.functions.setdefault("progress", None)
    if caller.functions["progress"] is None:
        caller.functions["progress"] = lambda done: None
    options.progress = progress
    options.progress_data = caller.handle

