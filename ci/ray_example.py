#!/usr/bin/env python3
"""Spreads `patina embed` over Ray's workers and checks the result against one run over everything.

    ci/ray_example.py PATINA MODEL [FOLDER]

PATINA is the program, MODEL a model it has, FOLDER where to work (default: .cache/ray-example). Needs ray 2.60.0, pyarrow 26.0.1 and
numpy; runs on this machine alone, with two workers and without a dashboard. The last line is `ray example: N passed, N failed`.
"""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import ray

ROWS = 1000
SHARDS = 4
WORKERS = 2
# The last bits of a vector follow from the batch that it was computed in.
CLOSE = 1e-6


def texts(path):
    """Texts of many lengths, as Parquet with an id."""
    words = ["river", "engine", "paper", "cloud", "metal", "window", "harbour", "letter"]
    made = [" ".join(words[(n * 7 + at * at) % len(words)] for at in range(3 + n * 13 % 60)) for n in range(ROWS)]
    table = pa.table({"id": [f"text-{n}" for n in range(ROWS)], "text": made})
    pq.write_table(table, path, compression="snappy", row_group_size=300)


@ray.remote(num_cpus=1)
def embed(patina, model, source, target, index, count):
    """One shard. A task that Ray runs again finds its file and does nothing."""
    done = subprocess.run(
        [patina, "embed", "--model", model, "--threads", "1", "--input", source, "--id-column", "id", "--shard", f"{index}/{count}",
         "--output", target, "--skip-existing", "--json"],
        capture_output=True, encoding="utf-8", check=False,
    )
    if done.returncode != 0:
        raise RuntimeError(f"shard {index}/{count} ended with {done.returncode}: {done.stderr.strip()}")
    return json.loads(done.stdout) | {"worker": ray.get_runtime_context().get_worker_id()}


def spread(patina, model, folder):
    tasks = [
        embed.remote(patina, model, str(folder / "texts.parquet"), str(folder / f"shard-{index}.parquet"), index, SHARDS)
        for index in range(SHARDS)
    ]
    return ray.get(tasks)


def vectors(path):
    table = pq.read_table(path)
    return table["row"].to_pylist(), table["id"].to_pylist(), np.array(table["embedding"].to_pylist(), dtype=np.float32)


def main():
    if len(sys.argv) not in (3, 4):
        raise SystemExit(__doc__)
    patina, model = str(Path(sys.argv[1]).resolve()), sys.argv[2]
    folder = Path(sys.argv[3]) if len(sys.argv) == 4 else Path(__file__).resolve().parent.parent / ".cache" / "ray-example"
    folder = folder.resolve()
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    texts(folder / "texts.parquet")

    ray.init(num_cpus=WORKERS, include_dashboard=False, _node_ip_address="127.0.0.1", logging_level="error", log_to_driver=False)
    first = spread(patina, model, folder)
    again = spread(patina, model, folder)
    ray.shutdown()

    def run(*arguments):
        subprocess.run([patina, *arguments], cwd=folder, check=True)

    run("merge", "--output", "merged.parquet", *[f"shard-{index}.parquet" for index in range(SHARDS)])
    run("embed", "--model", model, "--input", "texts.parquet", "--id-column", "id", "--output", "whole.parquet")
    rows, ids, merged = vectors(folder / "merged.parquet")
    whole_rows, whole_ids, whole = vectors(folder / "whole.parquet")
    furthest = float(np.abs(merged - whole).max())
    checks = {
        f"{SHARDS} shards came to {ROWS} vectors": sum(task["vectors"] for task in first) == ROWS,
        "two workers took part": len({task["worker"] for task in first}) == WORKERS,
        "the second run did nothing": all(task["skipped"] for task in again),
        "rows and ids are those of one run": (rows, ids) == (whole_rows, whole_ids) == (list(range(ROWS)), [f"text-{n}" for n in range(ROWS)]),
        f"vectors are those of one run: {furthest:.1e} apart at most": furthest <= CLOSE,
    }
    for name, good in checks.items():
        print(f"{'ok' if good else 'FAILED'} {name}")
    passed = sum(checks.values())
    print(f"ray example: {passed} passed, {len(checks) - passed} failed")
    return 0 if passed == len(checks) else 1


if __name__ == "__main__":
    sys.exit(main())
