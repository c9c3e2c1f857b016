//! Ruby.

use tree_sitter::Node;

use super::super::language::{Callee, Define, Docs, Language, Name, Named, When, children, import, named, text_of, unquoted};
use crate::store::{ImportFact, SymbolKind};

pub(super) const RUBY: Language = Language {
    name: "ruby",
    extensions: &["rb"],
    grammar: || tree_sitter_ruby::LANGUAGE.into(),
    joint: "::",
    defines: &[
        named("method", SymbolKind::Function),
        Define { node: "singleton_method", kind: Some(SymbolKind::Method), name: Name::Odd(singleton), when: When::Always },
        named("class", SymbolKind::Class),
        named("module", SymbolKind::Module),
        Define { node: "assignment", kind: Some(SymbolKind::Constant), name: Name::Field("left"), when: When::Is("left", &["constant"]) },
    ],
    wrappers: &[],
    attributes: &[],
    comments: &["comment"],
    docs: Docs::Any,
    imports: &[("call", requires)],
    calls: &[("call", Callee::Parts("receiver", "method"))],
    bodies: &["body"],
    tokens: None,
};

/// `def self.open`
fn singleton(node: Node<'_>, text: &str) -> Option<Named> {
    let name = node.child_by_field_name("name")?;
    Some(Named { name: text_of(name, text).to_owned(), within: String::new(), row: name.start_position().row, kind: None })
}

fn requires(node: Node<'_>, text: &str, out: &mut Vec<ImportFact>) {
    let method = node.child_by_field_name("method").map(|method| text_of(method, text));
    if node.child_by_field_name("receiver").is_none() && matches!(method, Some("require" | "require_relative" | "load")) {
        let argument = node.child_by_field_name("arguments").and_then(|arguments| children(arguments).next());
        if let Some(path) = argument.filter(|argument| argument.kind() == "string") {
            out.push(import(node, unquoted(text_of(path, text)), ""));
        }
    }
}
