//! C++.

use super::super::language::{Callee, Define, Docs, Language, Name, When, named};
use super::c::{ENUM, FUNCTION, MACRO, MACRO_FUNCTION, PROTOTYPE, STRUCT, TYPEDEF, UNION, includes, prototype};
use crate::store::SymbolKind;

pub(super) const CPP: Language = Language {
    name: "c++",
    extensions: &["cc", "cpp", "cxx", "hh", "hpp", "hxx", "cu", "cuh"],
    grammar: || tree_sitter_cpp::LANGUAGE.into(),
    joint: "::",
    defines: &[
        FUNCTION,
        PROTOTYPE,
        Define { node: "field_declaration", kind: Some(SymbolKind::Method), name: Name::Odd(prototype), when: When::Declares },
        Define { node: "class_specifier", kind: Some(SymbolKind::Class), name: Name::Field("name"), when: When::Has("body") },
        STRUCT,
        UNION,
        ENUM,
        TYPEDEF,
        MACRO_FUNCTION,
        MACRO,
        named("alias_declaration", SymbolKind::Type),
        named("namespace_definition", SymbolKind::Module),
    ],
    wrappers: &["template_declaration"],
    attributes: &["attribute_declaration"],
    comments: &["comment"],
    docs: Docs::Any,
    imports: &[("preproc_include", includes)],
    calls: &[("call_expression", Callee::Field("function")), ("new_expression", Callee::Field("type"))],
    bodies: &["body"],
    tokens: None,
};
