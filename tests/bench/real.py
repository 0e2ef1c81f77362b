#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Supervised tokens a second on real records against TRL's SFTTrainer + PEFT: the same records, prompts masked.

  real.py --data DATA --tokenizer DIR [--bin build/bin] [--out build/bench] [--sets bitext,banking77,sgd]
          [--records 64] [--batch 8] [--threads 2] [--rank 16] [--system FILE] [--types fp32,bf16] [--repeat 2]

A set may have a number of records of its own (sgd:8). DATA is a folder with bitext/, banking77/ and sgd/; DIR holds a
GPT-2 tokenizer (tokenizer.json). The model has SmolLM-135M's shape with random weights. The peer takes turns
with padding (its default) and with packing, in float32 (bfloat16 autocast: --types; many times slower without hardware for
it); LoRA of RANK on all linear layers on both sides; one epoch, whole. With --system the text of a file goes before every
record as its system prompt. Prints a table, writes real.json."""
import argparse, csv, json, os, statistics, subprocess, sys, time

import shapes

SHAPE = {**shapes.SHAPES["S2"], "vocab_size": 50257}


def records(name, data, count, system):
    """Prompt and completion of the first COUNT records, as plain text with the roles written out."""
    out = []
    if name == "sgd":
        with open(f"{data}/sgd/train.jsonl") as f:
            for row in f:
                turns = json.loads(row)["turns"]
                text = "".join(f"{'user' if who == 'USER' else 'assistant'}: {said}\n" for who, said in turns[:-1])
                out.append((text + "assistant:", " " + turns[-1][1]))
                if len(out) == count:
                    break
    else:
        with open(f"{data}/{name}/train.csv", newline="") as f:
            rows = list(csv.reader(f))[1:]
        step = max(1, len(rows) // count)
        out = [(f"user: {row[0]}\nassistant:", f" {row[1]}") for row in rows[::step][:count]]
    return [(system + prompt, completion) for prompt, completion in out]


def folder_for(args):
    folder = os.path.join(args.out, "real")
    os.makedirs(folder, exist_ok=True)
    config = {**shapes.config(SHAPE), "bos_token_id": 50256, "eos_token_id": 50256}
    with open(f"{folder}/config.json", "w") as f:
        json.dump(config, f)
    with open(f"{folder}/tokenizer_config.json", "w") as f:
        json.dump({"eos_token": "<|endoftext|>", "tokenizer_class": "PreTrainedTokenizerFast"}, f)
    subprocess.run(["cp", f"{args.tokenizer}/tokenizer.json", folder], check=True)
    return folder


def run_ft(folder, args):
    """Supervised tokens a second of one epoch, all of it: what is counted of the peer."""
    subprocess.run(["rm", "-rf", f"{folder}/run"], check=True)
    subprocess.run([f"{args.bin}/ft-train", "-m", f"{folder}/random", "-t", f"{folder}/train.ftok", "-o", f"{folder}/run",
                    "-s", "epochs=1", "-s", f"batch={args.batch}", "-s", "method=lora", "-s",
                    f"lora.rank={args.rank}", "-s", "lr=1e-4", "-s", "save.state=false", "--threads", str(args.threads),
                    "--quiet"], check=True)
    with open(f"{folder}/run/timing.json") as f, open(f"{folder}/run/metrics.jsonl") as m:
        last = [json.loads(l) for l in m if '"loss"' in l][-1]
        return last["num_supervised_tokens_seen"] / json.load(f)["seconds"]


def peer_main(spec):
    import torch, transformers, datasets, peft, trl
    spec = json.loads(spec)
    torch.set_num_threads(spec["threads"])
    transformers.set_seed(1)
    tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_file=f"{spec['folder']}/tokenizer.json", eos_token="<|endoftext|>",
                                                     pad_token="<|endoftext|>")
    config = transformers.AutoConfig.from_pretrained(spec["folder"])
    model = transformers.AutoModelForCausalLM.from_config(config, attn_implementation="sdpa")
    with open(f"{spec['folder']}/records.jsonl") as f:
        rows = [json.loads(line) for line in f]
    supervised = sum(len(tokenizer(r["completion"] + "<|endoftext|>")["input_ids"]) for r in rows)
    options = dict(output_dir=f"{spec['folder']}/trl", per_device_train_batch_size=spec["batch"], num_train_epochs=1, report_to=[],
                   save_strategy="no", logging_strategy="no", use_cpu=True, bf16=spec["bf16"], packing=spec["packing"],
                   max_length=1024, completion_only_loss=True, gradient_checkpointing=False, disable_tqdm=True,
                   learning_rate=1e-4, dataloader_num_workers=0)
    if spec["packing"]:
        options.update(per_device_train_batch_size=1)
    trainer = trl.SFTTrainer(model=model, args=trl.SFTConfig(**options), train_dataset=datasets.Dataset.from_list(rows),
                             processing_class=tokenizer, peft_config=peft.LoraConfig(r=spec["rank"], lora_alpha=2 * spec["rank"],
                             target_modules="all-linear", task_type="CAUSAL_LM"))
    start = time.monotonic()
    trainer.train()
    print(json.dumps({"rate": supervised / (time.monotonic() - start), "trl": trl.__version__}))


def run_peer(folder, bf16, packing, args):
    spec = json.dumps({"folder": folder, "bf16": bf16, "packing": packing, "threads": args.threads, "batch": args.batch, "rank": args.rank})
    environment = {**os.environ, "OMP_NUM_THREADS": str(args.threads), "TRANSFORMERS_VERBOSITY": "error", "HF_HUB_OFFLINE": "1"}
    done = subprocess.run([sys.executable, __file__, "--peer", spec], env=environment, capture_output=True, text=True)
    if done.returncode:
        print((done.stderr.strip().splitlines() or ["failed"])[-1][:200], file=sys.stderr)
        return None
    return json.loads(done.stdout.splitlines()[-1])["rate"]


def label(key):
    return f"{'packed' if key[0] else 'padded'} {'bf16' if key[1] else 'fp32'}"


def against(ft, peer, key):
    """One way of the peer: its median, the median ratio, the least and the greatest."""
    ratios = sorted(a / b for a, b in zip(ft, peer))
    return f" | {label(key)} {statistics.median(peer):7.1f} {statistics.median(ratios):5.2f}x [{ratios[0]:.2f}, {ratios[-1]:.2f}]"


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--data", required=False)
    p.add_argument("--tokenizer")
    p.add_argument("--bin", default="build/bin")
    p.add_argument("--make-ftok", default="build/tests/helper/make-ftok")
    p.add_argument("--out", default="build/bench")
    p.add_argument("--sets", default="bitext,banking77,sgd:8")
    p.add_argument("--records", type=int, default=64)
    p.add_argument("--batch", type=int, default=8)
    p.add_argument("--threads", type=int, default=2)
    p.add_argument("--rank", type=int, default=16)
    p.add_argument("--repeat", type=int, default=2)
    p.add_argument("--system")
    p.add_argument("--types", default="fp32", help="of the peer's arithmetic: fp32,bf16")
    p.add_argument("--peer")
    args = p.parse_args()
    if args.peer:
        return peer_main(args.peer)
    folder, rows = folder_for(args), []
    with_system = open(args.system).read().strip() + "\n" if args.system else ""
    print(json.dumps(shapes.machine()))
    print("supervised tokens/s: set, ft | each way of TRL, ratio [least, greatest]")
    for name, _, count in (s.partition(":") for s in args.sets.split(",")):
        count = int(count or args.records)
        with open(f"{folder}/records.jsonl", "w") as f:
            for prompt, completion in records(name, args.data, count, with_system):
                f.write(json.dumps({"prompt": prompt, "completion": completion}) + "\n")
        subprocess.run([f"{args.bin}/ft-tokenize", "-m", folder, "-o", f"{folder}/train.ftok", f"{folder}/records.jsonl"], check=True)
        shapes.random_weights(folder, SHAPE)
        ft, peers = [], {}
        for _ in range(args.repeat):
            ft.append(run_ft(folder, args))
            for packing in (False, True):
                for bf16 in [t == "bf16" for t in args.types.split(",")]:
                    rate = run_peer(folder, bf16, packing, args)
                    if rate:
                        peers.setdefault((packing, bf16), []).append(rate)
        print(f"{name:10s} {statistics.median(ft):8.1f}" + "".join(against(ft, peers[k], k) for k in sorted(peers)), flush=True)
        rows.append({"set": name, "records": count, "ft": ft, "trl": {label(k): v for k, v in peers.items()}})
    with open(f"{args.out}/real.json", "w") as f:
        json.dump({"machine": shapes.machine(), "batch": args.batch, "rank": args.rank, "rows": rows}, f, indent=1)


if __name__ == "__main__":
    main()
