#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""GGUF against its real peers. Tiny random transformers models go through ft-merge into GGUF files and back:

- the gguf package reads every file, and its dequantised tensors are, permutations undone, the weights of the model
  (to the bit for f32, bf16, f16; within half a step for q8_0);
- ft-merge reads the file again and gives transformers the same logits;
- sharded safetensors are loaded by transformers and by safetensors itself;
- llama-cpp-python, when it is installed, loads files and an adapter and gives transformers' logits.

usage: gguf_peers.py --bin DIR [--model FILE.gguf] [CASE...]      (needs torch, transformers, peft, gguf; llama-cpp-python at will)

--model: a real model as well: its weights against the gguf package's, its tokenizer against llama.cpp's."""
import argparse
import json
import pathlib
import subprocess
import sys
import tempfile

import numpy as np
import torch
from gguf import GGUFReader
from gguf.quants import dequantize
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors import safe_open
from transformers import AutoModelForCausalLM, AutoTokenizer, GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM
import transformers

try:
    import llama_cpp
except ImportError:
    llama_cpp = None

parser = argparse.ArgumentParser()
parser.add_argument("--bin", required=True)
parser.add_argument("--model")
parser.add_argument("cases", nargs="*")
arguments = parser.parse_args()
transformers.utils.logging.disable_progress_bar()
transformers.logging.set_verbosity_error()
SHARED = pathlib.Path(__file__).resolve().parents[2] / ".." / "shared"
failures = 0


def check(good, what):
    global failures
    failures += not good
    print("ok  " if good else "FAIL", what, flush=True)


def run(program, *words, **more):
    done = subprocess.run([f"{arguments.bin}/{program}", *map(str, words)], capture_output=True, text=True, **more)
    if done.returncode:
        sys.exit(f"{program} {' '.join(map(str, words))}: {done.stderr}")
    return done.stdout


# --- a small byte-level tokenizer, in transformers' own file -------------------------------------------------------

def tokenizer(directory):
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    t = Tokenizer(models.BPE())
    t.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True),
                                               pre_tokenizers.ByteLevel(add_prefix_space=False)])
    t.decoder = decoders.ByteLevel()
    t.train_from_iterator(["the quick brown fox jumps over the lazy dog 0123456789 " * 20], trainers.BpeTrainer(
        vocab_size=300, special_tokens=["<|end|>", "<|start|>"], initial_alphabet=pre_tokenizers.ByteLevel.alphabet()))
    t.save(str(directory / "tokenizer.json"))
    (directory / "tokenizer_config.json").write_text(json.dumps({
        "bos_token": "<|start|>", "eos_token": "<|end|>", "tokenizer_class": "PreTrainedTokenizerFast",
        "chat_template": "{% for m in messages %}<|start|>{{ m.role }}\n{{ m.content }}<|end|>{% endfor %}"}))
    return t.get_vocab_size()


COMMON = dict(hidden_size=64, intermediate_size=96, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
              max_position_embeddings=64, bos_token_id=1, eos_token_id=0)


def llama_like(name, **changes):
    config = getattr(transformers, name + "Config", None)
    return lambda vocab: getattr(transformers, name + "ForCausalLM")(config(vocab_size=vocab, **{**COMMON, **changes}))


CASES = {
    "llama": llama_like("Llama", tie_word_embeddings=False),
    "llama-tied": llama_like("Llama", tie_word_embeddings=True, rope_theta=500.0),
    "llama-bias": llama_like("Llama", attention_bias=True, tie_word_embeddings=True),
    "llama-linear": llama_like("Llama", rope_scaling={"rope_type": "linear", "factor": 2.0}),
    "mistral": llama_like("Mistral", sliding_window=None, head_dim=16),
    "qwen2": llama_like("Qwen2", tie_word_embeddings=True),
    "qwen3": llama_like("Qwen3", head_dim=32),
    "granite": llama_like("Granite", embedding_multiplier=6.0, logits_scaling=3.0, residual_multiplier=0.22,
                          attention_multiplier=0.3, tie_word_embeddings=True),
    "smollm3": llama_like("SmolLM3", num_hidden_layers=4, tie_word_embeddings=True, pad_token_id=0),
    "olmo2": llama_like("Olmo2", tie_word_embeddings=False),
    "phi3": llama_like("Phi3", tie_word_embeddings=False, pad_token_id=0, sliding_window=None),
    "gemma": llama_like("Gemma", head_dim=32, num_key_value_heads=1),
    "gemma2": llama_like("Gemma2", head_dim=32, query_pre_attn_scalar=32, sliding_window=8),
    "gemma3": lambda vocab: transformers.Gemma3ForCausalLM(transformers.Gemma3TextConfig(vocab_size=vocab, **{
        **COMMON, "num_hidden_layers": 7, "head_dim": 32, "query_pre_attn_scalar": 32, "sliding_window": 8, "rope_parameters": {
            "sliding_attention": {"rope_type": "default", "rope_theta": 10000.0},
            "full_attention": {"rope_type": "linear", "rope_theta": 1e6, "factor": 8.0}}})),
    "llama-llama3": llama_like("Llama", rope_scaling={"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0,
                                                      "high_freq_factor": 4.0, "original_max_position_embeddings": 8192},
                               max_position_embeddings=64, rope_theta=500000.0),
    "gpt_neox": lambda vocab: transformers.GPTNeoXForCausalLM(transformers.GPTNeoXConfig(
        vocab_size=vocab, hidden_size=64, intermediate_size=128, num_hidden_layers=2, num_attention_heads=4,
        max_position_embeddings=64, bos_token_id=1, eos_token_id=0, rotary_pct=0.5)),
    "gpt2": lambda vocab: GPT2LMHeadModel(GPT2Config(vocab_size=vocab, n_embd=64, n_layer=2, n_head=4, n_positions=64,
                                                     bos_token_id=1, eos_token_id=0)),
}


def randomize(model):
    with torch.no_grad():
        for name, p in model.named_parameters():
            noise = torch.randn_like(p) * (0.1 if p.dim() == 1 else 0.15)
            p.copy_(((1 if p.dim() == 1 and name.endswith("weight") else 0) + noise).bfloat16().float())


def tensors_of(path):
    return {t.name: dequantize(t.data, t.tensor_type).reshape([int(n) for n in reversed(t.shape)])
            for t in GGUFReader(path).tensors}


def unpair(w, heads):
    return w.reshape(heads, w.shape[0] // heads // 2, 2, *w.shape[1:]).swapaxes(1, 2).reshape(w.shape)


def near(a, b, bound):
    return float(np.abs(np.asarray(a, dtype=np.float64) - np.asarray(b, dtype=np.float64)).max()) <= bound


def logits_of(model, ids):
    with torch.no_grad():
        return model.float()(torch.tensor([ids])).logits[0].numpy()


def llama_logits(path, ids, **more):
    engine = llama_cpp.Llama(str(path), n_ctx=64, logits_all=True, verbose=False, n_threads=1, **more)
    engine.reset()
    engine.eval(ids)
    return np.array(engine.scores[:len(ids)])


def compare_weights(name, model, path, kind):
    """The gguf package's view of the file against the model's own weights."""
    stored, state = tensors_of(path), model.state_dict()
    pairs = name.startswith(("llama", "mistral", "granite", "smollm3"))
    names = {"q_proj": "attn_q", "k_proj": "attn_k", "v_proj": "attn_v", "o_proj": "attn_output", "gate_proj": "ffn_gate",
             "up_proj": "ffn_up", "down_proj": "ffn_down"}
    good, seen = True, 0
    for key, w in state.items():
        parts = key.split(".")
        if len(parts) < 5 or parts[-2] not in names or parts[1] != "layers":
            continue
        mine = stored[f"blk.{parts[2]}.{names[parts[-2]]}.{parts[-1]}"]
        if pairs and parts[-2] in ("q_proj", "k_proj"):
            mine = unpair(mine, model.config.num_attention_heads if parts[-2] == "q_proj" else model.config.num_key_value_heads)
        w = w.float().numpy()
        bound = {"q8_0": np.abs(w).max() / 127 * 0.6, "f16": np.abs(w).max() * 2.0 ** -11}.get(kind, 0)
        good = good and near(mine, w, bound)
        seen += 1
    if name == "gpt_neox":
        w = state["gpt_neox.layers.1.attention.query_key_value.weight"].float().numpy()
        mine = stored["blk.1.attn_qkv.weight"].reshape(3, 4, 16, 64).swapaxes(0, 1).reshape(192, 64)
        good, seen = good and near(mine, w, np.abs(w).max() / 127 * 0.6 if kind in ("q8_0", "f16") else 0), seen + 1
    if name == "gpt2":
        for i in range(2):
            w = state[f"transformer.h.{i}.attn.c_attn.weight"].float().numpy().T
            good = good and near(stored[f"blk.{i}.attn_qkv.weight"], w, np.abs(w).max() / 127 * 0.6 if kind in ("q8_0", "f16") else 0)
            seen += 1
    check(good and seen, f"{name} {kind}: the gguf package reads the weights ({seen} matrices)")


def llama_bound(name, kind):
    """llama.cpp's keys and values are of half precision, and so is its table of GELU, which Gemma's have; with Q8_0 it
    rounds activations, too."""
    return {"f32": 2e-3, "q8_0": 8e-2}.get(kind, 2e-2) * (5 if name.startswith("gemma") else 1)


def one_case(name, make, home):
    directory = home / name
    directory.mkdir()
    model = make(tokenizer(directory)).eval()
    randomize(model)
    model.save_pretrained(directory)
    ids = [1, 5, 40, 100, 7, 200, 33, 250, 12, 90]
    wanted = logits_of(model, ids)
    size = np.abs(wanted).max()
    for kind in ("f32", "bf16", "f16", "q8_0"):
        path = home / f"{name}-{kind}.gguf"
        run("ft-merge", "-m", directory, "--gguf", path, "--gguf-type", kind, "--tolerance", 1)
        compare_weights(name, model, path, kind)
        back = home / f"{name}-{kind}-back"
        run("ft-merge", "-m", path, "-o", back, "--dtype", "f32", "--tolerance", 1)
        again = logits_of(AutoModelForCausalLM.from_pretrained(back), ids)
        bound = {"f32": 1e-5, "bf16": 1e-5, "f16": 1e-2}.get(kind, 0.2)
        check(near(again, wanted, bound * size), f"{name} {kind}: transformers' logits after there and back")
        if llama_cpp:
            bound = llama_bound(name, kind)
            check(near(llama_logits(path, ids), wanted, bound * size), f"{name} {kind}: llama.cpp's logits")
    text = "the quick brown fox 0123 jumps  over\nthe lazy dog"
    mine = AutoTokenizer.from_pretrained(home / f"{name}-f32-back").encode(text)
    check(mine == AutoTokenizer.from_pretrained(directory).encode(text), f"{name}: the tokenizer after there and back")
    shards = home / f"{name}-shards"
    run("ft-merge", "-m", directory, "-o", shards, "--shard-bytes", 50000)
    index = json.loads((shards / "model.safetensors.index.json").read_text())
    again = logits_of(AutoModelForCausalLM.from_pretrained(shards), ids)
    check(near(again, wanted, 1e-5 * size), f"{name}: transformers loads {len(set(index['weight_map'].values()))} shards")
    total = 0
    for file in set(index["weight_map"].values()):
        with safe_open(shards / file, "pt") as f:
            total += sum(f.get_tensor(k).numel() * f.get_tensor(k).element_size() for k in f.keys())
    check(total == index["metadata"]["total_size"], f"{name}: safetensors reads them, {total} bytes as the index says")
    adapter_case(name, model, directory, home, ids)


def adapter_case(name, model, directory, home, ids):
    targets = "all-linear" if name in ("phi3", "gpt_neox") else ["c_attn", "c_proj", "c_fc"] if name == "gpt2" else ["q_proj", "k_proj", "v_proj", "o_proj", "up_proj", "down_proj", "gate_proj"]
    tuned = get_peft_model(model, LoraConfig(r=4, lora_alpha=6, use_rslora=True, target_modules=targets,
                                             fan_in_fan_out=name == "gpt2", task_type="CAUSAL_LM")).eval()
    with torch.no_grad():
        for key, p in tuned.named_parameters():
            if "lora_" in key:
                p.copy_(torch.randn_like(p) * 0.1)
    where = home / f"{name}-adapter"
    tuned.save_pretrained(where)
    wanted = logits_of(tuned, ids)
    size = np.abs(wanted).max()
    path, merged = home / f"{name}-adapter.gguf", home / f"{name}-merged.gguf"
    run("ft-merge", "-m", directory, "-a", where, "--gguf-adapter", path, "--gguf", merged, "--gguf-type", "f32", "--tolerance", 1)
    reader = GGUFReader(path)
    alpha = reader.fields["adapter.lora.alpha"].contents()
    check(abs(alpha - 12) < 1e-5, f"{name}: adapter.lora.alpha is alpha x sqrt(r)")
    back = home / f"{name}-merged-back"
    run("ft-merge", "-m", merged, "-o", back)
    again = logits_of(AutoModelForCausalLM.from_pretrained(back), ids)
    check(near(again, wanted, 1e-5 * size), f"{name}: merged to GGUF and back, PEFT's logits")
    if llama_cpp:
        check(near(llama_logits(merged, ids), wanted, llama_bound(name, "f32") * size), f"{name}: llama.cpp's logits of the merged model")
        got = llama_logits(home / f"{name}-f32.gguf", ids, lora_path=str(path))
        check(near(got, wanted, llama_bound(name, "f32") * size), f"{name}: llama.cpp's logits of base and adapter")


def real_model(path):
    """A file from the field: weights to the bit, tokens as llama.cpp cuts them."""
    with tempfile.TemporaryDirectory() as home:
        run("ft-merge", "-m", path, "-o", f"{home}/hf", "--dtype", "f32")
        stored, reader = tensors_of(path), GGUFReader(path)
        heads, kv = (int(reader.fields[f"llama.attention.{k}"].contents()) for k in ("head_count", "head_count_kv"))
        good = True
        with safe_open(f"{home}/hf/model.safetensors", "np") as f:
            for key, name, n in (("q_proj", "attn_q", heads), ("k_proj", "attn_k", kv)):
                mine = f.get_tensor(f"model.layers.3.self_attn.{key}.weight")
                good = good and np.array_equal(mine, unpair(stored[f"blk.3.{name}.weight"], n))
            for key, name in (("model.embed_tokens", "token_embd"), ("model.layers.3.mlp.down_proj", "blk.3.ffn_down")):
                good = good and np.array_equal(f.get_tensor(key + ".weight"), stored[name + ".weight"])
        check(good, f"{path}: every element is what the gguf package gives")
        lines = [line for file in sorted(SHARED.glob("data/*/*.csv"))[:2] for line in file.read_text().splitlines()[:400] if line]
        mine = run("ft-tokenize", "--ids", "-m", path, input="\n".join(lines) + "\n").splitlines()
        peer = AutoTokenizer.from_pretrained(f"{home}/hf")
        check([json.loads(m) for m in mine] == [peer.encode(line) for line in lines], f"tokens of {len(lines)} lines: transformers'")
        if llama_cpp:
            engine = llama_cpp.Llama(str(path), vocab_only=True, verbose=False)
            theirs = [engine.tokenize(line.encode(), add_bos=False, special=True) for line in lines]
            check([json.loads(m) for m in mine] == theirs, f"tokens of {len(lines)} lines: llama.cpp's")


torch.manual_seed(3)
with tempfile.TemporaryDirectory() as home:
    for name, make in CASES.items():
        if arguments.cases and name not in arguments.cases:
            continue
        try:
            one_case(name, make, pathlib.Path(home))
        except SystemExit as e:
            check(False, f"{name}: {e}")
if arguments.model:
    real_model(arguments.model)
print("llama-cpp-python", llama_cpp.__version__ if llama_cpp else "is not installed: not compared")
sys.exit(failures > 0)
