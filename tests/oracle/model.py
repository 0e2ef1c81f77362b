#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Writes the fixtures that tests/unit/model_oracle.c compares with: tiny random models of transformers, what they
compute (logits, losses, every gradient), and the same through PEFT's LoRA.

usage: model.py [CASE...]      (needs torch, transformers, peft, safetensors; `make check` does not)"""
import copy
import json
import pathlib
import shutil
import sys

import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM

HERE = pathlib.Path(__file__).resolve().parent / "fixtures"
VOCAB = 67
LENGTHS = (9, 5, 14, 2)


def gpt2(**changes):
    keys = dict(vocab_size=VOCAB, n_embd=32, n_layer=2, n_head=4, n_positions=24, bos_token_id=1, eos_token_id=2,
                resid_pdrop=0, embd_pdrop=0, attn_pdrop=0)
    keys.update(changes)
    return GPT2LMHeadModel(GPT2Config(**keys))


def llama(**changes):
    keys = dict(vocab_size=VOCAB, hidden_size=32, intermediate_size=44, num_hidden_layers=2, num_attention_heads=4,
                num_key_value_heads=2, max_position_embeddings=24, bos_token_id=1, eos_token_id=2)
    keys.update(changes)
    return LlamaForCausalLM(LlamaConfig(**keys))


def lora(model, targets, **changes):
    return get_peft_model(model, LoraConfig(r=4, lora_alpha=10, target_modules=targets, task_type="CAUSAL_LM", **changes))


CASES = {
    "gpt2": (lambda: gpt2(), None),
    "llama": (lambda: llama(tie_word_embeddings=False), None),
    "llama-tied": (lambda: llama(tie_word_embeddings=True, num_key_value_heads=1, rope_theta=500.0), None),
    "llama-bias": (lambda: llama(tie_word_embeddings=True, attention_bias=True, mlp_bias=True, num_hidden_layers=1), None),
    "gpt2-lora": (lambda: gpt2(), lambda m: lora(m, ["c_attn", "c_proj", "c_fc"], fan_in_fan_out=True)),
    "llama-lora": (lambda: llama(tie_word_embeddings=True), lambda m: lora(
        m, ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"])),
    "llama-lora-up": (lambda: llama(tie_word_embeddings=True), lambda m: lora(m, ["v_proj", "up_proj"], use_rslora=True)),
}


def randomize(model):
    """Larger and less symmetric than the initial weights (norms: around 1, Gemma's around 0), and exact in bf16, so that
    files are small."""
    with torch.no_grad():
        for p in model.parameters():
            noise = torch.randn_like(p) * (0.1 if p.dim() == 1 else 0.15)
            p.copy_(((p.mean() if p.dim() == 1 else 0) + noise).bfloat16().float())


def data(vocab=VOCAB, lengths=LENGTHS):
    ids = [torch.randint(3, vocab, (n,)) for n in lengths]
    weights = [torch.tensor([0.0] + [float(torch.randint(0, 3, ())) / 2 for _ in range(n - 1)]) for n in lengths]
    weights[0][-3:] = 0  # the last rows of a document that nobody needs
    weights[1][1:] = 0   # a document without any target
    weights[3][1] = 1
    return ids, weights


def compute(model, ids, weights):
    total = sum(w.sum() for w in weights)
    logits, losses = [], []
    for i, w in zip(ids, weights):
        out = model(input_ids=i[None]).logits[0].float()
        loss = torch.nn.functional.cross_entropy(out[:-1], i[1:], reduction="none")
        ((loss * w[1:]).sum() / total).backward()
        logits.append(out.detach())
        losses.append(torch.cat([torch.zeros(1), loss.detach()]))
    return torch.cat(logits), torch.cat(losses)


def write(name):
    make, adapt = CASES[name]
    torch.manual_seed(sum(name.encode()))
    folder = HERE / name
    shutil.rmtree(folder, ignore_errors=True)
    model = make().eval()
    randomize(model)
    ids, weights = data()
    copy.deepcopy(model).bfloat16().save_pretrained(folder)  # a copy: rotary frequencies must stay binary32
    if adapt:
        model = adapt(model)
        with torch.no_grad():
            for key, p in model.named_parameters():
                if "lora_B" in key:
                    p.copy_(torch.randn_like(p) * 0.1)
        model.save_pretrained(folder / "adapter")
    logits, losses = compute(model.eval(), ids, weights)
    expected = {"ids": torch.cat(ids).int(), "weights": torch.cat(weights), "lengths": torch.tensor(LENGTHS).int(),
                "logits": logits, "losses": losses}
    for key, p in model.named_parameters():
        if p.requires_grad:
            expected["grad." + key.replace(".default", "")] = p.grad
    save_file({k: v.contiguous() for k, v in expected.items()}, folder / "expected.safetensors")
    for extra in list(folder.glob("generation_config.json")) + list(folder.glob("adapter/README.md")):
        extra.unlink()
    if adapt:
        path = folder / "adapter" / "adapter_config.json"
        config = json.loads(path.read_text())
        config["base_model_name_or_path"] = None
        path.write_text(json.dumps(config, indent=1, sort_keys=True) + "\n")
    print(name, sum(f.stat().st_size for f in folder.rglob("*") if f.is_file()), "bytes")


if __name__ == "__main__":
    for case in sys.argv[1:] or CASES:
        write(case)
