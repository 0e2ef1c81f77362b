#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Every architecture and rotary scaling against transformers and PEFT, as tiny random models: logits, losses, gradients,
and the same with a LoRA adapter.

    architecture.py [CASE...]                      write the fixtures that tests/unit/model_oracle.c compares with
    architecture.py --root DIR [CASE...]           the same, larger, into DIR, for `model_oracle DIR CASE...`
    architecture.py --check DIR [CASE...]          what model_oracle left in DIR (a merged model, an adapter that ft trained
                                                   and the logits it computed with it) in transformers and PEFT

(needs torch, transformers, peft, safetensors; `make check` does not)"""
import copy
import json
import pathlib
import shutil
import sys

import torch
import transformers as tf
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file, save_file

from model import HERE, compute, data, randomize

SMALL = dict(vocab=37, hidden=16, ffn=16, layers=2, heads=4, kv=2, dim=4, lengths=(7, 4, 12, 2), window=5)
LARGE = dict(vocab=101, hidden=48, ffn=80, layers=4, heads=6, kv=3, dim=8, lengths=(23, 9, 40, 2), window=11)


def common(s, **changes):
    keys = dict(vocab_size=s["vocab"], hidden_size=s["hidden"], intermediate_size=s["ffn"], num_hidden_layers=s["layers"],
                num_attention_heads=s["heads"], num_key_value_heads=s["kv"], head_dim=s["dim"], max_position_embeddings=48,
                bos_token_id=1, eos_token_id=2, pad_token_id=None)
    keys.update(changes)
    return {k: v for k, v in keys.items() if v is not Ellipsis}


def rope(s, **parameters):
    """A Llama in one layer whose heads are wide enough for several frequencies."""
    small = s is SMALL
    return tf.LlamaForCausalLM(tf.LlamaConfig(**common(s, num_hidden_layers=1, num_attention_heads=2, num_key_value_heads=1,
                                                       head_dim=16 if small else 32, tie_word_embeddings=True,
                                                       rope_parameters=dict(rope_theta=10000.0, **parameters))))


CASES = {
    "qwen2": lambda s: tf.Qwen2ForCausalLM(tf.Qwen2Config(**common(
        s, head_dim=..., tie_word_embeddings=True, use_sliding_window=True, sliding_window=s["window"], max_window_layers=1))),
    "mistral": lambda s: tf.MistralForCausalLM(tf.MistralConfig(**common(s, head_dim=s["dim"] + 2, sliding_window=s["window"]))),
    "qwen3": lambda s: tf.Qwen3ForCausalLM(tf.Qwen3Config(**common(s, head_dim=s["dim"] + 2, tie_word_embeddings=True))),
    "phi3": lambda s: tf.Phi3ForCausalLM(tf.Phi3Config(**common(
        s, head_dim=..., sliding_window=s["window"], partial_rotary_factor=0.5, tie_word_embeddings=True))),
    "olmo2": lambda s: tf.Olmo2ForCausalLM(tf.Olmo2Config(**common(s, head_dim=..., tie_word_embeddings=True))),
    "gemma": lambda s: tf.GemmaForCausalLM(tf.GemmaConfig(**common(s, head_dim=s["dim"] + 2, num_key_value_heads=1))),
    "gemma2": lambda s: tf.Gemma2ForCausalLM(tf.Gemma2Config(**common(
        s, head_dim=s["dim"] + 2, sliding_window=s["window"], query_pre_attn_scalar=9, attn_logit_softcapping=2.0,
        final_logit_softcapping=3.0))),
    "gemma3_text": lambda s: tf.Gemma3ForCausalLM(tf.Gemma3TextConfig(**common(
        s, head_dim=s["dim"] + 2, sliding_window=s["window"], query_pre_attn_scalar=7,
        layer_types=["sliding_attention", "full_attention"] * (s["layers"] // 2),
        rope_parameters={"sliding_attention": {"rope_type": "default", "rope_theta": 100.0},
                         "full_attention": {"rope_type": "linear", "rope_theta": 10000.0, "factor": 8.0}}))),
    "granite": lambda s: tf.GraniteForCausalLM(tf.GraniteConfig(**common(
        s, head_dim=..., attention_bias=True, tie_word_embeddings=True, embedding_multiplier=6.0, logits_scaling=3.0,
        residual_multiplier=0.22, attention_multiplier=0.3))),
    "gpt_neox": lambda s: tf.GPTNeoXForCausalLM(tf.GPTNeoXConfig(**common(
        s, head_dim=..., num_key_value_heads=..., tie_word_embeddings=False, rotary_pct=0.5))),
    "gpt_neox-serial": lambda s: tf.GPTNeoXForCausalLM(tf.GPTNeoXConfig(**common(
        s, head_dim=..., num_key_value_heads=..., num_hidden_layers=1, tie_word_embeddings=False, rotary_pct=1.0,
        use_parallel_residual=False, attention_bias=False, hidden_act="gelu_new"))),
    "smollm3": lambda s: tf.SmolLM3ForCausalLM(tf.SmolLM3Config(**common(
        s, head_dim=..., no_rope_layer_interval=2, use_sliding_window=True, sliding_window=s["window"]))),
    "rope-linear": lambda s: rope(s, rope_type="linear", factor=2.5),
    "rope-dynamic": lambda s: rope(s, rope_type="dynamic", factor=4.0),
    "rope-llama3": lambda s: rope(s, rope_type="llama3", factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0,
                                  original_max_position_embeddings=32),
    "rope-yarn": lambda s: rope(s, rope_type="yarn", factor=4.0, original_max_position_embeddings=12, beta_fast=4.0, beta_slow=0.5),
    "rope-yarn-scale": lambda s: rope(s, rope_type="yarn", factor=3.0, original_max_position_embeddings=16, mscale=1.0,
                                      mscale_all_dim=0.7, truncate=False),
    "rope-longrope": lambda s: rope(s, rope_type="longrope", factor=3.0, original_max_position_embeddings=44,
                                    short_factor=[1 + i / 4 for i in range(8 if s is SMALL else 16)],
                                    long_factor=[2 + i for i in range(8 if s is SMALL else 16)]),
}


def tidy(folder):
    for extra in list(folder.glob("generation_config.json")) + list(folder.glob("adapter/README.md")):
        extra.unlink()
    path = folder / "adapter" / "adapter_config.json"
    if path.exists():
        config = json.loads(path.read_text())
        config["base_model_name_or_path"] = None
        path.write_text(json.dumps(config, indent=1, sort_keys=True) + "\n")


def gradients(model, some):
    """By name in files; of rotary cases only those that the angles reach."""
    head = "embed_out" if model.config.model_type == "gpt_neox" else "lm_head"
    named = {key.replace(".default", "").replace("lm_head", head): p.grad for key, p in model.named_parameters() if p.requires_grad}
    return {"grad." + key: g for key, g in named.items() if not some or "q_proj" in key or "k_proj" in key}


def adapted(model, seed):
    model = get_peft_model(model, LoraConfig(r=2, lora_alpha=5, target_modules="all-linear", task_type="CAUSAL_LM"))
    torch.manual_seed(seed)
    with torch.no_grad():
        for key, p in model.named_parameters():
            if "lora_B" in key:
                p.copy_(torch.randn_like(p) * 0.1)
    return model.eval()


def write(root, name, sizes):
    seed = sum(name.encode())
    torch.manual_seed(seed)
    folder = root / name
    shutil.rmtree(folder, ignore_errors=True)
    model = CASES[name](sizes).eval()
    randomize(model)
    ids, weights = data(sizes["vocab"], sizes["lengths"])
    copy.deepcopy(model).bfloat16().save_pretrained(folder)  # a copy: rotary frequencies must stay binary32
    batch = {"ids": torch.cat(ids).int(), "weights": torch.cat(weights), "lengths": torch.tensor(sizes["lengths"]).int()}
    logits, losses = compute(model, ids, weights)
    some = name.startswith("rope-")
    save_file({**batch, "logits": logits, "losses": losses, **gradients(model, some)}, folder / "expected.safetensors")
    if not some:
        model = adapted(model, seed + 1)
        model.save_pretrained(folder / "adapter")
        logits, losses = compute(model, ids, weights)
        save_file({**batch, "logits": logits, "losses": losses, **gradients(model, False)}, folder / "lora.safetensors")
    tidy(folder)
    print(name, sum(f.stat().st_size for f in folder.rglob("*") if f.is_file()), "bytes")


def logits_of(model, expected):
    rows, start = [], 0
    with torch.no_grad():
        for n in expected["lengths"].tolist():
            rows.append(model.float().eval()(input_ids=expected["ids"][None, start:start + n].long()).logits[0])
            start += n
    return torch.cat(rows)


def check(root, name):
    """The largest differences of logits: merged model, adapter of ft's."""
    folder = root / name
    if not (folder / "merged").exists():
        return True
    expected = load_file(folder / "lora.safetensors")
    merged = tf.AutoModelForCausalLM.from_pretrained(folder / "merged", dtype=torch.float32)
    one = (logits_of(merged, expected) - expected["logits"]).abs().max().item()
    base = tf.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    trained = PeftModel.from_pretrained(base, folder / "trained")
    own = load_file(folder / "trained" / "logits.safetensors")["logits"]
    two = (logits_of(trained, expected) - own).abs()
    two = two[own.abs().sum(1) > 0].max().item()  # rows that ft did not compute are zero
    print(f"{name}: merged model in transformers {one:.2g}, ft's adapter in PEFT {two:.2g}")
    return one < 1e-4 and two < 1e-4


def main():
    mode, root, arguments = None, HERE, sys.argv[1:]
    if arguments and arguments[0] in ("--root", "--check"):
        mode, root, arguments = arguments[0], pathlib.Path(arguments[1]), arguments[2:]
    names = arguments or CASES
    if mode == "--check":
        sys.exit(0 if all([check(root, name) for name in names]) else 1)
    for name in names:
        write(root, name, LARGE if mode else SMALL)


if __name__ == "__main__":
    main()
