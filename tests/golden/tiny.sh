# SPDX-License-Identifier: MIT
# Tiny models and streams for tests of training, made on the spot in $tmp: llama/, gpt2/ (config.json and a
# tokenizer.json that only its digest matters of), train.ftok, valid.ftok; tiny_base makes llama-base/, gpt2-base/.
mkdir -p "$tmp/llama" "$tmp/gpt2"
cat >"$tmp/llama/config.json" <<'END'
{"architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": 40, "intermediate_size": 72,
 "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 12, "vocab_size": 53,
 "max_position_embeddings": 48, "rms_norm_eps": 1e-05, "rope_theta": 10000.0, "hidden_act": "silu",
 "tie_word_embeddings": true, "attention_bias": false, "mlp_bias": false, "bos_token_id": 1, "eos_token_id": 2,
 "initializer_range": 0.06, "torch_dtype": "float32"}
END
cat >"$tmp/gpt2/config.json" <<'END'
{"architectures": ["GPT2LMHeadModel"], "model_type": "gpt2", "n_embd": 36, "n_layer": 2, "n_head": 3, "n_positions": 48,
 "vocab_size": 53, "activation_function": "gelu_new", "layer_norm_epsilon": 1e-05, "initializer_range": 0.06,
 "bos_token_id": 1, "eos_token_id": 2, "torch_dtype": "float32"}
END
for model in llama gpt2; do echo '{"tiny": true}' >"$tmp/$model/tokenizer.json"; done
make_ftok=$build/tests/helper/make-ftok
"$make_ftok" "$tmp/train.ftok" "$tmp/llama/tokenizer.json" 53 37 3 41 1 || exit 2
"$make_ftok" "$tmp/valid.ftok" "$tmp/llama/tokenizer.json" 53 9 3 41 2 || exit 2

# A model with weights to adapt: one that was trained a little, in full.
tiny_base() {
    for model in llama gpt2; do
        "$bin/ft-train" -q -m "$tmp/$model" --init random -t "$tmp/train.ftok" -s steps=20 -s lr=5e-3 -s save.state=false \
            -o "$tmp/$model-base" || exit 2
    done
}

digest() { sha256sum "$1" | cut -d' ' -f1; }
