#!/usr/bin/env python3
"""Print lines of test/data/golden.txt, computed by Hugging Face transformers.

    python3 -m venv v && v/bin/pip install numpy torch transformers
    v/bin/python scripts/make-golden.py
    v/bin/python scripts/make-golden.py --train

With --train it prints test/data/train.txt: the loss of each of 20 steps in which
PyTorch trains the layers of a plan's groups.

The models are those of test/support/tiny.c with F32 weights: the values follow
from the seed and the names of the tensors, and are made here a second time, so
that no code of the library takes part.  The modules of transformers compute
attention, feed-forward, norms, rotations and the head; this script only adds up
the stages.  Serial stages are also checked against the model's own forward
pass.

GGUF keeps the rows of attn_q and attn_k of most architectures in an order in
which the two numbers of a rotation pair are neighbours; transformers keeps the
halves of a head apart.  Norms of Gemma 3 hold 1 less in transformers.  OLMo 2
and OLMo 3 are the architecture olmo2; OLMo 3 is the variants -window, and
-window-yarn with scaled positions.

phi3 rotates three quarters of a head; -window gives windows to all layers of
phi3 and llama.

Variants of scaled positions: -yarn, from 64 positions or (-beyond) 8, -yarnlog,
with another factor of what is rotated; -long and -short, longrope beyond its
original context and in it.  Mixtral is the
architecture llama in the variant -experts.  The architecture gpt-oss has the name
gpt_oss here, and every second of its layers has no window.
"""
import sys

try:
    import numpy as np
    import torch
    import transformers
    from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS
except ImportError as e:
    sys.exit(f"make-golden: {e}: try pip install numpy torch transformers")

D, FF, HEADS, KV_HEADS, HEAD_DIM, VOCAB, LAYERS = 96, 160, 6, 3, 16, 288, 5
SEED = 1
N_TOKEN = 13
MASK = (1 << 64) - 1
SIZES = dict(hidden_size=D, intermediate_size=FF, num_hidden_layers=LAYERS,
             num_attention_heads=HEADS, num_key_value_heads=KV_HEADS,
             vocab_size=VOCAB, max_position_embeddings=256, rms_norm_eps=1e-5,
             attn_implementation="eager", pad_token_id=None)
THETA = {"rope_type": "default", "rope_theta": 10000.0}
WINDOW, WINDOW_STEP = 5, 3
LAYER_TYPES = ["sliding_attention" if (i + 1) % WINDOW_STEP else
               "full_attention" for i in range(LAYERS)]
ARCHS = {
    "llama": (transformers.LlamaConfig, transformers.LlamaForCausalLM,
              dict(head_dim=HEAD_DIM)),
    "granite": (transformers.GraniteConfig, transformers.GraniteForCausalLM,
                dict(embedding_multiplier=3.0, residual_multiplier=0.375,
                     attention_multiplier=0.125, logits_scaling=1.5)),
    "smollm3": (transformers.SmolLM3Config, transformers.SmolLM3ForCausalLM,
                dict(no_rope_layer_interval=4)),
    "gemma3": (transformers.Gemma3TextConfig, transformers.Gemma3ForCausalLM,
               dict(head_dim=HEAD_DIM, query_pre_attn_scalar=HEAD_DIM,
                    sliding_window=WINDOW, layer_types=LAYER_TYPES,
                    rope_parameters={
                        "sliding_attention": THETA,
                        "full_attention": dict(THETA, rope_theta=1e6)})),
    "gemma2": (transformers.Gemma2Config, transformers.Gemma2ForCausalLM,
               dict(head_dim=HEAD_DIM, query_pre_attn_scalar=HEAD_DIM,
                    sliding_window=WINDOW, attn_logit_softcapping=0.75,
                    final_logit_softcapping=1.5)),
    "phi3": (transformers.Phi3Config, transformers.Phi3ForCausalLM, {}),
    "glm4": (transformers.Glm4Config, transformers.Glm4ForCausalLM,
             dict(head_dim=HEAD_DIM, attention_bias=True)),
    "exaone4": (transformers.Exaone4Config, transformers.Exaone4ForCausalLM,
                dict(head_dim=HEAD_DIM, sliding_window=None,
                     layer_types=["full_attention"] * LAYERS)),
    "mistral3": (transformers.Ministral3Config,
                 transformers.Ministral3ForCausalLM, dict(head_dim=HEAD_DIM)),
    "mistral": (transformers.MistralConfig, transformers.MistralForCausalLM,
                dict(head_dim=HEAD_DIM, sliding_window=WINDOW)),
    "olmo2": (transformers.Olmo2Config, transformers.Olmo2ForCausalLM, {}),
    "olmo3": (transformers.Olmo3Config, transformers.Olmo3ForCausalLM,
              dict(sliding_window=WINDOW, rope_parameters={
                  "sliding_attention": THETA, "full_attention": THETA})),
}
EXPERTS = {"llama": (5, 2), "qwen3moe": (6, 3), "gpt_oss": (6, 3)}  # of a layer, of a token
ARCHS.update({
    "mixtral": (transformers.MixtralConfig, transformers.MixtralForCausalLM,
                dict(head_dim=HEAD_DIM, num_local_experts=5,
                     num_experts_per_tok=2)),
    "qwen3moe": (transformers.Qwen3MoeConfig,
                 transformers.Qwen3MoeForCausalLM,
                 dict(head_dim=HEAD_DIM, moe_intermediate_size=FF,
                      num_experts=6, num_experts_per_tok=3,
                      norm_topk_prob=True)),
    "gpt_oss": (transformers.GptOssConfig, transformers.GptOssForCausalLM,
                dict(head_dim=HEAD_DIM, sliding_window=WINDOW,
                     num_local_experts=6, num_experts_per_tok=3)),
})
CASES = [
    ("llama-F32-yarn-beyond", "0 1 2 3 4"),
    ("llama-F32-yarn-beyond", "0 par:1,2 par:3,4"),
    ("llama-F32-yarnlog-beyond", "0 1 2 3 4"),
    ("llama-F32-long", "0 1 2 3 4"),
    ("llama-F32-long", "0 lp:1,2 3 4"),
    ("llama-F32-short", "0 1 2 3 4"),
    ("llama-F32-window", "0 1 2 3 4"),
    ("phi3-F32", "0 1 2 3 4"),
    ("phi3-F32", "0 lp:1,2 3 4"),
    ("phi3-F32", "0 par:1,2 par:3,4"),
    ("phi3-F32", "asym:0,1 2 asym:3,4"),
    ("phi3-F32-long-tied", "0 1 2 3 4"),
    ("phi3-F32-short", "0 1 2 3 4"),
    ("phi3-F32-window", "0 1 2 3 4"),
    ("phi3-F32-window-long", "0 par:1,2 par:3,4"),
    ("glm4-F32", "0 1 2 3 4"),
    ("glm4-F32", "0 lp:1,2 3 4"),
    ("glm4-F32", "0 par:1,2 par:3,4"),
    ("glm4-F32", "asym:0,1 2 asym:3,4"),
    ("exaone4-F32", "0 1 2 3 4"),
    ("exaone4-F32", "0 lp:1,2 3 4"),
    ("exaone4-F32", "asym:0,1 2 asym:3,4"),
    ("exaone4-F32-freqs-tied", "0 1 2 3 4"),
    ("exaone4-F32-window", "0 1 2 3 4"),
    ("exaone4-F32-window", "0 par:1,2 par:3,4"),
    ("mistral3-F32", "0 1 2 3 4"),
    ("mistral3-F32", "0 lp:1,2 3 4"),
    ("mistral3-F32", "asym:0,1 2 asym:3,4"),
    ("mistral3-F32-yarnlog-beyond", "0 1 2 3 4"),
    ("mistral3-F32-yarnlog-beyond", "0 par:1,2 par:3,4"),
    ("gemma2-F32", "0 1 2 3 4"),
    ("gemma2-F32", "0 lp:1,2 3 4"),
    ("gemma2-F32", "0 par:1,2 par:3,4"),
    ("gemma2-F32", "asym:0,1 2 asym:3,4"),
    ("gemma2-F32-tied", "0 1 2 3 4"),
    ("gemma3-F32-capped", "0 1 2 3 4"),
    ("granite-F32", "0 1 2 3 4"),
    ("granite-F32", "0 lp:1,2 3 4"),
    ("granite-F32", "0 par:1,2 par:3,4"),
    ("granite-F32", "asym:0,1 2 asym:3,4"),
    ("granite-F32-tied", "0 3 2 1 4"),
    ("smollm3-F32", "0 1 2 3 4"),
    ("smollm3-F32", "0 1 lp:2,3 4"),
    ("smollm3-F32", "0 par:1,2 par:3,4"),
    ("smollm3-F32-tied", "0 1 2 3 4"),
    ("smollm3-F32-tied", "0 3 2 1 4"),
    ("gemma3-F32", "0 1 2 3 4"),
    ("gemma3-F32", "0 lp:1,2 3 4"),
    ("gemma3-F32", "0 par:1,2 par:3,4"),
    ("gemma3-F32", "asym:0,1 2 asym:3,4"),
    ("gemma3-F32-tied", "0 1 2 3 4"),
    ("olmo2-F32", "0 1 2 3 4"),
    ("olmo2-F32", "0 lp:1,2 3 4"),
    ("olmo2-F32", "0 par:1,2 par:3,4"),
    ("olmo2-F32", "asym:0,1 2 asym:3,4"),
    ("olmo2-F32-window", "0 1 2 3 4"),
    ("olmo2-F32-window", "0 par:1,2 par:3,4"),
    ("olmo2-F32-window-yarn", "0 1 2 3 4"),
    ("llama-F32-experts", "0 1 2 3 4"),
    ("llama-F32-experts", "0 lp:1,2 3 4"),
    ("llama-F32-experts", "0 par:1,2 par:3,4"),
    ("qwen3moe-F32", "0 1 2 3 4"),
    ("qwen3moe-F32", "0 lp:1,2 3 4"),
    ("qwen3moe-F32", "0 par:1,2 par:3,4"),
    ("qwen3moe-F32", "asym:0,1 2 asym:3,4"),
    ("qwen3moe-F32-raw", "0 1 2 3 4"),
    ("gpt_oss-F32", "0 1 2 3 4"),
    ("gpt_oss-F32", "0 lp:1,2 3 4"),
    ("gpt_oss-F32", "0 par:1,2 par:3,4"),
    ("gpt_oss-F32", "asym:0,1 2 asym:3,4"),
    ("gpt_oss-F32-yarn", "0 1 2 3 4"),
]
TRAINED = [
    ("llama-F32", "0 lp:1,2 3 4"),
    ("llama-F32", "0 par:1,2 par:3,4"),
    ("llama-F32-tied", "asym:0,1 2 asym:3,4"),
    ("granite-F32", "0 par:1,2 asym:3,4"),
    ("smollm3-F32", "0 1 par:2,3 4"),
    ("gemma3-F32", "0 lp:1,2 3 4"),
    ("gemma3-F32", "0 par:1,2 par:3,4"),
    ("gemma3-F32-tied", "asym:0,1 2 asym:3,4"),
    ("olmo2-F32", "0 lp:1,2 3 4"),
    ("olmo2-F32", "0 par:1,2 asym:3,4"),
    ("olmo2-F32-window-yarn", "0 par:1,2 par:3,4"),
    ("llama-F32-long", "0 par:1,2 3 4"),
    ("phi3-F32-window", "0 par:1,2 3 4"),
    ("gemma2-F32", "0 par:1,2 3 4"),
    ("gemma2-F32-tied", "asym:0,1 2 lp:3,4"),
    ("gemma3-F32-capped", "0 lp:1,2 3 4"),
]


def noise(name, n):
    """n numbers of variance 1 that belong to a tensor's name."""
    h = (SEED * 0x9E3779B97F4A7C15 & MASK) ^ 14695981039346656037
    for c in name.encode():
        h = (h ^ c) * 1099511628211 & MASK
    with np.errstate(over="ignore"):
        z = np.uint64(h) + np.arange(1, n + 1, dtype=np.uint64) * \
            np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ z >> np.uint64(30)) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ z >> np.uint64(27)) * np.uint64(0x94D049BB133111EB)
        z = z ^ z >> np.uint64(31)
    total = np.full(n, -2 * 65535, dtype=np.int64)
    for i in range(4):
        total += (z >> np.uint64(16 * i) & np.uint64(0xFFFF)).astype(np.int64)
    return total.astype(np.float32) * np.float32(np.float32(1.7320508) /
                                                 np.float32(65536))


ROTATES = {"phi3": 0.75, "glm4": 0.5}


def divisors(name, mean, scale, part):
    """A tensor that divides the angles of pairs, of a part of a head."""
    half = int(part * HEAD_DIM) // 2
    x = np.float32(mean) + np.float32(scale) * noise(name, half)
    return [float(i) for i in x]


def scaling(name):
    """The scaled positions of a variant, for transformers."""
    part = ROTATES.get(name.split("-")[0], 1.0)
    theta = dict(THETA) if part == 1 else dict(THETA,
                                               partial_rotary_factor=part)
    old = 8 if "-long" in name or "-beyond" in name else 64
    if name.startswith("mistral3"):  # queries grow with their positions
        theta |= dict(llama_4_scaling_beta=0.5,
                      original_max_position_embeddings=3)
    if "-yarn" in name:
        log = dict(mscale=1.0, mscale_all_dim=1.0) if "-yarnlog" in name else {}
        if name.startswith("gpt_oss"):
            log = dict(truncate=False)
        return dict(theta, rope_type="yarn", factor=4.0) | log | dict(
            original_max_position_embeddings=old)
    if "-long" in name or "-short" in name:
        return dict(theta, rope_type="longrope", attention_factor=1.25,
                    original_max_position_embeddings=old,
                    long_factor=divisors("rope_factors_long.weight", 2, 0.25,
                                         part),
                    short_factor=divisors("rope_factors_short.weight", 1.25,
                                          0.1, part))
    if "-freqs" in name:
        return dict(theta, rope_type="divided")
    return theta


def divided(config, device=None, **_):
    """Angles divided by the tensor rope_freqs, whatever made it."""
    i = torch.arange(0, HEAD_DIM, 2, dtype=torch.float32)
    base = config.rope_parameters["rope_theta"]
    by = torch.tensor(divisors("rope_freqs.weight", 2, 0.25, 1.0))
    return base ** (-i / HEAD_DIM) / by, 1.0


ROPE_INIT_FUNCTIONS["divided"] = divided


def matrix(name, rows, cols):
    scale = np.float32(1) / np.sqrt(np.float32(cols))
    x = scale * noise(name, rows * cols)
    return torch.from_numpy(x.reshape(rows, cols).copy())


def norm(name, n):
    return torch.from_numpy(np.float32(1) + np.float32(0.1) * noise(name, n))


def halves_apart(w, heads):
    """Rows of a head from neighbouring pairs to two halves."""
    w = w.reshape(heads, HEAD_DIM // 2, 2, D)
    return w.swapaxes(1, 2).reshape(heads * HEAD_DIM, D)


def weights(tied):
    q, kv = HEADS * HEAD_DIM, KV_HEADS * HEAD_DIM
    w = {"model.embed_tokens.weight": matrix("token_embd.weight", VOCAB, D),
         "model.norm.weight": norm("output_norm.weight", D)}
    w["lm_head.weight"] = (w["model.embed_tokens.weight"] if tied else
                           matrix("output.weight", VOCAB, D))
    for i in range(LAYERS):
        to, of = f"model.layers.{i}.", f"blk.{i}."
        w.update({
            to + "input_layernorm.weight": norm(of + "attn_norm.weight", D),
            to + "self_attn.q_proj.weight": halves_apart(
                matrix(of + "attn_q.weight", q, D), HEADS),
            to + "self_attn.k_proj.weight": halves_apart(
                matrix(of + "attn_k.weight", kv, D), KV_HEADS),
            to + "self_attn.v_proj.weight": matrix(of + "attn_v.weight", kv, D),
            to + "self_attn.o_proj.weight": matrix(of + "attn_output.weight", D,
                                                   q),
            to + "post_attention_layernorm.weight": norm(
                of + "ffn_norm.weight", D),
            to + "mlp.gate_proj.weight": matrix(of + "ffn_gate.weight", FF, D),
            to + "mlp.up_proj.weight": matrix(of + "ffn_up.weight", FF, D),
            to + "mlp.down_proj.weight": matrix(of + "ffn_down.weight", D, FF),
        })
    return w


def gemma3_weights(tied):
    q, kv = HEADS * HEAD_DIM, KV_HEADS * HEAD_DIM
    w = weights(tied)
    for i in range(LAYERS):
        to, of = f"model.layers.{i}.", f"blk.{i}."
        w[to + "self_attn.q_proj.weight"] = matrix(of + "attn_q.weight", q, D)
        w[to + "self_attn.k_proj.weight"] = matrix(of + "attn_k.weight", kv, D)
        for name, n, gguf in [
                ("self_attn.q_norm", HEAD_DIM, "attn_q_norm"),
                ("self_attn.k_norm", HEAD_DIM, "attn_k_norm"),
                ("post_attention_layernorm", D, "post_attention_norm"),
                ("pre_feedforward_layernorm", D, "ffn_norm"),
                ("post_feedforward_layernorm", D, "post_ffw_norm")]:
            w[f"{to}{name}.weight"] = norm(f"{of}{gguf}.weight", n)
    return {k: v - 1 if v.dim() == 1 else v for k, v in w.items()}


def gemma2_weights(tied):
    return {k: v for k, v in gemma3_weights(tied).items()
            if "q_norm" not in k and "k_norm" not in k}


def olmo2_weights(tied):
    q, kv = HEADS * HEAD_DIM, KV_HEADS * HEAD_DIM
    w = {k: v for k, v in weights(tied).items() if "input_layernorm" not in k}
    for i in range(LAYERS):
        to, of = f"model.layers.{i}.", f"blk.{i}."
        w[to + "self_attn.q_proj.weight"] = matrix(of + "attn_q.weight", q, D)
        w[to + "self_attn.k_proj.weight"] = matrix(of + "attn_k.weight", kv, D)
        for name, n, gguf in [
                ("self_attn.q_norm", q, "attn_q_norm"),
                ("self_attn.k_norm", kv, "attn_k_norm"),
                ("post_attention_layernorm", D, "post_attention_norm"),
                ("post_feedforward_layernorm", D, "post_ffw_norm")]:
            w[f"{to}{name}.weight"] = norm(f"{of}{gguf}.weight", n)
    return w


def phi3_weights(tied):
    q, kv = HEADS * HEAD_DIM, KV_HEADS * HEAD_DIM
    w = weights(tied)
    for i in range(LAYERS):
        to, of = f"model.layers.{i}.", f"blk.{i}."
        for part in ["q", "k", "v"]:
            del w[f"{to}self_attn.{part}_proj.weight"]
        w[to + "self_attn.qkv_proj.weight"] = torch.cat(
            [matrix(of + "attn_q.weight", q, D),
             matrix(of + "attn_k.weight", kv, D),
             matrix(of + "attn_v.weight", kv, D)])
        w[to + "mlp.gate_up_proj.weight"] = torch.cat(
            [w.pop(to + "mlp.gate_proj.weight"),
             w.pop(to + "mlp.up_proj.weight")])
    return w


def bias(name, n):
    return torch.from_numpy(np.float32(0.3) * noise(name, n))


def glm4_weights(tied):
    q, kv = HEADS * HEAD_DIM, KV_HEADS * HEAD_DIM
    w = weights(tied)
    for i in range(LAYERS):
        to, of = f"model.layers.{i}.", f"blk.{i}."
        for part, n in [("q", q), ("k", kv), ("v", kv)]:
            at = f"{to}self_attn.{part}_proj."
            w[at + "weight"] = matrix(f"{of}attn_{part}.weight", n, D)
            w[at + "bias"] = bias(f"{of}attn_{part}.bias", n)
        w[to + "post_self_attn_layernorm.weight"] = norm(
            of + "post_attention_norm.weight", D)
        w[to + "post_mlp_layernorm.weight"] = norm(of + "post_ffw_norm.weight",
                                                   D)
        w[to + "mlp.gate_up_proj.weight"] = torch.cat(
            [w.pop(to + "mlp.gate_proj.weight"),
             w.pop(to + "mlp.up_proj.weight")])
    return w


def exaone4_weights(tied):
    w = olmo2_weights(tied)
    for i in range(LAYERS):
        to, of = f"model.layers.{i}.", f"blk.{i}."
        for part in ["q", "k"]:
            w[f"{to}self_attn.{part}_norm.weight"] = norm(
                f"{of}attn_{part}_norm.weight", HEAD_DIM)
    return w


def stack(name, n, rows, cols):
    return matrix(name, n * rows, cols).reshape(n, rows, cols)


def expert_weights(tied, arch):
    """Of a dense model, with experts in place of its feed-forward parts."""
    n = EXPERTS[arch][0]
    w = {k: v for k, v in weights(tied).items() if ".mlp." not in k}
    for i in range(LAYERS):
        to, of = f"model.layers.{i}.mlp.", f"blk.{i}.ffn_"
        w[to + "gate.weight"] = matrix(of + "gate_inp.weight", n, D)
        w[to + "experts.gate_up_proj"] = torch.cat(
            [stack(of + "gate_exps.weight", n, FF, D),
             stack(of + "up_exps.weight", n, FF, D)], 1)
        w[to + "experts.down_proj"] = stack(of + "down_exps.weight", n, D, FF)
    return w


def mixtral_weights(tied):
    return expert_weights(tied, "llama")


def qwen3moe_weights(tied):
    q, kv = HEADS * HEAD_DIM, KV_HEADS * HEAD_DIM
    w = expert_weights(tied, "qwen3moe")
    for i in range(LAYERS):
        to, of = f"model.layers.{i}.self_attn.", f"blk.{i}.attn_"
        w[to + "q_proj.weight"] = matrix(of + "q.weight", q, D)
        w[to + "k_proj.weight"] = matrix(of + "k.weight", kv, D)
        w[to + "q_norm.weight"] = norm(of + "q_norm.weight", HEAD_DIM)
        w[to + "k_norm.weight"] = norm(of + "k_norm.weight", HEAD_DIM)
    return w


def gpt_oss_weights(tied):
    q, kv, n = HEADS * HEAD_DIM, KV_HEADS * HEAD_DIM, EXPERTS["gpt_oss"][0]
    w = {k: v for k, v in weights(tied).items() if ".mlp." not in k}
    for i in range(LAYERS):
        to, of = f"model.layers.{i}.", f"blk.{i}."
        for part, name, rows, cols in [
                ("q", "attn_q", q, D), ("k", "attn_k", kv, D),
                ("v", "attn_v", kv, D), ("o", "attn_output", D, q)]:
            at = f"{to}self_attn.{part}_proj."
            w[at + "weight"] = matrix(f"{of}{name}.weight", rows, cols)
            w[at + "bias"] = bias(f"{of}{name}.bias", rows)
        w[to + "self_attn.sinks"] = torch.from_numpy(
            np.float32(0.5) + noise(of + "attn_sinks.weight", HEADS))
        w[to + "post_attention_layernorm.weight"] = norm(
            of + "post_attention_norm.weight", D)
        of += "ffn_"
        w[to + "mlp.router.weight"] = matrix(of + "gate_inp.weight", n, D)
        w[to + "mlp.router.bias"] = torch.from_numpy(
            noise(of + "gate_inp.bias", n))
        experts = to + "mlp.experts."
        pair = [stack(f"{of}{x}_exps.weight", n, FF, D) for x in ["gate", "up"]]
        w[experts + "gate_up_proj"] = torch.stack(pair, 2).reshape(
            n, 2 * FF, D).swapaxes(1, 2)
        w[experts + "down_proj"] = stack(of + "down_exps.weight", n, D,
                                         FF).swapaxes(1, 2)
        pair = [wide_bias(f"{of}{x}_exps.bias", n, FF, 2) for x in
                ["gate", "up"]]
        w[experts + "gate_up_proj_bias"] = torch.stack(pair, 2).reshape(
            n, 2 * FF)
        w[experts + "down_proj_bias"] = wide_bias(of + "down_exps.bias", n, D,
                                                  1)
    return w


def wide_bias(name, n, cols, scale):
    x = np.float32(scale) * noise(name, n * cols)
    return torch.from_numpy(x.reshape(n, cols))


def tokens(n=N_TOKEN, seed=SEED):
    """rig_tokens(ids, n, VOCAB, seed) of test/support/rig.c."""
    x, ids = (seed * 0x9E3779B97F4A7C15 + 1) & MASK, []
    for _ in range(n):
        x = (x * 6364136223846793005 + 1442695040888963407) & MASK
        ids.append((x >> 33) % VOCAB)
    return torch.tensor([ids])


def open_model(name):
    arch = name.split("-")[0]
    if name.endswith("-experts"):
        arch = "mixtral"
    windows = {"olmo2": "olmo3", "llama": "mistral"} if "-window" in name else {}
    olmo3 = arch in windows and arch == "olmo2"
    config_type, model_type, extra = ARCHS[windows.get(arch, arch)]
    tied = name.endswith("-tied")
    if arch == "exaone4" and "-window" in name:
        extra = dict(extra, sliding_window=WINDOW, sliding_window_pattern=4,
                     layer_types=None)
    if arch == "phi3":
        extra = dict(sliding_window=WINDOW if "-window" in name else None,
                     original_max_position_embeddings=8 if "-long" in name
                     else 64)
    extra = dict(rope_parameters=scaling(name)) | extra
    if olmo3:
        extra["rope_parameters"] = dict(extra["rope_parameters"],
                                        full_attention=scaling(name))
    if name.endswith("-raw"):
        extra["norm_topk_prob"] = False
    if name.endswith("-capped"):
        extra = dict(extra, final_logit_softcapping=1.5)
    config = config_type(**SIZES, **extra, tie_word_embeddings=tied)
    model = model_type(config).eval()
    make = {"gemma3": gemma3_weights, "gemma2": gemma2_weights, "olmo2": olmo2_weights,
            "phi3": phi3_weights, "glm4": glm4_weights,
            "exaone4": exaone4_weights, "mixtral": mixtral_weights,
            "qwen3moe": qwen3moe_weights, "gpt_oss": gpt_oss_weights}
    model.load_state_dict(make.get(arch, weights)(tied))
    return model


def far():
    """Positions that a window hides."""
    at = torch.arange(N_TOKEN)
    return at[:, None] - at[None] >= WINDOW


class Stages:
    """The equations of docs/design.md over the modules of a model."""

    def __init__(self, model):
        self.m = model.model
        self.head = model.lm_head
        c = model.config
        self.embedding = getattr(c, "embedding_multiplier", 1.0)
        self.residual = getattr(c, "residual_multiplier", 1.0)
        self.logits = getattr(c, "logits_scaling", 1.0)
        self.cap = getattr(c, "final_logit_softcapping", None)
        self.mask = torch.full((1, 1, N_TOKEN, N_TOKEN),
                               float("-inf")).triu(1)
        if getattr(c, "sliding_window", None) and not getattr(
                c, "layer_types", None):
            self.mask[:, :, far()] = float("-inf")

    def attn(self, i, x):
        layer = self.m.layers[i]
        y = layer.self_attn(hidden_states=layer.input_layernorm(x),
                            position_embeddings=self.angles,
                            attention_mask=self.mask,
                            position_ids=torch.arange(N_TOKEN)[None])
        return y[0] * self.residual

    def ffn(self, i, y):
        layer = self.m.layers[i]
        return layer.mlp(layer.post_attention_layernorm(y)) * self.residual

    def stage(self, mode, members, x):
        a = [self.attn(i, x) for i in members]
        if mode == "lp":
            y = x + sum(a)
            return y + sum(self.ffn(i, y) for i in members)
        if mode == "par":
            return x + sum(ai + self.ffn(i, x + ai)
                           for i, ai in zip(members, a))
        z = x + sum(a)
        return z + sum(self.ffn(i, x + sum(a[:k + 1]))
                       for k, i in enumerate(members))

    def begin(self, ids):
        x = self.m.embed_tokens(ids) * self.embedding
        self.angles = self.m.rotary_emb(x, torch.arange(N_TOKEN)[None])
        return x

    def run(self, ids, stages):
        x = self.begin(ids)
        for text in stages.split():
            mode, _, layers = text.rpartition(":")
            x = self.stage(mode or "lp", [int(l) for l in layers.split(",")], x)
        y, cap = self.head(self.m.norm(x)) / self.logits, self.cap
        return torch.tanh(y / cap) * cap if cap else y


class Gemma3Stages(Stages):
    """Norms of outputs, and windows with angles of their own."""

    def begin(self, ids):
        x = self.m.embed_tokens(ids)  # scales them
        at = torch.arange(N_TOKEN)
        self.types = {}
        self.kind = self.m.config.layer_types
        for kind in set(self.kind):
            mask = self.mask.clone()
            if kind == "sliding_attention":
                mask[:, :, far()] = float("-inf")
            self.types[kind] = (self.m.rotary_emb(x, at[None], kind), mask)
        return x

    def attn(self, i, x):
        layer = self.m.layers[i]
        angles, mask = self.types[self.kind[i]]
        y = layer.self_attn(hidden_states=layer.input_layernorm(x),
                            position_embeddings=angles, attention_mask=mask)
        return layer.post_attention_layernorm(y[0])

    def ffn(self, i, y):
        layer = self.m.layers[i]
        return layer.post_feedforward_layernorm(
            layer.mlp(layer.pre_feedforward_layernorm(y)))


class Gemma2Stages(Gemma3Stages):
    """One kind of angles."""

    def begin(self, ids):
        x = self.m.embed_tokens(ids)  # scales them
        angles = self.m.rotary_emb(x, torch.arange(N_TOKEN)[None])
        near = self.mask.clone()
        near[:, :, far()] = float("-inf")
        self.kind = self.m.config.layer_types
        self.types = {"full_attention": (angles, self.mask),
                      "sliding_attention": (angles, near)}
        return x


class Olmo2Stages(Stages):
    """Norms of outputs alone."""

    def attn(self, i, x):
        layer = self.m.layers[i]
        y = layer.self_attn(hidden_states=x, position_embeddings=self.angles,
                            attention_mask=self.mask)
        return layer.post_attention_layernorm(y[0])

    def ffn(self, i, y):
        layer = self.m.layers[i]
        return layer.post_feedforward_layernorm(layer.mlp(y))


class Glm4Stages(Stages):
    """Norms of inputs and of outputs."""

    def attn(self, i, x):
        return self.m.layers[i].post_self_attn_layernorm(super().attn(i, x))

    def ffn(self, i, y):
        return self.m.layers[i].post_mlp_layernorm(super().ffn(i, y))


class Exaone4Stages(Olmo2Stages):
    """Norms of outputs alone, and windows."""

    def attn(self, i, x):
        self.mask = torch.full((1, 1, N_TOKEN, N_TOKEN),
                               float("-inf")).triu(1)
        if self.m.layers[i].self_attn.is_sliding:
            self.mask[:, :, far()] = float("-inf")
        return super().attn(i, x)


class GptOssStages(Stages):
    """Windows, and feed-forward parts that give their weights too."""

    def attn(self, i, x):
        self.mask = torch.full((1, 1, N_TOKEN, N_TOKEN),
                               float("-inf")).triu(1)
        if self.m.layers[i].self_attn.sliding_window:
            self.mask[:, :, far()] = float("-inf")
        return super().attn(i, x)

    def ffn(self, i, y):
        layer = self.m.layers[i]
        return layer.mlp(layer.post_attention_layernorm(y))[0]


class Olmo3Stages(Olmo2Stages):
    """And windows."""

    begin = Gemma3Stages.begin

    def attn(self, i, x):
        self.angles, self.mask = self.types[self.kind[i]]
        return super().attn(i, x)


def stages_of(model):
    kinds = {"Gemma2ForCausalLM": Gemma2Stages,
             "Gemma3ForCausalLM": Gemma3Stages, "Olmo2ForCausalLM": Olmo2Stages,
             "Olmo3ForCausalLM": Olmo3Stages, "Glm4ForCausalLM": Glm4Stages,
             "Exaone4ForCausalLM": Exaone4Stages,
             "GptOssForCausalLM": GptOssStages}
    return kinds.get(type(model).__name__, Stages)(model)


def trained(model, stages):
    """Matrices and norms of the layers in groups, but for those of heads."""
    layers = [int(i) for text in stages.split() if "," in text
              for i in text.rpartition(":")[2].split(",")]
    named = [p for i in layers for p in model.model.layers[i].named_parameters()
             if "q_norm" not in p[0] and "k_norm" not in p[0]]
    return [{"params": [p for n, p in named if "norm" not in n],
             "weight_decay": 0.1},
            {"params": [p for n, p in named if "norm" in n],
             "weight_decay": 0.0}]


def loss_of(logits, serial):
    """Mean KL of the serial model's 64 likeliest tokens and of the rest."""
    p, top = torch.softmax(serial, -1).topk(64, -1)
    q = torch.softmax(logits, -1).gather(-1, top)
    rest, other = 1 - p.sum(-1), 1 - q.sum(-1)
    kl = (p * (p / q).log()).sum(-1) + rest * (rest / other).log()
    return kl.mean()


def train(name, stages):
    model, serial = open_model(name), open_model(name)
    params = trained(model, stages)
    adam = torch.optim.AdamW(params, lr=1e-3, betas=(0.9, 0.95), eps=1e-8)
    losses = []
    for step in range(20):
        ids = tokens(N_TOKEN, step + 1)
        with torch.no_grad():
            want = stages_of(serial).run(ids, "0 1 2 3 4")
        loss = loss_of(stages_of(model).run(ids, stages), want)
        adam.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(
            [p for group in params for p in group["params"]], 1.0)
        adam.step()
        losses.append(loss.item())
    print(f"{name} | {stages} |", " ".join(f"{x:.7f}" for x in losses))


def main():
    if sys.argv[1:] == ["--train"]:
        for case in TRAINED:
            train(*case)
        return
    ids = tokens()
    for name, stages in CASES if len(sys.argv) < 2 else [tuple(sys.argv[1:3])]:
        model = open_model(name)
        with torch.no_grad():
            logits = stages_of(model).run(ids, stages)
            if stages == "0 1 2 3 4":
                off = (model(ids).logits - logits).abs().max().item()
                if off > 1e-5:
                    sys.exit(f"make-golden: {name}: off by {off} "
                             "from forward()")
        print(f"{name} | {stages} |",
              " ".join(f"{x:.5f}" for x in logits[0, -1, :288:24].tolist()))


if __name__ == "__main__":
    main()
