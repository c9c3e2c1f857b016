//! Lua.

use tree_sitter::Node;

use super::super::language::{Callee, Define, Docs, Language, Name, Named, When, children, import, named, text_of, unquoted};
use super::super::names;
use crate::store::{ImportFact, SymbolKind};

pub(super) const LUA: Language = Language {
    name: "lua",
    extensions: &["lua"],
    grammar: || tree_sitter_lua::LANGUAGE.into(),
    joint: ".",
    defines: &[
        named("function_declaration", SymbolKind::Function),
        Define { node: "assignment_statement", kind: Some(SymbolKind::Function), name: Name::Odd(assigned), when: When::Always },
        Define {
            node: "field",
            kind: Some(SymbolKind::Function),
            name: Name::Field("name"),
            when: When::Is("value", &["function_definition"]),
        },
    ],
    wrappers: &["variable_declaration"],
    attributes: &[],
    comments: &["comment"],
    docs: Docs::Any,
    imports: &[("assignment_statement", required), ("function_call", loaded)],
    calls: &[("function_call", Callee::Field("name"))],
    bodies: &["body"],
    tokens: None,
};

/// The first variable and the first value of an assignment.
fn first(node: Node<'_>) -> Option<(Node<'_>, Node<'_>)> {
    let list = |kind: &str| children(node).find(|child| child.kind() == kind).and_then(|list| list.named_child(0));
    Some((list("variable_list")?, list("expression_list")?))
}

/// `cart.add = function(line) ... end`
fn assigned(node: Node<'_>, text: &str) -> Option<Named> {
    let (variable, value) = first(node)?;
    if value.kind() == "function_definition" { names::plain(variable, text) } else { None }
}

/// The argument of a `require`.
fn argument<'a>(call: Node<'_>, text: &'a str) -> Option<&'a str> {
    let is_require =
        call.kind() == "function_call" && call.child_by_field_name("name").is_some_and(|name| text_of(name, text) == "require");
    let path = is_require.then(|| call.child_by_field_name("arguments")).flatten().and_then(|arguments| arguments.named_child(0))?;
    (path.kind() == "string").then(|| unquoted(text_of(path, text)))
}

/// `local price = require("price")`
fn required(node: Node<'_>, text: &str, out: &mut Vec<ImportFact>) {
    if let Some((variable, value)) = first(node)
        && let Some(path) = argument(value, text)
    {
        out.push(import(node, path, text_of(variable, text)));
    }
}

/// `require("price")` by itself
fn loaded(node: Node<'_>, text: &str, out: &mut Vec<ImportFact>) {
    let line = super::super::language::line_of(node.start_position().row);
    if let Some(path) = argument(node, text).filter(|_| out.last().is_none_or(|last| last.line != line)) {
        out.push(import(node, path, ""));
    }
}
