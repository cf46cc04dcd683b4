"""The class Llama, beside the engine."""
import json

import pytest

from libtlp.compat import Llama, LlamaGrammar

TEXT = "The capital of France is"


@pytest.fixture(scope="module")
def llama(smollm2_path):
    made = Llama(smollm2_path, n_ctx=256, plan="par:14-15", verbose=False)
    yield made
    made.close()


def test_completions(llama):
    want = llama.engine.complete(TEXT, n_predict=8).text
    got = llama(TEXT, max_tokens=8, temperature=0)
    assert got["choices"][0]["text"] == want
    assert got["choices"][0]["finish_reason"] == "length"
    assert got["object"] == "text_completion" and got["id"].startswith("cmpl-")
    usage = got["usage"]
    assert usage["prompt_tokens"] == len(llama.tokenize(TEXT.encode()))
    assert usage["completion_tokens"] == 8
    assert usage["total_tokens"] == usage["prompt_tokens"] + 8
    got = llama(TEXT, max_tokens=8, temperature=0, echo=True, stop=["Paris"])
    assert got["choices"][0]["text"] == TEXT + " "
    assert got["choices"][0]["finish_reason"] == "stop"
    pieces = list(llama(TEXT, max_tokens=8, temperature=0, stream=True))
    assert "".join(p["choices"][0]["text"] for p in pieces) == want
    assert pieces[-1]["choices"][0]["finish_reason"] == "length"
    assert llama(llama.tokenize(TEXT.encode()), max_tokens=8,
                 temperature=0)["choices"][0]["text"] == want


def test_seeds_and_log_probabilities(llama):
    a, b = (llama(TEXT, temperature=1.0, seed=7)["choices"][0]["text"]
            for _ in range(2))
    assert a == b
    drawn = {llama(TEXT, temperature=1.5)["choices"][0]["text"]
             for _ in range(4)}
    assert len(drawn) > 1
    got = llama(TEXT, max_tokens=3, temperature=0, logprobs=2)
    rows = got["choices"][0]["logprobs"]
    assert rows["tokens"][0] == " Paris" and len(rows["tokens"]) == 3
    assert rows["top_logprobs"][0][" Paris"] == rows["token_logprobs"][0] < 0


def test_chats(llama):
    messages = [{"role": "user", "content": "Say hello."}]
    got = llama.create_chat_completion(messages, max_tokens=12, temperature=0)
    text = got["choices"][0]["message"]["content"]
    assert text == llama.engine.complete(messages, n_predict=12).text
    pieces = list(llama.create_chat_completion(messages, max_tokens=12,
                                               temperature=0, stream=True))
    deltas = [p["choices"][0]["delta"] for p in pieces]
    assert deltas[0] == {"role": "assistant"}
    assert "".join(d.get("content", "") for d in deltas) == text
    got = llama.create_chat_completion(
        messages, max_tokens=60, response_format={
            "type": "json_object", "schema": {
                "type": "object", "properties": {"n": {"type": "boolean"}},
                "required": ["n"], "additionalProperties": False}})
    assert isinstance(json.loads(
        got["choices"][0]["message"]["content"])["n"], bool)


def test_grammar_and_bias(llama):
    only = LlamaGrammar.from_string('root ::= "yes" | "no"')
    assert llama(TEXT, grammar=only)["choices"][0]["text"] in ("yes", "no")
    token = llama.tokenize(b"word", add_bos=False)[0]
    got = llama(TEXT, max_tokens=1, logit_bias={str(token): float("inf")})
    assert got["choices"][0]["text"] == llama.detokenize([token]).decode()


def test_evaluation_by_hand(llama):
    ids = llama.tokenize(TEXT.encode())
    llama.reset()
    llama.eval(ids)
    assert llama.n_tokens == len(ids) and len(llama.eval_logits) == 1
    assert llama.detokenize([llama.sample(temperature=0)]) == b" Paris"
    assert llama.n_vocab() == 49152 and llama.n_ctx() == 256
    assert llama.metadata["general.architecture"] == "llama"


def test_what_is_not_known_is_refused(llama, smollm2_path):
    with pytest.raises(TypeError, match="unknown argument 'mirostat_mode'"):
        llama(TEXT, mirostat_mode=2)
    with pytest.raises(TypeError, match="unknown option 'flash_attn'"):
        Llama(smollm2_path, flash_attn=True)
    with pytest.raises(ValueError, match="n_gpu_layers"):
        Llama(smollm2_path, n_gpu_layers=-1)
