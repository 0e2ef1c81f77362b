#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""What is promised of memory and speed and needs no peer, measured and set beside the promise.

  limits.py [--bin build/bin] [--make-ftok build/tests/helper/make-ftok] [--out build/bench] [--threads 2] [--repeat 3]
            [--only s4-memory,footprint,long,recompute,shared-prompt,stream,merge,start] [--stream-bytes 1e9]
            [--data DATA --tokenizer DIR]

Weights are random, in the shapes of real models. Memory is the most that was resident, as the kernel counted it. With
--data, a folder with sgd/, and --tokenizer, one with GPT-2's tokenizer.json, the records that share a prompt are real
dialogues; else they are made up. Prints a table, a promise being judged by the median, and writes limits.json. A missed
promise is a result, not a failure."""
import argparse, json, os, platform, random, shutil, statistics, subprocess, sys, time
from hashlib import sha256
from pathlib import Path
import shapes

BASE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../pipelines/base/model")
TINY = dict(model_type="llama", layers=5, hidden=64, heads=8, kv=4, ffn=172, vocab_size=512, tied=True)
QV = {"rank": 8, "alpha": 16, "targets": ["q_proj", "v_proj"]}
ALL = {"rank": 16, "alpha": 32}
MERGES, STARTS = 5, 20
QUIET = dict(stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
SYSTEM = ("You are the assistant of a travel and leisure service. You help people to find restaurants, hotels, flights, buses, "
          "films, concerts and hired cars, and to book what they choose. Be polite and brief, and answer in plain sentences. "
          "Ask for one thing at a time: where, when, for how many, and what it may cost. ") * 8


def wait(process):
    """Peak memory, in bytes, of a process that must succeed. (It begins with that of this script, some 30 MB.)"""
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"limits.py: failed with {process.returncode}: {' '.join(process.args)}")
    return usage.ru_maxrss * 1024


def seconds(*command, **how):
    begin = time.monotonic()
    wait(subprocess.Popen(command, **how))
    return time.monotonic() - begin


def train(model, ftok, out, lora, steps, batch, args, *options):
    """A run of LoRA, or with lora None of full training, in OUT: its peak memory, --plan's total and parts, seconds of the
    median step, tokens learnt in a step."""
    recipe = {"method": "lora" if lora else "full", "steps": steps, "batch": batch, "lr": 1e-4, "save": {"state": False}}
    if lora:
        recipe["lora"] = lora
    Path(f"{out}.json").write_text(json.dumps(recipe))
    shutil.rmtree(out, ignore_errors=True)
    command = [f"{args.bin}/ft-train", "-m", model, "-t", ftok, "-r", f"{out}.json", "-o", out, "--threads", str(args.threads),
               *options]
    plan = json.loads(subprocess.run([*command, "--plan", "--json"], check=True, stdout=subprocess.PIPE).stdout)
    rss = wait(subprocess.Popen([*command, "--quiet"]))
    timing = json.loads(Path(f"{out}/timing.json").read_text())
    last = json.loads(Path(f"{out}/metrics.jsonl").read_text().splitlines()[-1])
    return {"rss": rss, "plan": plan["bytes"]["total"], "parts": plan["bytes"], "parameters": plan["parameters"],
            "seconds": timing["median_step_seconds"],
            "learnt": last["num_supervised_tokens_seen"] / steps}


def random_model(name, args):
    """A folder with a shape's train.ftok, and the one in it that has weights."""
    folder = shapes.prepare(name, args)
    return folder, shapes.random_weights(folder, shapes.SHAPES[name])


def row(what, runs, unit="", low=None, high=None):
    middle = statistics.median(runs)
    met = None if low is None and high is None else (low is None or middle >= low) and (high is None or middle <= high)
    return {"what": what, "unit": unit, "runs": runs, "median": middle, "min": min(runs), "max": max(runs), "low": low,
            "high": high, "met": met}


def memory(what, runs, high=None):
    yield row(f"{what}: peak", [r["rss"] / 2**30 for r in runs], "GiB", high=high)
    yield row(f"{what}: --plan over peak", [r["plan"] / r["rss"] for r in runs], low=0.97, high=1.03)


# --- the parts: each yields rows --------------------------------------------------------------------------------------

def s4_memory(args):
    folder, model = random_model("S4", args)
    runs = [train(model, f"{folder}/train.ftok", f"{folder}/limit", QV, 3, 1, args) for _ in range(args.repeat)]
    yield from memory("Llama 3.2 1B, LoRA q,v rank 8, 512 tokens a step", runs, high=5)


def footprint(args):
    for name, label in (("S1", "GPT-2 124M"), ("S2", "SmolLM 135M"), ("S3", "stories15M")):
        folder, model = random_model(name, args)
        shape = shapes.SHAPES[name]
        lora = {**QV, "targets": shapes.targets(shape, "lora-qv")}
        for what, how, source, options in ((f"LoRA {','.join(lora['targets'])} rank 8", lora, model, []),
                                           ("full", None, folder, ["--init", "random"])):
            runs = [train(source, f"{folder}/train.ftok", f"{folder}/limit", how, 3, shape["B"], args, *options)
                    for _ in range(args.repeat)]
            what = f"{label}, {what}, {shape['B']} x {shape['T']}"
            yield from memory(what, runs)
            if how:
                yield row(f"{what}: peak over weights in bf16 and activations",
                          [r["rss"] / (r["parts"]["weights"] + r["parts"]["activations"]) for r in runs], high=1.3)
            else:
                yield row(f"{what}: peak over 16 bytes a parameter and activations",
                          [r["rss"] / (16 * r["parameters"] + r["parts"]["activations"]) for r in runs], high=1)


def long(args):
    shape, folder, peaks = {**shapes.SHAPES["S2"], "positions": 8192}, f"{args.out}/long", []
    shapes.model_folder(folder, shape)
    model = shapes.random_weights(folder, shape)
    for tokens in ("1024", "2048", "4096"):
        ftok, size = f"{folder}/{tokens}.ftok", str(shape["vocab_size"])
        subprocess.run([args.make_ftok, ftok, f"{folder}/tokenizer.json", size, "1", tokens, tokens, "1", "all"], check=True)
        runs = [train(model, ftok, f"{folder}/limit", QV, 2, 1, args) for _ in range(args.repeat)]
        peaks.append([r["rss"] for r in runs])
        yield from memory(f"SmolLM 135M, LoRA q,v rank 8, one document of {tokens} tokens", runs)
    growth = [(c - b) / (b - a) for a, b, c in zip(*peaks)]
    yield row("growth from 2048 to 4096 tokens over that from 1024 to 2048", growth, high=2.2)


def recompute(args):
    folder, model = random_model("S2", args)
    runs, same = {"without": [], "with": []}, []
    for _ in range(args.repeat):
        made = []
        for how, options in (("without", []), ("with", ["--recompute"])):
            runs[how].append(train(model, f"{folder}/train.ftok", f"{folder}/limit", ALL, 4, 4, args, *options))
            made.append([sha256(Path(f"{folder}/limit/{name}").read_bytes()).digest()
                         for name in ("adapter_model.safetensors", "metrics.jsonl")])
        same.append(float(made[0] == made[1]))
    for how in runs:
        what = f"SmolLM 135M, LoRA all rank 16, 4 x 256, {how} --recompute"
        yield from memory(what, runs[how])
        yield row(f"{what}: a step", [r["seconds"] for r in runs[how]], "s")
    yield row("adapter and metrics are the same bytes with --recompute (1: they are)", same, low=1)


def dialogues(args):
    """Prompt and completion of 16 records: three turns of a real dialogue and the fourth, or made up."""
    if not args.data:
        rng = random.Random(1)
        word = lambda least, most: "".join(rng.choices("abcdefghijklmnopqrstuvwxyz_", k=rng.randint(least, most)))
        return [(word(30, 70), word(10, 30)) for _ in range(16)]
    with open(f"{args.data}/sgd/train.jsonl") as f:
        turns = [json.loads(next(f))["turns"] for _ in range(16)]
    text = lambda turn: f"{'user' if turn[0] == 'USER' else 'assistant'}: {turn[1]}\n"
    return [("".join(map(text, t[:3])) + "assistant:", " " + t[3][1]) for t in turns]


def shared_prompt(args):
    """The prompt is shared; or its first token is another one in each record, for sharing cannot be switched off."""
    shape, system, gap, folder = shapes.SHAPES["S3"], SYSTEM, "\n", f"{args.out}/shared-prompt"
    if args.data:
        shape = {**shape, "vocab_size": 50257}
        folder += "-real"
        shapes.model_folder(folder, shape)
        shutil.copy(f"{args.tokenizer}/tokenizer.json", folder)
    else:
        shapes.model_folder(folder, shape)
        system, gap = system.replace(" ", "_"), ""  # this tokenizer knows a token a letter, and no spaces
    model = shapes.random_weights(folder, shape)
    tokenize = [f"{args.bin}/ft-tokenize", "-m", folder]
    ids = subprocess.run([*tokenize, "--ids", "--no-specials"], input=system.encode(), check=True, stdout=subprocess.PIPE).stdout
    cut = json.dumps(json.loads(ids)[:300]).encode()
    system = subprocess.run([*tokenize, "--decode"], input=cut, check=True, stdout=subprocess.PIPE).stdout.decode().rstrip("\n")
    rates = {"shared": [], "apart": []}
    for name in rates:
        first = "ABCDEFGHIJKLMNOP" if name == "apart" else "A" * 16
        records = [{"prompt": f + gap + system + gap + p, "completion": c} for f, (p, c) in zip(first, dialogues(args))]
        Path(f"{folder}/{name}.jsonl").write_text("".join(json.dumps(r) + "\n" for r in records))
        subprocess.run([*tokenize, "-o", f"{folder}/{name}.ftok", f"{folder}/{name}.jsonl"], check=True, **QUIET)
    for _ in range(args.repeat):
        for name in rates:
            run = train(model, f"{folder}/{name}.ftok", f"{folder}/limit", QV, 6, 16, args)
            rates[name].append(run["learnt"] / run["seconds"])
    what = f"stories15M, LoRA q,v rank 8, 16 {'dialogues' if args.data else 'made-up records'} behind 300 tokens"
    yield row(f"{what}: learnt", rates["shared"], "tokens/s")
    yield row("the same, but for the first token of each, so that nothing is shared", rates["apart"], "tokens/s")
    yield row("shared over not shared", [a / b for a, b in zip(*rates.values())], low=2)


def stream(args):
    helper, folder, peaks, rates, size = os.path.dirname(args.make_ftok), f"{args.out}/stream", [], [], int(args.stream_bytes)
    alone = seconds(f"{helper}/make-records", str(size), **QUIET)
    for _ in range(args.repeat):
        shutil.rmtree(folder, ignore_errors=True)
        begin = time.monotonic()
        made = subprocess.Popen([f"{helper}/make-records", str(size)], stdout=subprocess.PIPE)
        tokens = subprocess.Popen([f"{args.bin}/ft-tokenize", "-m", BASE, "--threads", str(args.threads)], stdin=made.stdout,
                                  stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        split = subprocess.Popen([f"{args.bin}/ft-split", "-o", folder, "-"], stdin=tokens.stdout, stderr=subprocess.PIPE)
        made.stdout.close()
        tokens.stdout.close()
        words = split.stderr.read().decode()
        peaks.append([wait(p) / 1e6 for p in (made, tokens, split)])
        rates.append(size / 1e6 / (time.monotonic() - begin))
    records = int(words.split("ft-split: ")[1].split()[0])
    shutil.rmtree(folder)
    yield row(f"ft-tokenize | ft-split, {size / 1e6:.0f} MB of JSONL, {records} records", rates, "MB/s")
    yield row("making these records alone", [size / 1e6 / alone], "MB/s")
    yield row("ft-tokenize: peak", [p[1] for p in peaks], "MB", high=200)
    yield row("ft-split: peak (promised: 48 MiB and 256 bytes a record)", [p[2] for p in peaks], "MB",
              high=(48 * 2**20 + 256 * records) / 1e6)


def forget(path):
    """Has a file read from the disk next time, and nothing else on its way there."""
    os.sync()
    with open(path, "rb") as f:
        os.posix_fadvise(f.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def copy(source, target):
    with open(source, "rb") as f, open(target, "wb") as out:
        shutil.copyfileobj(f, out, 2**20)
        out.flush()
        os.fsync(out.fileno())


def merge(args):
    folder, model = random_model("S2", args)
    train(model, f"{folder}/train.ftok", f"{folder}/limit", ALL, 2, 1, args)
    weights, target, rates = f"{model}/model.safetensors", f"{folder}/merged", {"merge": [], "copy": []}
    size, adapter = (os.path.getsize(f) / 1e6 for f in (weights, f"{folder}/limit/adapter_model.safetensors"))
    command = [f"{args.bin}/ft-merge", "-m", model, "-a", f"{folder}/limit", "-o", target, "--threads", str(args.threads)]
    for _ in range(MERGES):
        shutil.rmtree(target, ignore_errors=True)
        forget(weights)
        rates["merge"].append((2 * size + adapter) / seconds(*command, **QUIET))
        shutil.rmtree(target)
        forget(weights)
        begin = time.monotonic()
        copy(weights, f"{folder}/copy")
        rates["copy"].append(2 * size / (time.monotonic() - begin))
        os.remove(f"{folder}/copy")
    yield row(f"ft-merge, SmolLM 135M in bf16 ({size:.0f} MB), LoRA all rank 16: read and written", rates["merge"], "MB/s")
    yield row("reading, writing and syncing that file alone", rates["copy"], "MB/s")
    yield row("merging over copying", [m / c for m, c in zip(*rates.values())], low=0.8)


def start(args):
    for name in sorted(n for n in os.listdir(args.bin) if n.startswith("ft-")):
        option = "--version" if subprocess.run([f"{args.bin}/{name}", "--version"], **QUIET).returncode == 0 else "--help"
        yield row(f"{name} {option}", [1000 * seconds(f"{args.bin}/{name}", option, **QUIET) for _ in range(STARTS)], "ms", high=10)
    folder, times = f"{args.out}/tiny", []
    shapes.model_folder(folder, TINY)
    model = shapes.random_weights(folder, TINY)
    Path(f"{folder}/prompt").write_text("Hello\n")
    for _ in range(STARTS):
        with open(f"{folder}/prompt") as prompt:
            times.append(1000 * seconds(f"{args.bin}/ft-generate", "-m", model, "--plain", "-n", "1", stdin=prompt, **QUIET))
    yield row("ft-generate, one token of a model of 260 K parameters", times, "ms", high=10)


PARTS = {"s4-memory": s4_memory, "footprint": footprint, "long": long, "recompute": recompute, "shared-prompt": shared_prompt,
         "stream": stream, "merge": merge, "start": start}


# --- the table --------------------------------------------------------------------------------------------------------

def print_row(part, r):
    number = lambda x: f"{x:.2f}" if x < 100 else f"{x:.0f}"
    low, high = (None if r[end] is None else f"{number(r[end])} {r['unit']}".strip() for end in ("low", "high"))
    promised = f"{low} to {high}" if low and high else f"at least {low}" if low else f"at most {high}" if high else "-"
    measured = f"{number(r['median'])} [{number(r['min'])}, {number(r['max'])}] {r['unit']}"
    met = {None: "-", True: "yes", False: "missed"}[r["met"]]
    print(f"{part:13s} | {r['what']:86s} | {measured:29s} | {promised:16s} | {met}", flush=True)


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--bin", default="build/bin")
    p.add_argument("--make-ftok", default="build/tests/helper/make-ftok")
    p.add_argument("--out", default="build/bench")
    p.add_argument("--threads", type=int, default=2)
    p.add_argument("--repeat", type=int, default=3)
    p.add_argument("--only", default=",".join(PARTS))
    p.add_argument("--stream-bytes", type=float, default=1e9)
    p.add_argument("--data")
    p.add_argument("--tokenizer")
    args = p.parse_args()
    if bool(args.data) != bool(args.tokenizer) or not set(args.only.split(",")) <= set(PARTS):
        p.error(f"--data and --tokenizer go together; --only takes {','.join(PARTS)}")
    os.makedirs(args.out, exist_ok=True)
    version = subprocess.run([f"{args.bin}/ft-train", "--version"], check=True, capture_output=True, text=True).stdout.strip()
    result = {"machine": shapes.machine(), "versions": {"ft": version, "python": platform.python_version()},
              "threads": args.threads, "rows": []}
    print(json.dumps({k: result[k] for k in ("machine", "versions", "threads")}))
    print(f"{'part':13s} | {'what':86s} | {'measured: median [min, max]':29s} | {'promised':16s} | met", flush=True)
    for part in args.only.split(","):
        for r in PARTS[part](args):
            print_row(part, r)
            result["rows"].append({"part": part, **r})
            Path(f"{args.out}/limits.json").write_text(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
