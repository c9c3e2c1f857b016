//! Scala.

use tree_sitter::Node;

use super::super::language::{Callee, Define, Docs, Language, Name, When, import, is_full, is_too_long, named, text_of};
use crate::store::{ImportFact, SymbolKind};

pub(super) const SCALA: Language = Language {
    name: "scala",
    extensions: &["scala"],
    grammar: || tree_sitter_scala::LANGUAGE.into(),
    joint: ".",
    defines: &[
        named("class_definition", SymbolKind::Class),
        named("object_definition", SymbolKind::Class),
        named("trait_definition", SymbolKind::Trait),
        named("enum_definition", SymbolKind::Enum),
        named("function_definition", SymbolKind::Function),
        named("function_declaration", SymbolKind::Function),
        named("type_definition", SymbolKind::Type),
        Define {
            node: "val_definition",
            kind: Some(SymbolKind::Constant),
            name: Name::Field("pattern"),
            when: When::Is("pattern", &["identifier"]),
        },
    ],
    wrappers: &[],
    attributes: &["annotation"],
    comments: &["comment", "block_comment"],
    docs: Docs::Marked(&["/**"]),
    imports: &[("import_declaration", imports)],
    calls: &[
        ("call_expression", Callee::Field("function")),
        ("instance_expression", Callee::Child(&["type_identifier", "generic_type", "stable_type_identifier"])),
    ],
    bodies: &["body", "value"],
    tokens: None,
};

/// `import a.b`, `import a.{b, c => d}`, `import a._`
fn imports(node: Node<'_>, text: &str, out: &mut Vec<ImportFact>) {
    let words = text_of(node, text).trim_start_matches("import").trim();
    let (prefix, names) = match words.split_once('{') {
        Some((prefix, names)) => (prefix.trim().trim_end_matches('.'), names.trim_end_matches('}')),
        None => words.rsplit_once('.').unwrap_or(("", words)),
    };
    if is_too_long(prefix) {
        return;
    }
    for name in names.split(',').map(str::trim).filter(|name| !name.is_empty()) {
        if is_full(out) {
            return;
        }
        let (name, alias) = name.split_once("=>").or(name.split_once(" as ")).unwrap_or((name, name));
        let (name, alias) = (name.trim(), alias.trim());
        if matches!(name, "_" | "*") {
            out.push(import(node, format!("{prefix}.*"), ""));
        } else {
            out.push(import(node, format!("{prefix}.{name}").trim_start_matches('.'), alias));
        }
    }
}
