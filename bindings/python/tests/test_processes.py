"""Processes, memory, the command."""
import multiprocessing
import os
import resource
import shutil
import subprocess
import sys

import pytest

import libtlp


def work(path):
    with libtlp.Model(path) as model, \
            libtlp.Session(model, n_ctx=64, n_thread=1) as session:
        session.prefill(model.tokenize("The capital of France is"))
        return "".join(session.generate(n_predict=4))


@pytest.mark.parametrize("method", ["spawn", "fork"])
def test_multiprocessing(smollm2_path, method):
    want = work(smollm2_path)
    with multiprocessing.get_context(method).Pool(2) as pool:
        assert pool.map(work, [smollm2_path] * 3) == [want] * 3


def resident():
    with open("/proc/self/statm", encoding="ascii") as f:
        return int(f.read().split()[1]) * resource.getpagesize()


def test_models_give_their_memory_back(tiny_path):
    def round_trip(n):
        for _ in range(n):
            with libtlp.Model(tiny_path) as m, libtlp.Session(m, n_ctx=32) as s:
                s.prefill([1, 2, 3])

    round_trip(50)
    before = resident()
    round_trip(1000)
    assert resident() - before < 8 << 20


def test_objects_may_be_freed_in_any_order(tiny_path):
    model = libtlp.Model(tiny_path)
    session = libtlp.Session(model, "par:1-2", n_ctx=32)
    session.plan.close()
    model.close()
    session.prefill([1, 2])
    assert session.n_logits == 1
    session.close()


def test_the_command(smollm2_path):
    done = subprocess.run(
        [sys.executable, "-m", "libtlp", smollm2_path, "--temp", "0", "-n",
         "30", "-p", "What is the capital of France?"],
        stdout=subprocess.PIPE, text=True, check=True)
    assert "Paris" in done.stdout
    done = subprocess.run([sys.executable, "-m", "libtlp", "/none.gguf"],
                          stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 1 and "none.gguf" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_missing_library_is_named():
    done = subprocess.run(
        [sys.executable, "-c", "import libtlp"], stderr=subprocess.PIPE,
        text=True, env={**os.environ, "TLP_LIBRARY": "/none/libtlp.so"},
        check=False)
    assert "ImportError" in done.stderr and "/none/libtlp.so" in done.stderr


PROGRAM = """
import sys, libtlp
rank, n_rank = libtlp.comm_rank(comm="mpi", timeout_ms=60000)
with libtlp.Model(sys.argv[1]) as model:
    if rank == 0:
        for plan in ("serial", "par:1-2"):
            with libtlp.Session(model, plan, n_ctx=32, comm="mpi",
                                compute="f32", timeout_ms=60000) as session:
                session.prefill([1, 2, 3])
                assert session.stats().n_rank == n_rank == 2
                print(plan, session.logits().argmax(), flush=True)
    else:
        libtlp.run_workers(model, comm="mpi", timeout_ms=60000)
"""


def test_mpi(tiny_path):
    plugin = os.path.join(os.path.dirname(libtlp.__file__), "lib",
                          "libtlp_mpi.so.1")
    if not os.path.exists(plugin) or not shutil.which("mpirun"):
        pytest.skip("the package was built without MPI")
    done = subprocess.run(
        ["mpirun", "--allow-run-as-root", "--oversubscribe", "-np", "2",
         "--bind-to", "none", sys.executable, "-c", PROGRAM, tiny_path],
        stdout=subprocess.PIPE, text=True, check=True)
    want = []
    with libtlp.Model(tiny_path) as model:
        for plan in ("serial", "par:1-2"):
            with libtlp.Session(model, plan, n_ctx=32, n_rank=2,
                                compute="f32") as session:
                session.prefill([1, 2, 3])
                want.append(f"{plan} {session.logits().argmax()}")
    assert done.stdout.splitlines() == want
