"""lm-evaluation-harness beside the library's own tasks."""
import json
import os
import subprocess
import sys

import pytest

import libtlp
from libtlp import evaluation

lm_eval = pytest.importorskip("lm_eval")

CITIES = ["Paris", "London", "Rome", "Berlin", "Madrid", "Vienna"]
LANDS = ["France", "England", "Italy", "Germany", "Spain", "Austria"]
YAML = """task: capitals
dataset_path: json
dataset_kwargs:
  data_files:
    test: {data}
test_split: test
output_type: multiple_choice
doc_to_text: "{{{{query}}}}"
doc_to_choice: "{{{{choices}}}}"
doc_to_target: "{{{{gold}}}}"
metric_list:
  - metric: acc
  - metric: acc_norm
"""


@pytest.fixture(scope="module")
def task_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tasks")
    with open(folder / "q.jsonl", "w", encoding="utf-8") as f:
        for i, land in enumerate(LANDS):
            f.write(json.dumps({
                "query": f"Question: What is the capital of {land}?\nAnswer:",
                "choices": [CITIES[(i + k) % 6] for k in (0, 1, 3)],
                "gold": 0}) + "\n")
    (folder / "capitals.yaml").write_text(YAML.format(data=folder / "q.jsonl"))
    return folder


@pytest.fixture(scope="module")
def lm(smollm2_path):
    from libtlp.harness import LibtlpLM

    made = LibtlpLM(smollm2_path, plan="par:14-15", n_ctx=512, n_seq=4)
    yield made
    made.engine.close()


class Ask:
    def __init__(self, *args):
        self.args = args


def test_the_command_agrees_with_the_library_s_task(smollm2_path, task_folder):
    done = subprocess.run(
        [sys.executable, "-m", "libtlp.harness", "run", "--model", "libtlp",
         "--model_args", f"pretrained={smollm2_path},plan=par:14-15,n_ctx=512",
         "--include_path", str(task_folder), "--tasks", "capitals",
         "--output_path", str(task_folder / "out")],
        cwd=task_folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        text=True, check=False, env={**os.environ, "HF_HUB_OFFLINE": "1",
                                     "HF_DATASETS_OFFLINE": "1"})
    assert done.returncode == 0, done.stdout
    found = next((task_folder / "out").rglob("results*.json"))
    got = json.loads(found.read_text())["results"]["capitals"]
    with libtlp.Model(smollm2_path) as model:
        task = evaluation.Task(model, task_folder / "q.jsonl", n_ctx=512)
        with libtlp.Session(model, "par:14-15", n_ctx=512) as session:
            want = task.accuracy(session)
    assert got["acc,none"] == pytest.approx(want.acc)
    assert got["acc_norm,none"] == pytest.approx(want.acc_norm)
    assert 0 < want.acc < 1  # else the test shows little


def test_scores_are_those_of_a_session(lm):
    with libtlp.Session(lm.model, "par:14-15", n_ctx=512) as session:
        for text, end in (("The capital of France is", " Paris"), ("", "Hello"),
                          ("Two plus two is ", "four.")):
            (value, greedy), = lm.loglikelihood([Ask(text, end)],
                                                disable_tqdm=True)
            context, rest = lm._encode_pair(text, end) if text \
                else ([lm.prefix_token_id], lm.tok_encode(end))
            session.clear()
            scores = session.score(context + rest)[len(context):]
            assert value == pytest.approx(float(scores.sum()), abs=0.02)
            session.clear()
            session.prefill(context)
            pick = session.logprobs(0, 1)[0][0][0]
            assert greedy == (len(rest) == 1 and pick == rest[0]) or greedy


def test_rolling_windows(lm):
    text = "The quick brown fox jumps over the lazy dog. " * 80
    assert len(lm.tok_encode(text)) > lm.max_length
    value, = lm.loglikelihood_rolling([Ask(text)], disable_tqdm=True)
    short, = lm.loglikelihood_rolling([Ask("The quick brown fox")],
                                      disable_tqdm=True)
    (want, _), = lm.loglikelihood([Ask("", "The quick brown fox")],
                                  disable_tqdm=True)
    assert short == pytest.approx(want, abs=0.02)
    assert value < short < 0


def test_generation(lm):
    text = "The capital of France is"
    got = lm.generate_until([Ask(text, {"until": ["."], "max_gen_toks": 12}),
                             Ask(text, {"until": "Paris"})], disable_tqdm=True)
    want = lm.engine.complete(text, n_predict=12, stop=["."]).text
    assert got[0] == want and got[1] == " "
    assert lm.generate_until([Ask(text * 200, {"max_gen_toks": 4})],
                             disable_tqdm=True)[0]
    with pytest.raises(ValueError, match="'num_beams' is unknown"):
        lm.generate_until([Ask(text, {"num_beams": 4})])
    with pytest.raises(ValueError, match="max_gen_toks"):
        lm.generate_until([Ask(text, {"max_gen_toks": 512})])


def test_chats(lm):
    history = [{"role": "user", "content": "Hi"}]
    assert lm.apply_chat_template(history).endswith("assistant\n")
    assert "im_start" in lm.chat_template(True)
    assert lm.tokenizer_name.startswith("sha256:")
