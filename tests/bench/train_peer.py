# SPDX-License-Identifier: MIT
"""One training loop of PyTorch that takes turns with others: train.py starts it and tells it when to run.

  train_peer.py '{"shape": "S3", "method": "lora-qv", "threads": 2, "setting": "compile fp32"}'

transformers (and PEFT for LoRA), AdamW, in the shape's batches of random tokens. Lines on standard input: "probe" (three small
steps), "warm" (three steps; of both the least time but the first's counts, which has compilation and new memory) or seconds to
train for. Each is answered by a line of JSON with the seconds of the steps and the peak RSS so far. Ends with its input."""
import json, resource, sys, time, warnings

import shapes

PROBE_TOKENS = 16


class Trainer:
    def __init__(self, spec):
        import torch, transformers
        self.torch, self.shape = torch, shapes.SHAPES[spec["shape"]]
        torch.set_num_threads(spec["threads"])
        torch.manual_seed(1)
        fields = shapes.config(self.shape)
        fields.pop("architectures")
        model = transformers.AutoModelForCausalLM.from_config(transformers.AutoConfig.for_model(**fields), attn_implementation="sdpa")
        if spec["method"] != "full":
            import peft
            rank = shapes.METHODS[spec["method"]]
            model = peft.get_peft_model(model, peft.LoraConfig(r=rank, lora_alpha=2 * rank, task_type="CAUSAL_LM",
                                        target_modules=shapes.targets(self.shape, spec["method"]) or "all-linear"))
        model.train()
        self.trained = [p for p in model.parameters() if p.requires_grad]
        self.optimizer = torch.optim.AdamW(self.trained, lr=1e-4, fused=True)
        self.run = torch.compile(model) if "compile" in spec["setting"] else model
        self.bf16 = "bf16" in spec["setting"]

    def step(self, rows, tokens):
        ids = self.torch.randint(0, self.shape["vocab_size"], (rows, tokens))
        start = time.monotonic()
        with self.torch.autocast("cpu", dtype=self.torch.bfloat16, enabled=self.bf16):
            loss = self.run(input_ids=ids, labels=ids).loss
        loss.backward()
        self.torch.nn.utils.clip_grad_norm_(self.trained, 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        return time.monotonic() - start

    def answer(self, order):
        rows, tokens = self.shape["B"], self.shape["T"]
        if order in ("probe", "warm"):
            size = (1, PROBE_TOKENS) if order == "probe" else (rows, tokens)
            return [min([self.step(*size) for _ in range(3)][1:])]
        end, steps = time.monotonic() + float(order), []
        while not steps or time.monotonic() < end:
            steps.append(self.step(rows, tokens))
        return steps


def main():
    warnings.filterwarnings("ignore")
    trainer = Trainer(json.loads(sys.argv[1]))
    for line in sys.stdin:
        steps = trainer.answer(line.strip())
        print(json.dumps({"steps": steps, "rss": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024}), flush=True)


if __name__ == "__main__":
    main()
