//! Shell scripts.

use tree_sitter::Node;

use super::super::language::{Callee, Define, Docs, Language, Name, Named, When, children, import, text_of, unquoted};
use super::super::names::NAME_CHARS;
use crate::store::{ImportFact, SymbolKind};

pub(super) const BASH: Language = Language {
    name: "bash",
    extensions: &["sh", "bash"],
    grammar: || tree_sitter_bash::LANGUAGE.into(),
    joint: ".",
    defines: &[Define { node: "function_definition", kind: Some(SymbolKind::Function), name: Name::Odd(function), when: When::Always }],
    wrappers: &[],
    attributes: &[],
    comments: &["comment"],
    docs: Docs::Any,
    imports: &[("command", sourced)],
    calls: &[("command", Callee::Odd(command))],
    bodies: &["body"],
    tokens: None,
};

/// Words of the shell itself.
const BUILTINS: &[&str] = &[
    "alias", "break", "cd", "continue", "declare", "echo", "eval", "exec", "exit", "export", "false", "local", "printf", "pwd", "read",
    "readonly", "return", "set", "shift", "source", "test", "trap", "true", "type", "unset", "wait",
];

/// A function is called by its whole word: `take-lock`, `log::error`.
fn function(node: Node<'_>, text: &str) -> Option<Named> {
    let word = node.child_by_field_name("name")?;
    let name = text_of(word, text);
    let fits = name.chars().nth(NAME_CHARS).is_none() && !name.contains(|c: char| c.is_whitespace() || c.is_control());
    fits.then(|| Named { name: name.to_owned(), within: String::new(), row: word.end_position().row, kind: None })
}

/// A command that is a plain word: a function of the script, or a program.
fn command(node: Node<'_>, text: &str) -> Option<(String, String)> {
    let name = text_of(node.child_by_field_name("name")?, text);
    let plain = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | ':');
    let is_word =
        name.chars().nth(NAME_CHARS).is_none() && name.starts_with(|c: char| c.is_alphabetic() || c == '_') && name.chars().all(plain);
    (is_word && !BUILTINS.contains(&name)).then(|| (String::new(), name.to_owned()))
}

/// `source lib.sh`, `. lib.sh`
fn sourced(node: Node<'_>, text: &str, out: &mut Vec<ImportFact>) {
    let Some(name) = node.child_by_field_name("name") else { return };
    if matches!(text_of(name, text), "source" | ".") {
        out.extend(children(node).find(|child| child.id() != name.id()).map(|path| import(node, unquoted(text_of(path, text)), "")));
    }
}
