#!/usr/bin/env python3
"""Compares vectors with a reference, row by row: compare.py REFERENCE.npy OTHER.npy...; one line of JSON (run by ci/peers/run)."""
import json
import sys

import numpy


def unit(path):
    vectors = numpy.load(path).astype("float64")
    return vectors / numpy.linalg.norm(vectors, axis=1, keepdims=True)


def main():
    reference, found = unit(sys.argv[1]), {}
    for path in sys.argv[2:]:
        vectors = unit(path)
        if vectors.shape != reference.shape:
            sys.exit(f"error: {path} has {vectors.shape}, the reference {reference.shape}")
        cosines = (vectors * reference).sum(1)
        found[path] = {"worst": float(cosines.min()), "median": float(numpy.median(cosines))}
    print(json.dumps(found))


if __name__ == "__main__":
    main()
