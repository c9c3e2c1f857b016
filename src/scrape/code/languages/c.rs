//! C, whose tables C++ shares.

use tree_sitter::Node;

use super::super::language::{Callee, Define, Docs, Language, Name, Named, When, import, named, text_of, unquoted};
use super::super::names;
use crate::store::{ImportFact, SymbolKind};

pub(super) const C: Language = Language {
    name: "c",
    extensions: &["c", "h"],
    grammar: || tree_sitter_c::LANGUAGE.into(),
    joint: "::",
    defines: &[FUNCTION, PROTOTYPE, STRUCT, UNION, ENUM, TYPEDEF, MACRO_FUNCTION, MACRO],
    wrappers: &[],
    attributes: &[],
    comments: &["comment"],
    docs: Docs::Any,
    imports: &[("preproc_include", includes)],
    calls: &[("call_expression", Callee::Field("function"))],
    bodies: &["body"],
    tokens: None,
};

pub(super) const FUNCTION: Define =
    Define { node: "function_definition", kind: Some(SymbolKind::Function), name: Name::Declarator("declarator"), when: When::Always };
pub(super) const PROTOTYPE: Define =
    Define { node: "declaration", kind: Some(SymbolKind::Function), name: Name::Odd(prototype), when: When::Declares };
pub(super) const STRUCT: Define =
    Define { node: "struct_specifier", kind: Some(SymbolKind::Struct), name: Name::Field("name"), when: When::Has("body") };
pub(super) const UNION: Define =
    Define { node: "union_specifier", kind: Some(SymbolKind::Union), name: Name::Field("name"), when: When::Has("body") };
pub(super) const ENUM: Define =
    Define { node: "enum_specifier", kind: Some(SymbolKind::Enum), name: Name::Field("name"), when: When::Has("body") };
pub(super) const TYPEDEF: Define =
    Define { node: "type_definition", kind: Some(SymbolKind::Type), name: Name::Declarator("declarator"), when: When::Always };
pub(super) const MACRO_FUNCTION: Define = named("preproc_function_def", SymbolKind::Macro);
/// A macro without a value is a switch or an include guard.
pub(super) const MACRO: Define =
    Define { node: "preproc_def", kind: Some(SymbolKind::Macro), name: Name::Field("name"), when: When::Has("value") };

/// A declaration of a function.
pub(super) fn prototype(node: Node<'_>, text: &str) -> Option<Named> {
    names::declares_function(node).then(|| names::of_definition(&Name::Declarator("declarator"), node, text)).flatten()
}

pub(super) fn includes(node: Node<'_>, text: &str, out: &mut Vec<ImportFact>) {
    if let Some(path) = node.child_by_field_name("path") {
        out.push(import(node, unquoted(text_of(path, text)), ""));
    }
}
