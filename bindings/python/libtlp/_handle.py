"""Handles of the library: freed once, by `with`, by close() or by Python."""
from types import TracebackType
from typing import Any, Optional, Type, TypeVar

from libtlp._native import ffi

Self = TypeVar("Self", bound="Handle")


class Handle:
    """Owns a handle.  Objects that the library keeps alive by itself, such as
    the model of a plan, may be closed in any order."""

    _pointer: Any = None

    def _own(self, pointer: Any, release: Any) -> None:
        self._pointer = ffi.gc(pointer, release)

    @property
    def handle(self) -> Any:
        """The handle for calls of the library."""
        if self._pointer is None:
            raise ValueError(f"the {type(self).__name__} is closed")
        return self._pointer

    @property
    def closed(self) -> bool:
        """Has close() been called?"""
        return self._pointer is None

    def close(self) -> None:
        """Release the handle.  A second call does nothing."""
        pointer, self._pointer = self._pointer, None
        if pointer is not None:
            ffi.release(pointer)

    def __enter__(self: Self) -> Self:
        return self

    def __exit__(self, kind: Optional[Type[BaseException]],
                 value: Optional[BaseException],
                 trace: Optional[TracebackType]) -> None:
        self.close()

    def __reduce__(self) -> Any:
        raise TypeError(f"a {type(self).__name__} belongs to its process and "
                        "cannot be pickled: make it in each process")
