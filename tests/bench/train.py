#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Training speed against PyTorch: ft-train and its peers take turns on the same shapes, batches and thread counts.

  train.py --bin build/bin --make-ftok build/tests/helper/make-ftok --out build/bench [--gemm build/tests/bench/gemm]
           [--shapes S1,S3] [--threads 1,2] [--methods full,lora-qv,lora-all] [--settings "eager fp32,compile fp32"]
           [--repeat 3] [--seconds 8] [--drop 1.5] [--peak GFLOPS] [--no-peer] [--llama]

Weights are random, in the shapes of real models. The peer is transformers (and PEFT for LoRA) in a plain training loop
with AdamW, in each of its settings: eager and compiled, float32 and bfloat16 autocast; its best is what counts. Its
processes start first, compile, take three steps and wait; then ft-train and every one of them run for SECONDS by turns, REPEAT
times. With --llama llama.cpp's fine-tuning (llama_peer.py) is one more setting for full training of llamas. Tokens a second are of
whole steps (forward, backward, clipping, optimizer), the median of a turn; of the turns the table has the median and, of their
ratios, the least and the greatest. A setting that is DROP times slower than the best by then
has no turns, and a type whose small steps take more than three times float32's is left out of a shape: the table
and train.json say so, with what was measured. Without torch, transformers and peft only ft is measured."""
import argparse, importlib.metadata, json, os, statistics, subprocess, sys, tempfile

from shapes import METHODS, SHAPES, flops_per_token, machine, prepare, random_weights, targets

HERE = os.path.dirname(os.path.abspath(__file__))
SETTINGS = ("eager fp32", "compile fp32", "eager bf16", "compile bf16")
LLAMA = "llama.cpp fp32"
SLOW_PROBE = 3.0


# --- ft -------------------------------------------------------------------------------------------------------------

def ft_turn(folder, name, method, threads, steps, args):
    """Seconds of the median step, and peak RSS."""
    shape = SHAPES[name]
    recipe = {"method": "full" if method == "full" else "lora", "steps": steps, "batch": shape["B"], "lr": 1e-4,
              "schedule": "constant", "clip": 1.0, "save": {"state": False}}
    if method != "full":
        recipe["lora"] = {"rank": METHODS[method], "alpha": 2 * METHODS[method]}
        if targets(shape, method):
            recipe["lora"]["targets"] = targets(shape, method)
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


# --- the peer -------------------------------------------------------------------------------------------------------

class Peer:
    """A training loop that runs when it is told to (train_peer.py)."""

    def __init__(self, name, method, threads, setting, args):
        script, spec = "train_peer.py", {"shape": name, "method": method, "threads": threads, "setting": setting}
        if setting == LLAMA:
            script, spec = "llama_peer.py", llama_spec(name, threads, args)
        environment = {**os.environ, "OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads),
                       "TORCHINDUCTOR_CACHE_DIR": os.path.abspath(f"{args.out}/inductor"), "TRANSFORMERS_VERBOSITY": "error"}
        self.log = tempfile.TemporaryFile("w+")
        self.process = subprocess.Popen([sys.executable, os.path.join(HERE, script), json.dumps(spec)], env=environment, text=True,
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.log)
        self.turns, self.rss, self.note = [], 0, None

    def told(self, order):
        """The median seconds of the steps that ORDER took; None if the peer failed (and then says why in note)."""
        try:
            self.process.stdin.write(f"{order}\n")
            self.process.stdin.flush()
            answer = json.loads(self.process.stdout.readline())
        except (OSError, ValueError):
            self.log.seek(0)
            self.stop("failed: " + (self.log.read().strip().splitlines() or ["no word"])[-1][:200])
            return None
        self.rss = answer["rss"]
        return statistics.median(answer["steps"])

    def stop(self, note=None):
        self.note = note or self.note
        if self.process:
            self.process.stdin.close()
            self.process.kill()
            self.process.wait()
            self.process = None


def slow_types(name, args):
    """Types that take SLOW_PROBE times float32's time for small steps of LoRA, eager: what is said of them."""
    slow, seconds = {}, {}
    settings = [s for s in ("eager fp32", "eager bf16") if s.split()[1] in args.settings]
    for setting in settings if len(settings) == 2 else ():
        peer = Peer(name, "lora-qv", max(map(int, args.threads.split(","))), setting, args)
        seconds[setting] = peer.told("probe")
        peer.stop()
    if all(seconds.values()) and seconds:
        ratio = seconds["eager bf16"] / seconds["eager fp32"]
        if ratio > SLOW_PROBE:
            slow["bf16"] = f"a small step takes {ratio:.0f} times float32's"
    return slow


def llama_spec(name, threads, args):
    """llama.cpp's fine-tuning of the same weights in float32."""
    shape, folder = SHAPES[name], os.path.join(args.out, name)
    gguf = f"{folder}/train.gguf"
    if not os.path.exists(gguf):
        subprocess.run([f"{args.bin}/ft-merge", "-m", f"{folder}/random", "-o", f"{folder}/train-f32", "--dtype", "f32", "--gguf", gguf,
                        "--gguf-type", "f32"], check=True, stderr=subprocess.DEVNULL)
        subprocess.run(["rm", "-rf", f"{folder}/train-f32"], check=True)
    return {"gguf": gguf, "rows": shape["B"], "tokens": shape["T"], "vocab": shape["vocab_size"], "threads": threads}


def start_peers(name, method, threads, slow, args):
    """All settings that are worth turns, warm and waiting; the others stopped, with a note."""
    settings = [s for s in args.settings.split(",") if s.split()[1] not in slow]
    if args.llama and method == "full" and SHAPES[name]["model_type"] == "llama":
        settings.append(LLAMA)
    peers = {setting: Peer(name, method, threads, setting, args) for setting in settings}
    for peer in peers.values():
        peer.warm = peer.told("warm")
    best = min((p.warm for p in peers.values() if p.warm), default=None)
    for peer in peers.values():
        if peer.process and peer.warm > args.drop * best:
            peer.stop(f"a step takes {peer.warm:.2f} s, {peer.warm / best:.1f} times the best setting's")
    return peers


# --- the table ------------------------------------------------------------------------------------------------------

def versions():
    """Of what is installed, without loading it: what this process holds would count as its children's memory."""
    info = machine()
    try:
        info.update({package: importlib.metadata.version(package) for package in ("torch", "transformers", "peft")})
    except importlib.metadata.PackageNotFoundError as e:
        info["peer"] = f"absent: {e}"
    return info


def measure(name, method, threads, folder, peer, slow, args):
    """One cell: turns of ft and of every peer; steps are as many as fit into a turn, three at least."""
    shape, need = SHAPES[name], flops_per_token(SHAPES[name], method)
    tokens = shape["B"] * shape["T"]
    peers = start_peers(name, method, threads, slow, args) if peer else {}
    guess = tokens * need / (0.6 * (args.peak or 60) * 1e9 * threads)
    mine, rss = [], 0
    for _ in range(args.repeat):
        seconds, peak = ft_turn(folder, name, method, threads, 1 + max(2, min(400, round(args.seconds / guess))), args)
        guess, rss = seconds, max(rss, peak)
        mine.append(tokens / seconds)
        for p in peers.values():
            seconds = p.told(args.seconds) if p.process else None
            if seconds:
                p.turns.append(tokens / seconds)
    for p in peers.values():
        p.stop()
    return {"shape": name, "method": method, "threads": threads, "flops_per_token": need, "ft": mine, "rss": rss,
            "peers": {s: {"tokens_per_second": p.turns, "rss": p.rss, "note": p.note} for s, p in peers.items()}}


def line(row, peak):
    rate, need = statistics.median(row["ft"]), row["flops_per_token"]
    share = f"{100 * rate * need / 1e9 / (peak * row['threads']):4.0f} %" if peak else "     -"
    text = f"{row['shape']} {row['method']:8s} {row['threads']} {rate:7.0f} {share} {row['rss'] / 2**30:5.2f}"
    rates = {s: p["tokens_per_second"] for s, p in row["peers"].items() if len(p["tokens_per_second"]) == len(row["ft"])}
    for setting, turns in sorted(rates.items(), key=lambda r: -statistics.median(r[1])):
        pairs = sorted(a / b for a, b in zip(row["ft"], turns))
        text += (f" | {setting} {statistics.median(turns):.0f} {row['peers'][setting]['rss'] / 2**30:.2f} GiB "
                 f"{statistics.median(pairs):.2f}x [{pairs[0]:.2f}, {pairs[-1]:.2f}]")
    for setting, p in row["peers"].items():
        if p["note"]:
            text += f" | {setting}: {p['note']}"
    return text


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--bin", default="build/bin")
    p.add_argument("--make-ftok", default="build/tests/helper/make-ftok")
    p.add_argument("--out", default="build/bench")
    p.add_argument("--shapes", default="S1,S2,S3,S4")
    p.add_argument("--methods", default="full,lora-qv,lora-all", help="S4: lora-qv, by the most threads, alone")
    p.add_argument("--threads", default="1,2")
    p.add_argument("--settings", default=",".join(SETTINGS))
    p.add_argument("--repeat", type=int, default=3)
    p.add_argument("--seconds", type=float, default=8)
    p.add_argument("--drop", type=float, default=1.5)
    p.add_argument("--gemm", help="the program that measures the FMA peak of one core")
    p.add_argument("--peak", type=float, default=0, help="GFLOP/s of one core, when it is known")
    p.add_argument("--no-peer", action="store_true")
    p.add_argument("--llama", action="store_true", help="llama.cpp's fine-tuning, too (llama-cpp-python, built with a BLAS)")
    args = p.parse_args()
    info = versions()
    if args.gemm and not args.peak:
        told = subprocess.run([args.gemm, "no such shape", "0.1"], capture_output=True, text=True).stdout
        args.peak = float(told.split("FMA peak ")[1].split()[0]) if "FMA peak " in told else 0
        info["fma_peak_gflops_per_core"] = args.peak
    print(json.dumps(info))
    print("shape method threads: tokens/s, share of peak, GiB | each setting of the peer: tokens/s, memory, ratio [least, greatest]",
          flush=True)
    left_out, rows = {}, []
    peer, counts = not args.no_peer and "peer" not in info, [int(t) for t in args.threads.split(",")]
    for name in args.shapes.split(","):
        folder = prepare(name, args)
        random_weights(folder, SHAPES[name])
        slow = left_out[name] = slow_types(name, args) if peer else {}
        for kind, why in slow.items():
            print(f"{name}: the peer's {kind} is left out: {why}", flush=True)
        for method in args.methods.split(","):
            if name == "S4" and method != "lora-qv":
                continue
            for threads in counts:
                if name == "S4" and threads < max(counts):
                    continue
                rows.append(measure(name, method, threads, folder, peer, slow, args))
                print(line(rows[-1], args.peak), flush=True)
                with open(f"{args.out}/train.json", "w") as f:
                    json.dump({"machine": info, "peak_gflops_per_core": args.peak, "left_out": left_out, "rows": rows}, f, indent=1)


if __name__ == "__main__":
    main()
