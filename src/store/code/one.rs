//! Which symbols of one name are one and the same, for whoever asks what a call means, who calls whom, or what a name means.

use std::cmp::Reverse;
use std::collections::HashMap;

use super::{Symbol, SymbolKind};

/// For each of some symbols of one name the index of the one that stands for it.
///
/// One are: overloads, which have one qualified name in one file; a header and its source, which differ in the extension alone; what is
/// declared without a body (C and its relatives) with the one definition of that qualified name, wherever it is; and a class with its
/// constructors that are called like it. Of several definitions none is meant more than another: then a declaration stands for itself.
///
/// What stands for the others is a class rather than its constructor, a definition rather than a declaration, and the longest one.
pub(super) fn ones(symbols: &[&Symbol]) -> Vec<usize> {
    let mut groups = Groups((0..symbols.len()).collect());
    let mut at_place: HashMap<(&str, &str, &str), usize> = HashMap::new();
    let mut declared: HashMap<(&str, &str), Vec<usize>> = HashMap::new();
    let mut types: HashMap<(&str, &str, &str), usize> = HashMap::new();
    for (at, symbol) in symbols.iter().enumerate() {
        let family = family(&symbol.language);
        let first = *at_place.entry((family, &symbol.qualified, stem(&symbol.path))).or_insert(at);
        groups.join(first, at);
        if symbol.declared {
            declared.entry((family, &symbol.qualified)).or_default().push(at);
        }
        if is_type(symbol) {
            types.entry((family, &symbol.qualified, stem(&symbol.path))).or_insert(at);
        }
    }
    let mut definitions: HashMap<(&str, &str), Vec<usize>> = HashMap::new();
    // C has structs and functions of one name, and what is declared is a function.
    for (at, symbol) in symbols.iter().enumerate().filter(|(_, symbol)| !symbol.declared && !is_type(symbol)) {
        let root = groups.root(at);
        let known = definitions.entry((family(&symbol.language), &symbol.qualified)).or_default();
        if known.last() != Some(&root) {
            known.push(root);
        }
    }
    for (name, declared) in declared {
        let of = definitions.get(&name).map_or(&[][..], Vec::as_slice);
        let first = of.first().copied().unwrap_or(declared[0]);
        if of.iter().all(|root| *root == first) {
            declared.into_iter().for_each(|at| groups.join(first, at));
        }
    }
    for (at, symbol) in symbols.iter().enumerate().filter(|(_, symbol)| is_constructor(symbol)) {
        if let Some(class) = types.get(&(family(&symbol.language), symbol.enclosing(), stem(&symbol.path))) {
            groups.join(*class, at);
        }
    }
    // C has structs and functions of one name: there a call means the function.
    let kind = |symbol: &Symbol| if is_constructor(symbol) { 2 } else { u8::from(is_type(symbol)) };
    let rank = |at: usize| (kind(symbols[at]), symbols[at].declared, Reverse(symbols[at].end_line.saturating_sub(symbols[at].line)), at);
    let mut standing: HashMap<usize, usize> = HashMap::new();
    for at in 0..symbols.len() {
        let best = standing.entry(groups.root(at)).or_insert(at);
        if rank(at) < rank(*best) {
            *best = at;
        }
    }
    (0..symbols.len()).map(|at| standing[&groups.root(at)]).collect()
}

fn is_type(symbol: &Symbol) -> bool {
    matches!(symbol.kind, SymbolKind::Class | SymbolKind::Struct | SymbolKind::Enum | SymbolKind::Union)
}

/// Whether it is called like the class that holds it, in a language in which that makes it a constructor.
fn is_constructor(symbol: &Symbol) -> bool {
    symbol.kind == SymbolKind::Method
        && matches!(symbol.language.as_str(), "java" | "c#" | "c++")
        && symbol.enclosing().rsplit([':', '.']).next() == Some(&symbol.name)
}

/// Languages that call one another by name.
pub(super) fn family(language: &str) -> &str {
    match language {
        "typescript" | "tsx" => "javascript",
        "c" | "objective-c" => "c++",
        "kotlin" | "scala" => "java",
        other => other,
    }
}

/// A path without its extension.
fn stem(path: &str) -> &str {
    path.rsplit_once('.').map_or(path, |(stem, _)| stem)
}

/// Disjoint sets of indices: each names another one of its set, the root itself.
struct Groups(Vec<usize>);

impl Groups {
    fn root(&mut self, at: usize) -> usize {
        let mut root = at;
        while self.0[root] != root {
            // The way gets shorter for whoever comes after.
            self.0[root] = self.0[self.0[root]];
            root = self.0[root];
        }
        root
    }

    fn join(&mut self, a: usize, b: usize) {
        let (a, b) = (self.root(a), self.root(b));
        self.0[a.max(b)] = a.min(b);
    }
}
