"""Declarations of libtlp for cffi, in ABI mode.

ABI mode loads the library at run time and compiles nothing, so one wheel serves
every version of Python, and the package works with a library that was installed
elsewhere.  The library's structs grow at their ends and carry their size, which
is what makes this safe; libtlp/_native.py checks the version of the ABI.
"""
import os

import cffi

HERE = os.path.dirname(os.path.abspath(__file__))

ffi = cffi.FFI()
ffi.set_source("libtlp._tlp", None)
with open(os.path.join(HERE, "libtlp", "tlp.cdef"), encoding="utf-8") as f:
    ffi.cdef(f.read())

if __name__ == "__main__":
    ffi.compile(tmpdir=HERE)
