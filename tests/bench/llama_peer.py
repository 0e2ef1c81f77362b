# SPDX-License-Identifier: MIT
"""llama.cpp's fine-tuning (through llama-cpp-python) as a peer of train.py, which starts it and tells it when to run.

  llama_peer.py '{"gguf": "S2/train.gguf", "rows": 4, "tokens": 256, "vocab": 49152, "threads": 2}'

What its program finetune does, on documents of random tokens: all weights that it can train, AdamW with its defaults, keys and values
in float32, no flash attention. A document is a context of its own, which is its fastest way by far; it takes an optimizer step
after each, and what counts as a step here is ROWS of them. Orders and answers as in train_peer.py.

Its products of gradients are many times slower without a BLAS: CMAKE_ARGS="-DGGML_BLAS=ON -DGGML_BLAS_VENDOR=OpenBLAS
-DGGML_NATIVE=ON" pip install --no-binary llama-cpp-python llama-cpp-python."""
import ctypes, glob, json, os, random, resource, sys, time

F32, I32 = 0, 26  # ggml's types
LONG = 60.0  # seconds of steps after which it is warm


class Parameters(ctypes.Structure):
    """The library's parameters of training; the package's own declaration lacks the last field."""
    _fields_ = [("n_ctx_train", ctypes.c_uint32), ("param_filter", ctypes.c_void_p), ("param_filter_ud", ctypes.c_void_p),
                ("get_opt_pars", ctypes.c_void_p), ("get_opt_pars_ud", ctypes.c_void_p), ("optimizer_type", ctypes.c_int)]


class Trainer:
    def __init__(self, spec):
        import llama_cpp
        self.api = api = llama_cpp.llama_cpp
        self.base = ctypes.CDLL(glob.glob(os.path.join(os.path.dirname(llama_cpp.__file__), "lib", "libggml-base.so"))[0])
        self.silence = api.llama_log_callback(lambda level, text, data: None)
        api.llama_log_set(self.silence, None)
        api.llama_backend_init()
        self.rows, self.tokens = spec["rows"], spec["tokens"]
        model = api.llama_model_default_params()
        model.load_mode, model.n_gpu_layers = api.LLAMA_LOAD_MODE_NONE, 0
        self.model = api.llama_model_load_from_file(spec["gguf"].encode(), model)
        context = api.llama_context_default_params()
        context.n_ctx = context.n_batch = context.n_ubatch = self.tokens
        context.n_threads = context.n_threads_batch = spec["threads"]
        context.type_k = context.type_v = F32
        context.flash_attn_type = api.LLAMA_FLASH_ATTN_TYPE_DISABLED
        self.context = api.llama_init_from_model(self.model, context)
        if not self.model or not self.context:
            raise RuntimeError("llama.cpp cannot load the model")
        self.start_training()
        self.dataset = self.documents(spec["vocab"])

    def start_training(self):
        address = lambda function: ctypes.cast(function, ctypes.c_void_p)
        library = self.api._lib
        parameters = Parameters(0, address(library.llama_opt_param_filter_all), None,
                                address(self.base.ggml_opt_get_default_optimizer_params), None, 0)
        start = library.llama_opt_init
        start.argtypes = [ctypes.c_void_p, ctypes.c_void_p, Parameters]
        start.restype = None
        start(self.context, self.model, parameters)

    def documents(self, vocab):
        """Data points: sequences, and what follows each of their tokens."""
        numbers = self.rows * self.tokens
        self.base.ggml_opt_dataset_init.restype = ctypes.c_void_p
        dataset = ctypes.c_void_p(self.base.ggml_opt_dataset_init(I32, I32, *map(ctypes.c_int64, (self.tokens, self.tokens, self.rows, 1))))
        chance = random.Random(1)
        ids = [chance.randrange(vocab) for _ in range(numbers + 1)]
        for name, from_ in (("data", 0), ("labels", 1)):
            tensor = getattr(self.base, f"ggml_opt_dataset_{name}")
            tensor.restype = ctypes.c_void_p
            self.base.ggml_get_data.restype = ctypes.c_void_p
            memory = self.base.ggml_get_data(ctypes.c_void_p(tensor(dataset)))
            ctypes.memmove(memory, (ctypes.c_int32 * numbers)(*ids[from_:from_ + numbers]), 4 * numbers)
        return dataset

    def step(self):
        start = time.monotonic()
        self.api.llama_opt_epoch(self.context, self.dataset, None, None, self.rows, None, None)
        return time.monotonic() - start

    def answer(self, order):
        if order == "warm":
            steps = [self.step()]
            while len(steps) < 3 and sum(steps) < LONG:
                steps.append(self.step())
            return [min(steps[1:] or steps)]
        end, steps = time.monotonic() + float(order), []
        while not steps or time.monotonic() < end:
            steps.append(self.step())
        return steps


def main():
    trainer = Trainer(json.loads(sys.argv[1]))
    for line in sys.stdin:
        steps = trainer.answer(line.strip())
        print(json.dumps({"steps": steps, "rss": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024}), flush=True)


if __name__ == "__main__":
    main()
