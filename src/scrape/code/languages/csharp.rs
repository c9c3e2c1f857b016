//! C#.

use tree_sitter::Node;

use super::super::language::{Callee, Docs, Language, import, named, text_of};
use crate::store::{ImportFact, SymbolKind};

pub(super) const CSHARP: Language = Language {
    name: "c#",
    extensions: &["cs"],
    grammar: || tree_sitter_c_sharp::LANGUAGE.into(),
    joint: ".",
    defines: &[
        named("namespace_declaration", SymbolKind::Module),
        named("class_declaration", SymbolKind::Class),
        named("record_declaration", SymbolKind::Class),
        named("struct_declaration", SymbolKind::Struct),
        named("interface_declaration", SymbolKind::Interface),
        named("enum_declaration", SymbolKind::Enum),
        named("method_declaration", SymbolKind::Method),
        named("constructor_declaration", SymbolKind::Method),
        named("local_function_statement", SymbolKind::Function),
        named("delegate_declaration", SymbolKind::Type),
    ],
    wrappers: &[],
    attributes: &["attribute_list"],
    comments: &["comment"],
    docs: Docs::Marked(&["///", "/**"]),
    imports: &[("using_directive", imports)],
    calls: &[("invocation_expression", Callee::Field("function")), ("object_creation_expression", Callee::Field("type"))],
    bodies: &["body"],
    tokens: None,
};

/// `using A.B;`, `using static A.B;`, `using C = A.B;`
fn imports(node: Node<'_>, text: &str, out: &mut Vec<ImportFact>) {
    let words = text_of(node, text).trim_end_matches(';').replace("global ", "");
    let path = words.trim_start_matches("using").trim().trim_start_matches("static ").trim();
    match path.split_once('=') {
        Some((alias, path)) => out.push(import(node, path.trim(), alias.trim())),
        None => out.push(import(node, path, "")),
    }
}
