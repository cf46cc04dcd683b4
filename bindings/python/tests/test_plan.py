"""Plans."""
import json

import pytest

import libtlp


def test_forms(model, tmp_path):
    plan = libtlp.Plan(model, "par:3-4,7-8;asym:20-21")
    assert plan.text == "par:3-4,7-8;asym:20-21"
    assert json.loads(plan.json)["model"]["n_layer"] == 30
    assert libtlp.Plan(model, plan.json).text == plan.text
    path = tmp_path / "p.json"
    plan.save(path)
    assert libtlp.Plan.load(model, path).text == plan.text
    assert plan.adjustments() is None
    assert libtlp.Plan(model).text == "serial"


def test_cost_and_stages(model):
    plan = libtlp.Plan(model, "lp:3-4;nosync@2:7f")
    cost = plan.cost(2)
    assert cost.effective_depth == 29 and cost.n_layer == 30
    assert cost.exchanges == 57
    stages = plan.stages()
    assert len(stages) == 29
    assert stages[3].mode == "lp" and stages[3].layers == [3, 4]
    assert stages[6].layers == [7] and stages[6].nosync == 2


@pytest.mark.parametrize("text,error", [
    ("par:3", libtlp.InvalidArgumentError), ("par:3-99", libtlp.InvalidArgumentError),
    ("blah", libtlp.FormatError), ("{", libtlp.FormatError)])
def test_bad_plans(model, text, error):
    with pytest.raises(error):
        libtlp.Plan(model, text)


def test_plans_belong_to_their_model(model, tiny):
    plan = libtlp.Plan(tiny, "par:1-2")
    with pytest.raises(ValueError, match="another Model"):
        libtlp.Session(model, plan)
    with pytest.raises(libtlp.MismatchError):
        libtlp.Plan(model, plan.json)
