#!/usr/bin/env python3
"""Holds three small promises: no file names a path of somebody's machine, `unsafe` stays in backends/, scripts can be run.

    ci/tidy.py               checks the files that git knows or would add
    ci/tidy.py --self-test   checks this checker

Plain Python 3, no packages.
"""

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from arrows import tokens  # noqa: E402

# Somebody's home or work folder. A name such as /home/ alone, or in a URL or a relative path, is no such place.
MACHINE = re.compile(r"(?<![\w.~$})/-])(?:/(?:home|Users|root|work)/|[A-Za-z]:\\{1,2}Users\\{1,2})[\w.]")
# Names that stand for anybody: documentation and tests may use them.
ANYBODY = re.compile(r"^(?:/home/|/Users/|[A-Za-z]:\\{1,2}Users\\{1,2})(?:you|me|user|someone)\b")
# Files with a larger size are data.
LIMIT = 4 << 20


def files_of(root):
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], cwd=root, capture_output=True, check=False
    )
    if listed.returncode == 0:
        return sorted(root / name for name in listed.stdout.decode("utf-8").split("\0") if name and (root / name).is_file())
    skipped = {"target", ".git", ".cache", ".venv"}
    return sorted(path for path in root.rglob("*") if path.is_file() and not skipped & set(path.relative_to(root).parts))


def check(root):
    found = []
    for path in files_of(root):
        place = path.relative_to(root).as_posix()
        if path.is_symlink() or path.stat().st_size > LIMIT:
            continue
        text = path.read_bytes()
        if text.startswith(b"#!") and os.name == "posix" and not os.access(path, os.X_OK):
            found.append(f"{place}:1: begins with #! and cannot be run; chmod +x it")
        text = text.decode("utf-8", "replace")
        for number, line in enumerate(text.splitlines(), 1):
            for match in MACHINE.finditer(line):
                if not ANYBODY.match(line[match.start():]):
                    found.append(f"{place}:{number}: names a path of a machine: {line[match.start():match.end() + 20].strip()}")
        if path.suffix == ".rs" and not place.startswith("backends/"):
            found += [f"{place}:{line}: `unsafe` outside backends/" for word, line in tokens(text) if word == "unsafe"]
    return found


HOME, WORK, DRIVE = "/ho" + "me/", "/wo" + "rk/", "C:" + "\\Us" + "ers\\"
CASES = {
    "nothing": ("a.md", "see docs/work/x, https://example.org/home/x, ~/.cache and $HOME/x", None),
    "a home": ("a.md", f"run {HOME}alice/bin/x", "a.md:1: names a path"),
    "a work folder": ("a.rs", f'const A: &str = "{WORK}shared";', "a.rs:1: names a path"),
    "a Windows home": ("a.md", f"x\n{DRIVE}alice\\x", "a.md:2: names a path"),
    "anybody's home": ("a.md", f"{HOME}you/project and {DRIVE}me\\x", None),
    "somebody called after anybody": ("a.md", f"{HOME}youssef/x", "names a path"),
    "unsafe": ("src/a.rs", "fn f() { unsafe { g() } }", "src/a.rs:1: `unsafe`"),
    "unsafe in a backend": ("backends/onnx/a.rs", "fn f() { unsafe { g() } }", None),
    "unsafe in words": ("src/a.rs", '// unsafe\nconst A: &str = "unsafe"; #![forbid(unsafe_code)]', None),
    "a script": ("ci/x", "#!/bin/sh\n", "cannot be run"),
}


def self_test():
    failed = 0
    for name, (file, text, expected) in CASES.items():
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
            found = check(Path(folder))
        skipped = expected == "cannot be run" and os.name != "posix"
        if not (skipped or (not found if expected is None else len(found) == 1 and expected in found[0])):
            failed += 1
            print(f"FAILED {name}: expected {expected or 'no complaint'}, found {found}")
    print(f"tidy self-test: {len(CASES) - failed} passed, {failed} failed")
    return failed == 0


def main():
    if "--self-test" in sys.argv[1:]:
        return 0 if self_test() else 1
    found = check(Path(__file__).resolve().parent.parent)
    for line in found:
        print(line)
    print(f"tidy: {len(found)} found" if found else "tidy: nothing found")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
