//! JavaScript, whose tables TypeScript shares.

use tree_sitter::Node;

use super::super::language::{
    Callee, Define, Docs, Imports, Language, Name, Named, When, children, import, is_full, is_too_long, named, text_of, unquoted,
};
use super::super::names;
use crate::store::{ImportFact, SymbolKind};

pub(super) const JAVASCRIPT: Language = Language {
    name: "javascript",
    extensions: &["js", "jsx", "mjs", "cjs"],
    grammar: || tree_sitter_javascript::LANGUAGE.into(),
    joint: ".",
    defines: &[
        FUNCTION,
        GENERATOR,
        METHOD,
        VARIABLE_OF_FUNCTION,
        VARIABLE,
        ASSIGNED,
        named("class_declaration", SymbolKind::Class),
        Define {
            node: "field_definition",
            kind: Some(SymbolKind::Method),
            name: Name::Field("property"),
            when: When::Is("value", FUNCTIONS),
        },
        Define { node: "pair", kind: Some(SymbolKind::Function), name: Name::Field("key"), when: When::Is("value", FUNCTIONS) },
    ],
    wrappers: WRAPPERS,
    attributes: &["decorator"],
    comments: COMMENTS,
    docs: DOCS,
    imports: IMPORTS,
    calls: CALLS,
    bodies: &["body"],
    tokens: None,
};

/// What a variable can be given to be a function.
pub(super) const FUNCTIONS: &[&str] = &["arrow_function", "function_expression", "generator_function"];
pub(super) const FUNCTION: Define = named("function_declaration", SymbolKind::Function);
pub(super) const GENERATOR: Define = named("generator_function_declaration", SymbolKind::Function);
pub(super) const METHOD: Define = named("method_definition", SymbolKind::Method);
pub(super) const VARIABLE_OF_FUNCTION: Define =
    Define { node: "variable_declarator", kind: Some(SymbolKind::Function), name: Name::Field("name"), when: When::Is("value", FUNCTIONS) };
pub(super) const VARIABLE: Define = Define {
    node: "variable_declarator",
    kind: Some(SymbolKind::Constant),
    name: Name::Field("name"),
    when: When::Is("name", &["identifier"]),
};
/// `exports.open = function () {}`, `Cart.prototype.add = function () {}`
pub(super) const ASSIGNED: Define = Define {
    node: "assignment_expression",
    kind: Some(SymbolKind::Function),
    name: Name::Odd(assigned),
    when: When::Is("right", FUNCTIONS),
};
pub(super) const WRAPPERS: &[&str] = &["export_statement", "lexical_declaration", "variable_declaration", "expression_statement"];
pub(super) const COMMENTS: &[&str] = &["comment"];
pub(super) const DOCS: Docs = Docs::Marked(&["/**"]);
pub(super) const IMPORTS: &[(&str, Imports)] =
    &[("import_statement", imports), ("export_statement", exports), ("variable_declarator", required)];
pub(super) const CALLS: &[(&str, Callee)] = &[
    ("call_expression", Callee::Field("function")),
    ("new_expression", Callee::Field("constructor")),
    ("jsx_self_closing_element", Callee::Odd(component)),
    ("jsx_opening_element", Callee::Odd(component)),
];

/// What a file exports belongs to no type, and what stands in a prototype to the type that has it.
fn assigned(node: Node<'_>, text: &str) -> Option<Named> {
    let left = node.child_by_field_name("left")?;
    let mut named = names::plain(left, text)?;
    let Some(object) = left.child_by_field_name("object") else { return Some(named) };
    let last = object.child_by_field_name("property").map_or("", |property| text_of(property, text));
    match (object.child_by_field_name("object"), last) {
        (Some(owner), "prototype") => named.within = names::plain(owner, text)?.name,
        (Some(owner), "exports") if text_of(owner, text) == "module" => named.within.clear(),
        (None, _) if text_of(object, text) == "exports" => named.within.clear(),
        _ => {}
    }
    Some(named)
}

/// `<Cart />` calls the component `Cart`; elements in lower case are the browser's.
fn component(node: Node<'_>, text: &str) -> Option<(String, String)> {
    let (receiver, name) = super::super::names::parts(text_of(node.child_by_field_name("name")?, text), false)?;
    name.starts_with(char::is_uppercase).then_some((receiver, name))
}

/// `import a, { b as c } from "./d"`
fn imports(node: Node<'_>, text: &str, out: &mut Vec<ImportFact>) {
    let Some(source) = node.child_by_field_name("source") else { return };
    let module = unquoted(text_of(source, text));
    if is_too_long(module) {
        return;
    }
    let Some(clause) = children(node).find(|child| child.kind() == "import_clause") else {
        out.push(import(node, module, ""));
        return;
    };
    for child in children(clause) {
        match child.kind() {
            "identifier" => out.push(import(child, format!("{module}#default"), text_of(child, text))),
            "namespace_import" => {
                out.extend(children(child).next().map(|name| import(child, module, text_of(name, text))));
            }
            "named_imports" => specifiers(child, module, text, out),
            _ => {}
        }
    }
}

/// `export { a } from "./b"`
fn exports(node: Node<'_>, text: &str, out: &mut Vec<ImportFact>) {
    if let Some(source) = node.child_by_field_name("source") {
        out.push(import(node, unquoted(text_of(source, text)), ""));
    }
}

fn specifiers(node: Node<'_>, module: &str, text: &str, out: &mut Vec<ImportFact>) {
    for child in children(node) {
        if is_full(out) {
            return;
        }
        if let Some(name) = child.child_by_field_name("name") {
            let alias = child.child_by_field_name("alias").unwrap_or(name);
            out.push(import(child, format!("{module}#{}", text_of(name, text)), text_of(alias, text)));
        }
    }
}

/// `const { a } = require("./b")`
fn required(node: Node<'_>, text: &str, out: &mut Vec<ImportFact>) {
    let value = node.child_by_field_name("value").filter(|value| value.kind() == "call_expression");
    let Some(value) = value.filter(|value| value.child_by_field_name("function").is_some_and(|f| text_of(f, text) == "require")) else {
        return;
    };
    let argument = value.child_by_field_name("arguments").and_then(|arguments| children(arguments).next());
    let (Some(argument), Some(name)) = (argument.filter(|argument| argument.kind() == "string"), node.child_by_field_name("name")) else {
        return;
    };
    let module = unquoted(text_of(argument, text));
    if is_too_long(module) {
        return;
    }
    if name.kind() == "identifier" {
        out.push(import(node, module, text_of(name, text)));
        return;
    }
    for child in children(name) {
        if is_full(out) {
            return;
        }
        match child.kind() {
            "shorthand_property_identifier_pattern" => {
                out.push(import(node, format!("{module}#{}", text_of(child, text)), text_of(child, text)))
            }
            "pair_pattern" => {
                if let (Some(key), Some(value)) = (child.child_by_field_name("key"), child.child_by_field_name("value")) {
                    out.push(import(node, format!("{module}#{}", text_of(key, text)), text_of(value, text)));
                }
            }
            _ => {}
        }
    }
}
