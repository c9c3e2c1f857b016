#!/usr/bin/env python3
"""Writes a BERT folder's weights as GGUF for llama.cpp: gguf_file.py MODEL OUT.gguf f32|f16|q8_0

As llama.cpp's own converter does it: tables of positions, norms and biases stay in single precision; word beginnings get U+2581 and
continuations lose their ##.
"""
import json
import pathlib
import sys

import gguf
import numpy
from safetensors.numpy import load_file

STORED = {"f32": (gguf.GGMLQuantizationType.F32, 0), "f16": (gguf.GGMLQuantizationType.F16, 1), "q8_0": (gguf.GGMLQuantizationType.Q8_0, 7)}
LAYER = {
    "attention.self.query": "attn_q", "attention.self.key": "attn_k", "attention.self.value": "attn_v",
    "attention.output.dense": "attn_output", "intermediate.dense": "ffn_up", "output.dense": "ffn_down",
    "attention.output.LayerNorm": "attn_output_norm", "output.LayerNorm": "layer_output_norm",
}


def piece(name):
    if name.startswith("[") and name.endswith("]"):
        return name
    return name[2:] if name.startswith("##") else "\u2581" + name


def vocabulary(writer, model):
    tokenizer = json.loads((model / "tokenizer.json").read_text(encoding="utf-8"))
    ids = tokenizer["model"]["vocab"]
    special = {token["content"] for token in tokenizer["added_tokens"] if token["special"]}
    names = sorted(ids, key=ids.get)
    writer.add_vocab_size(len(names))
    writer.add_tokenizer_model("bert")
    writer.add_token_list([piece(name) for name in names])
    writer.add_token_types([gguf.TokenType.CONTROL if name in special else gguf.TokenType.NORMAL for name in names])
    writer.add_token_type_count(2)
    writer.add_bos_token_id(ids["[CLS]"])
    writer.add_eos_token_id(ids["[SEP]"])
    writer.add_sep_token_id(ids["[SEP]"])
    writer.add_unk_token_id(ids["[UNK]"])
    writer.add_pad_token_id(ids["[PAD]"])
    writer.add_mask_token_id(ids["[MASK]"])
    writer.add_uint32("tokenizer.ggml.cls_token_id", ids["[CLS]"])
    writer.add_add_bos_token(True)
    writer.add_add_eos_token(True)


def main():
    model, out, precision = pathlib.Path(sys.argv[1]), sys.argv[2], sys.argv[3]
    config = json.loads((model / "config.json").read_text())
    weights = load_file(model / "model.safetensors")
    stored, file_type = STORED[precision]
    writer = gguf.GGUFWriter(out, "bert")
    writer.add_name(model.name)
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_layer_norm_eps(config["layer_norm_eps"])
    writer.add_causal_attention(False)
    writer.add_pooling_type(gguf.PoolingType.MEAN)
    writer.add_file_type(file_type)
    vocabulary(writer, model)

    def put(name, source, small=False):
        values = weights[source].astype(numpy.float32)
        if small and precision != "f32":
            writer.add_tensor(name, gguf.quants.quantize(values, stored), raw_dtype=stored)
        else:
            writer.add_tensor(name, values)

    put("token_embd.weight", "embeddings.word_embeddings.weight", small=True)
    put("position_embd.weight", "embeddings.position_embeddings.weight")
    put("token_types.weight", "embeddings.token_type_embeddings.weight")
    for kind in ("weight", "bias"):
        put(f"token_embd_norm.{kind}", f"embeddings.LayerNorm.{kind}")
    for layer in range(config["num_hidden_layers"]):
        for source, name in LAYER.items():
            for kind in ("weight", "bias"):
                put(f"blk.{layer}.{name}.{kind}", f"encoder.layer.{layer}.{source}.{kind}", small=kind == "weight" and "Norm" not in source)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


if __name__ == "__main__":
    main()
