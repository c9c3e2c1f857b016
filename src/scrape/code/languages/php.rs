//! PHP.

use tree_sitter::Node;

use super::super::language::{Callee, Define, Docs, Language, Name, When, children, import, is_full, is_too_long, named, text_of};
use super::super::names;
use crate::store::{ImportFact, SymbolKind};

pub(super) const PHP: Language = Language {
    name: "php",
    extensions: &["php"],
    grammar: || tree_sitter_php::LANGUAGE_PHP.into(),
    joint: "::",
    defines: &[
        named("function_definition", SymbolKind::Function),
        named("class_declaration", SymbolKind::Class),
        named("interface_declaration", SymbolKind::Interface),
        named("trait_declaration", SymbolKind::Trait),
        named("enum_declaration", SymbolKind::Enum),
        named("method_declaration", SymbolKind::Method),
        Define { node: "const_element", kind: Some(SymbolKind::Constant), name: Name::Child(&["name"]), when: When::Always },
    ],
    wrappers: &["const_declaration"],
    attributes: &["attribute_list"],
    comments: &["comment"],
    docs: Docs::Marked(&["/**"]),
    imports: &[("namespace_use_declaration", imports)],
    calls: &[
        ("function_call_expression", Callee::Field("function")),
        ("member_call_expression", Callee::Parts("object", "name")),
        ("nullsafe_member_call_expression", Callee::Parts("object", "name")),
        ("scoped_call_expression", Callee::Odd(scoped)),
        ("object_creation_expression", Callee::Child(&["name", "qualified_name"])),
    ],
    bodies: &["body"],
    tokens: None,
};

/// `Cart::open()`
fn scoped(node: Node<'_>, text: &str) -> Option<(String, String)> {
    let (scope, name) = (node.child_by_field_name("scope")?, node.child_by_field_name("name")?);
    let (_, scope) = names::parts(text_of(scope, text), false)?;
    Some((format!("{scope}::"), text_of(name, text).to_owned()))
}

/// `use A\B;`, `use A\B as C;`, `use A\{B, C};`
fn imports(node: Node<'_>, text: &str, out: &mut Vec<ImportFact>) {
    let prefix = children(node).find(|child| child.kind() == "namespace_name").map_or("", |prefix| text_of(prefix, text));
    if is_too_long(prefix) {
        return;
    }
    let prefix = if prefix.is_empty() { String::new() } else { format!("{prefix}\\") };
    let group = node.child_by_field_name("body");
    for clause in children(group.unwrap_or(node)).filter(|child| child.kind() == "namespace_use_clause") {
        if is_full(out) {
            return;
        }
        let Some(path) = children(clause).find(|child| matches!(child.kind(), "name" | "qualified_name")) else { continue };
        let path = text_of(path, text).trim_start_matches('\\');
        let last = path.rsplit('\\').next().unwrap_or(path);
        let alias = clause.child_by_field_name("alias").map_or(last, |alias| text_of(alias, text));
        out.push(import(clause, format!("{prefix}{path}"), alias));
    }
}
