//! Python.

use tree_sitter::Node;

use super::super::language::{Callee, Define, Docs, Language, Name, When, children, import, is_full, is_too_long, named, text_of};
use crate::store::{ImportFact, SymbolKind};

pub(super) const PYTHON: Language = Language {
    name: "python",
    extensions: &["py", "pyi"],
    grammar: || tree_sitter_python::LANGUAGE.into(),
    joint: ".",
    defines: &[
        named("function_definition", SymbolKind::Function),
        named("class_definition", SymbolKind::Class),
        Define { node: "assignment", kind: Some(SymbolKind::Constant), name: Name::Field("left"), when: When::Is("left", &["identifier"]) },
    ],
    wrappers: &["decorated_definition", "expression_statement"],
    attributes: &["decorator"],
    comments: &["comment"],
    docs: Docs::Docstring,
    imports: &[("import_statement", modules), ("import_from_statement", names), ("future_import_statement", nothing)],
    calls: &[("call", Callee::Field("function"))],
    bodies: &["body"],
    tokens: None,
};

/// `import a.b, c as d`
fn modules(node: Node<'_>, text: &str, out: &mut Vec<ImportFact>) {
    for child in children(node) {
        match child.kind() {
            "dotted_name" => {
                let path = text_of(child, text);
                // `import a.b` makes `a` known; calls say `a.b.f()`, whose receiver is known by its last name.
                out.push(import(child, path, path.rsplit('.').next().unwrap_or(path)));
            }
            "aliased_import" => alias(child, "", text, out),
            _ => {}
        }
    }
}

/// `from a.b import c, d as e`
fn names(node: Node<'_>, text: &str, out: &mut Vec<ImportFact>) {
    let Some(module) = node.child_by_field_name("module_name") else { return };
    let path = text_of(module, text);
    if is_too_long(path) {
        return;
    }
    let prefix = if path.ends_with('.') { path.to_owned() } else { format!("{path}.") };
    for child in children(node).filter(|child| child.id() != module.id()) {
        if is_full(out) {
            return;
        }
        match child.kind() {
            "dotted_name" => out.push(import(child, format!("{prefix}{}", text_of(child, text)), text_of(child, text))),
            "aliased_import" => alias(child, &prefix, text, out),
            "wildcard_import" => out.push(import(child, format!("{prefix}*"), "")),
            _ => {}
        }
    }
}

fn alias(node: Node<'_>, prefix: &str, text: &str, out: &mut Vec<ImportFact>) {
    if let (Some(name), Some(alias)) = (node.child_by_field_name("name"), node.child_by_field_name("alias")) {
        out.push(import(node, format!("{prefix}{}", text_of(name, text)), text_of(alias, text)));
    }
}

/// `from __future__ import annotations` brings nothing in.
fn nothing(_: Node<'_>, _: &str, _: &mut Vec<ImportFact>) {}
