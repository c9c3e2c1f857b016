#!/usr/bin/env python3
"""The figures of docs/PERFORMANCE.md, made again on this machine:
ci/figures.py [CORPUS.jsonl] [--rounds N] [--peer] [--scale] [--shapes] [--chunks N [--scalar F] [--interrupt]]

CORPUS.jsonl has one object a line with `text`, and `embedding` if vectors are to be compared with a reference. Without one the
paragraphs of this repository are the corpus. Needs a release build and what ci/demo sets up.

  (always)   patina embed: texts a second over the whole process, processor seconds, peak memory
  --peer     sentence-transformers on the same texts, model and threads, in turn with patina: A B A B (installs it into .cache the
             first time: some gigabytes); its texts a second are without its start, Patina's are with it
  --scale    a project of 10,000 chunks: cold scry, a second oxidize
  --shapes   models of the shapes of BERT-base and Qwen3-Embedding-0.6B with random weights (two gigabytes in a temporary folder):
             peak memory against the weights in single precision, and `patina bench` of texts of 256 tokens: the share of the peak
  --chunks N a project of N synthetic chunks and a table of token vectors as its model, so that embedding costs next to nothing: seconds,
             processor seconds and peak memory of scrape and oxidize, of both again after one file changed, and of scry; nothing else is
             measured then. --scalar takes f32, f16, i8 or b1 for the index, --interrupt stops oxidize midway and runs it again, and
             PATINA_FIGURES_FOLDER is where it all is kept (a gigabyte for 200,000 chunks)

Nothing here fails because something is slow.
"""
import argparse, hashlib, json, math, os, pathlib, re, shutil, statistics, subprocess, sys, tempfile, time

ROOT = pathlib.Path(__file__).resolve().parent.parent
CACHE = ROOT / ".cache"
PATINA = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "release" / "patina"
MODEL = "all-MiniLM-L6-v2"
PEER = """
import json, os, resource, sys, time
import numpy as np, torch
from sentence_transformers import SentenceTransformer
model, corpus, out, threads = sys.argv[1:]
torch.set_num_threads(int(threads))
texts = [json.loads(line)["text"] for line in open(corpus)]
m = SentenceTransformer(model, device="cpu")
m.encode(texts[:1])
cpu, wall = time.process_time(), time.perf_counter()
vectors = m.encode(texts, batch_size=32, normalize_embeddings=True)
wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
np.save(out, vectors)
print(json.dumps({"rate": len(texts) / wall, "cpu": cpu, "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}))
"""


def own_packages():
    """Makes the packages importable that ci/setup.sh installs into a folder of their own."""
    wanted = hashlib.sha256((ROOT / "ci" / "requirements.txt").read_bytes()).hexdigest()[:12]
    folder = CACHE / f"python-{sys.version_info.major}.{sys.version_info.minor}-{wanted}"
    if (folder / "whole").exists():
        sys.path.append(str(folder))
    try:
        import numpy  # noqa: F401
    except ImportError:
        sys.exit("error: numpy is missing\nhint: run ci/demo once, which installs it into .cache")


def run(command, **options):
    """Runs a process to its end: (wall seconds, processor seconds, peak MiB, standard output)."""
    with tempfile.TemporaryFile() as out:
        begin = time.perf_counter()
        process = subprocess.Popen([str(word) for word in command], stdout=out, stderr=subprocess.PIPE, **options)
        errors = process.stderr.read()
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.perf_counter() - begin
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            sys.exit(f"error: {' '.join(map(str, command))}\n{errors.decode(errors='replace')}")
        out.seek(0)
        return wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024, out.read().decode()


def row(name, values, unit):
    print(f"{name:<44} {statistics.median(values):>9.3f} {unit:<8} ({min(values):.3f} to {max(values):.3f}, {len(values)} runs)")


def own_corpus(folder):
    """Paragraphs of the repository's documents and sources, of many lengths."""
    texts = []
    names = subprocess.run(["git", "-C", ROOT, "ls-files", "*.md", "*.rs"], capture_output=True, text=True, check=True).stdout
    for name in sorted(names.split()):
        parts = re.split(r"\n\s*\n", (ROOT / name).read_text(errors="replace"))
        texts += [part.strip() for part in parts if part.strip()]
    step = max(1, len(texts) // 1000)
    path = folder / "corpus.jsonl"
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts[::step][:1000]))
    return path


def read_npy(path):
    import numpy
    return numpy.load(path)


def embed(corpus, out, threads):
    return run([PATINA, "embed", "--quiet", "--model", MODEL, "--input", corpus, "--output", out, "--threads", threads])


def peer_python():
    venv = CACHE / "peer-sentence-transformers"
    python = venv / "bin" / "python"
    if not (venv / "whole").exists():
        print("installing sentence-transformers into .cache (once)", file=sys.stderr)
        subprocess.run([sys.executable, "-m", "venv", venv], check=True)
        subprocess.run([python, "-m", "pip", "install", "-q", "sentence-transformers==6.2.*"], check=True)
        (venv / "whole").touch()
    return python


def bulk(corpus, rounds, threads, peer, folder):
    texts = [json.loads(line) for line in corpus.read_text().splitlines()]
    print(f"{len(texts)} texts, {MODEL}, f32, {threads} threads")
    python = os.environ.get("PEER_PYTHON") or (peer_python() if peer else None)
    model = os.environ.get("PEER_MODEL") or pathlib.Path(os.environ["PATINA_CACHE_DIR"]) / "models" / MODEL
    ours, theirs = [], []
    embed(corpus, folder / "ours.npy", threads)
    for _ in range(rounds):
        ours.append(embed(corpus, folder / "ours.npy", threads))
        if python:
            env = {**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": str(threads), "TOKENIZERS_PARALLELISM": "true"}
            out = run([python, "-c", PEER, model, corpus, folder / "theirs.npy", threads], env=env)[3]
            theirs.append(json.loads(out.splitlines()[-1]))
    row("patina embed, whole process", [len(texts) / wall for wall, *_ in ours], "texts/s")
    row("  processor seconds", [cpu for _, cpu, *_ in ours], "s")
    row("  peak memory", [peak for _, _, peak, _ in ours], "MiB")
    if theirs:
        row("sentence-transformers, without its start", [run["rate"] for run in theirs], "texts/s")
        row("  processor seconds", [run["cpu"] for run in theirs], "s")
        row("  peak memory", [run["peak"] for run in theirs], "MiB")
        row("ratio of texts/s, pair by pair", [len(texts) / mine[0] / run["rate"] for mine, run in zip(ours, theirs)], "x")
        cosines("against sentence-transformers", read_npy(folder / "ours.npy"), read_npy(folder / "theirs.npy"))
    if all("embedding" in text for text in texts):
        cosines("against the corpus's reference", read_npy(folder / "ours.npy"), [text["embedding"] for text in texts])


def cosines(name, ours, reference):
    import numpy
    a, b = numpy.asarray(ours, "float64"), numpy.asarray(reference, "float64")
    cosine = (a * b).sum(1) / numpy.linalg.norm(a, axis=1) / numpy.linalg.norm(b, axis=1)
    print(f"{'cosine ' + name:<44} {cosine.min():.9f} at worst, {numpy.abs(a - b).max():.1e} greatest difference")


def scale(rounds, folder):
    project = folder / "project"
    project.mkdir()
    words = re.findall(r"\S+", " ".join(path.read_text(errors="replace") for path in sorted(ROOT.glob("src/**/*.rs"))))
    for number in range(200):
        sections = []
        for section in range(50):
            at = (number * 50 + section) * 37 % max(1, len(words) - 60)
            sections.append(f"## Section {number}.{section}\n\n{' '.join(words[at:at + 50])}\n")
        (project / f"{number}.md").write_text(f"# Document {number}\n\n" + "\n".join(sections))
    quiet = ["--quiet", "-C", project]
    run([PATINA, "init", *quiet, "--model", MODEL])
    run([PATINA, "scrape", *quiet])
    first = run([PATINA, "oxidize", *quiet])
    status = json.loads(run([PATINA, "status", *quiet, "--json"])[3])
    print(f"project of {sum(status['store']['chunks'].values())} chunks; first oxidize {first[0]:.1f} s, {first[2]:.0f} MiB")
    row("second oxidize, nothing new", [run([PATINA, "oxidize", *quiet])[0] for _ in range(rounds)], "s")
    ask = [PATINA, "scry", *quiet, "where are files written atomically?"]
    row("scry hybrid, cold process", [run(ask)[0] for _ in range(rounds)], "s")
    row("scry lexical, cold process", [run([*ask, "--mode", "lexical"])[0] for _ in range(rounds)], "s")


def table_model(folder):
    """A table of 384 numbers for each of 8,000 words, in the layout of model2vec. Words of a topic lie together, as in a real one."""
    import numpy
    golden = ROOT / "tests" / "fixtures" / "golden" / "static-model2vec"
    folder.mkdir(parents=True)
    words = [a + b + c for a in "bdfgklmnprstvz" for b in ("a", "e", "i", "o", "u", "ai", "or", "el") for c in
             ("ba", "den", "fir", "gol", "kus", "lam", "met", "nor", "pil", "ras", "sov", "tun", "vek", "zim", "dra", "pho", "que", "wix", "yth", "hob")]
    words = [first + last for first in words for last in ("", "s", "ing", "ed")][:8000]
    tokenizer = json.loads((golden / "tokenizer.json").read_text())
    special = [word for word in tokenizer["model"]["vocab"] if word.startswith("[")]
    letters = [word for word in tokenizer["model"]["vocab"] if len(word.removeprefix("##")) == 1]
    vocabulary = list(dict.fromkeys([*special, *letters, *words]))
    tokenizer["model"]["vocab"] = {word: at for at, word in enumerate(vocabulary)}
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
    for name in ("config.json", "modules.json"):
        (folder / name).write_text((golden / name).read_text().replace("64", "384"))
    random = numpy.random.default_rng(0)
    topics = random.standard_normal((100, 384))
    table = (random.standard_normal((len(vocabulary), 384)) + topics[numpy.arange(len(vocabulary)) % 100]).astype("<f4")
    header = json.dumps({"embeddings": {"dtype": "F32", "shape": table.shape, "data_offsets": [0, table.nbytes]}}).encode()
    header += b" " * (-len(header) % 8)
    (folder / "model.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + table.tobytes())
    return words


def synthetic(project, chunks, words):
    """Documents of 50 sections of some 25 words, most of them of one topic of the section."""
    import random
    draw = random.Random(1)
    topics = [words[at::100] for at in range(100)]
    for number in range(-(-chunks // 50)):
        folder = project / f"{number // 500:03}"
        folder.mkdir(exist_ok=True)
        sections = []
        for section in range(min(50, chunks - number * 50)):
            own = draw.choice(topics)
            text = " ".join(draw.choice(own if draw.random() < 0.6 else words) for _ in range(25))
            sections.append(f"## Section {number}.{section}\n\n{text}\n")
        (folder / f"{number}.md").write_text("\n".join(sections))


def large(chunks, rounds, scalar, interrupt, folder):
    import signal
    project = folder / "project"
    fresh = not project.exists()
    if fresh:
        project.mkdir(parents=True)
        synthetic(project, chunks, table_model(project / "models" / "table"))
    quiet = ["--quiet", "-C", project]
    if fresh:
        run([PATINA, "init", *quiet, "--model", "./models/table"])
    recipe = project / ".patina" / "oxidize.yaml"
    recipe.write_text(f"version: 1\nembedding_model: ./models/table\nindex: {{scalar: {scalar}}}\nscrape: {{include: ['*.md']}}\n")

    def told(name, wall, cpu, peak, out=""):
        print(f"{name:<44} {wall:>9.2f} s  {cpu:>9.2f} s of processors  {peak:>7.0f} MiB at most  {out}")

    def json_of(*command):
        wall, cpu, peak, out = run([PATINA, *command, *quiet, "--json"])
        return wall, cpu, peak, json.loads(out)

    told("scrape", *run([PATINA, "scrape", *quiet])[:3])
    count = json_of("status")[3]["chunks_without_vector"]
    if interrupt:
        command = [str(word) for word in (PATINA, "oxidize", *quiet, "--json")]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while process.poll() is None and json_of("status")[3]["chunks_without_vector"] > count // 2:
            time.sleep(0.2)
        process.send_signal(signal.SIGINT)
        print(f"interrupted with exit code {process.wait()}, {json_of('status')[3]['chunks_without_vector']} of {count} chunks without a vector")
    wall, cpu, peak, out = json_of("oxidize")
    told("oxidize", wall, cpu, peak, f"{out['embedded']} embedded, index {out['index']}")
    index = next((project / ".patina" / "data" / "embeddings").glob("*/base.usearch"))
    database = project / ".patina" / "data" / "patina.db"
    print(f"{count} chunks; the index has {index.stat().st_size / 2**20:.0f} MiB ({scalar}), the database {database.stat().st_size / 2**20:.0f} MiB")
    told("oxidize, nothing new", *json_of("oxidize")[:3])
    some = project / "000" / "7.md"
    some.write_text(some.read_text().replace("## Section 7.3", "## Section changed").replace("## Section 7.9", "## Another"))
    told("scrape, one file changed", *run([PATINA, "scrape", *quiet])[:3])
    wall, cpu, peak, out = json_of("oxidize")
    told("oxidize, one file changed", wall, cpu, peak, f"{out['embedded']} embedded, index {out['index']}")
    time.sleep(2.5)
    ask = [PATINA, "scry", *quiet, "bakus delam gonor"]
    told("scry, the first after a change", *run(ask)[:3])
    row("scry hybrid, cold process", [run(ask)[0] for _ in range(rounds)], "s")
    row("scry vector, cold process", [run([*ask, "--mode", "vector"])[0] for _ in range(rounds)], "s")
    recall(project, database, folder)


def recall(project, database, folder):
    """What share of the true ten nearest `patina scry --mode vector` gives, for questions like the documents and for words that none has."""
    import numpy, random, sqlite3
    draw = random.Random(2)
    words = list(json.loads((project / "models" / "table" / "tokenizer.json").read_text())["model"]["vocab"])[200:]
    topics = [words[at::100] for at in range(100)]
    like = [" ".join(draw.choice(topics[at] if draw.random() < 0.6 else words) for _ in range(25)) for at in range(50)]
    foreign = [" ".join("".join(draw.choice("abcdefghijklmnopqrstuvwxyz") for _ in range(draw.randint(2, 9))) for _ in range(8)) for _ in range(50)]
    asked = folder / "asked.jsonl"
    asked.write_text("".join(json.dumps({"text": text}) + "\n" for text in like + foreign))
    run([PATINA, "embed", "--quiet", "--model", project / "models" / "table", "--input", asked, "--output", folder / "asked.npy"])
    queries = numpy.load(folder / "asked.npy")
    best = [[] for _ in queries]
    rows = sqlite3.connect(f"file:{database}?mode=ro", uri=True).execute(
        "SELECT c.id, v.numbers FROM chunks c JOIN vectors v ON v.text_hash = c.text_hash")
    while part := rows.fetchmany(50_000):
        ids = [id for id, _ in part]
        scores = queries @ numpy.frombuffer(b"".join(blob for _, blob in part), "<f4").reshape(len(part), -1).T
        for at, row_of in enumerate(scores):
            top = numpy.argpartition(-row_of, min(10, len(ids) - 1))[:10]
            best[at] = sorted(best[at] + [(-row_of[n], ids[n]) for n in top])[:10]
    found = []
    for at, text in enumerate(like + foreign):
        hits = json.loads(run([PATINA, "scry", "--quiet", "-C", project, "--json", "--mode", "vector", text])[3])["hits"]
        found.append(len({int(hit["id"], 16) for hit in hits} & {id for _, id in best[at]}))
    print(f"recall@10 of scry --mode vector: {sum(found[:50]) / 500:.4f} for 50 questions like the documents, {sum(found[50:]) / 500:.4f} for 50 foreign ones")


def shapes(folder):
    """Sizes of the models, without the parts that no forward pass reads."""
    bert = {"embeddings.word_embeddings.weight": (30522, 768), "embeddings.position_embeddings.weight": (512, 768)}
    bert |= {"embeddings.token_type_embeddings.weight": (2, 768), "embeddings.LayerNorm": 768}
    for layer in range(12):
        at = f"encoder.layer.{layer}."
        bert |= {at + f"attention.self.{name}": (768, 768) for name in ("query", "key", "value")}
        bert |= {at + "attention.output.dense": (768, 768), at + "attention.output.LayerNorm": 768}
        bert |= {at + "intermediate.dense": (3072, 768), at + "output.dense": (768, 3072), at + "output.LayerNorm": 768}
    qwen = {"embed_tokens.weight": (151669, 1024), "norm.weight": (1024,)}
    for layer in range(28):
        at = f"layers.{layer}."
        qwen |= {at + f"{name}_layernorm.weight": (1024,) for name in ("input", "post_attention")}
        qwen |= {at + f"self_attn.{name}_norm.weight": (128,) for name in "qk"}
        for name, size in {"self_attn.q": (2048, 1024), "self_attn.k": (1024, 1024), "self_attn.v": (1024, 1024), "self_attn.o": (1024, 2048),
                           "mlp.gate": (3072, 1024), "mlp.up": (3072, 1024), "mlp.down": (1024, 3072)}.items():
            qwen[f"{at}{name}_proj.weight"] = size
    common = {"vocab_size": 30522, "num_hidden_layers": 12, "num_attention_heads": 12, "hidden_size": 768, "intermediate_size": 3072}
    yield "BERT-base, f32", random_model(folder / "bert", bert, "F32", "mean", common | {
        "model_type": "bert", "max_position_embeddings": 512, "type_vocab_size": 2, "hidden_act": "gelu", "layer_norm_eps": 1e-12})
    yield "Qwen3-Embedding-0.6B, bf16", random_model(folder / "qwen", qwen, "BF16", "lasttoken", {
        "model_type": "qwen3", "vocab_size": 151669, "num_hidden_layers": 28, "num_attention_heads": 16, "num_key_value_heads": 8,
        "head_dim": 128, "hidden_size": 1024, "intermediate_size": 3072, "max_position_embeddings": 32768, "hidden_act": "silu",
        "rms_norm_eps": 1e-6, "rope_theta": 1000000})


def random_model(folder, tensors, stored, pooling, config):
    """Writes a model folder; a name without an ending is a layer with weight and bias. Returns it and its MiB in single precision."""
    import numpy
    sizes = {}
    for name, size in tensors.items():
        if name.endswith(".weight"):
            sizes[name] = size
        else:
            sizes |= {f"{name}.weight": size if isinstance(size, tuple) else (size,), f"{name}.bias": (size[0] if isinstance(size, tuple) else size,)}
    width, at, header = 4 if stored == "F32" else 2, 0, {}
    for name, size in sizes.items():
        end = at + math.prod(size) * width
        header[name], at = {"dtype": stored, "shape": size, "data_offsets": [at, end]}, end
    (folder / "1_Pooling").mkdir(parents=True)
    random, text = numpy.random.default_rng(0), json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(folder / "model.safetensors", "wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for name, size in sizes.items():
            values = random.standard_normal(math.prod(size), dtype="float32") * 0.02 + (1 if "norm" in name.lower() and name.endswith("weight") else 0)
            values = values.astype("<f4")
            file.write((values if stored == "F32" else (values.view("<u4") >> 16).astype("<u2")).tobytes())
    kind = "sentence_transformers.models."
    modules = [{"idx": 0, "name": "0", "path": "", "type": kind + "Transformer"}, {"idx": 1, "name": "1", "path": "1_Pooling", "type": kind + "Pooling"}]
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "modules.json").write_text(json.dumps(modules))
    (folder / "1_Pooling" / "config.json").write_text(json.dumps({"word_embedding_dimension": config["hidden_size"], "pooling_mode": pooling}))
    return folder, at / width * 4 / 2**20


def shape_figures(rounds, threads, folder):
    rows, tokens = 16, 256
    corpus = folder / "ids.jsonl"
    corpus.write_text("".join(json.dumps({"input_ids": [(row * 7919 + at * 104729) % 30000 for at in range(tokens)]}) + "\n" for row in range(rows)))
    for name, (model, weights) in shapes(folder):
        command = [PATINA, "embed", "--quiet", "--model", model, "--input", corpus, "--output", folder / "shape.npy", "--threads", threads]
        runs = [run(command) for _ in range(rounds)]
        row(name + ", whole process", [rows * tokens / wall for wall, *_ in runs], "tokens/s")
        row("  peak memory over the weights in f32", [peak / weights for _, _, peak, _ in runs], "x")
        print(f"  the weights are {weights:.0f} MiB in f32; {rows} rows of {tokens} tokens")
        # Any tokenizer whose ids the table has: what the tokens are changes no time.
        shutil.copy(pathlib.Path(os.environ["PATINA_CACHE_DIR"]) / "models" / MODEL / "tokenizer.json", model)
        texts = folder / "texts.jsonl"
        texts.write_text("".join(own_corpus(folder).read_text().splitlines(keepends=True)[:rows]))
        bench = [PATINA, "bench", "-C", folder, "--model", model, "--runtime", "onnx", "--precision", "f32", "--mix", str(tokens)]
        print(run([*bench, "--corpus", texts, "--queries", "2", "--rounds", rounds, "--threads", threads])[3])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", nargs="?", type=pathlib.Path)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--peer", action="store_true")
    parser.add_argument("--scale", action="store_true")
    parser.add_argument("--shapes", action="store_true")
    parser.add_argument("--chunks", type=int)
    parser.add_argument("--scalar", default="f32")
    parser.add_argument("--interrupt", action="store_true")
    arguments = parser.parse_args()
    sys.stdout.reconfigure(line_buffering=True)
    os.environ.setdefault("PATINA_CACHE_DIR", str(CACHE / "patina"))
    if not PATINA.exists():
        sys.exit("error: there is no release build\nhint: run ci/demo, or cargo build --release")
    own_packages()
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        if arguments.chunks:
            kept = os.environ.get("PATINA_FIGURES_FOLDER")
            return large(arguments.chunks, arguments.rounds, arguments.scalar, arguments.interrupt, pathlib.Path(kept) if kept else folder)
        bulk(arguments.corpus or own_corpus(folder), arguments.rounds, arguments.threads, arguments.peer, folder)
        if arguments.scale:
            scale(arguments.rounds, folder)
        if arguments.shapes:
            shape_figures(arguments.rounds, arguments.threads, folder)


if __name__ == "__main__":
    main()
