//! Which symbol a call means, as far as names tell: without types, so that what cannot be told apart stays marked so.
//!
//! The order of trust: what stands before the name (`self`, a type, a module), the same file by scope, what the file imports, the same package,
//! the only one of the project. A name that is imported from elsewhere, or called on a type that the project does not have, means nothing
//! of the project, however unique the name is in it.

use std::collections::{BTreeMap, HashMap};

use super::{Import, Resolution, Symbol, SymbolKind};

/// What a method calls its own object or type.
const SELF: &[&str] = &["self", "Self", "this", "super", "cls", "$this", "static", "parent", "base"];

/// Files that are named for their folder.
const NAMELESS: &[&str] = &["mod", "lib", "main", "index", "__init__"];

/// Parts of an import that say nothing about where in the project it leads.
const ROOTS: &[&str] = &["crate", "self", "super", ".", "..", "@", "~", "default"];

/// Languages in which a call without a receiver can mean a method of the same object.
const IMPLICIT_SELF: &[&str] = &["c++", "c#", "java", "kotlin", "ruby", "scala", "swift"];

/// Languages whose files of one folder see one another without an import.
const FOLDER_IS_PACKAGE: &[&str] = &["go", "java", "kotlin", "scala", "swift", "c#", "elixir", "bash"];

/// Methods that standard libraries have on their types: called on a value of an unknown type they say nothing.
const COMMON: &[&str] = &[
    "add",
    "all",
    "and_then",
    "any",
    "append",
    "apply",
    "as_bytes",
    "as_ref",
    "as_str",
    "at",
    "begin",
    "bind",
    "borrow",
    "build",
    "bytes",
    "call",
    "chars",
    "clear",
    "clone",
    "close",
    "cmp",
    "collect",
    "concat",
    "contains",
    "copy",
    "count",
    "delete",
    "dump",
    "each",
    "empty",
    "encode",
    "end",
    "enumerate",
    "eq",
    "equals",
    "err",
    "error",
    "exists",
    "expect",
    "extend",
    "filter",
    "find",
    "finish",
    "first",
    "flush",
    "fmt",
    "fold",
    "forEach",
    "format",
    "from",
    "get",
    "hash",
    "hashCode",
    "id",
    "indexOf",
    "info",
    "init",
    "insert",
    "into",
    "is_empty",
    "isEmpty",
    "items",
    "iter",
    "join",
    "key",
    "keys",
    "kind",
    "last",
    "len",
    "length",
    "lines",
    "load",
    "lock",
    "log",
    "map",
    "matches",
    "max",
    "message",
    "min",
    "name",
    "new",
    "next",
    "ok",
    "open",
    "parse",
    "path",
    "peek",
    "pop",
    "position",
    "print",
    "push",
    "put",
    "read",
    "recv",
    "reduce",
    "remove",
    "replace",
    "reset",
    "reverse",
    "run",
    "send",
    "set",
    "size",
    "skip",
    "slice",
    "some",
    "sort",
    "split",
    "start",
    "starts_with",
    "startsWith",
    "stop",
    "strip",
    "sub",
    "substring",
    "sum",
    "swap",
    "take",
    "text",
    "then",
    "to_owned",
    "to_string",
    "toString",
    "trim",
    "type",
    "unwrap",
    "update",
    "value",
    "values",
    "wait",
    "warn",
    "with",
    "write",
    "zip",
];

/// A call as it was read, with what is known of the symbol around it.
#[derive(Clone, Debug)]
pub(super) struct Raw {
    pub caller: Option<u64>,
    /// The qualified name of the caller, and of what encloses it; empty without one.
    pub caller_qualified: String,
    pub caller_enclosing: String,
    pub name: String,
    pub receiver: String,
    pub path: String,
    pub language: String,
    pub line: u32,
}

/// What a call came to.
#[derive(Debug)]
pub(super) struct Resolved<'a> {
    pub resolution: Resolution,
    pub callee: Option<&'a Symbol>,
    /// All symbols that the call could mean by its name.
    pub candidates: Vec<&'a Symbol>,
}

/// The symbols and imports that calls are resolved with: all symbols of the called names, and all imports of the calling files.
pub(super) struct Names<'a> {
    by_name: HashMap<&'a str, Vec<&'a Symbol>>,
    imports: HashMap<&'a str, Vec<&'a Import>>,
}

impl<'a> Names<'a> {
    pub fn new(symbols: &'a [Symbol], imports: &'a [Import]) -> Names<'a> {
        let mut names = Names { by_name: HashMap::new(), imports: HashMap::new() };
        for symbol in symbols.iter().filter(|symbol| symbol.kind.is_callable()) {
            names.by_name.entry(&symbol.name).or_default().push(symbol);
        }
        for import in imports {
            names.imports.entry(&import.path).or_default().push(import);
        }
        names
    }

    pub fn resolve(&self, call: &Raw) -> Resolved<'a> {
        let candidates: Vec<&Symbol> = self
            .by_name
            .get(call.name.as_str())
            .map(|all| all.iter().copied().filter(|symbol| family(&symbol.language) == family(&call.language)).collect())
            .unwrap_or_default();
        let imports = self.imports.get(call.path.as_str()).map_or(&[][..], Vec::as_slice);
        let (resolution, callee) = match call.receiver.as_str() {
            _ if candidates.is_empty() => (Resolution::Unknown, None),
            "" => plain(call, &candidates, imports),
            receiver if SELF.contains(&receiver) => own(call, &candidates),
            receiver => on(call, receiver, &candidates, imports),
        };
        Resolved { resolution, callee, candidates }
    }
}

type Answer<'a> = (Resolution, Option<&'a Symbol>);

/// `self.open()`: a method of the type around the caller; if it has none, an inherited one.
fn own<'a>(call: &Raw, candidates: &[&'a Symbol]) -> Answer<'a> {
    let own = candidates.iter().copied().filter(|symbol| symbol.enclosing() == call.caller_enclosing && !call.caller_enclosing.is_empty());
    match choose(call, own.collect(), Resolution::Imported) {
        (Resolution::Unknown, _) => {
            choose_unique(candidates.iter().copied().filter(|symbol| symbol.kind == SymbolKind::Method).collect(), Resolution::Unique)
        }
        answer => answer,
    }
}

/// `Store::open()`, `cart.add()`: a symbol in the type or module of that name; else a method, if only one can be meant.
fn on<'a>(call: &Raw, receiver: &str, candidates: &[&'a Symbol], imports: &[&Import]) -> Answer<'a> {
    let last = segments(receiver).pop().unwrap_or_default();
    let imported = imports.iter().find(|import| import.name == last);
    let of: Vec<&Symbol> = match imported {
        Some(import) => candidates.iter().copied().filter(|symbol| leads_to(&import.target, symbol, true)).collect(),
        None => candidates.iter().copied().filter(|symbol| holds(symbol, last)).collect(),
    };
    if !of.is_empty() {
        return choose(call, of, Resolution::Imported);
    }
    let names_a_type = last.starts_with(char::is_uppercase) || receiver.contains("::") || imported.is_some();
    if names_a_type || COMMON.contains(&call.name.as_str()) {
        return (Resolution::Unknown, None);
    }
    let methods: Vec<&Symbol> = candidates.iter().copied().filter(|symbol| symbol.kind == SymbolKind::Method).collect();
    choose(call, methods, Resolution::Unique)
}

/// `open()`
fn plain<'a>(call: &Raw, candidates: &[&'a Symbol], imports: &[&Import]) -> Answer<'a> {
    let implicit = IMPLICIT_SELF.contains(&call.language.as_str());
    let mut can: Vec<&Symbol> = candidates.to_vec();
    if !implicit {
        can.retain(|symbol| symbol.kind != SymbolKind::Method);
    }
    let here: Vec<&Symbol> = can.iter().copied().filter(|symbol| symbol.path == call.path).collect();
    let depth = |symbol: &Symbol| {
        let around = symbol.enclosing();
        let within = around.is_empty() || call.caller_qualified == around || is_inside(&call.caller_qualified, around);
        within.then_some(around.len())
    };
    // The innermost scope that has the name.
    if let Some(deepest) = here.iter().filter_map(|symbol| depth(symbol)).max() {
        return choose(call, here.into_iter().filter(|symbol| depth(symbol) == Some(deepest)).collect(), Resolution::SameFile);
    }
    if !here.is_empty() {
        return choose(call, here, Resolution::SameFile);
    }
    if implicit && !call.caller_enclosing.is_empty() {
        let own: Vec<&Symbol> = can.iter().copied().filter(|symbol| symbol.enclosing() == call.caller_enclosing).collect();
        if !own.is_empty() {
            return choose(call, own, Resolution::Imported);
        }
    }
    if let Some(import) = imports.iter().find(|import| import.name == call.name) {
        let there = can.iter().copied().filter(|symbol| leads_to(&import.target, symbol, false)).collect();
        return choose_unique(there, Resolution::Imported);
    }
    let everything = imports.iter().filter(|import| import.name.is_empty());
    let there: Vec<&Symbol> = everything
        .flat_map(|import| can.iter().copied().filter(|symbol| symbol.enclosing().is_empty() && leads_to(&import.target, symbol, true)))
        .collect();
    if let (resolution @ Resolution::Imported, callee) = choose_unique(there, Resolution::Imported) {
        return (resolution, callee);
    }
    if FOLDER_IS_PACKAGE.contains(&call.language.as_str()) {
        let beside = can.iter().copied().filter(|symbol| folder(&symbol.path) == folder(&call.path)).collect();
        if let (resolution @ Resolution::Imported, callee) = choose_unique(beside, Resolution::Imported) {
            return (resolution, callee);
        }
    }
    choose_unique(can, Resolution::Unique)
}

/// The one of the call's own file if there is one, else the only one.
fn choose<'a>(call: &Raw, of: Vec<&'a Symbol>, elsewhere: Resolution) -> Answer<'a> {
    let here: Vec<&Symbol> = of.iter().copied().filter(|symbol| symbol.path == call.path).collect();
    if here.is_empty() { choose_unique(of, elsewhere) } else { choose_unique(here, Resolution::SameFile) }
}

/// The only one. Overloads and declarations count as one: they have one qualified name in one file; so do a header and its source.
fn choose_unique<'a>(of: Vec<&'a Symbol>, resolution: Resolution) -> Answer<'a> {
    let mut distinct: BTreeMap<(&str, &str), &Symbol> = BTreeMap::new();
    for symbol in of {
        let place = symbol.path.rsplit_once('.').map_or(symbol.path.as_str(), |(stem, _)| stem);
        let first = distinct.entry((place, &symbol.qualified)).or_insert(symbol);
        // A definition says more than its declaration.
        if symbol.end_line - symbol.line > first.end_line - first.line && symbol.path != first.path {
            *first = symbol;
        }
    }
    match distinct.len() {
        0 => (Resolution::Unknown, None),
        1 => (resolution, distinct.into_values().next()),
        _ => (Resolution::Ambiguous, None),
    }
}

/// Languages that call one another by name.
fn family(language: &str) -> &str {
    match language {
        "typescript" | "tsx" => "javascript",
        "c" | "objective-c" => "c++",
        "kotlin" | "scala" => "java",
        other => other,
    }
}

/// Whether the type or module `name` holds the symbol.
fn holds(symbol: &Symbol, name: &str) -> bool {
    match segments(symbol.enclosing()).pop() {
        Some(last) => last == name,
        None => module(&symbol.path) == name || (symbol.language == "go" && last_folder(&symbol.path) == name),
    }
}

/// Whether an import of `target` can lead to the symbol: to itself, or with `whole` to what holds it.
fn leads_to(target: &str, symbol: &Symbol, whole: bool) -> bool {
    let mut parts: Vec<&str> = if symbol.language == "go" { vec![target.rsplit('/').next().unwrap_or(target)] } else { segments(target) };
    parts.retain(|part| !ROOTS.contains(part) && *part != "*");
    if !whole && parts.last() == Some(&symbol.name.as_str()) {
        parts.pop();
    }
    let (inside, stem) = (segments(symbol.enclosing()), symbol.path.rsplit_once('.').map_or(symbol.path.as_str(), |(stem, _)| stem));
    let path: Vec<&str> = stem.split('/').collect();
    let known = |part: &&str| inside.contains(part) || path.contains(part);
    if whole && parts.is_empty() {
        return folder(&symbol.path).is_empty() || target.starts_with("super") || target.starts_with("crate");
    }
    // What holds it must be named last.
    let held = !whole
        || parts.last().is_some_and(|last| {
            inside.last() == Some(last) || (inside.is_empty() && (module(&symbol.path) == *last || last_folder(&symbol.path) == *last))
        });
    held && parts.iter().all(|part| known(part) || (is_extension(part) && parts.len() > 1))
}

fn is_extension(part: &str) -> bool {
    matches!(part, "h" | "hpp" | "hh" | "js" | "ts" | "jsx" | "tsx" | "mjs" | "rb" | "py" | "php" | "lua" | "sh")
}

/// The names in a path of names, whatever joins them.
pub(super) fn segments(text: &str) -> Vec<&str> {
    text.split([':', '.', '/', '#', '\\']).filter(|part| !part.is_empty()).collect()
}

/// Whether the qualified name `inner` lies in `outer`.
fn is_inside(inner: &str, outer: &str) -> bool {
    inner.strip_prefix(outer).is_some_and(|rest| rest.starts_with([':', '.', '#']))
}

/// The name that a file gives to what is in it: its own, or its folder's.
fn module(path: &str) -> &str {
    let name = path.rsplit('/').next().unwrap_or(path);
    let stem = name.split_once('.').map_or(name, |(stem, _)| stem);
    if NAMELESS.contains(&stem) { last_folder(path) } else { stem }
}

fn folder(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(folder, _)| folder)
}

fn last_folder(path: &str) -> &str {
    folder(path).rsplit('/').next().unwrap_or_default()
}
