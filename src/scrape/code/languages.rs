//! The languages that have a grammar. A new one is a file here, a line in [`LANGUAGES`], a crate in `Cargo.toml`, and a fixture.

mod bash;
mod c;
mod cpp;
mod csharp;
mod elixir;
mod go;
mod haskell;
mod java;
mod javascript;
mod kotlin;
mod lua;
mod php;
mod python;
mod ruby;
mod rust;
mod scala;
mod swift;
mod typescript;
mod zig;

use super::language::Language;

/// Every language, in the order of reports.
pub(super) const LANGUAGES: &[&Language] = &[
    &rust::RUST,
    &python::PYTHON,
    &javascript::JAVASCRIPT,
    &typescript::TYPESCRIPT,
    &typescript::TSX,
    &go::GO,
    &c::C,
    &cpp::CPP,
    &java::JAVA,
    &ruby::RUBY,
    &csharp::CSHARP,
    &php::PHP,
    &bash::BASH,
    &kotlin::KOTLIN,
    &scala::SCALA,
    &swift::SWIFT,
    &lua::LUA,
    &elixir::ELIXIR,
    &haskell::HASKELL,
    &zig::ZIG,
];

/// The language of a file, by its extension. Headers of C and C++ have the same one: there the text decides.
pub(super) fn of(path: &str, text: &str) -> Option<&'static Language> {
    let name = path.rsplit('/').next().unwrap_or(path).to_lowercase();
    let (stem, extension) = name.rsplit_once('.')?;
    if stem.is_empty() {
        return None;
    }
    if extension == "h" && is_cpp(text) {
        return Some(&cpp::CPP);
    }
    LANGUAGES.iter().find(|language| language.extensions.contains(&extension)).copied()
}

/// Whether a header has what C does not have.
fn is_cpp(text: &str) -> bool {
    text.lines().any(|line| {
        let line = line.trim_start();
        let begins = ["class ", "namespace ", "template ", "template<", "public:", "private:", "protected:", "using "];
        begins.iter().any(|word| line.starts_with(word)) || (line.contains("::") && !line.starts_with("//") && !line.starts_with('*'))
    })
}
