//! Languages by the names of files: what `--language` can ask for.

use crate::error::{Error, Result};
use crate::recipe::suggest;

/// A language: its name, its other names, and the extensions and whole names of its files, all in lower case.
#[derive(Debug, PartialEq, Eq)]
pub struct Language {
    /// What it is called in answers and errors.
    pub name: &'static str,
    aliases: &'static [&'static str],
    extensions: &'static [&'static str],
    names: &'static [&'static str],
}

const fn by_extension(name: &'static str, aliases: &'static [&'static str], extensions: &'static [&'static str]) -> Language {
    Language { name, aliases, extensions, names: &[] }
}

/// Every language, sorted by name. An extension that two share (`h`, `m`) belongs to both.
pub const LANGUAGES: &[Language] = &[
    by_extension("asciidoc", &[], &["adoc", "asciidoc"]),
    by_extension("assembly", &["assembler"], &["asm"]),
    by_extension("batch", &[], &["bat"]),
    by_extension("c", &[], &["c", "h"]),
    by_extension("clojure", &[], &["clj", "cljs"]),
    Language { name: "cmake", aliases: &[], extensions: &["cmake"], names: &["cmakelists.txt"] },
    by_extension("cpp", &["c++"], &["cc", "cpp", "cxx", "h", "hh", "hpp", "hxx"]),
    by_extension("csharp", &["c#", "c_sharp"], &["cs"]),
    by_extension("css", &[], &["css", "less", "sass", "scss"]),
    by_extension("cuda", &[], &["cu", "cuh"]),
    by_extension("dart", &[], &["dart"]),
    Language { name: "dockerfile", aliases: &["docker"], extensions: &[], names: &["containerfile", "dockerfile"] },
    by_extension("elisp", &["emacs-lisp"], &["el"]),
    by_extension("elixir", &[], &["ex", "exs"]),
    by_extension("erlang", &[], &["erl", "hrl"]),
    by_extension("fsharp", &["f#"], &["fs"]),
    by_extension("glsl", &[], &["glsl"]),
    by_extension("go", &["golang"], &["go"]),
    by_extension("graphql", &[], &["graphql"]),
    Language { name: "groovy", aliases: &[], extensions: &["gradle", "groovy"], names: &["jenkinsfile"] },
    by_extension("haskell", &[], &["hs"]),
    by_extension("hcl", &["terraform"], &["hcl", "tf"]),
    by_extension("html", &[], &["htm", "html"]),
    by_extension("ini", &[], &["cfg", "conf", "ini", "properties"]),
    by_extension("java", &[], &["java"]),
    by_extension("javascript", &[], &["cjs", "js", "jsx", "mjs"]),
    by_extension("json", &[], &["json", "json5", "jsonc"]),
    by_extension("julia", &[], &["jl"]),
    Language { name: "just", aliases: &[], extensions: &["just"], names: &["justfile"] },
    by_extension("kotlin", &[], &["kt", "kts"]),
    by_extension("lua", &[], &["lua"]),
    Language { name: "make", aliases: &["makefile"], extensions: &["mk"], names: &["gnumakefile", "makefile"] },
    by_extension("markdown", &[], &["markdown", "md", "mdx"]),
    by_extension("metal", &[], &["metal"]),
    by_extension("nim", &[], &["nim"]),
    by_extension("nix", &[], &["nix"]),
    by_extension("objective-c", &["objc"], &["h", "m", "mm"]),
    by_extension("ocaml", &[], &["ml", "mli"]),
    by_extension("perl", &[], &["pl", "pm"]),
    by_extension("php", &[], &["php"]),
    by_extension("powershell", &[], &["ps1"]),
    by_extension("protobuf", &["proto"], &["proto"]),
    by_extension("python", &[], &["py", "pyi"]),
    by_extension("r", &[], &["r"]),
    by_extension("rst", &["restructuredtext"], &["rst"]),
    Language { name: "ruby", aliases: &[], extensions: &["rb"], names: &["brewfile", "gemfile", "rakefile"] },
    by_extension("rust", &[], &["rs"]),
    by_extension("scala", &[], &["scala"]),
    by_extension("shell", &["sh"], &["bash", "fish", "sh", "zsh"]),
    by_extension("sql", &[], &["sql"]),
    Language { name: "starlark", aliases: &["bazel"], extensions: &["bzl"], names: &["build", "workspace"] },
    by_extension("svelte", &[], &["svelte"]),
    by_extension("swift", &[], &["swift"]),
    by_extension("text", &[], &["text", "txt"]),
    by_extension("toml", &[], &["toml"]),
    by_extension("typescript", &[], &["cts", "mts", "ts", "tsx"]),
    by_extension("vue", &[], &["vue"]),
    by_extension("wgsl", &[], &["wgsl"]),
    by_extension("xml", &[], &["xml"]),
    by_extension("yaml", &[], &["yaml", "yml"]),
    by_extension("zig", &[], &["zig"]),
];

impl Language {
    /// The languages that a word stands for, whatever its case: a name, another name, or an extension with or without its dot. An extension
    /// can stand for several.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`](crate::error::ErrorKind::Usage) if it is none of them; the hint has every name.
    pub fn parse(word: &str) -> Result<Vec<&'static Language>> {
        let lower = word.trim().to_lowercase();
        if let Some(named) = LANGUAGES.iter().find(|language| language.name == lower || language.aliases.contains(&lower.as_str())) {
            return Ok(vec![named]);
        }
        let extension = lower.strip_prefix('.').unwrap_or(&lower);
        let with: Vec<&Language> = LANGUAGES.iter().filter(|language| language.extensions.contains(&extension)).collect();
        if !with.is_empty() {
            return Ok(with);
        }
        let names: Vec<&str> = LANGUAGES.iter().map(|language| language.name).collect();
        let nearest = suggest::closest(&lower, names.iter().copied()).map_or(String::new(), |name| format!("did you mean `{name}`? "));
        Err(Error::usage(format!("--language is {word:?}, which is no language that Patina knows"))
            .hint(format!("{nearest}languages are {}; a file's extension will do as well", names.join(", "))))
    }

    /// Whether a file is in this language, by its name.
    pub fn is_of(&self, path: &str) -> bool {
        let name = path.rsplit('/').next().unwrap_or(path).to_lowercase();
        let extension = name.rsplit_once('.').filter(|(stem, _)| !stem.is_empty()).map(|(_, extension)| extension);
        self.names.contains(&name.as_str()) || extension.is_some_and(|extension| self.extensions.contains(&extension))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    fn names(word: &str) -> Vec<&'static str> {
        Language::parse(word).expect(word).iter().map(|language| language.name).collect()
    }

    #[test]
    fn a_word_is_a_name_another_name_or_an_extension() {
        assert_eq!(names("Rust"), ["rust"]);
        assert_eq!(names("c++"), ["cpp"]);
        assert_eq!(names(".tsx"), ["typescript"]);
        assert_eq!(names("py"), ["python"]);
        assert_eq!(names("h"), ["c", "cpp", "objective-c"]);
        assert_eq!(names("r"), ["r"]);
        for word in ["", "klingon", "."] {
            let error = Language::parse(word).expect_err(word);
            assert_eq!(error.kind(), ErrorKind::Usage);
            assert!(error.hint_text().is_some_and(|hint| hint.contains("python") && hint.contains("rust")), "{error}");
        }
        let near = Language::parse("pythn").expect_err("near");
        assert!(near.hint_text().is_some_and(|hint| hint.starts_with("did you mean `python`?")));
    }

    #[test]
    fn files_are_told_by_their_names() {
        let is = |word: &str, path: &str| Language::parse(word).expect(word).iter().any(|language| language.is_of(path));
        assert!(is("rust", "src/lib.rs") && is("rust", "A.RS"));
        assert!(is("cmake", "x/CMakeLists.txt") && !is("rust", "rs") && !is("rust", ".rs") && !is("rust", "src.rs/readme"));
        assert!(is("make", "Makefile") && is("typescript", "a.d.ts"));
        assert!(!is("c", "a.cc"));
    }

    #[test]
    fn the_table_is_sorted_and_says_nothing_twice() {
        assert!(LANGUAGES.is_sorted_by(|a, b| a.name < b.name));
        let mut words: Vec<&str> = LANGUAGES.iter().flat_map(|language| language.aliases.iter().copied().chain([language.name])).collect();
        let all = words.len();
        words.sort_unstable();
        words.dedup();
        assert_eq!(words.len(), all);
        for language in LANGUAGES {
            assert!(language.extensions.is_sorted() && language.names.is_sorted(), "{}", language.name);
            assert!(!language.extensions.is_empty() || !language.names.is_empty());
        }
    }
}
