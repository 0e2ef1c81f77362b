#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Writes fixtures/stories260K.safetensors: what transformers computes with the real model on a sentence, and how
it goes on greedily. Read by tests/unit/model_stories.c, which skips when the model itself is not there.

usage: model_stories.py MODEL_DIRECTORY      (needs torch, transformers, safetensors)"""
import pathlib
import sys

import torch
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM, AutoTokenizer

directory = sys.argv[1]
tokenizer = AutoTokenizer.from_pretrained(directory)
model = AutoModelForCausalLM.from_pretrained(directory, dtype=torch.float32).eval()
ids = [1] + tokenizer("Once upon a time, there was a little girl named Lily.", add_special_tokens=False).input_ids
with torch.no_grad():
    logits = model(torch.tensor([ids])).logits[0]
    greedy = list(ids)
    for _ in range(60):
        greedy.append(int(model(torch.tensor([greedy])).logits[0, -1].argmax()))
print(tokenizer.decode(greedy))
save_file({"ids": torch.tensor(ids).int(), "logits": logits.contiguous(), "greedy": torch.tensor(greedy).int()},
          pathlib.Path(__file__).resolve().parent / "fixtures" / "stories260K.safetensors")
