//! What a tree of syntax defines, imports and calls, in one walk that does not recurse: nesting costs memory and no stack.

use tree_sitter::{Node, Tree, TreeCursor};

use super::docs;
use super::language::{Callee, Define, Docs, Language, Named, StringOf, When, children, is_full, line_of, text_of};
use super::names;
use super::names::NAME_CHARS;
use super::parse::Grammar;
use super::{MAX_CALLS, MAX_IMPORTS, MAX_NESTING, MAX_SYMBOLS, QUALIFIED_CHARS, SIGNATURE_CHARS};
use crate::store::{CallFact, CodeFacts, SymbolFact, SymbolKind};

/// Characters of a block's own words in a title.
const LABEL_CHARS: usize = 80;

/// Bytes before a parenthesis among tokens: enough for a receiver and a name.
const BEFORE_BYTES: usize = 300;
/// The string that documents a module is one of so many nodes at its beginning.
const NEAR_BEGINNING: usize = 20;
/// After so many nodes the time is looked at.
const NODES: u32 = 1_024;

/// A definition, or a block such as `impl`, with its comments and attributes.
#[derive(Debug)]
pub(super) struct Item {
    /// The item around it, which stands before it.
    pub parent: Option<usize>,
    /// How it is called in titles.
    pub label: String,
    /// First and last row, from 0 and included.
    pub rows: (usize, usize),
    /// Its name with what encloses it.
    qualified: String,
    kind: Option<SymbolKind>,
    /// Index of its symbol.
    symbol: Option<u32>,
    depth: usize,
}

/// What a file holds.
#[derive(Debug)]
pub(super) struct Outline {
    /// In the order of the file; what is nested comes after what is around it.
    pub items: Vec<Item>,
    pub facts: CodeFacts,
    /// Bytes that the grammar did not understand, less the definitions that it found in them.
    pub error_bytes: usize,
    /// Of what there is more than is kept: `5000 imports`.
    pub more: Vec<String>,
}

/// Comments and attributes that stand directly before what comes next.
#[derive(Clone, Copy, Debug)]
struct Before {
    rows: (usize, usize),
    docs: Option<Comment>,
}

#[derive(Clone, Copy, Debug)]
struct Comment {
    bytes: (usize, usize),
    rows: (usize, usize),
    /// It is a string, and takes no comment that follows.
    string: bool,
}

impl Comment {
    fn of_string(node: Node<'_>) -> Comment {
        Comment { bytes: (node.start_byte(), node.end_byte()), rows: (node.start_position().row, last_row(node)), string: true }
    }
}

/// A node whose children are being walked through.
#[derive(Clone, Copy, Debug, Default)]
struct Level {
    /// The item around.
    item: Option<usize>,
    before: Option<Before>,
    /// The last row of the child before.
    row_before: Option<usize>,
    /// The end of the child before, if it is a name.
    name_before: Option<usize>,
    /// This is a wrapper: rows of it and of what stands before it.
    wrapped: Option<((usize, usize), Option<Comment>)>,
    in_error: bool,
    /// The node below that is no call, by its id.
    hidden: Option<usize>,
}

struct Reader<'a> {
    language: &'static Language,
    grammar: &'static Grammar,
    text: &'a str,
    out: Outline,
    /// There is a definition beyond those that are kept.
    more_symbols: bool,
}

/// Reads a tree; nothing if that takes too long, which `late` says whenever it is asked.
pub(super) fn read(tree: &Tree, grammar: &'static Grammar, text: &str, late: &dyn Fn() -> bool) -> Option<Outline> {
    let facts = CodeFacts { language: grammar.language.name.to_owned(), ..CodeFacts::default() };
    let out = Outline { items: Vec::new(), facts, error_bytes: 0, more: Vec::new() };
    let mut reader = Reader { language: grammar.language, grammar, text, out, more_symbols: false };
    let mut cursor = tree.walk();
    let mut levels = vec![Level::default()];
    let mut nodes = 0;
    loop {
        nodes += 1;
        if nodes == NODES {
            nodes = 0;
            if late() {
                return None;
            }
        }
        let node = cursor.node();
        if let Some(inside) = reader.enter(node, &mut levels)
            && cursor.goto_first_child()
        {
            levels.push(inside);
            continue;
        }
        reader.leave(node, &mut levels);
        if !reader.next(&mut cursor, &mut levels) {
            return Some(reader.cut_off());
        }
    }
}

/// The last row that a node has something in.
fn last_row(node: Node<'_>) -> usize {
    let (start, end) = (node.start_position(), node.end_position());
    if end.column == 0 && end.row > start.row { end.row - 1 } else { end.row }
}

impl Reader<'_> {
    /// Of each kind one more than is kept was looked for, so that it is known whether there is more.
    fn cut_off(self) -> Outline {
        let Outline { mut facts, items, error_bytes, mut more } = self.out;
        let more_symbols = if self.more_symbols { MAX_SYMBOLS + 1 } else { facts.symbols.len() };
        for (what, found, kept) in
            [("symbols", more_symbols, MAX_SYMBOLS), ("imports", facts.imports.len(), MAX_IMPORTS), ("calls", facts.calls.len(), MAX_CALLS)]
        {
            if found > kept {
                more.push(format!("{kept} {what}"));
            }
        }
        facts.imports.truncate(MAX_IMPORTS);
        facts.calls.truncate(MAX_CALLS);
        Outline { facts, items, error_bytes, more }
    }

    /// Goes to the next node that is not below this one.
    fn next(&self, cursor: &mut TreeCursor<'_>, levels: &mut Vec<Level>) -> bool {
        loop {
            if cursor.goto_next_sibling() {
                return true;
            }
            if !cursor.goto_parent() {
                return false;
            }
            levels.pop();
            self.leave(cursor.node(), levels);
        }
    }

    /// Notes that a node lies behind.
    fn leave(&self, node: Node<'_>, levels: &mut [Level]) {
        if let Some(level) = levels.last_mut() {
            level.row_before = Some(last_row(node));
            level.name_before = self.grammar.role(node).name.then(|| node.end_byte());
        }
    }

    /// Reads a node. Returns what its children are to know, or nothing if they are not to be looked at.
    fn enter(&mut self, node: Node<'_>, levels: &mut [Level]) -> Option<Level> {
        let level = levels.last_mut()?;
        let mut inside = Level { item: level.item, in_error: level.in_error, hidden: level.hidden, ..Level::default() };
        if node.is_error() && !level.in_error {
            self.out.error_bytes += node.byte_range().len();
            inside.in_error = true;
        }
        let role = self.grammar.role(node);
        if let Some(found) = role.call.and_then(|first| self.hides(first, node)) {
            inside.hidden = Some(found.id());
        }
        if role.comment {
            self.comment(node, level);
            return None;
        }
        let rows = (node.start_position().row, last_row(node));
        if role.attribute && self.begins_attribute(node) {
            let before = adjacent(level.before, rows.0);
            let string = match self.language.docs {
                Docs::Attribute { before, .. } => before(node, self.text).map(Comment::of_string),
                _ => None,
            };
            let docs = string.or(before.and_then(|before| before.docs));
            level.before = Some(Before { rows: (before.map_or(rows.0, |before| before.rows.0), rows.1), docs });
            // A decorator calls; what Rust has in an attribute is no call.
            return self.language.tokens.is_none().then_some(inside);
        }
        let before = adjacent(level.before.take(), rows.0);
        // Not yet used up by a definition: a wrapper hands it on.
        let own = ((before.map_or(rows.0, |before| before.rows.0), rows.1), before.and_then(|before| before.docs));
        let outer = match level.wrapped {
            Some((outer, docs)) => ((outer.0.min(own.0.0), outer.1.max(own.0.1)), own.1.or(docs)),
            None => own,
        };
        if role.wrapper {
            inside.wrapped = Some(outer);
        } else if role.define.is_none() {
            // What groups others (a list of declarations) hands on to the first of them.
            inside.before = before;
        }
        if let Some(item) = role.define.and_then(|first| self.define(first, node, level.item, outer)) {
            inside.item = Some(item);
            inside.wrapped = None;
            // What stands before a group documents the first of it.
            level.wrapped = None;
            if level.in_error {
                self.out.error_bytes = self.out.error_bytes.saturating_sub(node.byte_range().len());
                inside.in_error = false;
            }
        } else if let Some(first) = role.call.filter(|_| level.hidden != Some(node.id())) {
            self.call(first, node, level.item);
        }
        if let Some(first) = role.import {
            self.import(first, node);
        }
        if role.tokens {
            self.tokens(node, level);
        }
        Some(inside)
    }

    fn comment(&self, node: Node<'_>, level: &mut Level) {
        let rows = (node.start_position().row, last_row(node));
        if level.row_before == Some(rows.0) {
            // It says something about what stands before it in the line.
            level.before = None;
            return;
        }
        let comment = text_of(node, self.text);
        let is_doc = docs::is_doc(self.language.docs, comment);
        let end = node.start_byte() + comment.trim_end().len();
        let own = Comment { bytes: (node.start_byte(), end), rows, string: false };
        let before = adjacent(level.before, rows.0);
        let docs = match before.and_then(|before| before.docs) {
            Some(docs) if docs.string => Some(docs),
            Some(docs) if is_doc && docs.rows.1 + 1 >= rows.0 => {
                Some(Comment { bytes: (docs.bytes.0, end), rows: (docs.rows.0, rows.1), string: false })
            }
            _ if is_doc => Some(own),
            docs => docs,
        };
        level.before = Some(Before { rows: (before.map_or(rows.0, |before| before.rows.0), rows.1), docs });
    }

    /// Records a definition, if the node is one. `outer` are its rows with what stands before it, and its doc comment.
    fn define(
        &mut self,
        first: usize,
        node: Node<'_>,
        around: Option<usize>,
        (mut rows, mut comment): ((usize, usize), Option<Comment>),
    ) -> Option<usize> {
        let items = &self.out.items;
        let parent = around.map(|at| &items[at]);
        let depth = parent.map_or(0, |parent| parent.depth + 1);
        if depth >= MAX_NESTING || self.more_symbols {
            return None;
        }
        let in_function = parent.is_some_and(|parent| matches!(parent.kind, Some(SymbolKind::Function | SymbolKind::Method)));
        let (define, named) = self.language.defines[first..]
            .iter()
            .filter(|define| define.node == node.kind() && applies(define, node, in_function))
            .find_map(|define| Some((define, names::of_definition(&define.name, node, self.text)?)))?;
        let Named { name, within, row, kind } = named;
        if name.is_empty() || is_longer(&name, NAME_CHARS) || is_longer(&within, NAME_CHARS) {
            return None;
        }
        let joint = self.language.joint;
        let in_type = match parent {
            Some(parent) => parent.kind.is_none_or(|kind| {
                use SymbolKind::{Class, Enum, Interface, Struct, Trait, Union};
                matches!(kind, Class | Struct | Enum | Union | Trait | Interface)
            }),
            None => false,
        };
        let kind = match kind.or(define.kind) {
            Some(SymbolKind::Function) if in_type || !within.is_empty() => Some(SymbolKind::Method),
            kind => kind,
        };
        // `typedef struct line { ... } line_t;` defines both, and not one in the other.
        let scope = parent.filter(|parent| parent.kind != Some(SymbolKind::Type));
        let mut qualified = scope.map(|scope| scope.qualified.clone()).unwrap_or_default();
        for part in [&within, &name] {
            if !part.is_empty() {
                if !qualified.is_empty() {
                    qualified.push_str(joint);
                }
                qualified.push_str(part);
            }
        }
        if is_longer(&qualified, QUALIFIED_CHARS) {
            return None;
        }
        if self.out.items.len() >= MAX_SYMBOLS {
            self.more_symbols = true;
            return None;
        }
        let signature = self.signature(node, kind);
        let label = match kind {
            Some(_) if within.is_empty() => name.clone(),
            Some(_) => format!("{within}{joint}{name}"),
            None => clip(&signature, LABEL_CHARS),
        };
        let mut symbol = None;
        if let Some(kind) = kind {
            let string = match self.language.docs {
                Docs::Docstring => docstring(node),
                Docs::Attribute { inside, .. } if kind == SymbolKind::Module => self.string_inside(node, inside),
                _ => None,
            };
            comment = string.map(Comment::of_string).or(comment);
            let read = |comment: Comment| {
                let text = self.text.get(comment.bytes.0..comment.bytes.1)?;
                Some(if comment.string { docs::string(text) } else { docs::plain(text) })
            };
            let doc = comment.and_then(read).unwrap_or_default();
            let comment = comment.filter(|_| !doc.is_empty());
            symbol = u32::try_from(self.out.facts.symbols.len()).ok();
            self.out.facts.symbols.push(SymbolFact {
                kind,
                name,
                qualified: qualified.clone(),
                signature,
                doc,
                line: line_of(row),
                end_line: line_of(last_row(node).max(row)),
                doc_line: comment.map_or(0, |comment| line_of(comment.rows.0)),
                doc_end_line: comment.map_or(0, |comment| line_of(comment.rows.1)),
                declared: matches!(define.when, When::Declares),
            });
        }
        rows.1 = rows.1.max(last_row(node));
        self.out.items.push(Item { parent: around, label, rows, qualified, kind, symbol, depth });
        Some(self.out.items.len() - 1)
    }

    /// What stands before the body, on one line; the first line of what has no body and is no function.
    fn signature(&self, node: Node<'_>, kind: Option<SymbolKind>) -> String {
        let mut start = node.start_byte();
        let mut cursor = node.walk();
        // A node finds its sibling by a way from the root, a cursor knows it.
        let mut first = cursor.goto_first_child().then(|| cursor.node());
        while let Some(child) = first.filter(|child| self.is_attribute(*child)) {
            start = child.end_byte();
            first = cursor.goto_next_sibling().then(|| cursor.node());
        }
        // Modifiers begin with annotations in Java and its relatives.
        if let Some(modifiers) = first.filter(|child| child.kind() == "modifiers") {
            start = children(modifiers).take_while(|child| self.is_attribute(*child)).last().map_or(start, |last| last.end_byte());
        }
        let body = self.language.bodies.iter().find_map(|field| body(node, field));
        let mut end = body.map_or(node.end_byte(), |body| body.start_byte());
        // `def f(): # so` has a comment between the two.
        if let Some(comment) = children(node).find(|child| self.grammar.role(*child).comment && child.start_byte() > start) {
            end = end.min(comment.start_byte());
        }
        let mut words = self.text.get(start..end.max(start)).unwrap_or_default().trim_start();
        if body.is_none() && !matches!(kind, Some(SymbolKind::Function | SymbolKind::Method)) {
            words = words.lines().next().unwrap_or_default();
        }
        // Of a long definition without a body no more than can be kept.
        let words = &words[..words.floor_char_boundary(SIGNATURE_CHARS * 8)];
        let line = words.split_whitespace().collect::<Vec<_>>().join(" ");
        clip(line.trim_end_matches(['{', ':', ';', '=', ' ']).trim_end(), SIGNATURE_CHARS)
    }

    /// The string in the body of a definition that documents it; near its beginning, as everybody writes it.
    fn string_inside<'t>(&self, node: Node<'t>, read: StringOf) -> Option<Node<'t>> {
        let body = self.language.bodies.iter().find_map(|field| body(node, field))?;
        children(body).take(NEAR_BEGINNING).find_map(|child| read(child, self.text))
    }

    fn is_attribute(&self, node: Node<'_>) -> bool {
        self.grammar.role(node).attribute
    }

    /// Where attributes are operators, `@` alone makes one.
    fn begins_attribute(&self, node: Node<'_>) -> bool {
        !matches!(self.language.docs, Docs::Attribute { .. }) || self.text[node.start_byte()..].starts_with('@')
    }

    /// The node below this one that looks like a call and is none.
    fn hides<'t>(&self, first: usize, node: Node<'t>) -> Option<Node<'t>> {
        self.language.calls[first..].iter().find_map(|(kind, rule)| match rule {
            Callee::Hides(find) if *kind == node.kind() => find(node, self.text),
            _ => None,
        })
    }

    fn call(&mut self, first: usize, node: Node<'_>, around: Option<usize>) {
        if self.out.facts.calls.len() > MAX_CALLS {
            return;
        }
        let rules = self.language.calls[first..].iter().filter(|(kind, _)| *kind == node.kind());
        let found = rules.into_iter().find_map(|(_, rule)| Some((rule, names::of_call(rule, node, self.text, self.language)?)));
        if let Some((rule, (receiver, name))) = found {
            let at = match rule {
                Callee::Field(field) | Callee::Parts(_, field) => node.child_by_field_name(field),
                Callee::Child(_) | Callee::Odd(_) | Callee::Hides(_) => None,
            };
            self.push_call(around, receiver, name, at.map_or(node.start_position().row, |at| at.end_position().row));
        }
    }

    fn import(&mut self, first: usize, node: Node<'_>) {
        let imports = &mut self.out.facts.imports;
        if is_full(imports) {
            return;
        }
        let (known, (_, read)) = (imports.len(), self.language.imports[first]);
        read(node, self.text, imports);
        // What is too long has no target.
        let read = imports.split_off(known.min(imports.len()));
        imports.extend(read.into_iter().filter(|import| !import.target.is_empty()));
    }

    /// A parenthesis of tokens after a name is a call.
    fn tokens(&mut self, node: Node<'_>, level: &Level) {
        if let Some(end) = level.name_before
            && self.text[node.start_byte()..].starts_with('(')
            && let Some((receiver, name)) = self.text.get(..end).and_then(|before| names::parts(names::tail(before, BEFORE_BYTES), false))
        {
            self.push_call(level.item, receiver, name, node.start_position().row);
        }
    }

    fn push_call(&mut self, around: Option<usize>, receiver: String, name: String, row: usize) {
        if self.out.facts.calls.len() > MAX_CALLS || is_longer(&name, NAME_CHARS) {
            return;
        }
        let mut item = around.map(|at| &self.out.items[at]);
        while let Some(inner) = item.filter(|item| item.symbol.is_none() || item.kind == Some(SymbolKind::Module)) {
            item = inner.parent.map(|at| &self.out.items[at]);
        }
        self.out.facts.calls.push(CallFact { caller: item.and_then(|item| item.symbol), name, receiver, line: line_of(row) });
    }
}

fn is_longer(text: &str, chars: usize) -> bool {
    text.len() > chars && text.chars().nth(chars).is_some()
}

/// What stands before a row, if it does so directly.
fn adjacent(before: Option<Before>, row: usize) -> Option<Before> {
    before.filter(|before| before.rows.1 + 1 >= row)
}

fn applies(define: &Define, node: Node<'_>, in_function: bool) -> bool {
    let is_variable = define.kind == Some(SymbolKind::Constant);
    match define.when {
        _ if is_variable && in_function => false,
        When::Always => true,
        When::Has(field) => node.child_by_field_name(field).is_some(),
        When::Declares => !in_function,
        When::Is(field, kinds) => node.child_by_field_name(field).is_some_and(|child| kinds.contains(&child.kind())),
    }
}

/// The body of a definition: in the field, or in the field of the value that it is given.
fn body<'t>(node: Node<'t>, field: &str) -> Option<Node<'t>> {
    let given = || node.child_by_field_name("value").or_else(|| node.child_by_field_name("right"));
    let value = || given().and_then(|value| value.child_by_field_name(field));
    node.child_by_field_name(field).or_else(value).or_else(|| children(node).find(|child| child.kind() == field))
}

/// The string that a body begins with.
fn docstring(node: Node<'_>) -> Option<Node<'_>> {
    let first = children(node.child_by_field_name("body")?).find(|child| child.kind() != "comment")?;
    let string = if first.kind() == "expression_statement" { first.named_child(0)? } else { first };
    (string.kind() == "string").then_some(string)
}

fn clip(text: &str, chars: usize) -> String {
    match text.char_indices().nth(chars) {
        Some((at, _)) => text[..at].trim_end().to_owned(),
        None => text.to_owned(),
    }
}
