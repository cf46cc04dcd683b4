"""Models, tokens, conversations."""
import logging
import pickle

import pytest

import libtlp


def test_facts(model):
    assert model.info.arch == "llama"
    assert model.info.n_layer == 30 and model.n_vocab == 49152
    assert model.digest().startswith("sha256:")
    meta = model.metadata()
    assert meta["general.architecture"] == "llama"
    assert len(meta) == model.info.n_meta
    tensors = list(model.tensors())
    assert len(tensors) == model.info.n_tensor
    embedding = next(t for t in tensors if t.name == "token_embd.weight")
    assert embedding.ne[:2] == [576, 49152] and embedding.n_dim == 2
    assert "SmolLM2" in repr(model)


@pytest.mark.parametrize("text", ["", "Hello, world", "naïve €uro 🙂", "a\n\n b",
                                  "  tabs\tand  blanks "])
def test_text_survives(model, text):
    ids = model.tokenize(text)
    assert model.detokenize(ids) == text
    assert b"".join(model.token_bytes(i) for i in ids) == text.encode()


def test_special_tokens(model):
    text = "<|im_start|>user"
    assert len(model.tokenize(text, special=True)) == 2
    assert len(model.tokenize(text)) > 2
    ids = model.tokenize(text, special=True)
    assert model.detokenize(ids) == "user"
    assert model.detokenize(ids, special=True) == text
    assert model.token_is_end(model.info.eos)
    assert not model.token_is_end(ids[1])


def test_bytes_that_are_no_text(model):
    half = "é".encode()[:1]
    ids = model.tokenize(half)
    assert model.detokenize_bytes(ids) == half
    assert model.detokenize(ids) == "\ufffd"


def test_conversations(model):
    messages = [{"role": "system", "content": "Be brief."},
                {"role": "user", "content": "Hi"}]
    text = model.chat_text(messages)
    assert text.endswith("<|im_start|>assistant\n") and "Be brief." in text
    assert model.chat_tokens(messages) == model.tokenize(text, special=True)
    assert not model.chat_text(messages, add_generation_prompt=False).endswith(
        "assistant\n")
    goes_on = messages + [{"role": "assistant", "content": "Well"}]
    assert model.chat_text(goes_on, continue_final_message=True).endswith("Well")
    own = model.chat_text(messages, chat_template="{{ messages|length }}")
    assert own == "2"
    with pytest.raises(TypeError, match="unknown option 'colour'"):
        model.chat_text(messages, colour="red")
    with pytest.raises(libtlp.TlpError):
        model.chat_text(messages, chat_template="{% for %}")


def test_errors_have_the_library_s_text(tmp_path):
    with pytest.raises(libtlp.InputOutputError, match="none.gguf") as e:
        libtlp.Model("/nowhere/none.gguf")
    assert isinstance(e.value, OSError) and e.value.name == "TLP_EIO"
    bad = tmp_path / "bad.gguf"
    bad.write_bytes(b"GGUF" + bytes(60))
    with pytest.raises(libtlp.TlpError, match="bad.gguf"):
        libtlp.Model(bad)


def test_handles_are_closed_once(smollm2_path):
    m = libtlp.Model(smollm2_path, vocab_only=True)
    plan_free = m.tokenize("a")
    m.close()
    m.close()
    assert m.closed and plan_free
    with pytest.raises(ValueError, match="Model is closed"):
        m.tokenize("a")
    with pytest.raises(TypeError, match="cannot be pickled"):
        pickle.dumps(m)


def test_progress_and_log(smollm2_path, caplog):
    seen = []
    with caplog.at_level(logging.DEBUG, logger="libtlp"):
        libtlp.Model(smollm2_path, progress=seen.append).close()
    assert seen == sorted(seen)

    def stop(done):
        raise RuntimeError("enough")

    with pytest.raises(RuntimeError, match="enough"):
        libtlp.Session(libtlp.Model(smollm2_path), progress=stop)
    with pytest.raises(libtlp.CanceledError):
        libtlp.Session(libtlp.Model(smollm2_path), progress=lambda done: True)
