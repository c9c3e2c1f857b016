//! Every language by a small file, and hostile files by all of them.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::time::Instant;

use super::super::pieces::lines;
use super::languages::LANGUAGES;
use super::*;
use crate::progress::{Cancel, Silent};

/// The facts of a file, a line each.
fn facts(path: &str, text: &str) -> String {
    let cut = cut(text, &lines(text), path, Job::silent());
    assert_eq!(cut.parsed, Parsed::Yes, "{path}");
    let facts = cut.facts.expect("facts");
    let mut out = format!("language {}\n", facts.language);
    for symbol in &facts.symbols {
        let _ = write!(out, "{} {} {}-{}", symbol.kind.name(), symbol.qualified, symbol.line, symbol.end_line);
        if !symbol.doc.is_empty() {
            let _ = write!(out, " doc {}-{} {:?}", symbol.doc_line, symbol.doc_end_line, symbol.doc);
        }
        let _ = writeln!(out, "\n    {}", symbol.signature);
    }
    for import in &facts.imports {
        let _ = writeln!(out, "import {} as {:?} {}", import.target, import.name, import.line);
    }
    for call in &facts.calls {
        let caller = call.caller.map_or("", |at| facts.symbols[at as usize].qualified.as_str());
        let _ = writeln!(out, "call {caller:?} -> {:?} {} {}", call.receiver, call.name, call.line);
    }
    out
}

/// Each `tests/fixtures/code/cart.EXTENSION` says in a file beside it, `cart.EXTENSION.txt`, what it holds. With `PATINA_WRITE_EXPECTED` set the
/// files are written anew, to be looked through by hand.
#[test]
fn every_language_reads_its_fixture() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/code");
    let mut seen = BTreeSet::new();
    let mut wrong = Vec::new();
    for entry in std::fs::read_dir(&folder).expect("fixtures") {
        let path = entry.expect("an entry").path();
        let name = path.file_name().and_then(|name| name.to_str()).expect("a name").to_owned();
        if name.ends_with(".txt") {
            continue;
        }
        let text = std::fs::read_to_string(&path).expect("a fixture");
        let language = languages::of(&name, &text).unwrap_or_else(|| panic!("{name} is in no language"));
        seen.insert(language.name);
        let found = facts(&name, &text);
        let beside = folder.join(format!("{name}.txt"));
        if std::env::var_os("PATINA_WRITE_EXPECTED").is_some() {
            crate::fs::write_atomic(&beside, |out| out.write_all(found.as_bytes())).expect("written");
        }
        let expected = std::fs::read_to_string(&beside).unwrap_or_default();
        if found != expected {
            wrong.push(format!("--- {name}: expected\n{expected}--- found\n{found}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let all: BTreeSet<&str> = LANGUAGES.iter().map(|language| language.name).collect();
    assert_eq!(seen, all, "every language has a fixture");
}

#[test]
fn the_tables_name_what_the_grammars_have() {
    for language in LANGUAGES {
        let grammar = (language.grammar)();
        let is_kind = |name: &str| grammar.id_for_node_kind(name, true) != 0 || grammar.id_for_node_kind(name, false) != 0;
        let is_field = |name: &str| grammar.field_id_for_name(name).is_some();
        for kind in language.wrappers.iter().chain(language.attributes).chain(language.comments).copied().chain(language.tokens) {
            assert!(is_kind(kind), "{} has no node {kind}", language.name);
        }
        for define in language.defines {
            assert!(is_kind(define.node), "{} has no node {}", language.name, define.node);
            if let language::Name::Field(field) | language::Name::Declarator(field) = define.name {
                assert!(is_field(field), "{} has no field {field}", language.name);
            }
            if let language::Name::Child(kinds) = define.name {
                assert!(kinds.iter().all(|kind| is_kind(kind)), "{} lacks one of {kinds:?}", language.name);
            }
            match define.when {
                language::When::Has(field) => assert!(is_field(field), "{} has no field {field}", language.name),
                language::When::Is(field, kinds) => {
                    assert!(is_field(field), "{} has no field {field}", language.name);
                    assert!(kinds.iter().all(|kind| is_kind(kind)), "{} lacks one of {kinds:?}", language.name);
                }
                language::When::Always | language::When::Declares => {}
            }
        }
        for (kind, _) in language.imports {
            assert!(is_kind(kind), "{} has no node {kind}", language.name);
        }
        for (kind, callee) in language.calls {
            assert!(is_kind(kind), "{} has no node {kind}", language.name);
            match callee {
                language::Callee::Field(field) => assert!(is_field(field), "{} has no field {field}", language.name),
                language::Callee::Parts(receiver, name) => {
                    assert!(is_field(receiver) && is_field(name), "{} has no field {receiver} or {name}", language.name);
                }
                language::Callee::Child(kinds) => assert!(kinds.iter().all(|kind| is_kind(kind)), "{}: {kinds:?}", language.name),
                language::Callee::Odd(_) | language::Callee::Hides(_) => {}
            }
        }
        for body in language.bodies {
            assert!(is_field(body) || is_kind(body), "{} has no body {body}", language.name);
        }
    }
}

#[test]
fn extensions_belong_to_one_language() {
    let mut seen = BTreeSet::new();
    for extension in LANGUAGES.iter().flat_map(|language| language.extensions) {
        assert!(seen.insert(*extension), "{extension} twice");
    }
    for (path, text, expected) in [
        ("a/b.RS", "", Some("rust")),
        ("a.h", "int f(void);", Some("c")),
        ("a.h", "class A {};", Some("c++")),
        ("a.h", "// see std::vector\nint f(void);", Some("c")),
        ("rs", "", None),
        (".rs", "", None),
        ("a.css", "", None),
    ] {
        assert_eq!(languages::of(path, text).map(|language| language.name), expected, "{path}");
    }
}

/// All that is no white space, which no cut may lose or repeat.
fn solid<'a>(parts: impl IntoIterator<Item = &'a str>) -> String {
    parts.into_iter().flat_map(str::chars).filter(|c| !c.is_whitespace()).collect()
}

fn hold_together(path: &str, text: &str) -> Cut {
    let all = lines(text);
    let cut = cut(text, &all, path, Job::silent());
    assert_eq!(solid(cut.pieces.iter().map(|piece| piece.text.as_str())), solid([text]), "{path}");
    for piece in &cut.pieces {
        assert!(!piece.text.trim().is_empty() && piece.line >= 1 && piece.line <= piece.end_line && piece.end_line as usize <= all.len());
        assert!(piece.text.chars().count() <= CODE_CHARS * 2, "{path}: {} characters", piece.text.chars().count());
        assert!(piece.title.starts_with(path));
    }
    assert!(cut.pieces.windows(2).all(|two| two[0].end_line <= two[1].line));
    for piece in &cut.pieces {
        // Search counts lines of the text to find the line of the file.
        let named = (piece.end_line - piece.line + 1) as usize;
        assert_eq!(piece.text.lines().count(), named, "{path}: lines {} to {}", piece.line, piece.end_line);
    }
    cut
}

#[test]
fn what_is_appended_to_a_cut_definition_keeps_its_line() {
    let long = |head: &str, line: &str, end: &str| format!("{head}{}{end}", line.repeat(120));
    for (path, text, last) in [
        ("a.py", long("def show(w):\n", "    w.step(1, 2, 3)\n", "\n\nif __name__ == \"__main__\":\n    show(1)\n"), "    show(1)"),
        ("a.js", long("function f() {\n", "  step(1, 2, 3, 4);\n", "}\n\n\nmodule.exports = f;\n"), "module.exports = f;"),
    ] {
        let cut = hold_together(path, &text);
        let piece = cut.pieces.last().expect("pieces");
        let at = piece.text.lines().position(|line| line == last).expect(last);
        let line = text.lines().position(|line| line == last).expect(last);
        assert!(at > 0, "{path}: it was appended: {}", piece.text);
        assert_eq!(piece.line as usize - 1 + at, line, "{path}");
    }
}

#[test]
fn a_long_file_is_cut_along_its_syntax() {
    let method = |name: &str, lines: usize| {
        format!("    /// Does {name}.\n    fn {name}(&self) {{\n{}    }}\n\n", "        self.step(1, 2, 3);\n".repeat(lines))
    };
    let text = format!(
        "//! Module.\n\nuse a::b;\n\nconst A: u8 = 1;\n\nimpl Foo {{\n{}{}{}{}}}\n\nfn last() {{}}\n",
        method("first", 22),
        method("small", 4),
        method("tiny", 4),
        method("huge", 120)
    );
    let cut = hold_together("src/a.rs", &text);
    let titles: Vec<&str> = cut.pieces.iter().map(|piece| piece.title.as_str()).collect();
    assert_eq!(titles[..2], ["src/a.rs > impl Foo > first", "src/a.rs > impl Foo > small, tiny"], "{titles:#?}");
    assert!(titles[2..titles.len() - 2].iter().all(|title| *title == "src/a.rs > impl Foo > huge"), "{titles:#?}");
    assert!(
        cut.pieces[0].text.starts_with("//! Module.") && cut.pieces[0].text.contains("/// Does first."),
        "a crumb and a doc comment stay"
    );
    assert!(cut.pieces[1].text.trim_start().starts_with("/// Does small."), "a doc comment stays with what it documents");
    // A file that fits is one piece.
    let short = hold_together("b.rs", "fn a() {}\n\nfn b() {}\n");
    assert_eq!((short.pieces.len(), short.pieces[0].title.as_str()), (1, "b.rs"));
}

#[test]
fn what_no_grammar_understands_is_cut_at_blank_lines() {
    let prose = "This is no Rust at all, but a text; it says so) in words] and } more.\n\n".repeat(60);
    let cut = hold_together("a.rs", &prose);
    assert_eq!((cut.parsed, cut.facts), (Parsed::No, None));
    assert!(cut.pieces.iter().all(|piece| piece.title == "a.rs"));
    let large = format!("fn f() {{\n{}}}\n", "    g();\n".repeat(PARSE_BYTES / 8));
    assert_eq!(hold_together("a.rs", &large).parsed, Parsed::No);
    assert_eq!(hold_together("a.css", "a { b: c }\n").parsed, Parsed::NoGrammar);
    // One mistake does not make a file worthless.
    let broken = format!("{}fn b( {{\n\nfn c() {{ a(); }}\n", "fn a() {\n    one(two, three);\n}\n\n".repeat(8));
    let facts = hold_together("a.rs", &broken).facts.expect("facts");
    assert!(facts.symbols.iter().filter(|symbol| symbol.name == "a").count() == 8);
}

#[test]
fn symbols_and_calls_have_limits() {
    let many = hold_together("a.c", &"#define A(x) x\n".repeat(MAX_SYMBOLS + 100)).facts.expect("facts");
    assert_eq!(many.symbols.len(), MAX_SYMBOLS);
    for (path, text, more) in [
        ("a.c", "#define A(x) x\n".repeat(MAX_SYMBOLS + 1), "10000 symbols"),
        ("a.c", "#include <a.h>\n".repeat(MAX_IMPORTS + 1), "5000 imports"),
        ("a.rs", format!("use a::{{{}}};\n", "b,\n".repeat(MAX_IMPORTS + 1)), "5000 imports"),
        ("a.js", "f();\n".repeat(MAX_CALLS + 1), "50000 calls"),
    ] {
        assert_eq!(hold_together(path, &text).more, [more], "{path}");
        let all =
            text.replacen("#define A(x) x\n", "", 1).replacen("#include <a.h>\n", "", 1).replacen("b,\n", "", 1).replacen("f();\n", "", 1);
        assert!(hold_together(path, &all).more.is_empty(), "{path}: all are kept");
    }
    let many = hold_together("a.js", &"f();\n".repeat(MAX_CALLS + 100)).facts.expect("facts");
    assert_eq!((many.calls.len(), many.calls[MAX_CALLS - 1].line as usize), (MAX_CALLS, MAX_CALLS));
    // Deeper nesting and a longer file than any grammar is asked to take.
    let deep = format!("{}{}", "fn f() {".repeat(60_000), "}".repeat(60_000));
    let facts = hold_together("a.rs", &deep).facts;
    assert!(facts.is_none_or(|facts| facts.symbols.len() <= MAX_NESTING));
}

/// What the facts of a file take, in bytes.
fn weight(facts: &CodeFacts) -> usize {
    let symbols = facts.symbols.iter().map(|s| s.name.len() + s.qualified.len() + s.signature.len() + s.doc.len());
    let imports = facts.imports.iter().map(|i| i.target.len() + i.name.len());
    let calls = facts.calls.iter().map(|c| c.name.len() + c.receiver.len());
    symbols.chain(imports).chain(calls).sum()
}

/// A path that many imports have in common, or a name around many others, is written once and must not be kept once for each.
#[test]
fn a_long_path_is_not_copied_into_every_fact() {
    let path = |joint: &str| format!("a_segment_of_a_path{joint}\n").repeat(900);
    let leaves = |joint: &str| (0..4_000).map(|n| format!("n{n}")).collect::<Vec<_>>().join(joint);
    let around = |open: &str, each: &str, close: &str| {
        format!("{open}{}{close}", (0..900).map(|n| each.replace('#', &n.to_string())).collect::<String>())
    };
    for (name, text) in [
        ("a.rs", format!("use {}{{{}}};\n", path("::"), leaves(",\n"))),
        ("a.rs", format!("use {}{{{{{}}}}};\n", path("::"), leaves("},\n{"))),
        ("a.php", format!("<?php\nuse {}{{{}}};\n", path("\\"), leaves(",\n"))),
        ("a.scala", format!("import {}{{{}}}\n", path("."), leaves(",\n"))),
        ("a.py", format!("from {} import ({})\n", path(".").replace('\n', "\\\n").trim_end_matches(".\\\n"), leaves(",\n"))),
        ("a.js", format!("import {{{}}} from \"{}\";\n", leaves(",\n"), path("/").replace('\n', ""))),
        ("a.ex", around(&format!("defmodule A.\n{}B do\n", path(".").replace("a_", "A_")), "  def f#(), do: 1\n", "end\n")),
        ("a.rs", around(&format!("mod {} {{\n", "a".repeat(15_000)), "fn f#() {}\n", "}\n")),
        ("a.go", around("package a\n", "func (a *T#) f() {}\n", "")),
    ] {
        let facts = hold_together(name, &text).facts.expect(name);
        assert!(weight(&facts) < 2 * text.len() + 100_000, "{name}: {} bytes of facts of {}", weight(&facts), text.len());
        assert!(facts.imports.iter().all(|import| import.target.len() <= TARGET_BYTES), "{name}");
        assert!(facts.symbols.iter().all(|symbol| symbol.qualified.chars().count() <= QUALIFIED_CHARS), "{name}");
    }
}

#[test]
#[allow(clippy::print_stderr)] // Figures, for whoever asks for them.
fn hostile_files_of_every_language_neither_crash_nor_take_long() {
    let deep = |open: &str, close: &str| format!("{}{}", open.repeat(500), close.repeat(500));
    let hostile = [
        deep("(", ")"),
        deep("{", "}"),
        deep("[", "]"),
        deep("fn f() {", "}"),
        deep("function f() {", "}"),
        deep("class A {", "}"),
        deep("a.b(", ")"),
        deep("if (a) {", "}"),
        "((((".repeat(300),
        "def f(): return [".repeat(500),
        (0..200).map(|n| format!("{}if a:\n", " ".repeat(n))).collect::<String>(),
        "\"".repeat(1_001),
        "/*".repeat(2_000),
        format!("fn f() {{ {} }}", "a;".repeat(5_000)),
        format!("x = {}", "1 + ".repeat(2_000)),
        "\u{fffd}\u{1}\u{7f}\u{202e}é😀\n".repeat(100),
        "<<<<<<< HEAD\nfn a() {}\n=======\nfn b() {}\n>>>>>>> other\n".to_owned(),
        "\r\n\r\nfn a() {}\r\n".to_owned(),
    ];
    for language in LANGUAGES {
        for (at, text) in hostile.iter().enumerate() {
            let path = format!("a.{}", language.extensions[0]);
            let begun = Instant::now();
            let cut = hold_together(&path, text);
            assert!(begun.elapsed() < IN_TIME, "{path}, hostile text {at}: {:?}", begun.elapsed());
            if std::env::var_os("PATINA_FIGURES").is_some() {
                eprintln!("{path} {at} {:?} {:?}", begun.elapsed(), cut.parsed);
            }
            if let Some(facts) = cut.facts {
                assert!(facts.symbols.len() <= MAX_SYMBOLS && facts.calls.len() <= MAX_CALLS && facts.imports.len() <= MAX_IMPORTS);
                assert!(facts.calls.iter().all(|call| call.caller.is_none_or(|at| (at as usize) < facts.symbols.len())));
            }
        }
        // The fixture, cut off anywhere.
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/code");
        for entry in std::fs::read_dir(&folder).expect("fixtures") {
            let path = entry.expect("an entry").path();
            let name = path.file_name().and_then(|name| name.to_str()).expect("a name").to_owned();
            let text = std::fs::read_to_string(&path).expect("a fixture");
            if languages::of(&name, &text).is_some_and(|of| of.name == language.name) {
                for end in (0..text.len()).step_by(101).filter(|end| text.is_char_boundary(*end)) {
                    hold_together(&name, &text[..end]);
                }
            }
        }
    }
}

/// What a file may take here. Deeper nesting must cost no more than a longer text.
const IN_TIME: Duration = Duration::from_secs(6);

#[test]
#[allow(clippy::print_stderr)] // Figures, for whoever asks for them.
fn nesting_costs_no_more_than_its_length() {
    let deep = |open: &str, inner: &str, close: &str, times: usize| format!("{}{inner}{}", open.repeat(times), close.repeat(times));
    for language in LANGUAGES {
        let path = format!("a.{}", language.extensions[0]);
        // Some parsers are slow with it by themselves, which steps bound and seconds on a busy machine do not.
        let times = if matches!(language.name, "rust" | "elixir" | "scala") { 100_000 } else { 10_000 };
        for text in [
            deep("f(\n", "", ")\n", times),
            deep("f(", "1", ")", times),
            deep("x.f(\n", "", ")\n", times),
            deep("{\n", &"#[a]\nfn x() {}\n".repeat(times / 10), "}\n", times),
            format!("x{}", ".f()".repeat(2 * times)),
            format!("x{}", ".f".repeat(2 * times)),
            format!("x{}", ".f[T]()".repeat(times)),
        ] {
            let begun = Instant::now();
            let cut = cut(&text, &lines(&text), &path, Job::silent());
            if std::env::var_os("PATINA_FIGURES").is_some() {
                eprintln!("{path} {:?} {:?} {:?}", &text[..8], begun.elapsed(), cut.parsed);
            }
            assert!(begun.elapsed() < IN_TIME, "{path}, {:?}: {:?}", &text[..8], begun.elapsed());
        }
    }
}

/// The same bytes give the same pieces, however busy the machine is: what is given up is so by the number of steps.
#[test]
fn time_decides_about_no_file_that_steps_allow() {
    let rust = languages::of("a.rs", "").expect("rust");
    let text = "fn a() {\n    one(two, three);\n}\n\n".repeat(PARSE_BYTES / 40);
    assert!(parse::outline(rust, &text, PARSE_TIME, Job::silent()).is_ok());
    // What reads the text anew from every token on is given up by that, and not by how fast the machine is.
    let kotlin = languages::of("a.kt", "").expect("kotlin");
    let slow = include_str!("../../../tests/fixtures/code/cart.kt").repeat(PARSE_BYTES / 1_000);
    assert!(slow.len() > PARSE_BYTES / 2 && slow.len() <= PARSE_BYTES, "{} bytes", slow.len());
    assert_eq!(parse::outline(kotlin, &slow, PARSE_TIME, Job::silent()).expect_err("too many reads"), Parsed::No);
    // A machine on which no time is left says that it does not know, and not that the file is no Rust.
    assert_eq!(parse::outline(rust, &text, Duration::ZERO, Job::silent()).expect_err("no time"), Parsed::Late);
    let cancel = Cancel::default();
    cancel.raise();
    let stopped = Job::new(&Silent, &cancel);
    assert_eq!(parse::outline(rust, &text, PARSE_TIME, stopped).expect_err("stopped"), Parsed::Late);
    assert_eq!(cut(&text, &lines(&text), "a.rs", stopped).parsed, Parsed::Late);
}
