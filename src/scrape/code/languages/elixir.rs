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
    attributes: &[],
    comments: &["comment"],
    docs: Docs::Any,
    imports: &[("call", imports)],
    calls: &[("call", Callee::Odd(called))],
    bodies: &["do_block"],
    tokens: None,
};

const MODULES: &[&str] = &["defmodule", "defprotocol", "defimpl"];
const FUNCTIONS: &[&str] = &["def", "defp", "defdelegate", "defguard", "defguardp"];
const MACROS: &[&str] = &["defmacro", "defmacrop"];
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
    if is_head(node, text) {
        return None;
    }
    let known = [MODULES, FUNCTIONS, MACROS, IMPORTS, FORMS].iter().any(|words| words.contains(&name.as_str()));
    (!receiver.is_empty() || !known).then_some((receiver, name))
}

/// Whether a call is what a definition defines (`def add(line)`, `def add(line) when ...`), or an attribute (`@limit 100`).
fn is_head(node: Node<'_>, text: &str) -> bool {
    let mut around = node.parent();
    if around.is_some_and(|around| {
        around.kind() == "binary_operator" && around.child_by_field_name("left").is_some_and(|left| left.id() == node.id())
    }) {
        around = around.and_then(|around| around.parent());
    }
    match around {
        Some(around) if around.kind() == "unary_operator" => text_of(around, text).starts_with('@'),
        Some(around)
            if around.kind() == "arguments"
                && around.named_child(0).is_some_and(|first| first.byte_range().contains(&node.start_byte())) =>
        {
            let target = around.parent().and_then(|call| call.child_by_field_name("target")).map(|target| text_of(target, text));
            target.is_some_and(|target| FUNCTIONS.contains(&target) || MACROS.contains(&target))
        }
        _ => false,
    }
}

fn imports(node: Node<'_>, text: &str, out: &mut Vec<ImportFact>) {
    let Some(target) = node.child_by_field_name("target").filter(|target| IMPORTS.contains(&text_of(*target, text))) else { return };
    let Some(module) = first_argument(node).filter(|module| module.kind() == "alias") else { return };
    let path = text_of(module, text);
    let brings_all = text_of(target, text) == "import" || text_of(target, text) == "use";
    out.push(import(node, path, if brings_all { "" } else { path.rsplit('.').next().unwrap_or(path) }));
}
