#!/usr/bin/env python3
"""Print lines of test/data/mixtures.txt: the types that llama.cpp chooses.

    python3 -m venv v && v/bin/pip install gguf llama-cpp-python
    v/bin/python scripts/make-golden-mixtures.py > test/data/mixtures.txt
"""

import ctypes
import os
import sys
import tempfile

try:
    import gguf
    import llama_cpp
    import numpy as np
except ImportError as e:
    sys.exit(f"make-golden-mixtures: {e}: try pip install gguf "
             "llama-cpp-python")

# Names and numbers of llama.cpp's file types.
MIXTURES = {
    "Q8_0": 7,
    "Q4_0": 2,
    "Q4_1": 3,
    "Q5_0": 8,
    "Q5_1": 9,
    "Q2_K": 10,
    "Q3_K_S": 11,
    "Q3_K_M": 12,
    "Q3_K_L": 13,
    "Q4_K_S": 14,
    "Q4_K_M": 15,
    "Q5_K_S": 16,
    "Q5_K_M": 17,
    "Q6_K": 18,
    "IQ4_NL": 25,
    "IQ4_XS": 30,
}
# With importances llama.cpp chooses other types for these.
WITH_IMATRIX = ["Q4_0", "Q5_0", "IQ4_NL", "IQ4_XS"]
N_LAYER, N_EMBD, N_HEAD, HEAD_DIM, N_VOCAB = 18, 256, 8, 32, 32
LAYER = ["attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up",
         "ffn_down"]


def write_model(path, n_head_kv):
    w = gguf.GGUFWriter(path, "llama")
    w.add_context_length(64)
    w.add_block_count(N_LAYER)
    w.add_embedding_length(N_EMBD)
    w.add_feed_forward_length(N_EMBD)
    w.add_head_count(N_HEAD)
    w.add_head_count_kv(n_head_kv)
    w.add_layer_norm_rms_eps(1e-5)
    w.add_vocab_size(N_VOCAB)
    w.add_tokenizer_model("none")

    def matrix(name, rows):
        w.add_tensor(name, np.ones((rows, N_EMBD), np.float16))

    matrix("token_embd.weight", N_VOCAB)
    matrix("output.weight", N_VOCAB)
    w.add_tensor("output_norm.weight", np.ones(N_EMBD, np.float32))
    for i in range(N_LAYER):
        for name in LAYER:
            kv = name in ("attn_k", "attn_v")
            matrix(f"blk.{i}.{name}.weight",
                   n_head_kv * HEAD_DIM if kv else N_EMBD)
        for name in ("attn_norm", "ffn_norm"):
            w.add_tensor(f"blk.{i}.{name}.weight", np.ones(N_EMBD, np.float32))
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()


def types_of(source, path, file_type, imatrix):
    p = llama_cpp.llama_model_quantize_default_params()
    p.ftype = file_type
    p.nthread = 1
    if imatrix:
        ones = (ctypes.c_float * N_EMBD)(*[1.0] * N_EMBD)
        kind = llama_cpp.llama_model_imatrix_data
        item = (kind * 2)(kind(b"blk.0.attn_q.weight", ones, N_EMBD), kind())
        p.imatrix = item
    if llama_cpp.llama_model_quantize(source.encode(), path.encode(),
                                      ctypes.byref(p)):
        sys.exit(f"make-golden-mixtures: llama.cpp refused type {file_type}")
    return {t.name: t.tensor_type.name
            for t in gguf.GGUFReader(path).tensors}


def main():
    print("# recipe | query heads for a kv head | tensor | type, or type of "
          "each layer; + behind a recipe: with importances")
    with tempfile.TemporaryDirectory() as folder:
        source = os.path.join(folder, "f16.gguf")
        for n_head_kv in (4, 2):
            write_model(source, n_head_kv)
            for name in [*MIXTURES, *(m + "+" for m in WITH_IMATRIX)]:
                got = types_of(source, os.path.join(folder, "q.gguf"),
                               MIXTURES[name.rstrip("+")], name.endswith("+"))
                for tensor in ("token_embd", "output"):
                    print(name, N_HEAD // n_head_kv, tensor,
                          got[f"{tensor}.weight"], sep=" | ")
                for tensor in LAYER:
                    row = [got[f"blk.{i}.{tensor}.weight"]
                           for i in range(N_LAYER)]
                    text = row[0] if len(set(row)) == 1 else " ".join(row)
                    print(name, N_HEAD // n_head_kv, tensor, text, sep=" | ")


if __name__ == "__main__":
    main()
