"""Exceptions: one class for each status, with the library's text."""
from typing import Any

from libtlp._native import ffi, lib, text_of


class TlpError(Exception):
    """A call of the library failed.  `status` is its code, `name` the code's
    name."""

    status = -1

    @property
    def name(self) -> str:
        """Name of the status, such as "TLP_EINVAL"."""
        return text_of(lib.tlp_status_name(self.status))


class InvalidArgumentError(TlpError, ValueError):
    """An argument is not valid."""
    status = -2


class OutOfMemoryError(TlpError, MemoryError):
    """Memory of the host or of a GPU ran out."""
    status = -3


class InputOutputError(TlpError, OSError):
    """The system failed to read or to write."""
    status = -4


class FormatError(TlpError, ValueError):
    """A file or a text is malformed."""
    status = -5


class NotSupportedError(TlpError):
    """The input is well-formed, but not supported."""
    status = -6


class FullError(TlpError):
    """The tokens do not fit into the context, or into the cache's memory."""
    status = -7


class BufferTooSmallError(TlpError):
    """The buffer of the caller is too small."""
    status = -8


class StateError(TlpError):
    """The call is out of order."""
    status = -9


class CanceledError(TlpError):
    """The program canceled the call."""
    status = -10


class DeviceError(TlpError):
    """A GPU or its driver failed."""
    status = -11


class CommError(TlpError, ConnectionError):
    """Another rank failed."""
    status = -12


class AbiError(TlpError):
    """A struct sets fields that the library lacks."""
    status = -13


class TimedOutError(TlpError, TimeoutError):
    """Another rank did not answer in time."""
    status = -14


class MismatchError(TlpError):
    """Two things that must agree do not."""
    status = -15


class UnreachedError(TlpError):
    """No plan reaches the target."""
    status = -16


class NoGainError(TlpError):
    """No adjustment or training improves the plan.  `report` has the figures."""
    status = -17
    report: Any = None


class ClosedError(TlpError):
    """Rank 0 has left, or the engine was stopped."""
    status = -18


class BusyError(TlpError):
    """There is no room at the moment."""
    status = -19


BY_STATUS: dict[int, type[TlpError]] = {
    c.status: c for c in TlpError.__subclasses__()}


def error_of(status: int, text: str) -> TlpError:
    """The exception for a status."""
    error = BY_STATUS.get(status, TlpError)(text)
    error.status = status
    return error


def check(status: int) -> None:
    """Raise the exception of a status that is no success."""
    if status != 0:
        raise error_of(status, text_of(lib.tlp_last_error()))


def _copied(kind: str, call: Any, *arguments: Any) -> "tuple[Any, int]":
    """An array in C that a function fills, and its length.  The function takes
    (array, capacity, length, arguments...); the first call asks for the length.
    """
    n = ffi.new("size_t *")
    buf, cap = ffi.NULL, 0
    while (status := call(buf, cap, n, *arguments)) == \
            BufferTooSmallError.status:
        cap = n[0] + 1  # a text has a NUL behind it
        buf = ffi.new(f"{kind}[]", cap)
    check(status)
    return buf, n[0]


def copied_bytes(call: Any, *arguments: Any) -> bytes:
    """Bytes, or a text, that a function copies."""
    buf, n = _copied("char", call, *arguments)
    return bytes(ffi.buffer(buf, n)) if n else b""


def copied_ids(call: Any, *arguments: Any) -> list[int]:
    """Ids that a function copies."""
    ids, n = _copied("int32_t", call, *arguments)
    return list(ids[0:n]) if n else []
