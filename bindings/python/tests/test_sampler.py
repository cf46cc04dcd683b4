"""Samplers and grammars."""
import json

import numpy
import pytest

import libtlp


def test_pick(model):
    row = numpy.zeros(model.n_vocab, dtype=numpy.float32)
    row[7], row[9] = 3, 5
    assert libtlp.Sampler(model).pick(row) == 9
    assert libtlp.Sampler(model, bias={9: -numpy.inf}).pick(row) == 7
    mask = numpy.zeros(model.n_vocab, dtype=bool)
    mask[1234] = True
    with libtlp.Sampler(model) as s:
        s.set_mask(mask)
        assert s.pick(row) == 1234
        s.set_mask(None)
        assert s.pick(row) == 9
    row[3] = numpy.nan
    with pytest.raises(libtlp.InvalidArgumentError):
        libtlp.Sampler(model).pick(row)


def test_seeds(model):
    row = numpy.random.default_rng(1).normal(size=model.n_vocab)
    a, b = (libtlp.Sampler(model, temperature=1.0, seed=5) for _ in range(2))
    drawn = [a.pick(row) for _ in range(20)]
    assert drawn == [b.pick(row) for _ in range(20)]
    assert len(set(drawn)) > 10
    a.reset()
    assert a.pick(row) == drawn[0]


def test_a_function_changes_logits(model):
    row = numpy.zeros(model.n_vocab, dtype=numpy.float32)

    def only(logits):
        logits[:] = -numpy.inf
        logits[42] = 0

    assert libtlp.Sampler(model, logits=only).pick(row) == 42

    def fail(logits):
        raise KeyError("no")

    with pytest.raises(KeyError, match="no"):
        libtlp.Sampler(model, logits=fail).pick(row)


def test_grammars(model):
    schema = {"type": "object", "properties": {"n": {"type": "integer"}},
              "required": ["n"], "additionalProperties": False}
    grammar = libtlp.Grammar(model, schema=schema)
    assert "root" in grammar.text
    with libtlp.Session(model, n_ctx=256) as s:
        s.prefill(model.tokenize("A number in JSON: "))
        text = "".join(s.generate(libtlp.Sampler(model, grammar=grammar),
                                  n_predict=60))
    assert isinstance(json.loads(text)["n"], int)
    with libtlp.Session(model, n_ctx=64) as s:
        s.prefill(model.tokenize("Yes or no? "))
        only = libtlp.Grammar(model, 'root ::= "perhaps"')
        assert "".join(s.generate(libtlp.Sampler(model, grammar=only))) \
            == "perhaps"
    with pytest.raises(libtlp.FormatError):
        libtlp.Grammar(model, "root ::= (")
    with pytest.raises(TypeError):
        libtlp.Grammar(model)


def test_bad_options(model):
    with pytest.raises(libtlp.InvalidArgumentError, match="top_p"):
        libtlp.Sampler(model, top_p=2)
    with pytest.raises(TypeError, match="unknown option 'heat'"):
        libtlp.Sampler(model, heat=2)
