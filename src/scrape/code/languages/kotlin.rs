//! Kotlin.

use tree_sitter::Node;

use super::super::language::{Callee, Define, Docs, Language, Name, Named, When, children, import, named, text_of};
use super::super::names;
use crate::store::{ImportFact, SymbolKind};

pub(super) const KOTLIN: Language = Language {
    name: "kotlin",
    extensions: &["kt", "kts"],
    grammar: || tree_sitter_kotlin_ng::LANGUAGE.into(),
    joint: ".",
    defines: &[
        Define { node: "class_declaration", kind: Some(SymbolKind::Class), name: Name::Odd(class), when: When::Always },
        named("object_declaration", SymbolKind::Class),
        named("function_declaration", SymbolKind::Function),
        Define { node: "type_alias", kind: Some(SymbolKind::Type), name: Name::Field("type"), when: When::Always },
    ],
    wrappers: &[],
    attributes: &["annotation"],
    comments: &["line_comment", "block_comment"],
    docs: Docs::Marked(&["/**"]),
    imports: &[("import", imports)],
    calls: &[("call_expression", Callee::Child(&["identifier", "navigation_expression"]))],
    bodies: &["function_body", "class_body", "enum_class_body"],
    tokens: None,
};

/// A class, an interface or an enum, which are one kind of node.
fn class(node: Node<'_>, text: &str) -> Option<Named> {
    let name = node.child_by_field_name("name")?;
    let mut cursor = node.walk();
    let is_interface = node.children(&mut cursor).any(|child| child.kind() == "interface");
    let is_enum = children(node).any(|child| child.kind() == "enum_class_body");
    let kind = if is_interface { Some(SymbolKind::Interface) } else { is_enum.then_some(SymbolKind::Enum) };
    Some(Named { kind, ..names::plain(name, text)? })
}

fn imports(node: Node<'_>, text: &str, out: &mut Vec<ImportFact>) {
    let words = text_of(node, text);
    let Some(path) = children(node).find(|child| child.kind() == "qualified_identifier") else { return };
    let path_text = text_of(path, text);
    let alias = children(node).find(|child| child.kind() == "identifier" && child.start_byte() > path.end_byte());
    if words.trim_end().ends_with('*') {
        out.push(import(node, format!("{path_text}.*"), ""));
    } else {
        let name = alias.map_or(path_text.rsplit('.').next().unwrap_or(path_text), |alias| text_of(alias, text));
        out.push(import(node, path_text, name));
    }
}
