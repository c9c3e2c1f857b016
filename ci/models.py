#!/usr/bin/env python3
"""docs/MODELS.md, made again: ci/models.py PATINA SCORES.csv

PATINA is a build with both runtimes (on Linux after ci/mlx, --features mlx). SCORES.csv has a column `model` with hub ids and columns
STSBenchmark and SciFact with published scores (x100), as embeddings-benchmark/results on GitHub publishes them (CC0). Parity is measured here,
on the golden models of tests/fixtures/golden; our own scores are what `patina eval` gave (docs/PERFORMANCE.md says how).
"""
import csv, json, os, pathlib, subprocess, sys, tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
GOLDEN = ROOT / "tests" / "fixtures" / "golden"
# What `patina eval` gave where the weights were at hand: STSB test Spearman and SciFact nDCG@10, x100.
OURS = {"sentence-transformers/all-MiniLM-L6-v2": ("82.03", "64.51")}
# The golden models of each architecture, by the beginning of their names.
FAMILIES = {
    "bert": ["bert-"],
    "bert (ALiBi)": ["jina-bert-"],
    "distilbert": ["distilbert-"],
    "gemma3_text": ["gemma3-"],
    "model2vec": ["static-"],
    "modernbert": ["modernbert-"],
    "mpnet": ["mpnet-"],
    "new": ["gte-new-"],
    "nomic_bert": ["nomic-bert-"],
    "qwen3": ["qwen3-"],
    "roberta": ["roberta-"],
    "xlm-roberta": ["xlm-roberta-"],
}


def patina(program, *words, text=None):
    done = subprocess.run([program, *map(str, words)], input=text, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"error: patina {' '.join(map(str, words))}\n{done.stderr}")
    return done.stdout


def parity(program, runtime, family):
    """The greatest difference of any number of any golden vector of a family from its reference, and how many vectors there are."""
    furthest, vectors = 0.0, 0
    for folder in sorted(GOLDEN.iterdir()):
        if not (folder / "cases.json").exists() or not any(folder.name.startswith(name) for name in FAMILIES[family]):
            continue
        cases = json.loads((folder / "cases.json").read_text())
        lines = "".join(json.dumps({"input_ids": case["input_ids"]}) + "\n" for case in cases)
        out = patina(program, "embed", "--quiet", "--model", folder, "--runtime", runtime, "--output", "-", text=lines)
        rows = [json.loads(line) for line in out.splitlines()]
        rows = [row["embedding"] if isinstance(row, dict) else row for row in rows]
        assert len(rows) == len(cases), folder
        for row, case in zip(rows, cases):
            assert len(row) == len(case["embedding"]), folder
            furthest = max(furthest, max(abs(a - b) for a, b in zip(row, case["embedding"])))
        vectors += len(rows)
    assert vectors, family
    return furthest, vectors


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    program, scores = sys.argv[1], {row["model"]: row for row in csv.DictReader(open(sys.argv[2], newline=""))}
    os.environ.setdefault("PATINA_CACHE_DIR", str(ROOT / ".cache" / "patina"))
    measured = {family: [parity(program, runtime, family) for runtime in ("onnx", "mlx")] for family in FAMILIES}
    with tempfile.TemporaryDirectory() as empty:
        # Without a cache: what is known, and not what is here.
        os.environ["PATINA_CACHE_DIR"] = os.environ["HF_HOME"] = empty
        models = json.loads(patina(program, "model", "list", "--json"))
    models = models["models"] if isinstance(models, dict) else models
    lines = [
        "# Models: what is known, and what was measured",
        "",
        "Made by `ci/models.py`. The files of these models decide how they run; the names below are those that Patina knows. Any other model of a",
        "supported architecture works by its hub id or folder.",
        "",
        "## Architectures",
        "",
        "The greatest difference of any number of any vector from its reference (transformers, sentence-transformers, model2vec, or the family's own",
        "code; `tests/fixtures/golden/make/README.md`), in single precision, over small models with random weights. 1e-4 is allowed.",
        "",
        "| `model_type` | vectors | ONNX Runtime | MLX (CPU) |",
        "|---|---|---|---|",
    ]
    for family, [(onnx, vectors), (mlx, _)] in measured.items():
        lines.append(f"| {family} | {vectors} | {onnx:.1e} | {mlx:.1e} |")
    lines += [
        "",
        "MLX on Metal: not measured.",
        "",
        "## Models",
        "",
        "Published scores are MTEB's, x100: Spearman on the STS benchmark's test set, nDCG@10 on SciFact. Ours where the weights were at hand.",
        "",
        "| model | architecture | dimensions | tokens | STSB published | ours | SciFact published | ours |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for model in models:
        published = scores.get(model["hub_id"], {})
        ours = OURS.get(model["hub_id"], ("not measured",) * 2)
        sts, scifact = (published.get(column) or "none known" for column in ("STSBenchmark", "SciFact"))
        lines.append(
            f"| [{model['name']}](https://huggingface.co/{model['hub_id']}) | {model['architecture']} | {model['dimensions']} | "
            f"{model['max_tokens']:,} | {sts} | {ours[0]} | {scifact} | {ours[1]} |"
        )
    (ROOT / "docs" / "MODELS.md").write_text("\n".join(lines) + "\n", encoding="utf-8")
    print(f"docs/MODELS.md: {len(measured)} architectures, {len(models)} models")


if __name__ == "__main__":
    main()
