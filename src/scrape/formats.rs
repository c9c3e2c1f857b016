//! Which files are read, and as what: by their names alone.

use super::headings::Markup;

/// JSON and XML beyond this many bytes are data, not source.
pub const DATA_BYTES: u64 = 32 * 1024;

/// How a file is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    /// A document, or a session note if it is Markdown and says so.
    Prose(Markup),
    /// A source file.
    Code,
    /// A source file if it is small.
    Data,
}

/// What the name of a file says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Read(Format),
    /// The name is one of those that would be read, but the file is made by a program; why.
    Made(&'static str),
    /// No rule reads it.
    Other,
}

const CODE: &[&str] = &[
    "asm",
    "bash",
    "bat",
    "bzl",
    "c",
    "cc",
    "cfg",
    "clj",
    "cljs",
    "cmake",
    "conf",
    "cpp",
    "cs",
    "css",
    "cu",
    "cuh",
    "cxx",
    "dart",
    "el",
    "erl",
    "ex",
    "exs",
    "fish",
    "fs",
    "glsl",
    "go",
    "gradle",
    "graphql",
    "groovy",
    "h",
    "hcl",
    "hh",
    "hpp",
    "hrl",
    "hs",
    "htm",
    "html",
    "hxx",
    "ini",
    "java",
    "jl",
    "js",
    "jsx",
    "just",
    "kt",
    "kts",
    "less",
    "lua",
    "m",
    "metal",
    "mjs",
    "cjs",
    "mk",
    "ml",
    "mli",
    "mm",
    "mts",
    "cts",
    "nim",
    "nix",
    "php",
    "pl",
    "pm",
    "properties",
    "proto",
    "ps1",
    "py",
    "pyi",
    "r",
    "rb",
    "rs",
    "sass",
    "scala",
    "scss",
    "sh",
    "sql",
    "svelte",
    "swift",
    "tf",
    "toml",
    "ts",
    "tsx",
    "vue",
    "wgsl",
    "yaml",
    "yml",
    "zig",
    "zsh",
];
const DATA: &[&str] = &["json", "json5", "jsonc", "xml"];
const CODE_NAMES: &[&str] =
    &["makefile", "gnumakefile", "dockerfile", "containerfile", "justfile", "rakefile", "gemfile", "procfile", "jenkinsfile", "brewfile"];
const PROSE_NAMES: &[&str] = &["readme", "changelog", "contributing", "todo", "notes", "authors", "news", "architecture"];
/// Lock files whose extension is in a table above; the others (`Cargo.lock`, `yarn.lock`) are in none.
const LOCKS: &[&str] = &["package-lock.json", "npm-shrinkwrap.json", "pnpm-lock.yaml", "packages.lock.json", "deno.lock.json"];
const MINIFIED: &[&str] = &[".min.js", ".min.css", ".min.mjs", "-min.js", ".bundle.js", ".chunk.js"];

/// What the name (without folders) says.
pub(super) fn verdict(name: &str) -> Verdict {
    let name = name.to_lowercase();
    if LOCKS.contains(&name.as_str()) {
        return Verdict::Made("a lock file");
    }
    if MINIFIED.iter().any(|end| name.ends_with(end)) {
        return Verdict::Made("minified or bundled");
    }
    let extension = name.rsplit_once('.').filter(|(stem, _)| !stem.is_empty()).map(|(_, extension)| extension);
    let format = match extension {
        Some("md" | "markdown" | "mdx") => Format::Prose(Markup::Markdown),
        Some("rst") => Format::Prose(Markup::Rst),
        Some("adoc" | "asciidoc") => Format::Prose(Markup::AsciiDoc),
        Some("txt") if name == "cmakelists.txt" => Format::Code,
        Some("txt" | "text") => Format::Prose(Markup::Plain),
        Some(extension) if CODE.contains(&extension) => Format::Code,
        Some(extension) if DATA.contains(&extension) => Format::Data,
        None if CODE_NAMES.contains(&name.as_str()) => Format::Code,
        None if PROSE_NAMES.contains(&name.as_str()) => Format::Prose(Markup::Plain),
        _ => return Verdict::Other,
    };
    Verdict::Read(format)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_say_what_a_file_is() {
        for (name, expected) in [
            ("README.md", Verdict::Read(Format::Prose(Markup::Markdown))),
            ("README", Verdict::Read(Format::Prose(Markup::Plain))),
            ("a.b.RS", Verdict::Read(Format::Code)),
            ("Dockerfile", Verdict::Read(Format::Code)),
            ("package.json", Verdict::Read(Format::Data)),
            ("package-lock.json", Verdict::Made("a lock file")),
            ("jquery.min.js", Verdict::Made("minified or bundled")),
            ("Cargo.lock", Verdict::Other),
            ("photo.png", Verdict::Other),
            (".md", Verdict::Other),
            ("md", Verdict::Other),
            ("", Verdict::Other),
        ] {
            assert_eq!(verdict(name), expected, "{name}");
        }
    }
}
