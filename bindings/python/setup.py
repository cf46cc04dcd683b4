"""Build the package, with the library in it.

TLP_BUNDLE names a libtlp.so to carry, with the plug-ins beside it; "none" carries
no library, and the package then loads the system's.  Otherwise the library is built from the source tree
that this folder stands in; where there is none, the system's is loaded.
"""
import os
import shutil
import subprocess
import sys

from setuptools import Distribution, setup
from setuptools.command.build_py import build_py
from wheel.bdist_wheel import bdist_wheel

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.join(HERE, "..", "..")
NAME = "libtlp.so.1"
PLUGINS = ("libtlp_mpi.so.1", "libtlp_cuda.so.1")
sys.path.insert(0, HERE)


def library():
    """The file to carry, or None."""
    named = os.environ.get("TLP_BUNDLE")
    if named == "none":
        return None
    if named:
        return named
    if not os.path.exists(os.path.join(ROOT, "Makefile")):
        return None
    subprocess.run(["make", "-C", ROOT, "-s", f"-j{os.cpu_count()}", "shared",
                    "plugin"], check=True)
    return os.path.join(ROOT, "build", NAME)


class Build(build_py):
    """Adds the declarations for cffi and the library to the package."""

    def run(self):
        super().run()
        from build_ffi import ffi  # pylint: disable=import-outside-toplevel

        ffi.compile(tmpdir=self.build_lib)
        found = library()
        if found:
            to = os.path.join(self.build_lib, "libtlp", "lib")
            os.makedirs(to, exist_ok=True)
            shutil.copy2(found, os.path.join(to, NAME))
            for plugin in PLUGINS:
                beside = os.path.join(os.path.dirname(found), plugin)
                if os.path.exists(beside):
                    shutil.copy2(beside, os.path.join(to, plugin))


class Wheel(bdist_wheel):
    """One wheel for all versions of Python: nothing in it is compiled for one."""

    def get_tag(self):
        return "py3", "none", super().get_tag()[2]


class Binary(Distribution):
    """The library is for one platform."""

    def has_ext_modules(self):
        return True


setup(cmdclass={"build_py": Build, "bdist_wheel": Wheel}, distclass=Binary)
