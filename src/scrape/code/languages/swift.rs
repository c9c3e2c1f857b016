//! Swift.

use tree_sitter::Node;

use super::super::language::{Callee, Define, Docs, Language, Name, When, children, import, named, text_of};
use crate::store::{ImportFact, SymbolKind};

const fn type_of(kind: Option<SymbolKind>, words: &'static [&'static str]) -> Define {
    Define { node: "class_declaration", kind, name: Name::Field("name"), when: When::Is("declaration_kind", words) }
}

pub(super) const SWIFT: Language = Language {
    name: "swift",
    extensions: &["swift"],
    grammar: || tree_sitter_swift::LANGUAGE.into(),
    joint: ".",
    defines: &[
        type_of(None, &["extension"]),
        type_of(Some(SymbolKind::Struct), &["struct"]),
        type_of(Some(SymbolKind::Enum), &["enum"]),
        named("class_declaration", SymbolKind::Class),
        named("protocol_declaration", SymbolKind::Trait),
        named("function_declaration", SymbolKind::Function),
        named("protocol_function_declaration", SymbolKind::Method),
        named("init_declaration", SymbolKind::Method),
        named("typealias_declaration", SymbolKind::Type),
    ],
    wrappers: &[],
    attributes: &["attribute"],
    comments: &["comment", "multiline_comment"],
    docs: Docs::Marked(&["///", "/**"]),
    imports: &[("import_declaration", imports)],
    calls: &[
        ("call_expression", Callee::Child(&["simple_identifier", "navigation_expression"])),
        ("constructor_expression", Callee::Field("constructed_type")),
    ],
    bodies: &["body"],
    tokens: None,
};

fn imports(node: Node<'_>, text: &str, out: &mut Vec<ImportFact>) {
    if let Some(path) = children(node).find(|child| child.kind() == "identifier") {
        out.push(import(node, text_of(path, text), ""));
    }
}
