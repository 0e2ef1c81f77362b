# SPDX-License-Identifier: MIT
"""The shapes that the benchmarks measure: real models' with random weights, what a method needs, and the machine."""
import array, json, os, platform, random, struct, subprocess

SHAPES = {
    "S1": dict(model_type="gpt2", n_layer=12, n_embd=768, n_head=12, vocab_size=50257, n_positions=1024, T=256, B=4),
    "S2": dict(model_type="llama", layers=30, hidden=576, heads=9, kv=3, ffn=1536, vocab_size=49152, tied=True, T=256, B=4),
    "S3": dict(model_type="llama", layers=6, hidden=288, heads=6, kv=6, ffn=768, vocab_size=32000, tied=True, T=256, B=8),
    "S4": dict(model_type="llama", layers=16, hidden=2048, heads=32, kv=8, ffn=8192, vocab_size=128256, tied=True, T=512, B=1),
}
METHODS = {"full": None, "lora-qv": 8, "lora-all": 16}


def config(shape):
    if shape["model_type"] == "gpt2":
        return dict(architectures=["GPT2LMHeadModel"], model_type="gpt2", n_layer=shape["n_layer"], n_embd=shape["n_embd"],
                    n_head=shape["n_head"], n_positions=shape["n_positions"], n_ctx=shape["n_positions"],
                    vocab_size=shape["vocab_size"], activation_function="gelu_new", layer_norm_epsilon=1e-5,
                    initializer_range=0.02, attn_pdrop=0.0, embd_pdrop=0.0, resid_pdrop=0.0, bos_token_id=0, eos_token_id=0)
    return dict(architectures=["LlamaForCausalLM"], model_type="llama", hidden_size=shape["hidden"],
                intermediate_size=shape["ffn"], num_hidden_layers=shape["layers"], num_attention_heads=shape["heads"],
                num_key_value_heads=shape["kv"], vocab_size=shape["vocab_size"], max_position_embeddings=shape.get("positions", 2048),
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


def targets(shape, method):
    """The maps that get adapters: names, or None for all linear ones."""
    if method == "lora-all":
        return None
    return ["c_attn"] if shape["model_type"] == "gpt2" else ["q_proj", "v_proj"]


def flops_per_token(shape, method):
    """What the method needs: 2 per weight forward, 2 for the input's gradient, 2 for the weight's when it is trained;
    causal attention's visible pairs only, 3.5 times its forward in all."""
    layers, head = linear_weights(shape)
    n, width = (shape["n_layer"], shape["n_embd"]) if shape["model_type"] == "gpt2" else (shape["layers"], shape["hidden"])
    attention = 3.5 * 2 * n * width * shape["T"]
    return (6 if method == "full" else 4) * (layers + head) + 6 * adapter_weights(shape, method) + attention


def tensors(shape):
    """Names and sizes of a model's weights, as its family writes them."""
    if shape["model_type"] == "gpt2":
        n = shape["n_embd"]
        out = [("transformer.wte.weight", (shape["vocab_size"], n)), ("transformer.wpe.weight", (shape["n_positions"], n)),
               ("transformer.ln_f.weight", (n,)), ("transformer.ln_f.bias", (n,))]
        for layer in range(shape["n_layer"]):
            for name, size in (("ln_1", (n,)), ("ln_2", (n,)), ("attn.c_attn", (n, 3 * n)), ("attn.c_proj", (n, n)),
                               ("mlp.c_fc", (n, 4 * n)), ("mlp.c_proj", (4 * n, n))):
                out += [(f"transformer.h.{layer}.{name}.weight", size), (f"transformer.h.{layer}.{name}.bias", size[-1:])]
        return out
    n, f, kv = shape["hidden"], shape["ffn"], shape["hidden"] // shape["heads"] * shape["kv"]
    out = [("model.embed_tokens.weight", (shape["vocab_size"], n)), ("model.norm.weight", (n,))]
    for layer in range(shape["layers"]):
        out += [(f"model.layers.{layer}.{name}.weight", size) for name, size in (
            ("input_layernorm", (n,)), ("post_attention_layernorm", (n,)), ("self_attn.q_proj", (n, n)), ("self_attn.k_proj", (kv, n)),
            ("self_attn.v_proj", (kv, n)), ("self_attn.o_proj", (n, n)), ("mlp.gate_proj", (f, n)), ("mlp.up_proj", (f, n)),
            ("mlp.down_proj", (n, f)))]
    return out


def elements(size):
    return size[0] * (size[1] if len(size) > 1 else 1)


def prepare(name, args):
    """A folder with the shape's configuration, a tokenizer without merges and 512 documents of T tokens; returns its path."""
    shape, folder = SHAPES[name], os.path.join(args.out, name)
    model_folder(folder, shape)
    subprocess.run([args.make_ftok, f"{folder}/train.ftok", f"{folder}/tokenizer.json", str(shape["vocab_size"]), "512",
                    str(shape["T"]), str(shape["T"]), "1", "all"], check=True)
    return folder


def model_folder(folder, shape):
    """Configuration and tokenizer of a shape."""
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


def random_weights(folder, shape):
    """FOLDER/random: the model of FOLDER with weights of deviation 0.02 in bfloat16 (gains 1, biases 0). Weights are taken out
    of one pool of a million normal numbers, each tensor's rows from another place of it."""
    out = f"{folder}/random"
    if os.path.exists(f"{out}/model.safetensors"):
        return out
    os.makedirs(out, exist_ok=True)
    for name in os.listdir(folder):
        if name.endswith(".json") and name.startswith(("config", "token")):
            subprocess.run(["cp", f"{folder}/{name}", out], check=True)
    rng = random.Random(1)
    floats = array.array("f", (rng.gauss(0, 0.02) for _ in range(1 << 20)))
    pool = memoryview(array.array("H", (bits >> 16 for bits in array.array("I", floats.tobytes()))))
    header, at, list_ = {"__metadata__": {"format": "pt"}}, 0, tensors(shape)
    for name, size in list_:
        header[name] = {"dtype": "BF16", "shape": list(size), "data_offsets": [at, at + 2 * elements(size)]}
        at += 2 * elements(size)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(f"{out}/model.part", "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text)
        for name, size in list_:
            left = elements(size)
            if len(size) == 1:
                f.write((b"\0\0" if name.endswith("bias") else b"\x80\x3f") * left)
                continue
            while left:
                start = rng.randrange(len(pool) // 2)
                take = min(left, len(pool) - start)
                f.write(pool[start:start + take])
                left -= take
    os.rename(f"{out}/model.part", f"{out}/model.safetensors")
    return out


def machine():
    info = {"machine": platform.machine(), "kernel": platform.release(), "processors": os.cpu_count()}
    with open("/proc/cpuinfo") as f:
        info["cpu"] = next((l.split(":", 1)[1].strip() for l in f if l.startswith("model name")), "unknown")
    return info
