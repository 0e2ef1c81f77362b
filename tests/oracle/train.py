#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Writes the fixtures that tests/unit/train_oracle.c compares with: the loss curves of 100 AdamW steps by PyTorch over
the tiny models that model.py made, in full and through PEFT's LoRA.

usage: train.py      (needs torch, transformers, peft, safetensors; `make check` does not)"""
import math
import pathlib

import torch
from peft import PeftModel
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM

HERE = pathlib.Path(__file__).resolve().parent / "fixtures"
ROWS, BATCH, STEPS, WARMUP, LR, DECAY, CLIP = 22, 6, 100, 10, {"full": 3e-3, "lora": 1e-2}, 0.1, 1.0
VOCAB, LONGEST = 67, 20


def rows():
    """Ragged rows with weights other than 0 and 1, so that a mean of means would show."""
    torch.manual_seed(5)
    lengths = torch.randint(3, LONGEST + 1, (ROWS,))
    ids = [torch.randint(3, VOCAB, (int(n),)) for n in lengths]
    weights = [torch.tensor([0.0] + [float(torch.randint(0, 4, ())) / 2 for _ in range(len(i) - 1)]) for i in ids]
    for w in weights:
        w[-1] = 1.0
    return ids, weights


def rate(step):
    if step < WARMUP:
        return (step + 1) / WARMUP
    return 0.5 * (1 + math.cos(math.pi * (step - WARMUP) / (STEPS - WARMUP)))


def curve(model, method, ids, weights):
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW([{"params": [p for p in trained if p.dim() > 1], "weight_decay": DECAY},
                                   {"params": [p for p in trained if p.dim() == 1], "weight_decay": 0.0}])
    per_epoch = -(-ROWS // BATCH)
    losses = []
    for step in range(STEPS):
        first = step % per_epoch * BATCH
        chosen = range(first, min(first + BATCH, ROWS))
        total = sum(weights[r].double().sum() for r in chosen)
        for group in optimizer.param_groups:
            group["lr"] = LR[method] * rate(step)
        optimizer.zero_grad()
        loss = 0.0
        for r in chosen:
            logits = model(input_ids=ids[r][None]).logits[0]
            one = (torch.nn.functional.cross_entropy(logits[:-1], ids[r][1:], reduction="none") * weights[r][1:]).sum() / total
            one.float().backward()
            loss += one.item()
        torch.nn.utils.clip_grad_norm_(trained, CLIP)
        optimizer.step()
        losses.append(loss)
    return losses


for name in ("gpt2", "llama-tied", "gpt2-lora", "llama-lora"):
    method = "lora" if name.endswith("lora") else "full"
    model = AutoModelForCausalLM.from_pretrained(HERE / name, dtype=torch.float32)
    if method == "lora":
        model = PeftModel.from_pretrained(model, HERE / name / "adapter", is_trainable=True)
    ids, weights = rows()
    losses = curve(model.eval(), method, ids, weights)  # no dropout in either mode
    save_file({"ids": torch.cat(ids).int(), "weights": torch.cat(weights),
               "lengths": torch.tensor([len(i) for i in ids]).int(), "losses": torch.tensor(losses)},
              HERE / f"train-{name}.safetensors")
    print(name, losses[0], losses[-1])
