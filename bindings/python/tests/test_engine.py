"""Engines: many requests, threads, asyncio."""
import asyncio
import threading

import pytest

import libtlp

TEXT = "The capital of France is"
CHAT = [{"role": "user", "content": "What is the capital of France?"}]


@pytest.fixture(scope="module")
def engine(model):
    with libtlp.Engine(model, n_ctx=512, n_seq=4) as e:
        yield e


def greedy(model, prompt, n):
    with libtlp.Session(model, n_ctx=512) as s:
        s.prefill(prompt)
        return "".join(s.generate(n_predict=n))


def test_texts_are_those_of_a_session(model, engine):
    want = greedy(model, model.tokenize(TEXT, bos=True), 12)
    done = engine.complete(TEXT, n_predict=12)
    assert done.text == want and done.stop_reasons == ["length"]
    assert done.n_generated == 12 and len(done.tokens[0]) == 12
    assert done.n_prompt == len(model.tokenize(TEXT, bos=True))
    assert engine.complete(model.tokenize(TEXT, bos=True),
                           n_predict=12).text == want
    assert "".join(engine.generate(TEXT, n_predict=12)) == want
    chat = engine.complete(CHAT, n_predict=40)
    assert chat.text == greedy(model, model.chat_tokens(CHAT), 40)


def test_threads(model, engine):
    prompts = [f"Number {i} and then" for i in range(8)]
    want = [greedy(model, model.tokenize(p, bos=True), 10) for p in prompts]
    got = [None] * 8

    def ask(i):
        got[i] = engine.complete(prompts[i], n_predict=10).text

    threads = [threading.Thread(target=ask, args=(i,)) for i in range(8)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert got == want


def test_asyncio(model, engine):
    prompts = [f"Letter {c} is" for c in "abcd"]
    want = [greedy(model, model.tokenize(p, bos=True), 8) for p in prompts]

    async def one(prompt):
        return "".join([piece async for piece in
                        engine.stream(prompt, n_predict=8)])

    async def all_of_them():
        return await asyncio.gather(*map(one, prompts))

    assert asyncio.run(all_of_them()) == want

    async def canceled():
        task = asyncio.create_task(
            engine.submit_async(TEXT, n_predict=400, ignore_end=True).result())
        await asyncio.sleep(0.3)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    before = engine.stats().n_canceled
    asyncio.run(canceled())
    engine.complete(TEXT, n_predict=4)
    assert engine.stats().n_canceled == before + 1


def test_events(model, engine):
    request = engine.submit(TEXT, n_predict=3, logprobs=1, n_top=2,
                            prompt_logprobs=1)
    events = list(request)
    kinds = [e.kind for e in events]
    n = len(model.tokenize(TEXT, bos=True))
    assert kinds.count("prompt_token") == n and kinds.count("token") == 3
    assert kinds[-2:] == ["stop", "end"] and kinds.count("prompt") == 1
    token = next(e for e in events if e.kind == "token")
    assert token.top[0] == (token.token, pytest.approx(token.logprob))
    assert len(token.top) == 2 and token.logprob < 0
    assert list(request) == []


def test_choices_and_ends(engine):
    done = engine.complete(TEXT, n_predict=10, n_choice=3, temperature=1.2,
                           seed=3)
    assert len(done.texts) == 3 and len(set(done.texts)) > 1
    again = engine.complete(TEXT, n_predict=10, n_choice=3, temperature=1.2,
                            seed=3)
    assert again.texts == done.texts
    done = engine.complete(TEXT, n_predict=20, stop="Paris")
    assert done.text == " " and done.stop_reasons == ["stop"]
    request = engine.submit(TEXT, n_predict=400, ignore_end=True)
    next(iter(request))
    request.cancel()
    assert request.wait().stop_reasons == ["cancel"]
    done = engine.submit(TEXT, n_predict=400, ignore_end=True,
                         deadline=0.2).wait()
    assert done.stop_reasons == ["deadline"]


def test_left_iterators_free_their_sequences(engine):
    pieces = engine.generate(TEXT, n_predict=400, ignore_end=True)
    next(pieces)
    pieces.close()
    for _ in range(100):
        engine.complete(TEXT, n_predict=1)
        if engine.stats().n_running == 0:
            break
    assert engine.stats().n_running == 0


def test_refusals(model, engine):
    with pytest.raises(libtlp.FullError):
        engine.complete([1] * 600)
    with pytest.raises(libtlp.InvalidArgumentError):
        engine.complete(TEXT, n_choice=5)
    with pytest.raises(TypeError, match="unknown option 'n_token'"):
        engine.complete(TEXT, n_token=5)
    with pytest.raises(libtlp.InvalidArgumentError):
        engine.complete([])

    def fail(logits):
        raise RuntimeError("never seen by the engine's thread")

    with pytest.raises(libtlp.CanceledError):
        engine.complete(TEXT, logits=fail)


def test_close_ends_requests(model):
    engine = libtlp.Engine(model, n_ctx=512, n_seq=2)
    request = engine.submit(TEXT, n_predict=400, ignore_end=True)
    next(iter(request))
    engine.close()
    assert request.wait().stop_reasons == ["cancel"]
    with pytest.raises(ValueError, match="closed"):
        engine.complete(TEXT)
    engine.close()


def test_prefixes_are_known(model):
    long = model.tokenize("word " * 200)
    with libtlp.Engine(model, n_ctx=512, n_seq=2) as engine:
        engine.complete(long, n_predict=1)
        assert engine.complete(long + [5], n_predict=1).n_cached > 150
        assert engine.session_stats().n_rank == 1


def test_sequences_as_files(model, tmp_path):
    path, prompt = tmp_path / "prompt.seq", model.tokenize("word " * 50)
    with libtlp.Engine(model, n_ctx=512, n_seq=2) as engine:
        last = list(engine.submit(prompt, n_predict=1))[-1]
        assert engine.slot(last.seq).n_held == len(prompt)
        assert engine.save_file(path, last.seq) == len(prompt)
        assert engine.clear(last.seq) == len(prompt)
        assert engine.complete(prompt, n_predict=1).n_cached == 0
        with pytest.raises(libtlp.InputOutputError):
            engine.load_file(tmp_path / "absent")
    with libtlp.Engine(model, n_ctx=512, n_seq=2) as engine:
        assert engine.load_file(path, 1) == len(prompt)
        assert engine.complete(prompt, n_predict=1).n_cached == len(prompt) - 1
