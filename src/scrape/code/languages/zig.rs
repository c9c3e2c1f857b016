//! Zig.

use tree_sitter::Node;

use super::super::language::{Callee, Define, Docs, Language, Name, Named, When, children, import, named, text_of, unquoted};
use super::super::names;
use crate::store::{ImportFact, SymbolKind};

pub(super) const ZIG: Language = Language {
    name: "zig",
    extensions: &["zig"],
    grammar: || tree_sitter_zig::LANGUAGE.into(),
    joint: ".",
    defines: &[
        named("function_declaration", SymbolKind::Function),
        Define { node: "variable_declaration", kind: Some(SymbolKind::Constant), name: Name::Odd(variable), when: When::Always },
    ],
    wrappers: &[],
    attributes: &[],
    comments: &["comment"],
    docs: Docs::Marked(&["///"]),
    imports: &[("variable_declaration", imports)],
    calls: &[("call_expression", Callee::Field("function"))],
    bodies: &["body", "struct_declaration", "enum_declaration", "union_declaration"],
    tokens: None,
};

/// `const Cart = struct { ... };` defines a struct, others a constant.
fn variable(node: Node<'_>, text: &str) -> Option<Named> {
    let name = children(node).find(|child| child.kind() == "identifier")?;
    let kind = children(node).find_map(|child| match child.kind() {
        "struct_declaration" => Some(SymbolKind::Struct),
        "enum_declaration" => Some(SymbolKind::Enum),
        "union_declaration" => Some(SymbolKind::Union),
        _ => None,
    });
    Some(Named { kind, ..names::plain(name, text)? })
}

/// `const price = @import("price.zig");`
fn imports(node: Node<'_>, text: &str, out: &mut Vec<ImportFact>) {
    let Some(name) = children(node).find(|child| child.kind() == "identifier") else { return };
    let value = text_of(node, text).split_once('=').map_or("", |(_, value)| value.trim());
    if let Some(path) = value.strip_prefix("@import(").and_then(|rest| rest.split(')').next()) {
        out.push(import(node, unquoted(path), text_of(name, text)));
    }
}
