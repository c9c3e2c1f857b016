//! Java.

use tree_sitter::Node;

use super::super::language::{Callee, Docs, Language, children, import, named, text_of};
use crate::store::{ImportFact, SymbolKind};

pub(super) const JAVA: Language = Language {
    name: "java",
    extensions: &["java"],
    grammar: || tree_sitter_java::LANGUAGE.into(),
    joint: ".",
    defines: &[
        named("class_declaration", SymbolKind::Class),
        named("record_declaration", SymbolKind::Struct),
        named("interface_declaration", SymbolKind::Interface),
        named("annotation_type_declaration", SymbolKind::Interface),
        named("enum_declaration", SymbolKind::Enum),
        named("method_declaration", SymbolKind::Method),
        named("constructor_declaration", SymbolKind::Method),
    ],
    wrappers: &[],
    attributes: &["annotation", "marker_annotation"],
    comments: &["line_comment", "block_comment"],
    docs: Docs::Marked(&["/**"]),
    imports: &[("import_declaration", imports)],
    calls: &[("method_invocation", Callee::Parts("object", "name")), ("object_creation_expression", Callee::Field("type"))],
    bodies: &["body"],
    tokens: None,
};

fn imports(node: Node<'_>, text: &str, out: &mut Vec<ImportFact>) {
    let Some(path) = children(node).find(|child| child.kind() == "scoped_identifier" || child.kind() == "identifier") else { return };
    let path = text_of(path, text);
    if children(node).any(|child| child.kind() == "asterisk") {
        out.push(import(node, format!("{path}.*"), ""));
    } else {
        out.push(import(node, path, path.rsplit('.').next().unwrap_or(path)));
    }
}
