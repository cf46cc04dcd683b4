"""Sessions: evaluation, logits, sequences, text."""
import gc
import os
import signal
import subprocess
import sys
import threading
import time

import numpy
import pytest

import libtlp

TEXT = "The capital of France is"


@pytest.fixture
def session(model):
    with libtlp.Session(model, n_ctx=256, n_seq=3, compute="f32") as s:
        yield s


def test_ways_to_evaluate_agree(model, session):
    ids = model.tokenize(TEXT)
    session.prefill(ids[:-1])
    session.decode(ids[-1])
    a = session.logits()
    session.eval(numpy.array(ids, dtype=numpy.int32), [1] * len(ids))
    b = session.logits()
    assert numpy.abs(a - b).max() < 1e-2
    assert model.detokenize([int(a.argmax())]) == " Paris"
    session.eval(ids, [2] * len(ids), [True] * len(ids))
    assert session.n_logits == len(ids)
    rows = numpy.stack([session.logits(i) for i in range(len(ids))])
    assert numpy.abs(rows[-1] - a).max() < 1e-2
    assert session.find_row(2) == len(ids) - 1
    assert session.tokens(2) == ids and session.pos(2) == len(ids)


def test_scores_are_log_probabilities(model, session):
    ids = model.tokenize(TEXT + " Paris.")
    scores = session.score(ids)
    session.clear()
    session.eval(ids, None, [True] * len(ids))
    assert scores[0] == 0
    for i in range(1, len(ids)):
        top, one = session.logprobs(i - 1, 3, ids[i])
        assert one == pytest.approx(float(scores[i]), abs=1e-3)
        assert top[0][1] >= top[1][1] >= top[2][1]
    row = session.logits(0).astype(float)
    want = row[ids[1]] - numpy.log(numpy.exp(row - row.max()).sum()) - row.max()
    assert want == pytest.approx(float(scores[1]), abs=1e-3)


def test_embeddings(model, session):
    ids = model.tokenize(TEXT)
    a = session.embed(ids)
    assert a.shape == (model.info.n_embd,)
    assert numpy.linalg.norm(a) == pytest.approx(1, abs=1e-4)
    session.clear()
    raw = session.embed(ids, normalize=False)
    assert numpy.abs(raw / numpy.linalg.norm(raw) - a).max() < 1e-5
    session.clear()
    mean = session.embed(ids, pooling="mean")
    assert float(mean @ a) < 0.999
    with libtlp.Engine(model, n_ctx=64, n_seq=2, compute="f32") as engine:
        got = numpy.array(engine.embed(ids, pooling="mean"))
    assert numpy.abs(got - mean).max() < 1e-3
    with pytest.raises(ValueError, match="pooling"):
        session.embed(ids, pooling="max")


def test_views_die_loudly(model, session):
    ids = model.tokenize(TEXT)
    session.prefill(ids)
    copy, view = session.logits(), session.logits(copy=False)
    assert (copy == view).all() and not view.flags.writeable
    part = view[10:20]
    del view
    for call in (lambda: session.decode(5), lambda: session.score([1, 2]),
                 lambda: session.generate(n_predict=1).__next__(),
                 session.close):
        with pytest.raises(BufferError, match="in use"):
            call()
    assert part[0] == copy[10]
    del part
    gc.collect()
    session.decode(5)


def test_sequences(model, session):
    ids = model.tokenize(TEXT)
    session.prefill(ids)
    saved = session.save()
    want = session.logits()
    session.fork(1)
    session.rewind(2)
    assert session.tokens() == ids[:2] and session.tokens(1) == ids
    session.load(saved, 2)
    assert session.tokens(2) == ids
    session.rewind(len(ids) - 1, 2)
    session.eval([ids[-1]], [2])
    assert numpy.abs(session.logits() - want).max() < 1e-4
    with pytest.raises(libtlp.FormatError):
        session.load(saved[:-1] + b"x", 2)
    with pytest.raises(libtlp.InvalidArgumentError):
        session.rewind(99)


def test_bad_arguments(model, session):
    with pytest.raises(libtlp.InvalidArgumentError):
        session.prefill([])
    with pytest.raises(libtlp.InvalidArgumentError):
        session.prefill([model.n_vocab])
    with pytest.raises(OverflowError):
        session.prefill([2 ** 40])
    with pytest.raises(libtlp.FullError):
        session.prefill([1] * 300)
    with pytest.raises(ValueError, match="2 values for 3 tokens"):
        session.eval([1, 2, 3], [0, 0])
    with pytest.raises(libtlp.StateError):
        session.logits(0)
    with pytest.raises(TypeError, match="unknown option 'n_contexts'"):
        libtlp.Session(model, n_contexts=3)
    with pytest.raises(ValueError, match="compute"):
        libtlp.Session(model, compute="f8")
    with pytest.raises(libtlp.InvalidArgumentError):
        libtlp.Session(model, n_rank=65)


def test_ranks_agree(model):
    ids = model.tokenize(TEXT)
    rows = []
    for n in (1, 2):
        with libtlp.Session(model, "par:14-15", n_ctx=64, n_rank=n,
                            n_thread=1, compute="f32") as s:
            s.prefill(ids)
            rows.append(s.logits())
            assert s.stats().n_rank == n
    assert numpy.abs(rows[0] - rows[1]).max() < 1e-2


def test_generation(model, session):
    session.prefill(model.tokenize(TEXT))
    made = session.generate(n_predict=8)
    text = "".join(made)
    assert text.startswith(" Paris") and made.n_generated == 8
    assert made.stop_reason == "length"
    session.clear()
    session.prefill(model.tokenize(TEXT))
    made = session.generate(n_predict=32, stop=["Paris"])
    assert "".join(made) == " " and made.stop_reason == "stop"
    session.clear()
    session.prefill(model.tokenize(TEXT))
    pieces = session.generate(n_predict=200, ignore_end=True)
    first = next(iter(pieces))
    pieces._pieces.close()
    assert text.startswith(first)
    assert session.pos() < 200  # it ended early, and the session goes on
    session.decode(1)
    fresh = libtlp.Session(model, n_ctx=32)
    with pytest.raises(libtlp.StateError):
        list(fresh.generate())


def test_one_thread_at_a_time(model, session):
    ids = model.tokenize(TEXT)
    session.prefill(ids)
    pieces = iter(session.generate(n_predict=100, ignore_end=True))
    next(pieces)
    with pytest.raises(libtlp.StateError):
        session.prefill(ids)
    pieces.close()


def test_abort_from_another_thread(model):
    with libtlp.Session(model, n_ctx=4096) as s:
        timer = threading.Timer(0.3, s.abort)
        timer.start()
        with pytest.raises(libtlp.CanceledError):
            s.prefill([5] * 4000)
        timer.join()
        assert s.pos() == 0


CTRL_C = """
import sys, time, libtlp
m = libtlp.Model(sys.argv[1])
s = libtlp.Session(m, n_ctx=8192, n_thread=1)
print("ready", flush=True)
begin = time.monotonic()
try:
    s.prefill([5] * 8000)
except KeyboardInterrupt:
    assert s.pos() == 0
    s.prefill([5])
    print("stopped after", time.monotonic() - begin, flush=True)
"""


def test_ctrl_c_stops_a_call(smollm2_path):
    # a shell's background job ignores the signal, and its children would too
    with subprocess.Popen(
            [sys.executable, "-c", CTRL_C, smollm2_path],
            stdout=subprocess.PIPE, text=True,
            preexec_fn=lambda: signal.signal(signal.SIGINT,
                                             signal.SIG_DFL)) as p:
        assert p.stdout.readline() == "ready\n"
        time.sleep(0.5)
        p.send_signal(signal.SIGINT)
        out = p.stdout.read()
    assert out.startswith("stopped after"), out
    assert p.returncode == 0


def test_a_forked_child_is_told(model, session):
    session.prefill([1, 2])
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            session.decode(3)
            os.write(writer, b"evaluated")
        except libtlp.StateError:
            os.write(writer, b"refused")
        finally:
            os._exit(0)
    os.waitpid(pid, 0)
    assert os.read(reader, 32) == b"refused"
    session.decode(3)


def test_need(model):
    plan = libtlp.Plan(model)
    need = libtlp.session_need(plan, n_ctx=512, n_rank=2)
    assert need.n_rank == 2 and need.weight_bytes > 5e7 and need.kv_bytes > 1e6
