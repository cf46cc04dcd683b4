"""Plans made and changed, on a model with random weights."""
import numpy
import pytest

import libtlp
from libtlp import evaluation, tune

SESSION = {"n_ctx": 32, "compute": "f32"}


@pytest.fixture(scope="module")
def ids():
    return numpy.random.default_rng(3).integers(
        0, 320, size=640, dtype=numpy.int32)


def check_plot(front):
    rows = libtlp.plot.table(front)
    assert rows[0]["plan"] == "serial" and rows[1]["kl"] == front[1].kl
    pytest.importorskip("matplotlib")
    axes = libtlp.plot.front(front, title="tiny")
    assert list(axes.lines[0].get_xdata()) == [4, 5]
    assert list(axes.lines[0].get_ydata()) == [front[1].kl, 0]
    with pytest.raises(ValueError, match="depth or exchanges"):
        libtlp.plot.front(front, x="time")
    with pytest.raises(ValueError, match="no points"):
        libtlp.plot.front([])


def test_plot_in_a_file(tiny, ids, tmp_path):
    pytest.importorskip("matplotlib")
    front = []
    tune.make(tiny, ids, exchanges=9, modes=("nosync",), point=front.append,
              session=SESSION)
    path = tmp_path / "front.svg"
    libtlp.plot.front(front, path, x="exchanges")
    assert "<svg" in path.read_text()


def test_make(tiny, ids):
    front = []
    plan = tune.make(tiny, ids, depth=4, modes=("par",), objective="kl",
                     point=front.append, session=SESSION)
    assert plan.cost(1).effective_depth == 4 and plan.text.startswith("par:")
    assert [p.depth for p in front][:2] == [5, 4]
    assert front[0].plan.text == "serial" and front[0].kl == 0
    assert front[1].kl > 0
    check_plot(front)
    plan = tune.make(tiny, ids, exchanges=8, modes=("nosync",), session=SESSION)
    assert plan.cost(2).exchanges == 8
    with pytest.raises(libtlp.UnreachedError):
        tune.make(tiny, ids, depth=1, modes=("par",), max_group=2,
                  session=SESSION)
    with pytest.raises(ValueError, match="one of serial"):
        tune.make(tiny, ids, depth=4, modes=("pair",))


def test_adjust_and_save(tiny, ids, tmp_path):
    plan = libtlp.Plan(tiny, "par:1-2")
    try:
        adjusted, report = tune.adjust(plan, ids, rank=8, gains=True,
                                       session=SESSION)
    except libtlp.NoGainError as e:
        assert e.report.kl_after == e.report.kl_before
        pytest.skip("random weights have nothing to adjust")
    assert report.kl_after < report.kl_before
    assert adjusted.adjustments().n_gain + adjusted.adjustments().n_low_rank > 0
    path = tmp_path / "a.json"
    adjusted.save(path)
    again = libtlp.Plan.load(tiny, path)
    assert again.adjustments().sha256 == adjusted.adjustments().sha256
    with pytest.raises(libtlp.NotSupportedError):
        libtlp.Plan(tiny, adjusted.json)


def test_train(tiny, ids, tmp_path):
    points = []
    path, state = tmp_path / "t.gguf", tmp_path / "state"
    plan = libtlp.Plan(tiny, "par:1-2")
    trained, report = tune.train(plan, ids, path=path, full=True, rate=1e-3,
                                 n_token=1280, resume=state,
                                 point=points.append, session=SESSION)
    assert report.kl_after < report.kl_before
    assert points[0].n_token == 0 and points[-1].n_token == 1280
    assert trained.model.path == str(path) and trained.text == "par:1-2"
    with libtlp.Session(trained.model, trained, **SESSION) as s:
        s.prefill(ids[:20])
    lora, report = tune.train(plan, ids, rank=4, rate=3e-3, n_token=640,
                              session=SESSION)
    assert lora.model is tiny and lora.adjustments().n_lora > 0


def test_long_calls_can_be_stopped(tiny, ids, tmp_path):
    plan = libtlp.Plan(tiny, "par:1-2")

    def stop(done):
        if done > 0.3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        tune.train(plan, ids, path=tmp_path / "n.gguf", full=True,
                   n_token=1280, session=SESSION, progress=stop)
    assert not (tmp_path / "n.gguf").exists()

    def wrong(point):
        raise LookupError("in a callback")

    with pytest.raises(LookupError):
        tune.make(tiny, ids, depth=4, session=SESSION, point=wrong)


def test_study(tiny, ids):
    rows = tune.study(tiny, ids[:128], session=SESSION)
    assert {r["kind"] for r in rows} == {"exchange", "pair"}
    pair = next(r for r in rows if r["kind"] == "pair")
    assert pair["plan"].startswith("par:") and pair["kl"] >= 0


def test_quantize_and_carry(tiny, tmp_path):
    path = tmp_path / "q.gguf"
    result = tune.quantize(tiny, path, "Q8_0")
    assert result.n_converted > 0
    with libtlp.Model(path) as other:
        plan = libtlp.Plan(tiny, "par:1-2").carry(other)
        assert plan.text == "par:1-2" and plan.model is other
    with pytest.raises(libtlp.InvalidArgumentError):
        tune.quantize(tiny, tmp_path / "x.gguf", "Q9_9")


def test_predictions(tiny):
    with libtlp.Session(tiny, n_ctx=64, n_rank=2, n_thread=1) as s:
        link = tune.Link(s)
    serial = link.predict(libtlp.Plan(tiny), 2)
    pairs = link.predict(libtlp.Plan(tiny, "par:1-2,3-4"), 2)
    assert 0 < pairs.allreduce_seconds < serial.allreduce_seconds


def test_evaluation(tiny, ids):
    with libtlp.Session(tiny, n_ctx=32, compute="f32") as s:
        ppl = evaluation.perplexity(s, ids, 32)
        s.clear()
        s.prefill(ids[:8])
        row = s.logits()
    assert 100 < ppl < 1e4
    same = evaluation.compare_logits(row, row)
    assert same.kl == 0 and same.top1 == same.reference_top1 == row.argmax()
    lo, hi = evaluation.bootstrap_mean([1, 2, 3, 4, 5, 6])
    assert 1 < lo < 3.5 < hi < 6
    with pytest.raises(ValueError):
        evaluation.compare_logits(row, row[:-1])
