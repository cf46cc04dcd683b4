"""Models of the tests: SmolLM2 where it has been fetched, and a small one with
random weights."""
import os
import subprocess
import sys

import pytest

import libtlp

ROOT = os.path.join(os.path.dirname(__file__), "..", "..", "..")
CACHE = os.environ.get("XDG_CACHE_HOME", os.path.expanduser("~/.cache"))
SMOLLM2 = os.path.join(CACHE, "libtlp", "SmolLM2-135M-Instruct.Q4_1.gguf")


@pytest.fixture(scope="session")
def smollm2_path():
    if not os.path.exists(SMOLLM2):
        pytest.skip("SmolLM2 is missing: scripts/fetch-model.sh fetches it")
    return SMOLLM2


@pytest.fixture(scope="session")
def model(smollm2_path):
    with libtlp.Model(smollm2_path) as m:
        yield m


@pytest.fixture(scope="session")
def tiny_path(tmp_path_factory):
    """A llama with 5 layers, and tokens without text."""
    pytest.importorskip("gguf")
    path = str(tmp_path_factory.mktemp("tiny") / "tiny.gguf")
    subprocess.run(
        [sys.executable, os.path.join(ROOT, "scripts", "make-random-model.py"),
         "smollm2-135m", path, "--type", "F16", "--set", "n_layer=5",
         "n_embd=64", "n_ff=96", "n_head=4", "n_head_kv=2", "head_dim=16",
         "n_vocab=320", "n_ctx=256"], check=True)
    return path


@pytest.fixture(scope="session")
def tiny(tiny_path):
    with libtlp.Model(tiny_path) as m:
        yield m
