//! What is to be known of a language: its grammar, and which kinds of its nodes mean what.

use tree_sitter::Node;

use super::{MAX_IMPORTS, TARGET_BYTES};
use crate::store::{ImportFact, SymbolKind};

/// A language, as data. The names are those of its grammar's nodes and fields; a test holds them to it.
pub(super) struct Language {
    /// In lower case, as the store and filters know it.
    pub name: &'static str,
    /// Extensions of its files, in lower case.
    pub extensions: &'static [&'static str],
    pub grammar: fn() -> tree_sitter::Language,
    /// What stands between the parts of a qualified name.
    pub joint: &'static str,
    pub defines: &'static [Define],
    /// Nodes around a definition that belong to it: decorators, `export`, `template<...>`.
    pub wrappers: &'static [&'static str],
    /// Nodes before a definition, or first in it, that belong to it and are no part of its signature.
    pub attributes: &'static [&'static str],
    pub comments: &'static [&'static str],
    pub docs: Docs,
    pub imports: &'static [(&'static str, Imports)],
    pub calls: &'static [(&'static str, Callee)],
    /// Fields that hold the body of a definition: its signature ends there.
    pub bodies: &'static [&'static str],
    /// The node of text that the grammar leaves as tokens (arguments of macros), in which a name before a parenthesis is a call.
    pub tokens: Option<&'static str>,
}

/// A node that defines something.
pub(super) struct Define {
    pub node: &'static str,
    /// Nothing for a block that only gives its contents a name around them (`impl`).
    pub kind: Option<SymbolKind>,
    pub name: Name,
    pub when: When,
}

/// Where the name of a definition is.
pub(super) enum Name {
    /// In this field, without type parameters.
    Field(&'static str),
    /// The first child of one of these kinds.
    Child(&'static [&'static str]),
    /// At the end of the chain of declarators that begins in this field, as in C.
    Declarator(&'static str),
    /// As this function finds it.
    Odd(fn(Node<'_>, &str) -> Option<Named>),
}

/// When a node of that kind is a definition.
pub(super) enum When {
    /// Always.
    Always,
    /// If it has this field.
    Has(&'static str),
    /// Outside of functions, and it only declares: the body is elsewhere.
    Declares,
    /// If the node in the field is of one of these kinds.
    Is(&'static str, &'static [&'static str]),
}

/// A name that was found.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Named {
    pub name: String,
    /// What the name itself says about where it belongs: `Foo` of `Foo::bar`.
    pub within: String,
    /// Row of the name, from 0.
    pub row: usize,
    /// In place of the table's kind.
    pub kind: Option<SymbolKind>,
}

/// Which comments before a definition are its documentation.
#[derive(Clone, Copy)]
pub(super) enum Docs {
    /// Those that begin with one of these.
    Marked(&'static [&'static str]),
    /// All that stand directly before it.
    Any,
    /// The string that its body begins with; `body`, `expression_statement` and `string` as in Python.
    Docstring,
    /// The string of an attribute before it, else comments that stand directly there; the string of an attribute in it documents a module.
    Attribute {
        /// The string of an attribute that documents what follows.
        before: StringOf,
        /// The string of an attribute that documents what it stands in.
        inside: StringOf,
    },
}

/// The string in a node that documents, if it does.
pub(super) type StringOf = for<'t> fn(Node<'t>, &str) -> Option<Node<'t>>;

/// Reads the imports of a node. One that can bring in many names of one path looks at [`is_too_long`] before it joins path and names, and at
/// [`is_full`] before each.
pub(super) type Imports = fn(Node<'_>, &str, &mut Vec<ImportFact>);

/// Where a call names what it calls.
pub(super) enum Callee {
    /// In this field stands an expression that ends with the name.
    Field(&'static str),
    /// The first child of one of these kinds ends with the name.
    Child(&'static [&'static str]),
    /// Receiver and name have fields of their own.
    Parts(&'static str, &'static str),
    /// As this function finds it: receiver and name.
    Odd(fn(Node<'_>, &str) -> Option<(String, String)>),
    /// This is no call, and neither is the node below it that this function finds: it only looks like one. Asked from above, since a node
    /// finds its parent only by a way from the root.
    Hides(for<'t> fn(Node<'t>, &str) -> Option<Node<'t>>),
}

/// A definition that is always one, named by the field `name`.
pub(super) const fn named(node: &'static str, kind: SymbolKind) -> Define {
    Define { node, kind: Some(kind), name: Name::Field("name"), when: When::Always }
}

/// The text of a node.
pub(super) fn text_of<'a>(node: Node<'_>, text: &'a str) -> &'a str {
    text.get(node.byte_range()).unwrap_or_default()
}

/// The named children of a node.
pub(super) fn children(node: Node<'_>) -> impl Iterator<Item = Node<'_>> {
    let mut cursor = node.walk();
    let mut more = cursor.goto_first_child();
    std::iter::from_fn(move || {
        while more {
            let child = cursor.node();
            more = cursor.goto_next_sibling();
            if child.is_named() {
                return Some(child);
            }
        }
        None
    })
}

/// An import of one target on the node's line. What is too long has no target, and is dropped by whoever asked.
pub(super) fn import(node: Node<'_>, target: impl AsRef<str>, name: impl AsRef<str>) -> ImportFact {
    let (target, name) = (target.as_ref(), name.as_ref());
    let (target, name) = if is_too_long(target) || is_too_long(name) { ("", "") } else { (target, name) };
    ImportFact { target: target.to_owned(), name: name.to_owned(), line: line_of(node.start_position().row) }
}

/// Whether a path can be no import's target, nor the beginning of one.
pub(super) fn is_too_long(path: &str) -> bool {
    path.len() > TARGET_BYTES
}

/// Whether a file has all the imports that are kept of it, and one more, by which that is seen.
pub(super) fn is_full(imports: &[ImportFact]) -> bool {
    imports.len() > MAX_IMPORTS
}

/// A row from 0 as a line from 1.
pub(super) fn line_of(row: usize) -> u32 {
    u32::try_from(row).unwrap_or(u32::MAX - 1) + 1
}

/// Text without the quotes or brackets around it.
pub(super) fn unquoted(text: &str) -> &str {
    text.trim().trim_matches(['"', '\'', '`', '<', '>'])
}
