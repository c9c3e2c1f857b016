#!/usr/bin/env python3
"""Exports a model folder as sentence-transformers' ONNX backend does it, without a hub: export_onnx.py MODEL OUT (run by ci/peers/run)

OUT gets model.onnx (optimum's export in single precision), model_qint8.onnx (sentence-transformers' own dynamic quantization for
AVX-512 VNNI), and the files of tokenizer and pooling beside them.
"""
import pathlib
import shutil
import sys

from optimum.exporters.onnx import main_export
from sentence_transformers import SentenceTransformer, export_dynamic_quantized_onnx_model


def main():
    model, out = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])
    main_export(str(model), out, task="feature-extraction", library_name="transformers", do_validation=True)
    for name in ("modules.json", "sentence_bert_config.json", "config_sentence_transformers.json", "special_tokens_map.json"):
        shutil.copyfile(model / name, out / name)
    shutil.copytree(model / "1_Pooling", out / "1_Pooling", dirs_exist_ok=True)
    loaded = SentenceTransformer(str(out), device="cpu", backend="onnx", model_kwargs={"file_name": "model.onnx"})
    export_dynamic_quantized_onnx_model(loaded, "avx512_vnni", str(out), file_suffix="qint8")
    made = next(out.rglob("model_qint8.onnx"))
    if made.parent != out:
        made.replace(out / made.name)


if __name__ == "__main__":
    main()
