"""A chat in the terminal: python -m libtlp MODEL [--plan PLAN]"""
import argparse
import sys
from typing import Any

import libtlp


def _arguments() -> Any:
    p = argparse.ArgumentParser(prog="python -m libtlp", description="Chat with "
                                "a model, under a plan of layer parallelism.")
    p.add_argument("model", help="GGUF file, or a folder of Hugging Face")
    p.add_argument("--plan", help="text form or JSON file (serial)")
    p.add_argument("--ranks", type=int, default=0, metavar="N")
    p.add_argument("--ctx", type=int, default=2048, metavar="N")
    p.add_argument("--temp", type=float, default=0.7, metavar="X")
    p.add_argument("-p", "--prompt", help="one message; answer it and end")
    p.add_argument("-n", "--predict", type=int, default=512, metavar="N")
    return p.parse_args()


def _answer(engine: libtlp.Engine, messages: "list[dict[str, str]]",
            a: Any) -> str:
    text = ""
    for piece in engine.generate(messages, n_predict=a.predict,
                                 temperature=a.temp, repeat_penalty=1.1):
        print(piece, end="", flush=True)
        text += piece
    print()
    return text


def main() -> None:
    """Answer messages until the input ends."""
    a = _arguments()
    messages: "list[dict[str, str]]" = []
    try:
        with libtlp.Model(a.model) as model, libtlp.Engine(
                model, a.plan, n_ctx=a.ctx, n_rank=a.ranks, n_seq=2) as engine:
            while True:
                text = a.prompt or input("> ")
                messages.append({"role": "user", "content": text})
                try:
                    answer = _answer(engine, messages, a)
                    messages.append({"role": "assistant", "content": answer})
                except KeyboardInterrupt:
                    print(" (stopped)")
                    messages.pop()
                if a.prompt:
                    break
    except (EOFError, KeyboardInterrupt):
        print()
    except libtlp.TlpError as e:
        sys.exit(f"libtlp: {e}")


if __name__ == "__main__":
    main()
