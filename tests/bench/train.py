#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Training speed against PyTorch: ft-train and a peer take turns on the same shapes, batches and thread counts.

  train.py --bin build/bin --make-ftok build/tests/helper/make-ftok --out build/bench [--gemm build/tests/bench/gemm]
           [--shapes S1,S3] [--threads 1,2] [--methods full,lora-qv,lora-all] [--settings "eager fp32,compile fp32"]
           [--repeat 3] [--seconds 15] [--peak GFLOPS] [--no-peer]

Weights are random, in the shapes of real models. The peer is transformers (and PEFT for LoRA) in a plain training loop
with AdamW, in each of its settings: eager and compiled, float32 and bfloat16 autocast; its best is what counts. Tokens a
second are of whole steps (forward, backward, clipping, optimizer), the median of a run; start-up, compilation and first
steps are left out. Prints a table, writes train.json.
Without torch, transformers and peft only ft is measured."""
import argparse, json, os, platform, statistics, subprocess, sys, time

SHAPES = {
    "S1": dict(model_type="gpt2", n_layer=12, n_embd=768, n_head=12, vocab_size=50257, n_positions=1024, T=256, B=4),
    "S2": dict(model_type="llama", layers=30, hidden=576, heads=9, kv=3, ffn=1536, vocab_size=49152, tied=True, T=256, B=4),
    "S3": dict(model_type="llama", layers=6, hidden=288, heads=6, kv=6, ffn=768, vocab_size=32000, tied=True, T=256, B=8),
    "S4": dict(model_type="llama", layers=16, hidden=2048, heads=32, kv=8, ffn=8192, vocab_size=128256, tied=True, T=512, B=1),
}
METHODS = {"full": None, "lora-qv": 8, "lora-all": 16}
PEERS = ("eager fp32", "compile fp32", "eager bf16", "compile bf16")


def config(shape):
    if shape["model_type"] == "gpt2":
        return dict(architectures=["GPT2LMHeadModel"], model_type="gpt2", n_layer=shape["n_layer"], n_embd=shape["n_embd"],
                    n_head=shape["n_head"], n_positions=shape["n_positions"], n_ctx=shape["n_positions"],
                    vocab_size=shape["vocab_size"], activation_function="gelu_new", layer_norm_epsilon=1e-5,
                    initializer_range=0.02, attn_pdrop=0.0, embd_pdrop=0.0, resid_pdrop=0.0, bos_token_id=0, eos_token_id=0)
    return dict(architectures=["LlamaForCausalLM"], model_type="llama", hidden_size=shape["hidden"],
                intermediate_size=shape["ffn"], num_hidden_layers=shape["layers"], num_attention_heads=shape["heads"],
                num_key_value_heads=shape["kv"], vocab_size=shape["vocab_size"], max_position_embeddings=2048,
                rms_norm_eps=1e-5, rope_theta=10000.0, hidden_act="silu", initializer_range=0.02, attention_bias=False,
                mlp_bias=False, tie_word_embeddings=shape["tied"], bos_token_id=0, eos_token_id=0)


def linear_weights(shape):
    """Weights of linear maps of the layers, and of the head."""
    if shape["model_type"] == "gpt2":
        return 12 * shape["n_layer"] * shape["n_embd"] ** 2, shape["n_embd"] * shape["vocab_size"]
    head_dim = shape["hidden"] // shape["heads"]
    layer = 2 * shape["hidden"] ** 2 + 2 * shape["hidden"] * shape["kv"] * head_dim + 3 * shape["hidden"] * shape["ffn"]
    return shape["layers"] * layer, shape["hidden"] * shape["vocab_size"]


def adapter_weights(shape, method):
    """Weights of A and B in all layers (PEFT's all-linear leaves the head out)."""
    rank = METHODS[method]
    if not rank:
        return 0
    if shape["model_type"] == "gpt2":
        n = shape["n_embd"]
        sizes = [(n, 3 * n)] if method == "lora-qv" else [(n, 3 * n), (n, n), (n, 4 * n), (4 * n, n)]
        return shape["n_layer"] * rank * sum(i + o for i, o in sizes)
    n, f, kv = shape["hidden"], shape["ffn"], shape["hidden"] // shape["heads"] * shape["kv"]
    sizes = [(n, n), (n, kv)] if method == "lora-qv" else [(n, n), (n, kv), (n, kv), (n, n), (n, f), (n, f), (f, n)]
    return shape["layers"] * rank * sum(i + o for i, o in sizes)


def flops_per_token(shape, method):
    """What the method needs: 2 per weight forward, 2 for the input's gradient, 2 for the weight's when it is trained;
    causal attention's visible pairs only, 3.5 times its forward in all."""
    layers, head = linear_weights(shape)
    n, width = (shape["n_layer"], shape["n_embd"]) if shape["model_type"] == "gpt2" else (shape["layers"], shape["hidden"])
    attention = 3.5 * 2 * n * width * shape["T"]
    return (6 if method == "full" else 4) * (layers + head) + 6 * adapter_weights(shape, method) + attention


# --- ft -------------------------------------------------------------------------------------------------------------

def prepare(name, args):
    shape, folder = SHAPES[name], os.path.join(args.out, name)
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, "config.json"), "w") as f:
        json.dump(config(shape), f)
    with open(os.path.join(folder, "tokenizer_config.json"), "w") as f:
        json.dump({"bos_token": None, "eos_token": "<|endoftext|>"}, f)
    vocab = {"<|endoftext|>": 0, **{chr(i): i - 32 for i in range(33, 127)}}
    vocab.update({f"x{i}": i for i in range(len(vocab), shape["vocab_size"])})
    with open(os.path.join(folder, "tokenizer.json"), "w") as f:
        json.dump({"version": "1.0", "added_tokens": [{"id": 0, "content": "<|endoftext|>", "single_word": False,
                   "lstrip": False, "rstrip": False, "normalized": False, "special": True}], "normalizer": None,
                   "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True},
                   "post_processor": None, "decoder": {"type": "ByteLevel"},
                   "model": {"type": "BPE", "vocab": vocab, "merges": []}}, f)
    subprocess.run([args.make_ftok, f"{folder}/train.ftok", f"{folder}/tokenizer.json", str(shape["vocab_size"]), "512",
                    str(shape["T"]), str(shape["T"]), "1", "all"], check=True)
    return folder


def ft_run(folder, name, method, threads, steps, args):
    """Seconds of the median step, and peak RSS."""
    shape = SHAPES[name]
    recipe = {"method": "full" if method == "full" else "lora", "steps": steps, "batch": shape["B"], "lr": 1e-4,
              "schedule": "constant", "clip": 1.0, "save": {"state": False}}
    if method != "full":
        recipe["lora"] = {"rank": METHODS[method], "alpha": 2 * METHODS[method]}
    if method == "lora-qv":
        recipe["lora"]["targets"] = ["c_attn"] if shape["model_type"] == "gpt2" else ["q_proj", "v_proj"]
    with open(f"{folder}/recipe.json", "w") as f:
        json.dump(recipe, f)
    subprocess.run(["rm", "-rf", f"{folder}/run"], check=True)
    model = ["-m", folder, "--init", "random"] if method == "full" else ["-m", f"{folder}/random"]
    process = subprocess.Popen([f"{args.bin}/ft-train", *model, "-t", f"{folder}/train.ftok", "-r", f"{folder}/recipe.json",
                                "-o", f"{folder}/run", "--threads", str(threads), "--quiet"])
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        sys.exit(f"train.py: ft-train failed on {name} {method}")
    with open(f"{folder}/run/timing.json") as f:
        return json.load(f)["median_step_seconds"], usage.ru_maxrss * 1024


def random_weights(folder, args):
    """A model directory with weights, for LoRA: one step of full training at rate 0 from random ones, kept as bf16."""
    if os.path.exists(f"{folder}/random/model.safetensors"):
        return
    subprocess.run([f"{args.bin}/ft-train", "-m", folder, "--init", "random", "-t", f"{folder}/train.ftok", "-o",
                    f"{folder}/random", "-s", "steps=1", "-s", "batch=1", "-s", "method=full", "-s", "lr=1e-9", "-s",
                    "save.state=false", "-s", "save.dtype=bf16", "--quiet"], check=True)


def measure_ft(folder, name, method, threads, args, guess):
    """guess: seconds a step, of a run before this one, or None."""
    shape = SHAPES[name]
    if not guess:
        guess, _ = ft_run(folder, name, method, threads, 3, args)
    steps = 2 + max(3, min(400, int(args.seconds / guess)))
    seconds, rss = ft_run(folder, name, method, threads, steps, args)
    return {"tokens_per_second": shape["B"] * shape["T"] / seconds, "rss": rss, "steps": steps}


# --- the peer, in a process of its own ------------------------------------------------------------------------------

def peer_main(spec):
    import torch, transformers
    spec = json.loads(spec)
    shape, method, setting = SHAPES[spec["shape"]], spec["method"], spec["setting"]
    torch.set_num_threads(spec["threads"])
    torch.manual_seed(1)
    c = config(shape)
    c.pop("architectures")
    model = transformers.AutoModelForCausalLM.from_config(transformers.AutoConfig.for_model(**c), attn_implementation="sdpa")
    if method != "full":
        import peft
        targets = "all-linear" if method == "lora-all" else (["c_attn"] if shape["model_type"] == "gpt2" else ["q_proj", "v_proj"])
        model = peft.get_peft_model(model, peft.LoraConfig(r=METHODS[method], lora_alpha=2 * METHODS[method],
                                    target_modules=targets, task_type="CAUSAL_LM"))
    model.train()
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=1e-4, fused=True)
    run = torch.compile(model) if "compile" in setting else model
    bf16 = "bf16" in setting
    steps, began = [], None
    while began is None or len(steps) < 3 or time.monotonic() - began < spec["seconds"]:
        ids = torch.randint(0, shape["vocab_size"], (shape["B"], shape["T"]))
        start = time.monotonic()
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=bf16):
            loss = run(input_ids=ids, labels=ids).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        seconds = time.monotonic() - start
        if began is None:
            if len(steps) == 1:
                began, steps = time.monotonic(), []
            else:
                steps.append(seconds)
        else:
            steps.append(seconds)
    import resource
    print(json.dumps({"tokens_per_second": shape["B"] * shape["T"] / statistics.median(steps), "steps": len(steps),
                      "rss": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024}))


def measure_peer(name, method, threads, setting, args):
    spec = json.dumps({"shape": name, "method": method, "threads": threads, "setting": setting, "seconds": args.seconds})
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads),
                   "TORCHINDUCTOR_CACHE_DIR": os.path.abspath(f"{args.out}/inductor"), "TRANSFORMERS_VERBOSITY": "error"}
    done = subprocess.run([sys.executable, __file__, "--peer", spec], env=environment, capture_output=True, text=True)
    if done.returncode:
        return {"error": (done.stderr.strip().splitlines() or ["failed"])[-1][:200]}
    return json.loads(done.stdout.splitlines()[-1])


# --- the table ------------------------------------------------------------------------------------------------------

def machine():
    info = {"machine": platform.machine(), "kernel": platform.release(), "processors": os.cpu_count()}
    with open("/proc/cpuinfo") as f:
        info["cpu"] = next((l.split(":", 1)[1].strip() for l in f if l.startswith("model name")), "unknown")
    try:
        import torch, transformers, peft
        info.update(torch=torch.__version__, transformers=transformers.__version__, peft=peft.__version__)
        info["torch_cpu_capability"] = torch.backends.cpu.get_cpu_capability()
    except ImportError as e:
        info["peer"] = f"absent: {e}"
    return info


def median(cells, key):
    values = [c[key] for c in cells if key in c]
    return statistics.median(values) if values else None


def best_peer(peers):
    rates = {s: median(c, "tokens_per_second") for s, c in peers.items()}
    return {s: r for s, r in rates.items() if r}


def line(row, peak):
    rate, need = row["ft"], row["flops_per_token"]
    share = f"{100 * rate * need / 1e9 / (peak * row['threads']):5.0f} %" if peak else "      -"
    peers = best_peer(row["peers"])
    fp32 = max((r for s, r in peers.items() if "fp32" in s), default=None)
    any_ = max(peers.items(), key=lambda p: p[1], default=None)
    ratio = f"{fp32:9.0f} {rate / fp32:5.2f}x  {any_[0]:13s} {any_[1]:9.0f} {rate / any_[1]:5.2f}x" if fp32 else ""
    return (f"{row['shape']} {row['method']:8s} {row['threads']} {rate:9.0f} {rate * need / 1e9:7.1f} {share} "
            f"{row['rss'] / 2**30:5.2f} {ratio}")


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--bin", default="build/bin")
    p.add_argument("--make-ftok", default="build/tests/helper/make-ftok")
    p.add_argument("--out", default="build/bench")
    p.add_argument("--shapes", default="S1,S2,S3,S4")
    p.add_argument("--methods", default="full,lora-qv,lora-all")
    p.add_argument("--threads", default="1,2")
    p.add_argument("--settings", default=",".join(PEERS))
    p.add_argument("--repeat", type=int, default=3)
    p.add_argument("--seconds", type=float, default=15)
    p.add_argument("--gemm", help="the program that measures the FMA peak of one core")
    p.add_argument("--peak", type=float, default=0, help="GFLOP/s of one core, when it is known")
    p.add_argument("--no-peer", action="store_true")
    p.add_argument("--peer", help=argparse.SUPPRESS)
    args = p.parse_args()
    if args.peer:
        return peer_main(args.peer)
    info = machine()
    if args.gemm and not args.peak:
        told = subprocess.run([args.gemm, "no such shape", "0.1"], capture_output=True, text=True).stdout
        args.peak = float(told.split("FMA peak ")[1].split()[0]) if "FMA peak " in told else 0
        info["fma_peak_gflops_per_core"] = args.peak
    peer = not args.no_peer and "peer" not in info
    print(json.dumps(info))
    print("shape method threads tokens/s GFLOP/s  peak  GiB |  peer fp32, ratio | best peer setting, tokens/s, ratio", flush=True)
    rows = []
    for name in args.shapes.split(","):
        folder = prepare(name, args)
        random_weights(folder, args)
        for method in args.methods.split(","):
            for threads in map(int, args.threads.split(",")):
                mine, peers = [], {s: [] for s in args.settings.split(",")}
                for _ in range(args.repeat):
                    guess = SHAPES[name]["B"] * SHAPES[name]["T"] / mine[-1]["tokens_per_second"] if mine else None
                    mine.append(measure_ft(folder, name, method, threads, args, guess))
                    for setting in peers if peer else ():
                        if not (peers[setting] and "error" in peers[setting][-1]):
                            peers[setting].append(measure_peer(name, method, threads, setting, args))
                rates = [m["tokens_per_second"] for m in mine]
                row = {"shape": name, "method": method, "threads": threads, "ft": statistics.median(rates),
                       "ft_spread": [min(rates), max(rates)], "rss": max(m["rss"] for m in mine), "peers": peers,
                       "flops_per_token": flops_per_token(SHAPES[name], method)}
                rows.append(row)
                print(line(row, args.peak), flush=True)
                with open(f"{args.out}/train.json", "w") as f:
                    json.dump({"machine": info, "peak_gflops_per_core": args.peak, "rows": rows}, f, indent=1)


if __name__ == "__main__":
    main()
