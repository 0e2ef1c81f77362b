#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Speed of generation, one sequence at a time, beside llama.cpp (llama-cpp-python) with the same weights, and against reading memory.

    generate.py [--bin build/bin] [--make-ftok build/tests/helper/make-ftok] [--decode build/tests/bench/decode] [--out build/bench]
                [--shapes S2] [--types f32,bf16] [--threads 1,2] [--repeat 3]

Random weights in the shapes of shapes.py. Decoding: seconds a token behind a short prompt, from the difference of a long and a short
run, so that start, prompt and packing cancel; its share of the rate at which the same memory can be read. Prefill: tokens a second of a long
prompt, from the difference to a short one. The peer evaluates the same numbers of tokens, without sampling, its batch at its default
and all of its threads for both; by turns with ft, medians. Writes generate.json. Without llama_cpp only ft is measured."""
import argparse, json, os, re, statistics, subprocess, time

from shapes import SHAPES, linear_weights, machine, prepare, random_weights

SHORT, LONG, PROMPT = 48, 304, 480
SIZE = {"f32": 4, "bf16": 2}


def models(folder, kind, args):
    """The model as a directory and as GGUF."""
    directory, gguf = f"{folder}/{kind}", f"{folder}/{kind}.gguf"
    if not os.path.exists(gguf):
        subprocess.run(["rm", "-rf", directory], check=True)
        subprocess.run([f"{args.bin}/ft-merge", "-m", f"{folder}/random", "-o", directory, "--dtype", kind, "--gguf", gguf,
                        "--gguf-type", kind], check=True, stderr=subprocess.DEVNULL)
    return directory, gguf


def ft_run(directory, threads, prompt, tokens, args):
    start = time.monotonic()
    done = subprocess.run([f"{args.bin}/ft-generate", "-m", directory, "--plain", "-n", str(tokens), "--threads", str(threads)],
                          input="x" * prompt + "\n", capture_output=True, text=True, check=True)
    seconds = time.monotonic() - start
    said = json.loads(done.stdout)
    assert said["tokens"] == tokens, f"{said['tokens']} of {tokens} tokens: the model stopped"
    return seconds


def ft_once(directory, threads, args):
    short, long = ft_run(directory, threads, 8, SHORT, args), ft_run(directory, threads, 8, LONG, args)
    one, many = ft_run(directory, threads, 8, 1, args), ft_run(directory, threads, 8 + PROMPT, 1, args)
    return {"decode": (LONG - SHORT) / (long - short), "prefill": PROMPT / (many - one)}


def peer_once(gguf, threads):
    import llama_cpp
    llm = llama_cpp.Llama(gguf, n_ctx=1024, n_threads=threads, n_threads_batch=threads, verbose=False)
    llm.eval([100] * 8)
    for _ in range(SHORT):
        llm.eval([100])
    start = time.monotonic()
    for _ in range(LONG - SHORT):
        llm.eval([100])
    seconds = time.monotonic() - start
    prefill = []
    for count in (8, 8 + PROMPT):
        llm.reset()
        start = time.monotonic()
        llm.eval([100 + i % 50 for i in range(count)])
        prefill.append(time.monotonic() - start)
    llm.close()
    return {"decode": (LONG - SHORT) / seconds, "prefill": PROMPT / (prefill[1] - prefill[0])}


def reading(threads, args):
    """GB/s of plain reading, by the program that measures the matrix-vector product."""
    if not args.decode:
        return 0
    told = subprocess.run([args.decode, "0.5", str(threads)], capture_output=True, text=True, check=True).stdout
    return statistics.median(float(x) for x in re.findall(r"reading +([0-9.]+)", told))


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--bin", default="build/bin")
    p.add_argument("--make-ftok", default="build/tests/helper/make-ftok")
    p.add_argument("--decode", default="build/tests/bench/decode")
    p.add_argument("--out", default="build/bench")
    p.add_argument("--shapes", default="S2")
    p.add_argument("--types", default="f32,bf16")
    p.add_argument("--threads", default="1,2")
    p.add_argument("--repeat", type=int, default=3)
    args = p.parse_args()
    try:
        import llama_cpp
        peer = llama_cpp.__version__
    except ImportError:
        peer = None
    info = {**machine(), "llama_cpp_python": peer}
    print(json.dumps(info))
    print("shape type threads  decode tokens/s  GB/s  of reading | llama.cpp, ratio | prefill tokens/s | llama.cpp, ratio", flush=True)
    rows = []
    for name in args.shapes.split(","):
        folder = prepare(name, args)
        random_weights(folder, SHAPES[name])
        for kind in args.types.split(","):
            directory, gguf = models(folder, kind, args)
            for threads in map(int, args.threads.split(",")):
                mine, theirs, read = [], [], []
                for _ in range(args.repeat):
                    read.append(reading(threads, args))
                    mine.append(ft_once(directory, threads, args))
                    if peer:
                        theirs.append(peer_once(gguf, threads))
                row = {"shape": name, "type": kind, "threads": threads, "ft": mine, "peer": theirs, "reading": read}
                rows.append(row)
                decode, prefill = (statistics.median(m[k] for m in mine) for k in ("decode", "prefill"))
                rate, most = decode * sum(linear_weights(SHAPES[name])) * SIZE[kind] / 1e9, statistics.median(read)
                text = f"{name} {kind:4s} {threads} {decode:9.1f} {rate:6.1f} {f'{100 * rate / most:4.0f} %' if most else '':6s}"
                if peer:
                    d, q = (statistics.median(t[k] for t in theirs) for k in ("decode", "prefill"))
                    text += f" | {d:8.1f} {decode / d:5.2f}x | {prefill:8.1f} | {q:8.1f} {prefill / q:5.2f}x"
                else:
                    text += f" | {prefill:8.1f}"
                print(text, flush=True)
                with open(f"{args.out}/generate.json", "w") as f:
                    json.dump({"machine": info, "rows": rows}, f, indent=1)


if __name__ == "__main__":
    main()
