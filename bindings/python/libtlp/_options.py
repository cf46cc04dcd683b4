"""Options as keyword arguments, and structs of the library as objects."""
from types import SimpleNamespace
from typing import Any

from libtlp._native import ffi

# Options that are numbers of an enum in C take a name here as well.
NAMES: dict[str, dict[str, int]] = {
    "backend": {"cpu": 0, "cuda": 1},
    "comm": {"threads": 0, "mpi": 1},
    "wire": {"f32": 0, "bf16": 1, "q8": 2},
    "compute": {"default": 0, "f32": 1},
    "kv_type": {"default": 0, "f32": 1, "f16": 2, "bf16": 3, "q8_0": 4},
    "kv_alloc": {"default": 0, "as_used": 1, "ahead": 2},
    "pooling": {"default": 0, "last": 1, "mean": 2},
    "isa": {"auto": 0, "scalar": 1, "avx2": 2, "avx512": 3, "amx": 4},
}


class Keep:
    """What a struct points to, for as long as the library reads it."""

    def __init__(self) -> None:
        self.items: list[Any] = []

    def __call__(self, item: Any) -> Any:
        self.items.append(item)
        return item

    def text(self, text: "str | bytes") -> Any:
        """A text with a NUL at its end."""
        raw = text.encode() if isinstance(text, str) else text
        if b"\0" in raw:
            raise ValueError("a text for the library contains a NUL")
        return self(ffi.new("char[]", raw))

    def texts(self, texts: Any) -> Any:
        """An array of texts."""
        return self(ffi.new("char *[]", [self.text(t) for t in texts]))

    def ids(self, ids: Any) -> tuple[Any, int]:
        """An array of 32-bit numbers, and its length."""
        return self(id_array(ids)), len(ids)


def id_array(ids: Any) -> Any:
    """Token ids in C; an int32 array is borrowed, not copied."""
    if type(ids).__module__ == "numpy":
        if ids.ndim == 1 and ids.dtype == "int32" and ids.flags.c_contiguous:
            return ffi.from_buffer("int32_t[]", ids)
        ids = ids.tolist()
    return ffi.new("int32_t[]", ids)


def _fields(struct: Any) -> dict[str, Any]:
    return dict(ffi.typeof(struct).item.fields)


def _number(name: str, value: Any) -> Any:
    if isinstance(value, str):
        names = NAMES.get(name)
        if names is None:
            raise TypeError(f"option {name}: a number expected, not {value!r}")
        if value not in names:
            raise ValueError(f"option {name}: {value!r}: one of "
                             f"{', '.join(names)} expected")
        return names[value]
    return value


def fill(struct: Any, options: dict[str, Any], keep: Keep) -> Any:
    """Set fields of a struct by their names; those that are None stay."""
    fields = _fields(struct)
    for name, value in options.items():
        if name not in fields or name == "struct_size":
            known = ", ".join(n for n in fields if n != "struct_size")
            raise TypeError(f"unknown option {name!r}: one of {known} expected")
        if value is None:
            continue
        if fields[name].type.cname == "char *":
            value = keep.text(value)
        elif fields[name].type.kind == "primitive":
            value = _number(name, value)
        setattr(struct, name, value)
    return struct


def new(name: str) -> Any:
    """A struct with its size set and all defaults."""
    struct = ffi.new(f"{name} *")
    struct.struct_size = ffi.sizeof(name)
    return struct


def _value(field: Any) -> Any:
    if isinstance(field, ffi.CData):
        kind = ffi.typeof(field)
        if kind.kind == "array" and kind.item.cname == "char":
            return ffi.string(field).decode("utf-8", "replace")
        if kind.kind == "array":
            return list(field)
        if kind.cname == "char *":
            return None if field == ffi.NULL else \
                ffi.string(field).decode("utf-8", "replace")
        return field
    return field


def read(struct: Any, without: tuple[str, ...] = ()) -> SimpleNamespace:
    """The fields of a struct as attributes of an object."""
    return SimpleNamespace(**{
        name: _value(getattr(struct, name)) for name in _fields(struct)
        if name != "struct_size" and name not in without})
