#!/usr/bin/env python3
"""Holds the import arrows: a room of src/ imports only rooms before it, and each foreign crate has one doorman.

    ci/arrows.py [ROOT]        checks the tree (default: the repository this file is in)
    ci/arrows.py --self-test   checks this checker with small trees, most of which must fail

Comments and strings do not count; `#[cfg(test)]` modules do. Plain Python 3, no packages.
"""

import re
import sys
import tempfile
from pathlib import Path

# A room may import itself and the rooms before it. A name that is not here is no room: a new room is added here, in its place.
ROOMS = [
    "error", "fs", "progress", "threads", "metrics",
    "recipe", "model", "embed", "table", "store", "scrape", "pairs", "train", "index", "search",
    "eval", "bench", "share", "serve", "cli",
]

# The only file or folder (everything in it) that may name a foreign crate. Where the doorman is one file of a room, the room's
# tests.rs may too: they make what it is to refuse.
DOORMEN = {
    "serde_yaml": "src/recipe",
    "serde_saphyr": "src/recipe",
    "zip": "src/model/archive",
    "ureq": "src/model/hub",
    "rustls": "src/model/hub",
    "tokenizers": "src/embed",
    "bytes": "src/table",
    "parquet": "src/table",
    "rusqlite": "src/store",
    "ndarray": "src/train",
    "tree_sitter": "src/scrape/code",
    "tree_sitter_bash": "src/scrape/code/languages/bash",
    "tree_sitter_c": "src/scrape/code/languages/c",
    "tree_sitter_cpp": "src/scrape/code/languages/cpp",
    "tree_sitter_c_sharp": "src/scrape/code/languages/csharp",
    "tree_sitter_elixir": "src/scrape/code/languages/elixir",
    "tree_sitter_go": "src/scrape/code/languages/go",
    "tree_sitter_haskell": "src/scrape/code/languages/haskell",
    "tree_sitter_java": "src/scrape/code/languages/java",
    "tree_sitter_javascript": "src/scrape/code/languages/javascript",
    "tree_sitter_kotlin_ng": "src/scrape/code/languages/kotlin",
    "tree_sitter_lua": "src/scrape/code/languages/lua",
    "tree_sitter_php": "src/scrape/code/languages/php",
    "tree_sitter_python": "src/scrape/code/languages/python",
    "tree_sitter_ruby": "src/scrape/code/languages/ruby",
    "tree_sitter_rust": "src/scrape/code/languages/rust",
    "tree_sitter_scala": "src/scrape/code/languages/scala",
    "tree_sitter_swift": "src/scrape/code/languages/swift",
    "tree_sitter_typescript": "src/scrape/code/languages/typescript",
    "tree_sitter_zig": "src/scrape/code/languages/zig",
    "usearch": "src/index",
    "roxmltree": "src/bench/report",
    "pulp": "src/bench/peak",
    "nix": "src/bench/usage",
    "clap": "src/cli",
    "ctrlc": "src/cli",
    "indicatif": "src/cli",
    "ort": "backends/onnx",
    "mlx_rs": "backends/mlx",
    "mlx_sys": "backends/mlx",
    "patina_onnx": "src/embed/select",
    "patina_mlx": "src/embed/select",
}

# Macros that talk to the terminal, and who may use them. A tests.rs may too: it prints figures for whoever asks for them.
PRINTING = {"print", "println", "eprint", "eprintln", "dbg"}
PRINTER = "src/cli"

# What the thin binary may name of the library.
MAIN_MAY = {"cli"}

# The fuzz targets: no room. They go through the library and the core as anybody may, and to no crate behind a doorman.
FUZZ = "tests/fuzz"

# The workspace crates that a backend crate may name.
BACKEND_MAY = {"core": set(), "onnx": {"patina_backend"}, "mlx": {"patina_backend"}}
OURS = {"patina", "patina_backend", "patina_onnx", "patina_mlx"}

TOKEN = re.compile(
    r"""
      (?P<line>//[^\n]*)
    | (?P<block>/\*)
    | (?P<raw>\b(?:b|c)?r(?P<hashes>\#*)")
    | (?P<string>(?:\b[bc])?")
    | (?P<char>(?:\bb)?'(?:\\(?:u\{[0-9a-fA-F_]*\}|x..|.)|[^\\'\n])')
    | (?P<lifetime>'[A-Za-z_]\w*)
    | (?P<word>(?:r\#)?[A-Za-z_]\w*)
    | (?P<number>[0-9]\w*)
    | (?P<path>::)
    | (?P<other>\S)
    """,
    re.VERBOSE,
)


def tokens(text):
    """The words and marks of Rust source as (text, line); comments, strings and characters are left out."""
    found, at, line = [], 0, 1
    while match := TOKEN.search(text, at):
        line += text.count("\n", at, match.start())
        start, at = match.start(), match.end()
        kind = match.lastgroup if match.lastgroup != "hashes" else "raw"
        if kind == "block":
            depth = 1
            while depth and (mark := re.compile(r"/\*|\*/").search(text, at)):
                depth += 1 if mark.group() == "/*" else -1
                at = mark.end()
            at = at if depth == 0 else len(text)
        elif kind == "raw":
            end = text.find('"' + match.group("hashes"), at)
            at = len(text) if end < 0 else end + 1 + len(match.group("hashes"))
        elif kind == "string":
            end = re.compile(r'(?:[^"\\]|\\.)*"', re.DOTALL).match(text, at)
            at = end.end() if end else len(text)
        elif kind in ("word", "path", "other"):
            word = match.group()
            found.append((word[2:] if word.startswith("r#") else word, line))
        line += text.count("\n", start, at)
    return found


def is_word(text):
    return text[0].isalpha() or text[0] == "_"


class Source:
    """One file: what it names."""

    def __init__(self, path, module):
        self.tokens = tokens(path.read_text(encoding="utf-8"))
        self.module = module

    def text(self, at):
        return self.tokens[at][0] if 0 <= at < len(self.tokens) else ""

    def heads(self):
        """(word, position) of every word that begins a path `word::...`, or stands alone in `use word` and `extern crate word`.

        `name::{a::b, c}` begins no path with `a` or `c`; `use {a::b, c}` does.
        """
        groups = []  # for every open brace: whether it is a group of a path that has begun
        in_use = False
        for at, (text, _) in enumerate(self.tokens):
            before = self.text(at - 1)
            if text == "use":
                in_use = True
            elif text == ";":
                in_use = False
            elif text == "{":
                groups.append(before == "::" or bool(groups and groups[-1] and in_use))
            elif text == "}":
                if groups:
                    groups.pop()
            elif is_word(text) and before not in ("::", ".") and not (in_use and groups and groups[-1]):
                follows = self.text(at + 1)
                alone = in_use and before in ("use", "{", ",") or before == "crate" and self.text(at - 2) == "extern"
                if follows == "::" or alone and before != "as":
                    yield text, at

    def imports(self):
        """(path, line) of everything named through `crate`, `super` or `self`, as absolute module paths; and (None, line) where
        the crate itself is renamed or taken whole."""
        modules = []  # (name, depth of its brace)
        depth = 0
        for at, (text, line) in enumerate(self.tokens):
            if text == "{":
                depth += 1
                if self.text(at - 2) == "mod" and is_word(self.text(at - 1)):
                    modules.append((self.text(at - 1), depth))
            elif text == "}":
                if modules and modules[-1][1] == depth:
                    modules.pop()
                depth -= 1
            elif text in ("crate", "super", "self") and self.text(at - 1) not in ("::", ".", "extern"):
                here = self.module + [name for name, _ in modules]
                if self.text(at + 1) == "::":
                    base = [] if text == "crate" else here[:-1] if text == "super" else here
                    yield from self.tree(at + 2, base)[0]
                elif text == "crate" and self.text(at - 1) == "use":
                    yield None, line

    def tree(self, at, base):
        """The paths of a use tree (or a plain path) that begins at `at` below `base`, and where it ends."""
        text, line = self.text(at), self.tokens[at][1] if at < len(self.tokens) else 0
        if text == "{":
            found, at = [], at + 1
            while self.text(at) not in ("}", ""):
                paths, at = self.tree(at, base)
                found += paths
                while self.text(at) not in (",", "}", "", "{"):  # `as name`
                    at += 1
                if self.text(at) == ",":
                    at += 1
                elif self.text(at) == "{":
                    return found, at
            return found, at + 1
        if text == "super" and self.text(at + 1) == "::":
            return self.tree(at + 2, base[:-1])
        if text == "super":
            return [(base[:-1] or None, line)], at + 1
        if text in ("*", "self"):
            return [(base or None, line)], at + 1
        if not text or not is_word(text):
            return [], at + 1
        path = base + [text]
        if self.text(at + 1) == "::" and (self.text(at + 2) == "{" or is_word(self.text(at + 2) or "-")):
            paths, end = self.tree(at + 2, path)
            return paths or [(path, line)], end
        return [(path, line)], at + 1


def module_of(relative):
    """`a/b.rs` is a::b, `a/mod.rs` is a, `lib.rs` is the root."""
    parts = list(relative.with_suffix("").parts)
    if parts[-1] == "mod" or parts in (["lib"], ["main"]):
        parts.pop()
    return parts


def may(place, doorman):
    """Whether a file is the doorman, lies in it, or is the tests.rs of its room; `doorman` names a file without its suffix, or a
    folder."""
    room = "/".join(doorman.split("/")[:2])
    own_tests = doorman != room and place == f"{room}/tests.rs"
    return place == f"{doorman}.rs" or place.startswith(f"{doorman}/") or own_tests


def check_foreign(source, place, complain):
    for word, at in source.heads():
        line = source.tokens[at][1]
        if word in DOORMEN and not may(place, DOORMEN[word]):
            complain(place, line, f"names `{word}`; its only doorman is {DOORMEN[word]}")
    for at, (word, line) in enumerate(source.tokens):
        if word in PRINTING and source.text(at + 1) == "!" and not may(place, PRINTER) and not place.endswith("/tests.rs"):
            complain(place, line, f"`{word}!` outside {PRINTER}")


def check_room(source, place, room, root_items, complain):
    rank = ROOMS.index(room) if room in ROOMS else len(ROOMS)
    for path, line in source.imports():
        if path is None:
            complain(place, line, "takes or renames the whole crate, which hides what it imports")
        elif not path or path[0] == room or (len(path) == 1 and path[0] in root_items):
            continue
        elif path[0] not in ROOMS:
            complain(place, line, f"names `crate::{path[0]}`, which is no known room")
        elif ROOMS.index(path[0]) > rank:
            complain(place, line, f"room `{room}` imports `{path[0]}`, which comes after it")
    for at, (word, line) in enumerate(source.tokens):
        if word == "path" and source.text(at - 1) == "[" and source.text(at - 2) == "#":
            complain(place, line, "`#[path]` hides which room a file is in")


def check(root):
    """Every broken arrow of a tree, as lines of text."""
    broken = []

    def complain(place, line, what):
        if (text := f"{place}:{line}: {what}") not in broken:
            broken.append(text)

    src = root / "src"
    library = Source(src / "lib.rs", []) if (src / "lib.rs").exists() else None
    root_items = set()
    if library:
        for at in range(len(library.tokens) - 1):
            if library.text(at) in ("const", "static", "fn", "type", "macro_rules"):
                root_items.add(library.text(at + 1) if library.text(at + 1) != "!" else library.text(at + 2))
    for path in sorted(src.rglob("*.rs")):
        relative = path.relative_to(src)
        place = path.relative_to(root).as_posix()
        room = relative.parts[0].removesuffix(".rs")
        module = module_of(relative)
        source = Source(path, module)
        if place == "src/main.rs":
            for word, at in source.heads():
                if word == "patina":
                    for named, line in source.tree(at + 2, [])[0]:
                        if not named or named[0] not in MAIN_MAY:
                            complain(place, line, f"the binary is thin: it may name only {', '.join(sorted(MAIN_MAY))} of the library")
        elif place == "src/lib.rs":
            for at, (word, line) in enumerate(source.tokens):
                if word == "mod" and source.text(at + 1) not in ROOMS:
                    complain(place, line, f"`{source.text(at + 1)}` is no known room")
        elif room not in ROOMS:
            complain(place, 1, f"`{room}` is no known room; if it is new, give it its place in ci/arrows.py")
        else:
            check_room(source, place, room, root_items, complain)
        check_foreign(source, place, complain)

    for path in sorted((root / FUZZ).rglob("*.rs")):
        place = path.relative_to(root).as_posix()
        check_foreign(Source(path, []), place, complain)

    for crate in sorted((root / "backends").glob("*")) if (root / "backends").exists() else []:
        name = crate.name
        if name not in BACKEND_MAY:
            complain(f"backends/{name}", 1, f"`{name}` is no known backend crate")
            continue
        allowed = BACKEND_MAY[name]
        own = {f"patina_{name}"} if name != "core" else {"patina_backend"}
        for path in sorted(crate.rglob("*.rs")):
            place = path.relative_to(root).as_posix()
            source = Source(path, [])
            for word, at in source.heads():
                if word in OURS - allowed - own:
                    complain(place, source.tokens[at][1], f"backends/{name} names `{word}`")
                elif word in DOORMEN and word not in own and not may(place, DOORMEN[word]):
                    complain(place, source.tokens[at][1], f"names `{word}`; its only doorman is {DOORMEN[word]}")
        manifest = crate / "Cargo.toml"
        for number, line in enumerate(manifest.read_text(encoding="utf-8").splitlines() if manifest.exists() else [], 1):
            if match := re.match(r"\s*\"?(patina[-\w]*)\"?\s*(?:\.\s*\w+\s*)?=", line):
                if match.group(1).replace("-", "_") not in allowed:
                    complain(manifest.relative_to(root).as_posix(), number, f"backends/{name} depends on {match.group(1)}")
    return broken


# ---------------------------------------------------------------------------------------------------------------------------------

# Name -> (files, a part of the one complaint, or None if the tree is sound).
CASES = {
    "an earlier room": ({"src/store.rs": "use crate::fs::Lock; use crate::{error::{Error, Result}, embed::Engine as E};"}, None),
    "a later room": ({"src/store.rs": "use crate::search::fuse;"}, "imports `search`"),
    "a later room in a group": ({"src/store/mod.rs": "use crate::{error::Error,\n search::{a, b}};"}, "store/mod.rs:2: room `store` imports `search`"),
    "a later room, last of nested groups": ({"src/pairs.rs": "use crate::{error::{Error, Result}, fs, train};"}, "imports `train`"),
    "a later room without use": ({"src/model/hub.rs": "fn f() -> crate::store::Kind { todo() }"}, "imports `store`"),
    "a later room through super": ({"src/model/hub.rs": "use super::super::store::Kind;"}, "imports `store`"),
    "super within the room": ({"src/model/hub.rs": "use super::cache::root; mod tests { use super::*; use super::super::cache; }"}, None),
    "super out of an inline module": ({"src/model.rs": "mod tests { use super::super::store::Kind; }"}, "imports `store`"),
    "super in a group": ({"src/model/hub.rs": "use super::{cache, super::store};"}, "imports `store`"),
    "a test module is held too": ({"src/fs.rs": "#[cfg(test)] mod tests { use crate::cli::run; }"}, "imports `cli`"),
    "self is the room": ({"src/search/mod.rs": "use self::fuse::x; pub use self::{fuse::y};"}, None),
    "comments and strings": (
        {"src/fs.rs": '// use crate::cli;\n/* crate::cli /* nested */ crate::cli */\n/// [`crate::cli`]\nconst A: &str = "crate::cli \\" rusqlite::x";'
                      '\nconst B: &str = r#"use crate::cli; " println!"#; const C: char = \'"\'; fn f<\'a>(x: &\'a str) {}'},
        None,
    ),
    "code after a tricky string": ({"src/fs.rs": "const A: &[u8] = b\"\\\\\"; const B: char = '\\''; use crate::cli::run;"}, "imports `cli`"),
    "a doc comment in a raw string ends": ({"src/fs.rs": 'const A: &str = r"\\"; use crate::cli::run;'}, "imports `cli`"),
    "an unknown room": ({"src/utils.rs": ""}, "no known room"),
    "an unknown folder": ({"src/common/mod.rs": ""}, "no known room"),
    "an unknown module in lib.rs": ({"src/lib.rs": "pub mod helpers;"}, "no known room"),
    "an unknown name at the root": ({"src/lib.rs": "pub use error::Error;", "src/cli.rs": "use crate::Error;"}, "crate::Error"),
    "a constant at the root": ({"src/lib.rs": "pub const VERSION: &str = \"1\";", "src/fs.rs": "use crate::VERSION;"}, None),
    "the whole crate": ({"src/store.rs": "use crate::*;"}, "whole crate"),
    "the crate renamed": ({"src/store.rs": "use crate as all;"}, "whole crate"),
    "the crate renamed in a group": ({"src/store.rs": "use crate::{self as all};"}, "whole crate"),
    "a moved file": ({"src/store.rs": "#[path = \"../x.rs\"] mod x;"}, "hides which room"),
    "visibility is no import": ({"src/store.rs": "pub(crate) fn a() {} pub(super) fn b() {} pub(in crate::store) fn c() {}"}, None),
    "a macro's crate": ({"src/store.rs": "macro_rules! m { () => { $crate::search::x() } }"}, "imports `search`"),
    "the doorman": ({"src/store/db.rs": "use rusqlite::Connection;", "src/model/archive.rs": "use zip::ZipArchive;"}, None),
    "past the doorman": ({"src/search/a.rs": "use rusqlite::Connection;"}, "only doorman is src/store"),
    "past the doorman in a group": ({"src/search/a.rs": "use {std::fmt, usearch::Index};"}, "only doorman is src/index"),
    "past the doorman, renamed": ({"src/search/a.rs": "use usearch as u;"}, "only doorman is src/index"),
    "past the doorman, extern": ({"src/search/a.rs": "extern crate usearch;"}, "only doorman is src/index"),
    "past the doorman without use": ({"src/scrape.rs": "fn f() { let x: ndarray::Array1<f32>; }"}, "only doorman is src/train"),
    "the doorman is a file": ({"src/model/hub.rs": "use zip::ZipArchive;"}, "only doorman is src/model/archive"),
    "the doorman's folder": ({"src/model/hub/client.rs": "use ureq::Agent; fn f() { rustls::crypto::ring::default_provider(); }"}, None),
    "past the doorman's folder": ({"src/model/cache.rs": "use ureq::Agent;"}, "only doorman is src/model/hub"),
    "like a foreign crate": ({"src/search/a.rs": "use std::iter::{self, zip}; use self::zip::x; fn f() { a.zip(b); Mode::clap; }"}, None),
    "a grammar in its file": ({"src/scrape/code/languages/go.rs": "fn f() { tree_sitter_go::LANGUAGE }"}, None),
    "a grammar elsewhere": ({"src/scrape/code/parse.rs": "fn f() { tree_sitter_go::LANGUAGE }"}, "only doorman is src/scrape/code/languages/go"),
    "the parser": ({"src/scrape/code/parse.rs": "use tree_sitter::Parser;"}, None),
    "past the parser's doorman": ({"src/scrape/files.rs": "use tree_sitter::Parser;"}, "only doorman is src/scrape/code"),
    "the tests of the doorman's room": ({"src/model/tests.rs": "use zip::ZipWriter;"}, None),
    "the tests of another room": ({"src/search/tests.rs": "use rusqlite::Connection;"}, "only doorman is src/store"),
    "a backend named in tests": ({"src/serve/tests.rs": "use patina_onnx::load;"}, "only doorman is src/embed/select"),
    "a backend named": ({"src/embed/engine.rs": "use patina_onnx::load;"}, "only doorman is src/embed/select"),
    "a backend selected": ({"src/embed/select.rs": "pub use patina_onnx::load; fn f() { patina_mlx::load() }"}, None),
    "printing": ({"src/store.rs": "fn f() { println!(\"x\"); }"}, "`println!` outside"),
    "printing in tests": ({"src/store/tests.rs": "fn f() { println!(\"x\"); }"}, None),
    "printing in cli": ({"src/cli/report.rs": "fn f() { println!(\"x\"); }"}, None),
    "a thin binary": ({"src/main.rs": "fn main() { patina::cli::main() }"}, None),
    "a thick binary": ({"src/main.rs": "use patina::{cli, store::Store}; fn main() {}"}, "the binary is thin"),
    "a fuzz target": ({"tests/fuzz/fuzz_targets/a.rs": "use patina::recipe::Recipe; use patina_backend::Weights;"}, None),
    "a fuzz target on a backend": ({"tests/fuzz/fuzz_targets/a.rs": "use patina_onnx::load;"}, "only doorman is src/embed/select"),
    "a fuzz target past a doorman": ({"tests/fuzz/fuzz_targets/a.rs": "use tokenizers::Tokenizer;"}, "only doorman is src/embed"),
    "a backend on the core": ({"backends/onnx/src/lib.rs": "use patina_backend::Ops; use ort::Session;"}, None),
    "the core on a backend": ({"backends/core/src/lib.rs": "use patina_onnx::x;"}, "backends/core names `patina_onnx`"),
    "a backend on another": ({"backends/mlx/src/lib.rs": "use patina_onnx::x;"}, "backends/mlx names `patina_onnx`"),
    "a backend on the application": ({"backends/mlx/src/lib.rs": "use patina::embed::x;"}, "backends/mlx names `patina`"),
    "a backend's foreign crate": ({"backends/core/src/lib.rs": "use ort::Session;"}, "only doorman is backends/onnx"),
    "a backend's dependency": ({"backends/mlx/Cargo.toml": "[dependencies]\npatina-onnx.workspace = true\n"}, "depends on patina-onnx"),
    "an unknown backend": ({"backends/cuda/src/lib.rs": ""}, "no known backend"),
}


def self_test():
    failed = 0
    for name, (files, expected) in CASES.items():
        with tempfile.TemporaryDirectory() as folder:
            root = Path(folder)
            for path, text in files.items():
                (root / path).parent.mkdir(parents=True, exist_ok=True)
                (root / path).write_text(text, encoding="utf-8")
            broken = check(root)
        good = not broken if expected is None else len(broken) == 1 and expected in broken[0]
        if not good:
            failed += 1
            print(f"FAILED {name}: expected {expected or 'no complaint'}, found {broken}")
    print(f"arrows self-test: {len(CASES) - failed} passed, {failed} failed")
    return failed == 0


def main():
    if "--self-test" in sys.argv[1:]:
        return 0 if self_test() else 1
    root = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).resolve().parent.parent
    broken = check(root)
    for line in broken:
        print(line)
    print(f"arrows: {len(broken)} broken" if broken else "arrows: all point the right way")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
