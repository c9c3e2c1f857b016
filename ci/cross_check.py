#!/usr/bin/env python3
"""Reads what Patina wrote with Python's own libraries: safetensors opens a projection, USearch opens an index and finds the same
neighbours.

    ci/cross_check.py PATINA MODEL [FOLDER]

PATINA is the program, MODEL a model it has, FOLDER where to make the project (default: .cache/cross-check). Needs the packages of
ci/requirements.txt. The last line is `cross-check: N passed, N failed`.
"""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
from safetensors import safe_open
from usearch.index import Index

QUERIES = [
    "how does the cache decide which entry is thrown out",
    "a retry made a payment happen twice",
    "the parser lost its place after a comment",
    "slow start because every index is opened",
    "who may read the reports",
]
LIMIT = 10
# Similarities of the same f32 vectors, summed in another order.
CLOSE = 1e-4

AREAS = {
    "cache": ["eviction order", "time to live", "shared entries", "size accounting"],
    "payments": ["retries", "currency rounding", "refunds", "duplicate webhooks"],
    "parser": ["comments", "error recovery", "unicode names", "nested quotes"],
    "startup": ["lazy indexes", "configuration files", "migrations", "plugin order"],
    "permissions": ["report access", "inherited roles", "expired tokens", "audit trail"],
    "scheduler": ["missed jobs", "time zones", "backpressure", "priorities"],
}
FINDINGS = [
    ("Problem", "Users saw {topic} go wrong in the {area} after the last release; the log had nothing about {topic}."),
    ("Cause", "The {area} kept {topic} in two places, and only one of them was updated when a request was cancelled."),
    ("Key Decisions", "The {area} gets one owner of {topic}; everybody else asks it. Considered and refused: a lock around both."),
    ("Next Steps", "Measure {topic} in the {area} under load, and write down what the {area} promises about {topic}."),
]


class Checks:
    """Counts and prints."""

    def __init__(self):
        self.passed = self.failed = 0

    def check(self, name, good, detail=""):
        if good:
            self.passed += 1
            print(f"ok {name}")
        else:
            self.failed += 1
            print(f"FAILED {name}: {detail}")
        return good


def notes(folder):
    """Session notes in a git repository: 24 sessions, every text another one."""
    folder.mkdir(parents=True)
    day = 0
    for area, topics in AREAS.items():
        for topic in topics:
            day += 1
            text = [f"# Session: {topic} in the {area}", "", f"**Date**: 2026-{1 + day // 28:02}-{1 + day % 28:02}", ""]
            for heading, sentence in FINDINGS:
                text += [f"## {heading}", "", sentence.format(area=area, topic=topic), ""]
            (folder / f"{day:02}-{area}.md").write_text("\n".join(text), encoding="utf-8")


def recipe(model, projections):
    return f"version: 1\nembedding_model: {model}\n{projections}"


PROJECTIONS = """projections:
  semantic:
    architecture: {architecture}
    layers: {layers}
    epochs: 2
    gate: off
"""


class Project:
    def __init__(self, patina, model, folder):
        self.patina, self.model, self.folder = patina, model, folder

    def run(self, *arguments, given=None):
        done = subprocess.run(
            [self.patina, *arguments], cwd=self.folder, input=given, capture_output=True, encoding="utf-8", check=False
        )
        if done.returncode != 0:
            sys.stderr.write(done.stderr)
            raise SystemExit(f"error: patina {' '.join(arguments)} ended with {done.returncode}")
        return done.stdout

    def write_recipe(self, projections):
        (self.folder / ".patina" / "oxidize.yaml").write_text(recipe(self.model, projections), encoding="utf-8")

    def file(self, pattern):
        found = sorted((self.folder / ".patina" / "data" / "embeddings").glob(pattern))
        if len(found) != 1:
            raise SystemExit(f"error: expected one {pattern}, found {[path.name for path in found]}")
        return found[0]

    def embed(self, texts, kind):
        out = self.run("embed", "--model", self.model, "--kind", kind, "--input", "-", "--output", "-", given="".join(f"{t}\n" for t in texts))
        return np.array([json.loads(line)["embedding"] for line in out.splitlines()], dtype=np.float32)

    def scry(self, query, *more):
        found = json.loads(self.run("scry", query, "--mode", "vector", "--json", "--limit", str(LIMIT), *more))
        hits = found["hits"] if isinstance(found, dict) else found
        # Ids have 63 bits: sixteen hexadecimal digits in JSON.
        return [(int(hit["id"], 16), float(hit["score"])) for hit in hits]


# `EXPANSION_SEARCH` of src/index/mod.rs.
EXPANSION_SEARCH = 256


def contents(index):
    """The keys of an index and their vectors, normalised."""
    keys = np.asarray(index.keys[:])
    vectors = np.vstack([np.asarray(index.get(int(key)), dtype=np.float32).reshape(1, -1) for key in keys])
    return keys, vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def same_neighbours(ours, theirs):
    """Two rankings agree if their similarities do, rank by rank; equal similarities may change places."""
    if len(ours) != len(theirs):
        return f"{len(ours)} against {len(theirs)} neighbours"
    for rank, ((our_key, our_score), (their_key, their_score)) in enumerate(zip(ours, theirs), 1):
        if abs(our_score - their_score) > CLOSE:
            return f"rank {rank}: {our_key:016x} {our_score:.6f} against {their_key:016x} {their_score:.6f}"
    ties = {round(score, 3) for _, score in ours}
    if len(ties) == len(ours) and [key for key, _ in ours] != [key for key, _ in theirs]:
        return "other keys in another order"
    return ""


def check_index(checks, name, project, path, queries, *scry):
    index = Index.restore(str(path))
    if not checks.check(f"{name}: USearch opens {path.name}", index is not None and len(index) > 0, "no index, or an empty one"):
        return None
    keys, vectors = contents(index)
    checks.check(f"{name}: {len(index)} vectors of {index.ndim} numbers, all finite", np.isfinite(vectors).all(), "not finite")
    checks.check(f"{name}: as long as the queries'", index.ndim == queries.shape[1], f"{index.ndim} against {queries.shape[1]}")
    # Patina searches so few vectors exactly, and a larger graph with this expansion, which is no part of the file: Python's default is
    # 64, and would now and then miss a neighbour that the file does hold.
    index.expansion_search = EXPANSION_SEARCH
    hits = near = expected = 0
    for text, query in zip(QUERIES, queries):
        query = query / np.linalg.norm(query)
        exact = vectors @ query
        best = np.argsort(-exact, kind="stable")[:LIMIT]
        found = index.search(query.astype(np.float32), LIMIT, exact=True)
        theirs = [(int(match.key), 1.0 - float(match.distance)) for match in found]
        graph = index.search(query.astype(np.float32), LIMIT)
        ours = project.scry(text, *scry)
        fault = same_neighbours(ours, theirs)
        checks.check(f"{name}: the same neighbours for {text!r}", not fault, fault)
        hits += len({int(keys[at]) for at in best} & {key for key, _ in theirs})
        near += len({int(keys[at]) for at in best} & {int(match.key) for match in graph})
        expected += len(best)
    checks.check(f"{name}: recall@{LIMIT} against brute force", hits >= 0.99 * expected, f"{hits} of {expected}")
    checks.check(f"{name}: recall@{LIMIT} of the graph alone", near >= 0.99 * expected, f"{near} of {expected}")
    return keys, vectors


def project_by_hand(tensors, metadata, vectors):
    """What a projection file says, computed by numpy."""
    hidden = vectors @ tensors["w1.weight"].T + tensors["w1.bias"]
    if metadata["architecture"] != "linear":
        hidden = np.maximum(hidden, 0) @ tensors["w2.weight"].T + tensors["w2.bias"]
    if metadata["architecture"] == "residual":
        hidden = vectors + hidden
    return hidden / np.linalg.norm(hidden, axis=1, keepdims=True)


def check_projection(checks, name, project, architecture, layers, base, queries):
    project.write_recipe(PROJECTIONS.format(architecture=architecture, layers=layers))
    project.run("oxidize")
    path = project.file("*/projections/semantic.safetensors")
    with safe_open(str(path), framework="numpy") as file:
        metadata = file.metadata() or {}
        tensors = {key: file.get_tensor(key) for key in file.keys()}
    names = {"w1.weight", "w1.bias"} | (set() if architecture == "linear" else {"w2.weight", "w2.bias"})
    if not checks.check(f"{name}: safetensors opens {path.name}", set(tensors) == names, f"tensors {sorted(tensors)}"):
        return
    good = all(tensor.dtype == np.float32 and np.isfinite(tensor).all() for tensor in tensors.values())
    checks.check(f"{name}: F32, all finite", good, {key: str(tensor.dtype) for key, tensor in tensors.items()})
    last = tensors["w1.weight" if architecture == "linear" else "w2.weight"]
    stated = {"input_dim": tensors["w1.weight"].shape[1], "output_dim": last.shape[0]}
    if architecture != "linear":
        stated["hidden_dim"] = tensors["w1.weight"].shape[0]
    right = metadata.get("created_by") == "patina-oxidize" and metadata.get("architecture") == architecture
    right = right and all(metadata.get(key) == str(value) for key, value in stated.items())
    checks.check(f"{name}: the metadata says the shapes", right, f"{metadata} against {stated}")

    projected = project_by_hand(tensors, metadata, queries)
    read = check_index(checks, name, project, project.file("*/projections/semantic.usearch"), projected, "--projection", "semantic")
    if read is None:
        return
    keys, vectors = read
    order = {int(key): at for at, key in enumerate(base[0])}
    checks.check(f"{name}: the keys of the base index", set(order) == {int(key) for key in keys}, f"{len(keys)} against {len(order)}")
    by_hand = project_by_hand(tensors, metadata, base[1][[order[int(key)] for key in keys if int(key) in order]])
    if by_hand.shape == vectors.shape:
        # The index may keep half precision.
        worst = float(np.min(np.sum(by_hand * vectors, axis=1)))
        checks.check(f"{name}: its index has what numpy computes from the file", worst > 0.9999, f"lowest cosine {worst}")
    else:
        checks.check(f"{name}: its index has what numpy computes from the file", False, f"{by_hand.shape} against {vectors.shape}")


def main():
    if len(sys.argv) not in (3, 4):
        raise SystemExit(__doc__)
    patina, model = str(Path(sys.argv[1]).resolve()), sys.argv[2]
    default = Path(__file__).resolve().parent.parent / ".cache" / "cross-check"
    folder = Path(sys.argv[3]).resolve() if len(sys.argv) == 4 else default
    if folder.exists():
        shutil.rmtree(folder)
    notes(folder / "notes")
    subprocess.run(["git", "init", "--quiet", str(folder)], check=True)

    checks = Checks()
    project = Project(patina, model, folder)
    project.run("init", "--model", model)
    project.write_recipe("")
    project.run("scrape")
    project.run("oxidize")

    queries = project.embed(QUERIES, "query")
    checks.check("embed: one row for each query", len(queries) == len(QUERIES), f"{len(queries)} rows")
    checks.check("embed: rows are normalised", np.allclose(np.linalg.norm(queries, axis=1), 1, atol=1e-5), "norms differ from 1")
    base = check_index(checks, "base", project, project.file("*/base.usearch"), queries)
    if base is not None:
        dimensions = queries.shape[1]
        check_projection(checks, "linear", project, "linear", [64], base, queries)
        check_projection(checks, "residual", project, "residual", [dimensions], base, queries)
        check_projection(checks, "mlp", project, "mlp-2layer", [256, 64], base, queries)
    print(f"cross-check: {checks.passed} passed, {checks.failed} failed")
    return 1 if checks.failed else 0


if __name__ == "__main__":
    sys.exit(main())
