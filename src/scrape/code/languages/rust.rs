//! Rust.

use tree_sitter::Node;

use super::super::language::{Callee, Define, Docs, Language, Name, When, children, import, is_full, is_too_long, named, text_of};
use crate::store::{ImportFact, SymbolKind};

/// Lists in lists of a `use`; what is deeper is passed over.
const MAX_USE_DEPTH: usize = 16;

pub(super) const RUST: Language = Language {
    name: "rust",
    extensions: &["rs"],
    grammar: || tree_sitter_rust::LANGUAGE.into(),
    joint: "::",
    defines: &[
        named("function_item", SymbolKind::Function),
        named("function_signature_item", SymbolKind::Function),
        named("struct_item", SymbolKind::Struct),
        named("enum_item", SymbolKind::Enum),
        named("union_item", SymbolKind::Union),
        named("trait_item", SymbolKind::Trait),
        named("type_item", SymbolKind::Type),
        named("const_item", SymbolKind::Constant),
        named("static_item", SymbolKind::Constant),
        named("macro_definition", SymbolKind::Macro),
        Define { node: "mod_item", kind: Some(SymbolKind::Module), name: Name::Field("name"), when: When::Has("body") },
        Define { node: "impl_item", kind: None, name: Name::Field("type"), when: When::Always },
    ],
    wrappers: &[],
    attributes: &["attribute_item"],
    comments: &["line_comment", "block_comment"],
    docs: Docs::Marked(&["///", "/**"]),
    imports: &[("use_declaration", uses), ("extern_crate_declaration", extern_crate)],
    calls: &[("call_expression", Callee::Field("function")), ("macro_invocation", Callee::Field("macro"))],
    bodies: &["body"],
    tokens: Some("token_tree"),
};

fn uses(node: Node<'_>, text: &str, out: &mut Vec<ImportFact>) {
    if let Some(tree) = node.child_by_field_name("argument") {
        tree_of(tree, "", text, out, 0);
    }
}

fn extern_crate(node: Node<'_>, text: &str, out: &mut Vec<ImportFact>) {
    if let Some(name) = node.child_by_field_name("name") {
        let alias = node.child_by_field_name("alias").unwrap_or(name);
        out.push(import(node, text_of(name, text), text_of(alias, text)));
    }
}

/// The names of a tree of `use`, below `prefix`.
fn tree_of(node: Node<'_>, prefix: &str, text: &str, out: &mut Vec<ImportFact>, depth: usize) {
    if depth > MAX_USE_DEPTH || is_too_long(prefix) || is_full(out) {
        return;
    }
    let below = |name: &str| if prefix.is_empty() { name.to_owned() } else { format!("{prefix}::{name}") };
    match node.kind() {
        "use_list" => {
            for child in children(node) {
                tree_of(child, prefix, text, out, depth + 1);
            }
        }
        "scoped_use_list" => {
            let path = node.child_by_field_name("path").map_or(prefix.to_owned(), |path| below(text_of(path, text)));
            if let Some(list) = node.child_by_field_name("list") {
                tree_of(list, &path, text, out, depth + 1);
            }
        }
        "use_wildcard" => {
            let path = text_of(node, text).trim_end_matches('*').trim_end_matches("::");
            out.push(import(node, format!("{}::*", below(path)), ""));
        }
        "use_as_clause" => {
            if let (Some(path), Some(alias)) = (node.child_by_field_name("path"), node.child_by_field_name("alias")) {
                out.push(import(node, below(text_of(path, text)), text_of(alias, text)));
            }
        }
        "self" => {
            out.push(import(node, prefix, prefix.rsplit("::").next().unwrap_or_default()));
        }
        "identifier" | "scoped_identifier" | "crate" | "super" => {
            let path = below(text_of(node, text));
            out.push(import(node, &path, path.rsplit("::").next().unwrap_or_default()));
        }
        _ => {}
    }
}
