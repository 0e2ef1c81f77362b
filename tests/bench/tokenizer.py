#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Speed of tokenizing beside Hugging Face's `tokenizers`, one thread each, by turns on the same lines.

    tokenizer.py [--ft BIN] [--rounds N] [--threads N] TOKENIZER FILE...

Processor time is compared (the machine may be busy); for ft that of the whole program less its start (the median of all rounds'),
reading and printing included. Files of a few megabytes at least: a start takes as long as tokenizing five. The median of the
rounds, the least and the greatest.
--threads N: ft's elapsed time with one thread and with N instead.
"""
import argparse, os, resource, statistics, subprocess, tempfile, time

os.environ["RAYON_NUM_THREADS"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"
from tokenizers import Tokenizer


def run(command, path):
    """Processor time and elapsed time of a command that reads `path`."""
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    with open(path, "rb") as f:
        subprocess.run(command, stdin=f, stdout=subprocess.DEVNULL, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, time.monotonic() - start


def main():
    here = os.path.dirname(os.path.abspath(__file__))
    p = argparse.ArgumentParser()
    p.add_argument("tokenizer")
    p.add_argument("file", nargs="+")
    p.add_argument("--ft", default=os.path.join(here, "../../build/bin/ft-tokenize"))
    p.add_argument("--rounds", type=int, default=5)
    p.add_argument("--threads", type=int, default=1)
    p.add_argument("--megabytes", type=float, default=16, help="of a file, at most")
    a = p.parse_args()
    hf = Tokenizer.from_file(a.tokenizer if os.path.isfile(a.tokenizer) else os.path.join(a.tokenizer, "tokenizer.json"))
    command = [a.ft, "-m", a.tokenizer, "--ids", "--no-specials"]
    for path in a.file:
        whole = open(path, encoding="utf-8", errors="ignore").read(int(a.megabytes * 1e6)).replace("\0", "")
        lines = [line for line in whole.split("\n") if line]
        size = sum(len(line.encode()) + 1 for line in lines)
        with tempfile.NamedTemporaryFile("w", encoding="utf-8", newline="") as f:
            f.write("\n".join(lines) + "\n")
            f.flush()
            ours, starts, theirs, one, many = [], [], [], [], []
            for _ in range(a.rounds):
                if a.threads > 1:
                    one.append(run(command, f.name)[1])
                    many.append(run(command + ["--threads", str(a.threads)], f.name)[1])
                    continue
                ours.append(run(command, f.name)[0])
                starts.append(run(command, "/dev/null")[0])
                start = time.process_time()
                hf.encode_batch_fast(lines, add_special_tokens=False)
                theirs.append(time.process_time() - start)
        if a.threads > 1:
            print(f"{path}: {statistics.median(one) / statistics.median(many):.2f} times as fast on {a.threads} threads")
            continue
        ours = [x - statistics.median(starts) for x in ours]
        x, y = statistics.median(ours), statistics.median(theirs)
        ratios = sorted(b / a for a, b in zip(ours, theirs))
        print(f"{path}, {size / 1e6:.1f} MB: ft {size / x / 1e6:.1f} MB/s, tokenizers {size / y / 1e6:.1f} MB/s, "
              f"ratio {statistics.median(ratios):.2f} [{ratios[0]:.2f}, {ratios[-1]:.2f}]", flush=True)


if __name__ == "__main__":
    main()
