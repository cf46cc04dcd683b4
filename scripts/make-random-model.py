#!/usr/bin/env python3
"""Write a GGUF model of a known shape with random weights, to measure speed.

    python3 -m venv v && v/bin/pip install numpy gguf
    v/bin/python scripts/make-random-model.py llama-3.2-1b OUT.gguf --type Q8_0
    v/bin/python scripts/make-random-model.py smollm2-135m OUT.gguf \\
        --set n_layer=4 n_vocab=1000

Speed and memory depend on the shape and the types only, so such a file stands
for the model it is shaped like; its text is nonsense.  Norms and scales are
such that activations stay of order one, and the same seed gives the same
weights.  A matrix is cut from a block of four million random numbers, again and
again from where the last one ended, so that 13 GB are written as fast as the
disk takes them; no two rows of it are alike, as the block's length shares no
factor with theirs.  The vocabulary has a token for each byte and nothing longer
that a text could reach: a text has as many tokens as bytes.
"""
import argparse
import math
import sys

KEYS = ("n_layer", "n_embd", "n_ff", "n_head", "n_head_kv", "head_dim",
        "n_vocab", "n_ctx", "theta", "eps", "tied", "n_expert", "n_used")
SHAPES = {
    "smollm2-135m": ("llama", 30, 576, 1536, 9, 3, 64, 49152, 8192, 1e5, 1e-5,
                     1),
    "llama-3.2-1b": ("llama", 16, 2048, 8192, 32, 8, 64, 128256, 131072, 5e5,
                     1e-5, 1),
    "llama-3.2-3b": ("llama", 28, 3072, 8192, 24, 8, 128, 128256, 131072, 5e5,
                     1e-5, 1),
    "llama-2-7b": ("llama", 32, 4096, 11008, 32, 32, 128, 32000, 4096, 1e4,
                   1e-5, 0),
    "llama-3.1-8b": ("llama", 32, 4096, 14336, 32, 8, 128, 128256, 131072, 5e5,
                     1e-5, 0),
    "llama-3.1-70b": ("llama", 80, 8192, 28672, 64, 8, 128, 128256, 131072,
                      5e5, 1e-5, 0),
    "qwen3-4b": ("qwen3", 36, 2560, 9728, 32, 8, 128, 151936, 40960, 1e6, 1e-6,
                 1),
    "granite-3.1-2b": ("granite", 40, 2048, 8192, 32, 8, 64, 49155, 131072, 5e6,
                       1e-5, 1),
    "olmo2-1b": ("olmo2", 16, 2048, 8192, 16, 16, 128, 100352, 4096, 5e5, 1e-6,
                 0),
    "smollm3-3b": ("smollm3", 36, 2048, 11008, 16, 4, 128, 128256, 65536, 5e6,
                   1e-6, 1),
}
# With n_expert experts of n_ff hidden units, of which a token reads n_used.
SHAPES.update({
    "mixtral-8x7b": ("llama", 32, 4096, 14336, 32, 8, 128, 32000, 32768, 1e6,
                     1e-5, 0, 8, 2),
    "qwen3-30b-a3b": ("qwen3moe", 48, 2048, 768, 32, 4, 128, 151936, 40960,
                      1e6, 1e-6, 0, 128, 8),
})
# Keys that an architecture has besides.
SCALES = {
    "granite": {"embedding_scale": 12.0, "residual_scale": 0.22,
                "attention.scale": 0.015625, "logit_scale": 8.0},
}
# Stays F32.
ROUTER = "ffn_gate_inp"
TYPES = ("F32", "F16", "BF16", "Q4_0", "Q8_0")

# Blocks of 32 numbers that are made: a prime, so that rows of any shape begin
# at all of them before one comes again.
POOL_BLOCKS = 131071
BLOCK = 32


def shape_of(name, changes):
    """The shape as a dict, with KEY=VALUE changes."""
    shape = dict(zip(("arch",) + KEYS, SHAPES[name] + (0, 0)))
    for change in changes:
        key, _, value = change.partition("=")
        if key not in KEYS:
            sys.exit(f"make-random-model: {change}: keys are {', '.join(KEYS)}")
        try:
            shape[key] = type(shape[key])(value)
        except ValueError:
            sys.exit(f"make-random-model: {change}: not a number")
        if shape[key] <= 0 and key not in ("tied", "n_expert", "n_used"):
            sys.exit(f"make-random-model: {change}: must be above 0")
    if not 0 < shape["n_used"] <= shape["n_expert"] and (
            shape["n_used"] or shape["n_expert"]):
        sys.exit("make-random-model: n_used: 1 to n_expert")
    if shape["n_vocab"] < 260:
        sys.exit("make-random-model: n_vocab: at least 260 (bytes come first)")
    return shape


def tensors_of(s):
    """(name, shape, deviation) of each tensor; norms have one dimension, stacks
    of experts three."""
    q, kv = s["n_head"] * s["head_dim"], s["n_head_kv"] * s["head_dim"]
    d, ff = s["n_embd"], s["n_ff"]
    # What is added to the residual stream shrinks with the number of layers.
    add = (2 * s["n_layer"]) ** -0.5

    yield "token_embd", (s["n_vocab"], d), d ** -0.5
    for layer in range(s["n_layer"]):
        block = f"blk.{layer}."

        if s["arch"] != "olmo2":
            yield block + "attn_norm", (d,), 0
        yield block + "attn_q", (q, d), d ** -0.5
        yield block + "attn_k", (kv, d), d ** -0.5
        yield block + "attn_v", (kv, d), d ** -0.5
        yield block + "attn_output", (d, q), add * q ** -0.5
        if s["arch"] in ("qwen3", "qwen3moe"):
            yield block + "attn_q_norm", (s["head_dim"],), 0
            yield block + "attn_k_norm", (s["head_dim"],), 0
        if s["arch"] == "olmo2":
            yield block + "attn_q_norm", (q,), 0
            yield block + "attn_k_norm", (kv,), 0
            yield block + "post_attention_norm", (d,), 0
            yield block + "post_ffw_norm", (d,), 0
        else:
            yield block + "ffn_norm", (d,), 0
        n = (s["n_expert"],) if s["n_expert"] else ()
        exps = "_exps" if n else ""
        if n:
            yield block + ROUTER, n + (d,), d ** -0.5
        yield block + "ffn_gate" + exps, n + (ff, d), d ** -0.5
        yield block + "ffn_up" + exps, n + (ff, d), d ** -0.5
        yield block + "ffn_down" + exps, n + (d, ff), add * ff ** -0.5
    yield "output_norm", (d,), 0
    if not s["tied"]:
        yield "output", (s["n_vocab"], d), d ** -0.5


def add_hparams(w, shape_name, s, dtype):
    w.add_name(f"random weights, {shape_name}")
    w.add_file_type(getattr(gguf.LlamaFileType,
                            {"F32": "ALL_F32"}.get(dtype, "MOSTLY_" + dtype)))
    w.add_block_count(s["n_layer"])
    w.add_embedding_length(s["n_embd"])
    w.add_feed_forward_length(s["n_ff"])
    w.add_head_count(s["n_head"])
    w.add_head_count_kv(s["n_head_kv"])
    w.add_key_length(s["head_dim"])
    w.add_value_length(s["head_dim"])
    w.add_rope_dimension_count(s["head_dim"])
    w.add_rope_freq_base(s["theta"])
    w.add_layer_norm_rms_eps(s["eps"])
    w.add_context_length(s["n_ctx"])
    w.add_vocab_size(s["n_vocab"])
    if s["n_expert"]:
        w.add_expert_count(s["n_expert"])
        w.add_expert_used_count(s["n_used"])
        if s["arch"] != "llama":
            w.add_expert_feed_forward_length(s["n_ff"])
    for key, value in SCALES.get(s["arch"], {}).items():
        w.add_float32(f"{s['arch']}.{key}", value)


def byte_letters():
    """The letters that stand for bytes in a vocabulary of the gpt-2 kind: a
    byte itself where it can be seen, else the next one from U+0100 on."""
    letters, n_hidden = [], 0
    for byte in range(256):
        if 32 < byte < 127 or (byte > 160 and byte != 173):
            letters.append(chr(byte))
        else:
            letters.append(chr(256 + n_hidden))
            n_hidden += 1
    return letters


def add_vocab(w, n_vocab):
    tokens = byte_letters()
    zeros = tokens[0] * 2  # for the one merge that readers want to see
    space = tokens[32]
    tokens.append(zeros)
    tokens += [f"{space}t{i}" for i in range(257, n_vocab - 2)]
    tokens += ["<|im_start|>", "<|im_end|>"]
    w.add_tokenizer_model("gpt2")
    w.add_tokenizer_pre("gpt-2")
    w.add_token_list(tokens)
    w.add_token_types([gguf.TokenType.NORMAL] * (n_vocab - 2)
                      + [gguf.TokenType.CONTROL] * 2)
    w.add_token_merges([f"{zeros[0]} {zeros[0]}"])
    w.add_bos_token_id(n_vocab - 2)
    w.add_eos_token_id(n_vocab - 1)
    w.add_add_bos_token(False)


def n_bytes(shape, qtype):
    block, size = gguf.GGML_QUANT_SIZES[qtype]
    if shape[-1] % block:
        sys.exit(f"make-random-model: rows of {shape[-1]} elements do not "
                 f"make {qtype.name} blocks of {block}")
    return math.prod(shape) // block * size


class Pool:
    """Random numbers of any deviation in the file's type, without an end."""

    def __init__(self, rng, qtype):
        self.normal = rng.standard_normal((POOL_BLOCKS, BLOCK), np.float32)
        self.qtype = qtype
        self.data = {}  # bytes, by deviation
        self.at = 0     # the byte where the next matrix begins

    def pieces(self, deviation, n):
        """n bytes, in pieces."""
        if deviation not in self.data:
            x = self.normal * np.float32(deviation)
            data = gguf.quants.quantize(x, self.qtype)
            self.data[deviation] = data.view(np.uint8).reshape(-1)
        data = self.data[deviation]
        while n > 0:
            piece = data[self.at:self.at + n]
            yield piece
            n -= len(piece)
            self.at = (self.at + len(piece)) % len(data)


class Matrix:
    """What GGUFWriter asks of an array, without the memory.  pool None: a hole
    in the file."""

    def __init__(self, pool, qtype, shape, deviation):
        self.pool, self.deviation = pool, deviation
        self.nbytes = n_bytes(shape, qtype)

    def tofile(self, f):
        if self.pool is None:
            f.seek(self.nbytes - 1, 1)
            f.write(b"\0")
            return
        for piece in self.pool.pieces(self.deviation, self.nbytes):
            piece.tofile(f)


def write_model(path, shape_name, s, dtype, seed, holes):
    matrix = gguf.GGMLQuantizationType[dtype]
    exact = gguf.GGMLQuantizationType.F32
    rng = np.random.default_rng(seed)
    kinds = {matrix, exact} if s["n_expert"] else {matrix}
    pools = {t: None if holes else Pool(rng, t)
             for t in sorted(kinds, key=lambda t: t != matrix)}

    def type_of(name, shape):
        plain = len(shape) == 1 or name.endswith(ROUTER)
        return exact if plain else matrix

    w = gguf.GGUFWriter(path, s["arch"])

    add_hparams(w, shape_name, s, dtype)
    add_vocab(w, s["n_vocab"])
    for name, shape, _ in tensors_of(s):
        qtype = type_of(name, shape)
        w.add_tensor_info(f"{name}.weight", shape, np.dtype(np.float32),
                          n_bytes(shape, qtype), qtype)
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_ti_data_to_file()
    for name, shape, deviation in tensors_of(s):
        qtype = type_of(name, shape)
        w.write_tensor_data(np.ones(shape, np.float32) if len(shape) == 1
                            else Matrix(pools[qtype], qtype, shape,
                                        deviation))
    w.close()


def load_packages():
    """Import what writing needs; --help works without."""
    global gguf, np
    try:
        import gguf
        import numpy as np
    except ImportError as e:
        sys.exit(f"make-random-model: {e}: try pip install numpy gguf")


def main():
    ap = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    ap.add_argument("shape", choices=SHAPES)
    ap.add_argument("out", help="GGUF file to write")
    ap.add_argument("--type", default="Q4_0", choices=TYPES, type=str.upper,
                    help="of all matrices (Q4_0)")
    ap.add_argument("--set", nargs="+", action="extend", default=[],
                    metavar="KEY=VALUE",
                    help=f"change the shape: {', '.join(KEYS)}")
    ap.add_argument("--seed", type=int, default=1)
    ap.add_argument("--holes", action="store_true",
                    help="write no weights: the file takes no disk, and "
                         "serves programs that read the shapes alone "
                         "(build/test/bench/bench_predict)")
    a = ap.parse_args()
    load_packages()
    write_model(a.out, a.shape, shape_of(a.shape, a.set), a.type, a.seed,
                a.holes)


if __name__ == "__main__":
    main()
