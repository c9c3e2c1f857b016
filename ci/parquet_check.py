#!/usr/bin/env python3
"""Reads the Parquet that Patina wrote with other programs' readers, and has Patina read what pyarrow wrote.

    ci/parquet_check.py PATINA MODEL [FOLDER]

PATINA is the program, MODEL a model it has, FOLDER where to work (default: .cache/parquet-check). Needs pyarrow 26.0.1 and numpy; DuckDB
2.0.1, polars 2.1.0 and pandas 3.1.1 are asked, too, where they are installed. The last line is `parquet check: N passed, N failed`.
"""

import importlib
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

ROWS = 300
# The last bits of a vector follow from the batch that it was computed in.
CLOSE = 1e-6
TEXTS = [f"text number {n}" + " and more" * (n % 9) for n in range(ROWS)]
IDS = [n * 1_000_000_007 for n in range(ROWS)]

# What pyarrow may be asked to write.
FORMS = {
    "none": {"compression": "none"},
    "snappy, row groups of 70": {"compression": "snappy", "row_group_size": 70},
    "gzip": {"compression": "gzip"},
    "lz4": {"compression": "lz4"},
    "no dictionary": {"use_dictionary": False},
    "data page 2.0": {"data_page_version": "2.0", "data_page_size": 512},
    "delta byte array": {"use_dictionary": False, "column_encoding": {"text": "DELTA_BYTE_ARRAY", "id": "DELTA_BINARY_PACKED"}},
    "delta length": {"use_dictionary": False, "column_encoding": {"text": "DELTA_LENGTH_BYTE_ARRAY", "id": "PLAIN"}},
}


def readers(path):
    """What each reader finds: rows, ids, vectors."""

    def as_vectors(column):
        return np.array([list(vector) for vector in column], dtype=np.float32)

    def arrow():
        table = pq.read_table(path)
        assert table.schema.field("embedding").type == pa.list_(pa.field("element", pa.float32(), nullable=False)), table.schema
        return table["row"].to_pylist(), table["id"].to_pylist(), as_vectors(table["embedding"].to_pylist())

    def pandas():
        frame = importlib.import_module("pandas").read_parquet(path)
        return frame["row"].tolist(), frame["id"].tolist(), as_vectors(frame["embedding"])

    def duckdb():
        found = importlib.import_module("duckdb").sql(f"select row, id, embedding from '{path}' order by row").fetchall()
        return [row for row, *_ in found], [id for _, id, _ in found], as_vectors([vector for *_, vector in found])

    def polars():
        frame = importlib.import_module("polars").read_parquet(path)
        return frame["row"].to_list(), frame["id"].to_list(), as_vectors(frame["embedding"].to_list())

    return {"pyarrow": arrow, "pandas": pandas, "duckdb": duckdb, "polars": polars}


def main():
    if len(sys.argv) not in (3, 4):
        raise SystemExit(__doc__)
    patina, model = str(Path(sys.argv[1]).resolve()), sys.argv[2]
    folder = Path(sys.argv[3]) if len(sys.argv) == 4 else Path(__file__).resolve().parent.parent / ".cache" / "parquet-check"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    passed = failed = 0

    def check(name, good, detail=""):
        nonlocal passed, failed
        passed, failed = passed + bool(good), failed + (not good)
        print(f"ok {name}" if good else f"FAILED {name}: {detail}")

    def embed(*arguments, given=None):
        done = subprocess.run([patina, "embed", "--model", model, *map(str, arguments)], input=given, capture_output=True, encoding="utf-8", check=False)
        if done.returncode != 0:
            raise SystemExit(f"error: patina embed {' '.join(map(str, arguments))}: {done.stderr}")
        return done.stdout

    out = embed(given="".join(f"{text}\n" for text in TEXTS))
    expected = np.array([json.loads(line)["embedding"] for line in out.splitlines()], dtype=np.float32)
    table = pa.table({"id": pa.array(IDS, pa.int64()), "text": TEXTS})
    for name, how in FORMS.items():
        pq.write_table(table, folder / "texts.parquet", **how)
        embed("--input", folder / "texts.parquet", "--id-column", "id", "--output", folder / "vectors.parquet")
        rows, ids, vectors = readers(folder / "vectors.parquet")["pyarrow"]()
        furthest = np.abs(vectors - expected).max()
        check(f"pyarrow to Patina, {name}", (rows, ids) == (list(range(ROWS)), IDS) and furthest <= CLOSE, f"{furthest} apart")
    for name, read in readers(folder / "vectors.parquet").items():
        try:
            rows, ids, vectors = read()
        except ModuleNotFoundError:
            print(f"skipped {name}: it is not installed")
            continue
        check(f"Patina to {name}", (rows, ids) == (list(range(ROWS)), IDS) and np.abs(vectors - expected).max() <= CLOSE, "other rows")
    facts = {key.decode(): value.decode() for key, value in pq.read_metadata(folder / "vectors.parquet").metadata.items()}
    wanted = {"patina.fingerprint", "patina.model", "patina.model_sha256", "patina.dimensions", "patina.rows", "patina.version"}
    check("the file says where it comes from", wanted <= set(facts) and facts["patina.rows"] == str(ROWS), facts)
    print(f"parquet check: {passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
