//! Names out of syntax: of what is defined, and of what is called.

use tree_sitter::Node;

use super::language::{Callee, Language, Name, Named, children, text_of};

/// Characters of a receiver that are kept, its end.
const RECEIVER_CHARS: usize = 80;
/// Declarators in one another: `*(*f)[2]`.
const MAX_DECLARATORS: usize = 16;
/// Bytes at the end of an expression that are looked at. In a chain of calls each has all before it as its beginning.
const EXPRESSION_BYTES: usize = 4_000;
/// Characters of a name; what is longer is none.
pub(super) const NAME_CHARS: usize = 200;

/// The name of a definition.
pub(super) fn of_definition(rule: &Name, node: Node<'_>, text: &str) -> Option<Named> {
    match rule {
        Name::Field(field) => plain(node.child_by_field_name(field)?, text),
        Name::Child(kinds) => plain(children(node).find(|child| kinds.contains(&child.kind()))?, text),
        Name::Declarator(field) => declarator(node.child_by_field_name(field)?, text),
        Name::Odd(find) => find(node, text),
    }
}

/// A node that is a name: `bar`, `Foo::bar`, `Foo.bar`, `Vec<T>`.
pub(super) fn plain(node: Node<'_>, text: &str) -> Option<Named> {
    let (within, name) = parts(text_of(node, text).trim_end(), true)?;
    let within = within.trim_end_matches("::").to_owned();
    let within = if within == "?" { String::new() } else { within };
    Some(Named { name, within, row: node.end_position().row, kind: None })
}

/// The name at the end of a chain of declarators.
fn declarator(mut node: Node<'_>, text: &str) -> Option<Named> {
    for _ in 0..MAX_DECLARATORS {
        match node.kind() {
            "identifier" | "field_identifier" | "type_identifier" | "qualified_identifier" | "primitive_type" => return plain(node, text),
            "destructor_name" | "operator_name" | "operator_cast" => {
                let name = text_of(node, text).split('(').next().unwrap_or_default().split_whitespace().collect::<Vec<_>>().join(" ");
                return Some(Named { name, within: String::new(), row: node.start_position().row, kind: None });
            }
            _ => {}
        }
        node = inner_declarator(node)?;
    }
    None
}

/// The declarator in a declarator; a reference has it without a field.
fn inner_declarator(node: Node<'_>) -> Option<Node<'_>> {
    node.child_by_field_name("declarator").or_else(|| children(node).find(|child| child.kind().ends_with("declarator")))
}

/// Whether a chain of declarators declares a function.
pub(super) fn declares_function(node: Node<'_>) -> bool {
    let mut node = node.child_by_field_name("declarator");
    for _ in 0..MAX_DECLARATORS {
        match node {
            Some(inner) if inner.kind() == "function_declarator" => {
                // `int (*f)(int)` declares a variable.
                return !children(inner).any(|child| child.kind() == "parenthesized_declarator");
            }
            Some(inner) => node = inner_declarator(inner),
            None => return false,
        }
    }
    false
}

/// What a call calls: receiver and name.
pub(super) fn of_call(rule: &Callee, node: Node<'_>, text: &str, language: &Language) -> Option<(String, String)> {
    let marks = matches!(language.name, "ruby" | "elixir");
    // `of[T]` names a function there, and elsewhere what a list holds.
    let in_brackets = matches!(language.name, "scala" | "go");
    let parts_of = |node: Node<'_>| {
        let expression = tail(text_of(node, text), EXPRESSION_BYTES);
        parts(if in_brackets { without_brackets(expression) } else { expression }, marks)
    };
    match rule {
        Callee::Field(field) => parts_of(node.child_by_field_name(field)?),
        Callee::Child(kinds) => parts_of(children(node).find(|child| kinds.contains(&child.kind()))?),
        Callee::Parts(receiver, name) => {
            let (_, name) = parts(text_of(node.child_by_field_name(name)?, text), marks)?;
            let receiver = match node.child_by_field_name(receiver) {
                Some(receiver) => path(text_of(receiver, text)),
                None => String::new(),
            };
            Some((receiver, name))
        }
        Callee::Odd(find) => find(node, text),
        Callee::Hides(_) => None,
    }
}

/// Receiver and name at the end of an expression: `("self", "open")` of `self.open`, `("Store::", "open")` of `Store::open::<u8>`. `marks` says
/// that names may end with `?` or `!`.
pub(super) fn parts(expression: &str, marks: bool) -> Option<(String, String)> {
    let expression = without_arguments(tail(expression, EXPRESSION_BYTES).trim_end());
    let bare = if marks { expression.trim_end_matches(['?', '!']) } else { expression };
    let start = bare.char_indices().rev().find(|(_, c)| !in_name(*c)).map_or(0, |(at, c)| at + c.len_utf8());
    let name = &expression[start..];
    if bare.len() == start || name.starts_with(|c: char| c.is_ascii_digit()) || name.chars().count() > NAME_CHARS {
        return None;
    }
    let before = expression[..start].trim_end();
    // `this.#check`: the mark of a private name is no part of it.
    let before = before.strip_suffix('#').filter(|before| before.ends_with('.')).unwrap_or(before);
    let receiver = if let Some(rest) = before.strip_suffix("::") {
        let path = path(rest);
        if path.is_empty() { String::new() } else { format!("{path}::") }
    } else if let Some(rest) =
        before.strip_suffix("->").or(before.strip_suffix('.')).or(before.strip_suffix(':')).or(before.strip_suffix('\\'))
    {
        path(rest.trim_end_matches(['?', '!', '&']))
    } else {
        String::new()
    };
    Some((receiver, name.to_owned()))
}

/// The path of names at the end of an expression, `?` if it ends with no name.
fn path(expression: &str) -> String {
    let expression = without_arguments(tail(expression, EXPRESSION_BYTES).trim_end());
    // Python asks for it with a call.
    if expression.strip_prefix("super(").and_then(|rest| rest.strip_suffix(')')).is_some_and(|inside| !inside.contains(['(', ')'])) {
        return "super".to_owned();
    }
    let in_path = |c: char| in_name(c) || matches!(c, '.' | ':' | '\\');
    let start = expression.char_indices().rev().find(|(_, c)| !in_path(*c)).map_or(0, |(at, c)| at + c.len_utf8());
    let found = expression[start..].trim_start_matches(['.', ':', '\\']);
    if found.is_empty() {
        return "?".to_owned();
    }
    // `f().a.b`: what `a` belongs to is not known, and neither is `b`.
    let cut_off = expression[..start].ends_with([')', ']', '}', '"', '\'', '?', '!']) && !found.is_empty();
    let last = found.rsplit(['.', '\\']).next().unwrap_or(found);
    let kept = if cut_off || !found.contains("::") { last } else { found };
    let skipped = kept.chars().count().saturating_sub(RECEIVER_CHARS);
    kept.chars().skip(skipped).collect()
}

/// An expression without the brackets at its end.
fn without_brackets(expression: &str) -> &str {
    let mut depth = 0;
    if expression.ends_with(']') {
        for (at, byte) in expression.bytes().enumerate().rev() {
            match byte {
                b']' => depth += 1,
                b'[' => depth -= 1,
                _ => {}
            }
            if depth == 0 {
                return if at == 0 { expression } else { &expression[..at] };
            }
        }
    }
    expression
}

/// The end of a text, of about so many bytes.
pub(super) fn tail(text: &str, bytes: usize) -> &str {
    &text[text.ceil_char_boundary(text.len().saturating_sub(bytes))..]
}

/// An expression without the type arguments at its end.
fn without_arguments(expression: &str) -> &str {
    if !expression.ends_with('>') || expression.ends_with("->") {
        return expression;
    }
    let mut depth = 0;
    for (at, c) in expression.char_indices().rev() {
        match c {
            '>' => depth += 1,
            '<' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return expression[..at].trim_end().trim_end_matches("::");
        }
    }
    expression
}

fn in_name(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '_' | '$' | '@')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn brackets_at_the_end_are_type_arguments() {
        for (expression, expected) in
            [("of[T]", "of"), ("Map[String, List[Int]]", "Map"), ("a[T]().b[U]", "a[T]().b"), ("[T]", "[T]"), ("f]", "f]"), ("f[T", "f[T")]
        {
            assert_eq!(without_brackets(expression), expected, "{expression}");
        }
    }

    #[test]
    fn a_callee_is_a_receiver_and_a_name() {
        for (expression, expected) in [
            ("open", Some(("", "open"))),
            ("self.open", Some(("self", "open"))),
            ("self.store.open", Some(("store", "open"))),
            ("Store::open", Some(("Store::", "open"))),
            ("crate::store::Store::open", Some(("crate::store::Store::", "open"))),
            ("Vec::<u8>::with", Some(("Vec::", "with"))),
            ("parse::<u32>", Some(("", "parse"))),
            ("text.parse::<Vec<u8>>", Some(("text", "parse"))),
            ("open()?.read", Some(("?", "read"))),
            ("super().read", Some(("super", "read"))),
            ("super(Kid, self).read", Some(("super", "read"))),
            ("super(f()).read", Some(("?", "read"))),
            ("open().inner.read", Some(("inner", "read"))),
            ("\"a\".len", Some(("?", "len"))),
            ("list->push", Some(("list", "push"))),
            ("a?.b", Some(("a", "b"))),
            ("this.#check", Some(("this", "check"))),
            ("#check", Some(("", "check"))),
            ("$this->add", Some(("$this", "add"))),
            ("App\\Cart::add", Some(("Cart::", "add"))),
            ("::std::swap", Some(("std::", "swap"))),
            ("(f)", None),
            ("7", None),
            ("", None),
        ] {
            let found = parts(expression, false);
            assert_eq!(found.as_ref().map(|(a, b)| (a.as_str(), b.as_str())), expected, "{expression}");
        }
        assert_eq!(parts("cart.empty?", true), Some(("cart".to_owned(), "empty?".to_owned())));
        assert_eq!(parts("a.b!", false), None);
    }
}
