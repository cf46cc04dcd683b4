#!/usr/bin/env python3
"""Print lines of test/data/blocks.txt, computed by the gguf package.

    python3 -m venv v && v/bin/pip install gguf
    v/bin/python scripts/make-golden-blocks.py > test/data/blocks.txt
"""

import random
import sys

try:
    import gguf
    import numpy as np
except ImportError as e:
    sys.exit(f"make-golden-blocks: {e}: try pip install gguf")

# Where the f16 scales of a block are.
SCALES = {
    "Q8_0": [0],
    "Q4_0": [0],
    "Q4_1": [0, 2],
    "Q5_0": [0],
    "Q5_1": [0, 2],
    "Q4_K": [0, 2],
    "Q5_K": [0, 2],
    "Q6_K": [208],
    "IQ4_NL": [0],
    "IQ4_XS": [0],
    "MXFP4": [],
    "Q2_K": [80, 82],
    "Q3_K": [108],
}
F16 = [0x3555, 0xB266, 0x0001, 0x7BFF]
# Exponents of MXFP4 at both ends and in the middle.
E8M0 = [126, 131, 0, 1, 2, 250]


def main():
    print("# type | bytes of a block | its values")
    draw = random.Random(1)
    for name, places in SCALES.items():
        kind = gguf.GGMLQuantizationType[name]
        size = gguf.GGML_QUANT_SIZES[kind][1]
        n = len(E8M0) if not places else len(F16) if size < 100 else 2
        for i in range(n):
            block = bytearray(draw.randbytes(size))
            for k, at in enumerate(places):
                scale = F16[(i + k) % len(F16)]
                block[at:at + 2] = scale.to_bytes(2, "little")
            if not places:
                block[0] = E8M0[i]
            row = np.frombuffer(bytes(block), np.uint8).reshape(1, size)
            values = gguf.quants.dequantize(row, kind)[0]
            print(name, block.hex(), " ".join(f"{v:.9g}" for v in values),
                  sep=" | ")


if __name__ == "__main__":
    main()
