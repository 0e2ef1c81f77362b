#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""What PEFT's adapters can hold, against PEFT: logits, losses, gradients and the merged model of tiny random models.

    adapter.py [CASE...]                 write the fixtures that tests/unit/model_oracle.c compares with
    adapter.py --root DIR [CASE...]      the same, larger and more of them, into DIR, for `model_oracle DIR CASE...`
    adapter.py --check DIR [CASE...]     what model_oracle left in DIR (a merged model, PEFT's adapter after 20 more steps
                                         in ft, saved by ft, and the logits it computed with it) in transformers and PEFT

(needs torch, transformers, peft, safetensors; `make check` does not)"""
import copy
import pathlib
import shutil
import sys
import warnings

import torch
import transformers as tf
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file, save_file

from architecture import CASES as FAMILIES, LARGE, SMALL, common, logits_of, tidy
from model import HERE, compute, data, randomize

TINY = dict(SMALL, hidden=8, ffn=8, heads=2, kv=1, dim=4, vocab=19)


def llama(s, **changes):
    keys = dict(head_dim=..., tie_word_embeddings=False)
    keys.update(changes)
    return tf.LlamaForCausalLM(tf.LlamaConfig(**common(s, **keys)))


def gpt2(s):
    return tf.GPT2LMHeadModel(tf.GPT2Config(
        vocab_size=s["vocab"], n_embd=s["hidden"], n_layer=s["layers"], n_head=s["heads"], n_positions=48, bos_token_id=1,
        eos_token_id=2, resid_pdrop=0, embd_pdrop=0, attn_pdrop=0))


def bias(s):
    return llama(s, attention_bias=True, mlp_bias=True)


FIXTURES = {
    "patterns-lora": (llama, dict(target_modules=["q_proj", "v_proj", "down_proj", "up_proj"], use_rslora=True, exclude_modules=["layers.1.mlp.up_proj"],
                                  rank_pattern={"layers.1.self_attn.q_proj": 1, "v_.*": 3}, alpha_pattern={"down_proj": 3, "q_proj": 1.5})),
    "layers-lora": (llama, dict(target_modules=["o_proj", "gate_proj", "model.layers.0.self_attn.k_proj"], layers_to_transform=[1],
                                layers_pattern="layers", modules_to_save=["norm"])),
    "dora-lora": (bias, dict(target_modules=r".*\.(0\.self_attn|1\.mlp)\..*_proj", use_dora=True, bias="lora_only")),
    "gpt2-dora-lora": (gpt2, dict(target_modules=["c_attn", "c_proj", "c_fc"], use_dora=True, bias="all", fan_in_fan_out=True)),
    "saved-lora": (llama, dict(target_modules="all-linear", modules_to_save=["lm_head", "embed_tokens", "o_proj"])),
    "embedding-lora": (llama, dict(target_modules=["embed_tokens", "lm_head", "k_proj"])),
}
MORE = {
    "head-dora-lora": (llama, dict(target_modules=["q_proj", "lm_head"], use_dora=True, use_rslora=True)),
    "tied-saved-lora": (lambda s: llama(s, tie_word_embeddings=True), dict(target_modules=["v_proj"], modules_to_save=["lm_head"])),
    "tied-embedding-lora": (lambda s: llama(s, tie_word_embeddings=True), dict(target_modules=["v_proj", "embed_tokens"])),
    "tied-table-lora": (lambda s: llama(s, tie_word_embeddings=True), dict(target_modules=["v_proj"], modules_to_save=["embed_tokens"])),
    "gpt2-position-lora": (gpt2, dict(target_modules=["c_fc"], modules_to_save=["wpe", "ln_1"], fan_in_fan_out=True)),
    "tied-gemma-embedding-lora": (FAMILIES["gemma"], dict(target_modules=["embed_tokens", "q_proj"])),
    "tied-granite-embedding-lora": (lambda s: FAMILIES["granite"](s), dict(target_modules=["embed_tokens", "q_proj"])),
    "phi3-dora-lora": (FAMILIES["phi3"], dict(target_modules="all-linear", use_dora=True)),
    "gpt_neox-dora-lora": (FAMILIES["gpt_neox"], dict(target_modules="all-linear", use_dora=True, bias="all")),
    "gemma2-dora-lora": (FAMILIES["gemma2"], dict(target_modules="all-linear", use_dora=True, modules_to_save=["norm"])),
    "qwen3-dora-lora": (FAMILIES["qwen3"], dict(target_modules="all-linear", use_dora=True, modules_to_save=["q_norm"])),
    "one-layer-lora": (llama, dict(target_modules="all-linear", rank_pattern={r".*\.1\.mlp\.down_proj": 5, "o_proj": 1})),
}
CASES = {**FIXTURES, **MORE}


def stored_name(name):
    for part in (".modules_to_save.default", ".default"):
        name = name.replace(part, "")
    return name.replace("lora_magnitude_vector.weight", "lora_magnitude_vector")


def write(root, name, sizes):
    make, config = CASES[name]
    torch.manual_seed(sum(name.encode()))
    folder = root / name
    shutil.rmtree(folder, ignore_errors=True)
    model = make(sizes).eval()
    randomize(model)
    ids, weights = data(sizes["vocab"], sizes["lengths"])
    copy.deepcopy(model).bfloat16().save_pretrained(folder)
    model = get_peft_model(model, LoraConfig(r=2, lora_alpha=5, task_type="CAUSAL_LM", **config)).eval()
    with torch.no_grad():
        for key, p in model.named_parameters():
            if p.requires_grad and "lora_A" not in key:
                p.add_(torch.randn_like(p) * 0.1)
    model.save_pretrained(folder / "adapter")
    logits, losses = compute(model, ids, weights)
    expected = {"ids": torch.cat(ids).int(), "weights": torch.cat(weights), "lengths": torch.tensor(sizes["lengths"]).int(),
                "logits": logits, "losses": losses}
    for key, p in model.named_parameters():
        if p.requires_grad:
            expected["grad." + stored_name(key)] = p.grad
    save_file({k: v.contiguous() for k, v in expected.items()}, folder / "expected.safetensors")
    tidy(folder)
    print(name, sum(f.stat().st_size for f in folder.rglob("*") if f.is_file()), "bytes")


def check(root, name):
    folder = root / name
    expected = load_file(folder / "expected.safetensors")
    base = tf.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    before = {k: v.clone() for k, v in base.state_dict().items()}
    own = load_file(folder / "trained" / "logits.safetensors")["logits"]
    trained = PeftModel.from_pretrained(base, folder / "trained")
    two = (logits_of(trained, expected) - own).abs()
    two = two[own.abs().sum(1) > 0].max().item()
    moved = (own - expected["logits"])[own.abs().sum(1) > 0].abs().max().item()
    del before
    one = 0.0
    if (folder / "merged" / "model.safetensors").exists():
        merged = tf.AutoModelForCausalLM.from_pretrained(folder / "merged", dtype=torch.float32)
        one = (logits_of(merged, expected) - expected["logits"]).abs().max().item()
    print(f"{name}: merged model in transformers {one:.2g}, ft's adapter in PEFT {two:.2g} (20 steps moved logits by {moved:.2g})")
    return one < 1e-4 and two < 1e-4 and moved > 1e-3


def main():
    warnings.filterwarnings("ignore")
    mode, root, arguments = None, HERE, sys.argv[1:]
    if arguments and arguments[0] in ("--root", "--check"):
        mode, root, arguments = arguments[0], pathlib.Path(arguments[1]), arguments[2:]
    names = arguments or (CASES if mode else FIXTURES)
    if mode == "--check":
        sys.exit(0 if all([check(root, name) for name in names]) else 1)
    for name in names:
        write(root, name, LARGE if mode else TINY)


if __name__ == "__main__":
    main()
