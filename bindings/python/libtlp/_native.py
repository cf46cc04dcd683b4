"""The library itself: found, loaded, and checked."""
import ctypes.util
import os
from typing import Any

from libtlp import _tlp

ffi: Any = _tlp.ffi
HERE = os.path.dirname(os.path.abspath(__file__))
NAME = "libtlp.so.1"


def _candidates() -> list[str]:
    """Where the library may be: named by the user, in the package, or on the
    system."""
    named = os.environ.get("TLP_LIBRARY")
    if named:
        return [named]
    own = os.path.join(HERE, "lib", NAME)
    found = ctypes.util.find_library("tlp")
    return [own] * os.path.exists(own) + [NAME] + ([found] if found else [])


def _load() -> Any:
    problems = []
    for path in _candidates():
        try:
            return ffi.dlopen(path)
        except OSError as e:
            problems.append(str(e))
    raise ImportError("libtlp: the library was not found (TLP_LIBRARY can name "
                      "its file): " + "; ".join(problems))


lib = _load()


def _check() -> None:
    """Refuse a library that is older than the declarations."""
    wanted = (ffi.integer_const("TLP_VERSION_MAJOR") * 10000
              + ffi.integer_const("TLP_VERSION_MINOR") * 100
              + ffi.integer_const("TLP_VERSION_PATCH"))
    found = lib.tlp_version_number()
    if found < wanted:
        text = ffi.string(lib.tlp_version_string()).decode()
        raise ImportError(f"libtlp: the library is version {text}, at least "
                          f"{wanted // 10000}.{wanted // 100 % 100}."
                          f"{wanted % 100} expected")


_check()


def text_of(pointer: Any) -> str:
    """A text of the library."""
    return str(ffi.string(pointer).decode("utf-8", "replace"))


def version() -> str:
    """Version of the library that was loaded."""
    return text_of(lib.tlp_version_string())


def build_info() -> str:
    """Version, compiler and kernels for this machine, in one line."""
    return text_of(lib.tlp_build_info())
