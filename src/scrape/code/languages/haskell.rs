//! Haskell.

use tree_sitter::Node;

use super::super::language::{Callee, Define, Docs, Language, Name, When, import, named, text_of};
use super::super::names;
use crate::store::{ImportFact, SymbolKind};

pub(super) const HASKELL: Language = Language {
    name: "haskell",
    extensions: &["hs"],
    grammar: || tree_sitter_haskell::LANGUAGE.into(),
    joint: ".",
    defines: &[
        named("function", SymbolKind::Function),
        Define { node: "bind", kind: Some(SymbolKind::Constant), name: Name::Field("name"), when: When::Has("name") },
        named("data_type", SymbolKind::Struct),
        named("newtype", SymbolKind::Struct),
        named("type_synonym", SymbolKind::Type),
        named("class", SymbolKind::Trait),
        Define { node: "instance", kind: None, name: Name::Field("name"), when: When::Always },
    ],
    wrappers: &[],
    attributes: &["signature"],
    comments: &["comment", "haddock"],
    docs: Docs::Any,
    imports: &[("import", imports)],
    calls: &[("apply", Callee::Odd(applied))],
    bodies: &["match", "declarations"],
    tokens: None,
};

/// `f a b` is `(f a) b`: the innermost application has the function.
fn applied(node: Node<'_>, text: &str) -> Option<(String, String)> {
    let function = node.child_by_field_name("function").filter(|function| matches!(function.kind(), "variable" | "qualified"))?;
    names::parts(text_of(function, text), false)
}

fn imports(node: Node<'_>, text: &str, out: &mut Vec<ImportFact>) {
    let Some(module) = node.child_by_field_name("module") else { return };
    let alias = node.child_by_field_name("alias").map_or("", |alias| text_of(alias, text));
    out.push(import(node, text_of(module, text), alias));
}
