//! Elixir, whose definitions are calls of macros.

use tree_sitter::Node;

use super::super::language::{Callee, Define, Docs, Language, Name, Named, When, children, import, text_of};
use super::super::names;
use crate::store::{ImportFact, SymbolKind};

pub(super) const ELIXIR: Language = Language {
    name: "elixir",
    extensions: &["ex", "exs"],
    grammar: || tree_sitter_elixir::LANGUAGE.into(),
    joint: ".",
    defines: &[Define { node: "call", kind: Some(SymbolKind::Function), name: Name::Odd(definition), when: When::Always }],
    wrappers: &[],
    attributes: &["unary_operator"],
    comments: &["comment"],
    docs: Docs::Attribute { before: doc, inside: moduledoc },
    imports: &[("call", imports)],
    calls: &[("call", Callee::Hides(head)), ("call", Callee::Odd(called)), ("unary_operator", Callee::Hides(attribute))],
    bodies: &["do_block"],
    tokens: None,
};

const MODULES: &[&str] = &["defmodule", "defprotocol", "defimpl"];
const FUNCTIONS: &[&str] = &["def", "defp", "defdelegate", "defguard", "defguardp"];
const MACROS: &[&str] = &["defmacro", "defmacrop"];
/// What attributes say of functions and types.
const SPECS: &[&str] = &["spec", "callback", "macrocallback", "type", "typep", "opaque"];
const IMPORTS: &[&str] = &["alias", "import", "require", "use"];
/// Forms of the language that look like calls.
const FORMS: &[&str] = &[
    "case",
    "cond",
    "else",
    "for",
    "if",
    "quote",
    "raise",
    "receive",
    "reraise",
    "super",
    "throw",
    "try",
    "unless",
    "unquote",
    "with",
    "defstruct",
    "defexception",
    "defoverridable",
];

fn first_argument(node: Node<'_>) -> Option<Node<'_>> {
    children(node).find(|child| child.kind() == "arguments")?.named_child(0)
}

fn definition(node: Node<'_>, text: &str) -> Option<Named> {
    let target = node.child_by_field_name("target").filter(|target| target.kind() == "identifier")?;
    let word = text_of(target, text);
    if MODULES.contains(&word) {
        let name = first_argument(node).filter(|name| name.kind() == "alias")?;
        let row = name.start_position().row;
        return Some(Named { name: text_of(name, text).to_owned(), within: String::new(), row, kind: Some(SymbolKind::Module) });
    }
    let kind = if FUNCTIONS.contains(&word) { SymbolKind::Function } else { MACROS.contains(&word).then_some(SymbolKind::Macro)? };
    let mut head = first_argument(node)?;
    if head.kind() == "binary_operator" {
        head = head.child_by_field_name("left")?; // `when`
    }
    let name = if head.kind() == "call" { head.child_by_field_name("target")? } else { head };
    Some(Named { kind: Some(kind), ..names::plain(name, text).filter(|_| name.kind() == "identifier")? })
}

fn called(node: Node<'_>, text: &str) -> Option<(String, String)> {
    let (receiver, name) = names::parts(text_of(node.child_by_field_name("target")?, text), true)?;
    let known = [MODULES, FUNCTIONS, MACROS, IMPORTS, FORMS].iter().any(|words| words.contains(&name.as_str()));
    (!receiver.is_empty() || !known).then_some((receiver, name))
}

/// What a definition defines (`def add(line)`, `def add(line) when ...`, `@spec add(map) :: map`), which looks like a call of it.
fn head<'t>(node: Node<'t>, text: &str) -> Option<Node<'t>> {
    let target = text_of(node.child_by_field_name("target")?, text);
    let defines = [FUNCTIONS, MACROS, SPECS].iter().any(|words| words.contains(&target));
    defines.then(|| first_argument(node)).flatten().map(leftmost)
}

/// The name of an attribute, which looks like a call of it: `@limit 100`.
fn attribute<'t>(node: Node<'t>, text: &str) -> Option<Node<'t>> {
    text_of(node, text).starts_with('@').then(|| node.child_by_field_name("operand")).flatten().map(leftmost)
}

/// `@doc "Adds a line."`
fn doc<'t>(node: Node<'t>, text: &str) -> Option<Node<'t>> {
    string_of(node, text, "doc")
}

/// `@moduledoc "Carts."`
fn moduledoc<'t>(node: Node<'t>, text: &str) -> Option<Node<'t>> {
    string_of(node, text, "moduledoc")
}

/// The string or sigil (`~S`) of an attribute of this name; `@doc false` and `@doc since: "1.0"` have none.
fn string_of<'t>(node: Node<'t>, text: &str, name: &str) -> Option<Node<'t>> {
    let call = (node.kind() == "unary_operator").then(|| attribute(node, text)).flatten()?;
    let is_named = call.child_by_field_name("target").is_some_and(|target| text_of(target, text) == name);
    is_named.then(|| first_argument(call)).flatten().filter(|value| matches!(value.kind(), "string" | "sigil"))
}

/// What stands before all operators, such as `::` and `when` after it.
fn leftmost(mut node: Node<'_>) -> Node<'_> {
    while node.kind() == "binary_operator"
        && let Some(left) = node.child_by_field_name("left")
    {
        node = left;
    }
    node
}

fn imports(node: Node<'_>, text: &str, out: &mut Vec<ImportFact>) {
    let Some(target) = node.child_by_field_name("target").filter(|target| IMPORTS.contains(&text_of(*target, text))) else { return };
    let Some(module) = first_argument(node).filter(|module| module.kind() == "alias") else { return };
    let path = text_of(module, text);
    let brings_all = text_of(target, text) == "import" || text_of(target, text) == "use";
    out.push(import(node, path, if brings_all { "" } else { path.rsplit('.').next().unwrap_or(path) }));
}
