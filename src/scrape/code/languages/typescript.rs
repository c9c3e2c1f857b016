//! TypeScript, and TSX, which is a grammar of its own.

use super::super::language::{Define, Language, Name, When, named};
use super::javascript::{ASSIGNED, CALLS, COMMENTS, DOCS, FUNCTION, FUNCTIONS, GENERATOR, IMPORTS, METHOD, VARIABLE, VARIABLE_OF_FUNCTION};
use crate::store::SymbolKind;

pub(super) const TYPESCRIPT: Language = Language {
    name: "typescript",
    extensions: &["ts", "mts", "cts"],
    grammar: || tree_sitter_typescript::LANGUAGE_TYPESCRIPT.into(),
    joint: ".",
    defines: &[
        FUNCTION,
        GENERATOR,
        METHOD,
        VARIABLE_OF_FUNCTION,
        VARIABLE,
        ASSIGNED,
        named("function_signature", SymbolKind::Function),
        named("abstract_method_signature", SymbolKind::Method),
        named("class_declaration", SymbolKind::Class),
        named("abstract_class_declaration", SymbolKind::Class),
        named("interface_declaration", SymbolKind::Interface),
        named("type_alias_declaration", SymbolKind::Type),
        named("enum_declaration", SymbolKind::Enum),
        named("internal_module", SymbolKind::Module),
        named("module", SymbolKind::Module),
        Define {
            node: "public_field_definition",
            kind: Some(SymbolKind::Method),
            name: Name::Field("name"),
            when: When::Is("value", FUNCTIONS),
        },
        Define { node: "pair", kind: Some(SymbolKind::Function), name: Name::Field("key"), when: When::Is("value", FUNCTIONS) },
    ],
    wrappers: &["export_statement", "ambient_declaration", "lexical_declaration", "variable_declaration", "expression_statement"],
    attributes: &["decorator"],
    comments: COMMENTS,
    docs: DOCS,
    imports: IMPORTS,
    calls: CALLS_OF_TYPESCRIPT,
    bodies: &["body"],
    tokens: None,
};

/// Those without the elements of JSX, which this grammar does not have.
const CALLS_OF_TYPESCRIPT: &[(&str, super::super::language::Callee)] = CALLS.split_at(2).0;

pub(super) const TSX: Language =
    Language { name: "tsx", extensions: &["tsx"], grammar: || tree_sitter_typescript::LANGUAGE_TSX.into(), calls: CALLS, ..TYPESCRIPT };
