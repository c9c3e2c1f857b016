#!/usr/bin/env python3
"""One peer, one process, one list of texts; prints figures as one line of JSON: one.py PEER FILES TEXTS.jsonl OUT.npy THREADS bulk|single

Run by ci/peers/run. `first` is the time (CLOCK_MONOTONIC, as the caller's) at which the first text had its vector; `single` embeds
each text alone and gives the milliseconds of each.
"""
import json
import os
import sys
import time

import numpy


def sentence_transformers(files, threads):
    """Its defaults: batches of 32, texts sorted by length, cut at the folder's 256 tokens."""
    import torch
    import sentence_transformers as package
    torch.set_num_threads(threads)
    model = package.SentenceTransformer(files, device="cpu")
    return lambda texts: model.encode(texts, batch_size=32, normalize_embeddings=True), f"{package.__version__}, torch {torch.__version__}"


def sentence_transformers_onnx(files, threads):
    """The same with ONNX Runtime in torch's place."""
    import onnxruntime
    import torch
    import sentence_transformers as package
    torch.set_num_threads(threads)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    folder, name = os.path.split(files)
    settings = {"file_name": name, "provider": "CPUExecutionProvider", "session_options": options}
    model = package.SentenceTransformer(folder, device="cpu", backend="onnx", model_kwargs=settings)
    version = f"{package.__version__}, onnxruntime {onnxruntime.__version__}"
    return lambda texts: model.encode(texts, batch_size=32, normalize_embeddings=True), version


def fastembed(files, threads, batch=256):
    import fastembed as package
    import onnxruntime
    from fastembed.common.model_description import ModelSource, PoolingType
    folder, name = os.path.split(files)
    size = json.load(open(os.path.join(folder, "config.json")))["hidden_size"]
    source = ModelSource(hf="local/model")
    package.TextEmbedding.add_custom_model(
        model="local/model", pooling=PoolingType.MEAN, normalization=True, sources=source, dim=size, model_file=name)
    model = package.TextEmbedding("local/model", specific_model_path=folder, threads=threads)
    version = f"{package.__version__}, onnxruntime {onnxruntime.__version__}"
    return lambda texts: numpy.stack(list(model.embed(texts, batch_size=batch))), version


def llama(files, threads):
    """One text a call: in batches of several its attention goes over all of them, which costs more than it saves."""
    import llama_cpp as package
    sizes = {"n_ctx": 512, "n_batch": 512, "n_ubatch": 512, "n_threads": threads, "n_threads_batch": threads}
    model = package.Llama(files, embedding=True, flash_attn=True, verbose=False, **sizes)
    return lambda texts: numpy.asarray([model.embed([text], normalize=True)[0] for text in texts], dtype="float32"), package.__version__


PEERS = {
    "sentence-transformers": sentence_transformers,
    "sentence-transformers-onnx": sentence_transformers_onnx,
    "fastembed": fastembed,
    "fastembed-32": lambda files, threads: fastembed(files, threads, 32),
    "llama": llama,
}


def main():
    peer, files, texts, out, threads, way = sys.argv[1:]
    with open(texts, encoding="utf-8") as file:
        texts = [json.loads(line)["text"] for line in file]
    embed, version = PEERS[peer](files, int(threads))
    embed(texts[:1])
    figures = {"first": time.monotonic(), "version": version}
    if way == "single":
        times, vectors = [], []
        for text in texts:
            begin = time.perf_counter()
            vectors.append(embed([text])[0])
            times.append((time.perf_counter() - begin) * 1e3)
        figures["times"] = times
    else:
        cpu, wall = time.process_time(), time.perf_counter()
        vectors = embed(texts)
        figures |= {"wall": time.perf_counter() - wall, "cpu": time.process_time() - cpu}
    numpy.save(out, numpy.asarray(vectors, dtype="float32"))
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
