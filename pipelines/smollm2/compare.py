#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Greedy tokens of llama.cpp (llama-cpp-python) against ft-generate's, on twenty prompts.

usage: compare.py --ft DIR/ --model FILE.gguf RECORDS.jsonl"""
import argparse
import json
import subprocess
import sys

import llama_cpp

PROMPTS, TOKENS = 20, 16
parser = argparse.ArgumentParser()
parser.add_argument("--ft", default="")
parser.add_argument("--model", required=True)
parser.add_argument("records")
arguments = parser.parse_args()


def program(name, *words, stdin):
    return subprocess.run([arguments.ft + name, *words], input=stdin, capture_output=True, text=True, check=True).stdout


with open(arguments.records) as file:
    lines = file.readlines()
prompts = [json.loads(line)["prompt"] for line in lines[::max(1, len(lines) // PROMPTS)]][:PROMPTS]
mine = [json.loads(line) for line in program("ft-generate", "-m", arguments.model, "--max-tokens", str(TOKENS), stdin="".join(
    json.dumps({"prompt": p}) + "\n" for p in prompts)).splitlines()]
# Binary32 keys and values, as ft has them.
engine = llama_cpp.Llama(arguments.model, n_ctx=512, verbose=False, type_k=0, type_v=0)
same = tokens = 0
for prompt, record in zip(prompts, mine):
    ids = engine.tokenize(prompt.encode(), add_bos=False, special=True)
    engine.reset()
    theirs = []
    for token in engine.generate(ids, temp=0.0, repeat_penalty=1.0):
        if token == engine.token_eos() or len(theirs) == TOKENS:
            break
        theirs.append(token)
    text = engine.detokenize(theirs).decode(errors="replace")
    good = text == record["completion"] and len(theirs) == record["tokens"]
    same += good
    tokens += len(theirs)
    print("same" if good else "DIFFERENT", json.dumps([record["completion"], text] if not good else text))
print(f"{same} of {len(prompts)} prompts, {tokens} tokens")
sys.exit(same != len(prompts))
