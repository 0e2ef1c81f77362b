#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Writes tests/oracle/fixtures/gguf-blocks.txt, which tests/unit/gguf.c compares with: blocks of every element type
of GGUF and what the gguf package (the reference beside ggml's C) makes of them, and the other way for Q8_0.

usage: gguf_blocks.py [--check]      (needs gguf, numpy)"""
import pathlib
import sys

import numpy as np
from gguf import GGMLQuantizationType as T
from gguf import GGML_QUANT_SIZES
from gguf.quants import dequantize, quantize

FILE = pathlib.Path(__file__).resolve().parent / "fixtures" / "gguf-blocks.txt"
TYPES = [T.F16, T.BF16, T.Q8_0, T.Q4_0, T.Q4_1, T.Q5_0, T.Q5_1, T.Q4_K, T.Q5_K, T.Q6_K]
SCALES = {T.Q8_0: [0], T.Q4_0: [0], T.Q4_1: [0, 2], T.Q5_0: [0], T.Q5_1: [0, 2], T.Q4_K: [0, 2], T.Q5_K: [0, 2], T.Q6_K: [208]}


def scale(rng):
    """An f16 of any size that is finite, subnormals and both zeros included."""
    bits = rng.integers(0, 1 << 16)
    return np.uint16(bits & 0x83ff if bits & 0x7c00 == 0x7c00 else bits).tobytes()


def block(rng, kind):
    size, count = GGML_QUANT_SIZES[kind][1], 16 if kind in (T.F16, T.BF16) else 1
    raw = bytearray(rng.integers(0, 256, size * count, dtype=np.uint8).tobytes())
    if kind in (T.F16, T.BF16):
        for i in range(count):
            raw[2 * i:2 * i + 2] = scale(rng)
    for at in SCALES.get(kind, []):
        raw[at:at + 2] = scale(rng)
    return bytes(raw)


def lines():
    rng = np.random.default_rng(5)
    yield "# SPDX-License-Identifier: MIT"
    yield "# made by tests/oracle/gguf_blocks.py: type, the block's bytes, its elements as binary32 (bits, big-endian)"
    for kind in TYPES:
        for _ in range(2 if kind in (T.Q4_K, T.Q5_K, T.Q6_K) else 4):
            raw = block(rng, kind)
            values = dequantize(np.frombuffer(raw, dtype=np.uint8), kind).astype("<f4").ravel()
            yield f"widen {kind.name} {raw.hex()} " + "".join(f"{v:08x}" for v in values.view("<u4"))
    for i in range(6):
        values = (rng.standard_normal(32) * 10.0 ** rng.integers(-6, 4)).astype("<f4")
        if i == 0:
            values[:] = 0
        if i == 1:
            values = (np.round(values / np.abs(values).max() * 254) / 2).astype("<f4")  # halves: ties
        for kind in (T.Q8_0, T.F16, T.BF16):
            raw = quantize(values, kind).tobytes()
            yield f"narrow {kind.name} {raw.hex()} " + "".join(f"{v:08x}" for v in values.view("<u4"))


text = "\n".join(lines()) + "\n"
if "--check" not in sys.argv:
    FILE.write_text(text)
elif FILE.read_text() != text:
    sys.exit(f"{FILE} differs from what the gguf package gives now")
