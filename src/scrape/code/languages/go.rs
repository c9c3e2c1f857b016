//! Go.

use tree_sitter::Node;

use super::super::language::{Callee, Define, Docs, Language, Name, Named, When, children, import, named, text_of, unquoted};
use crate::store::{ImportFact, SymbolKind};

pub(super) const GO: Language = Language {
    name: "go",
    extensions: &["go"],
    grammar: || tree_sitter_go::LANGUAGE.into(),
    joint: ".",
    defines: &[
        named("function_declaration", SymbolKind::Function),
        Define { node: "method_declaration", kind: Some(SymbolKind::Method), name: Name::Odd(method), when: When::Always },
        Define { node: "type_spec", kind: Some(SymbolKind::Struct), name: Name::Field("name"), when: When::Is("type", &["struct_type"]) },
        Define {
            node: "type_spec",
            kind: Some(SymbolKind::Interface),
            name: Name::Field("name"),
            when: When::Is("type", &["interface_type"]),
        },
        named("type_spec", SymbolKind::Type),
        named("type_alias", SymbolKind::Type),
        named("const_spec", SymbolKind::Constant),
        named("var_spec", SymbolKind::Constant),
    ],
    wrappers: &["type_declaration", "const_declaration", "var_declaration"],
    attributes: &[],
    comments: &["comment"],
    docs: Docs::Any,
    imports: &[("import_spec", imports)],
    calls: &[("call_expression", Callee::Field("function"))],
    bodies: &["body"],
    tokens: None,
};

/// `func (cart *Cart[T]) Add(...)` belongs to `Cart`.
fn method(node: Node<'_>, text: &str) -> Option<Named> {
    let name = node.child_by_field_name("name")?;
    let receiver = children(node.child_by_field_name("receiver")?).find_map(|parameter| parameter.child_by_field_name("type"))?;
    let of = text_of(receiver, text).trim_start_matches(['*', ' ']);
    let of = of.split(['[', ' ']).next().unwrap_or(of);
    Some(Named { name: text_of(name, text).to_owned(), within: of.to_owned(), row: name.start_position().row, kind: None })
}

fn imports(node: Node<'_>, text: &str, out: &mut Vec<ImportFact>) {
    let Some(path) = node.child_by_field_name("path") else { return };
    let path = unquoted(text_of(path, text));
    let name = match node.child_by_field_name("name") {
        Some(name) if name.kind() == "dot" => "",
        Some(name) => text_of(name, text),
        None => path.rsplit('/').next().unwrap_or(path),
    };
    out.push(import(node, path, name));
}
