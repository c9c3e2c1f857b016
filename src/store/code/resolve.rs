//! Which symbol a call means, as far as names tell: without types, so that what cannot be told apart stays marked so.
//!
//! The order of trust: what stands before the name (`self`, a type, a module), the same file by scope, what the file imports, the same package,
//! the only one of the project. A name that is imported from elsewhere, or called on a type that the project does not have, means nothing
//! of the project, however unique the name is in it. A function that is imported under another name is not followed.

use std::collections::HashMap;

use super::called::{Called, Known, Target, folder, segments};
use super::one::family;
use super::{Import, Resolution, Symbol};

/// What a method calls its own object or type.
const SELF: &[&str] = &["self", "Self", "this", "cls", "$this", "static"];

/// What begins a path inside the same crate in Rust.
const ROOT_PATHS: &[&str] = &["crate::", "self::", "super::"];

/// Languages that write modules and types before `::` and values before `.` or `->`.
const PATHS_HAVE_COLONS: &[&str] = &["rust", "c", "c++", "php"];

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
    /// The id of the file at that path.
    pub file: i64,
    pub language: String,
    pub line: u32,
}

/// The symbols and imports that calls are resolved with: all symbols of the called names, and all imports of the calling files.
pub(super) struct Names<'a> {
    /// By family of languages, then by name.
    by_name: HashMap<&'a str, HashMap<&'a str, Called<'a>>>,
    imports: HashMap<&'a str, Vec<&'a Import>>,
}

impl<'a> Names<'a> {
    pub fn new(symbols: &'a [Symbol], imports: &'a [Import]) -> Names<'a> {
        let mut names = Names { by_name: HashMap::new(), imports: HashMap::new() };
        let mut by_name: HashMap<(&str, &str), Vec<&Symbol>> = HashMap::new();
        for symbol in symbols.iter().filter(|symbol| symbol.is_callable()) {
            by_name.entry((family(&symbol.language), &symbol.name)).or_default().push(symbol);
        }
        for ((family, name), of) in by_name {
            names.by_name.entry(family).or_default().insert(name, Called::new(&of));
        }
        for import in imports {
            names.imports.entry(&import.path).or_default().push(import);
        }
        names
    }

    /// How a call is understood, and the symbol that it means.
    pub fn resolve(&self, call: &Raw) -> Answer<'a> {
        let Some(called) = self.of_name(call) else { return (Resolution::Unknown, None) };
        let imports = self.imports.get(call.path.as_str()).map_or(&[][..], Vec::as_slice);
        match call.receiver.as_str() {
            "" => plain(call, called, imports),
            "exports" if family(&call.language) == "javascript" => exported(call, called),
            receiver if ROOT_PATHS.contains(&receiver) => beside(call, called),
            receiver if SELF.contains(&receiver.trim_end_matches("::")) => own(call, called),
            receiver if is_super(&call.language, receiver) => inherited(call, called),
            receiver => on(call, receiver, called, imports),
        }
    }

    /// All symbols that a call could mean by its name, each with what stands for it.
    pub fn candidates(&self, call: &Raw) -> impl Iterator<Item = (&'a Symbol, &'a Symbol)> {
        let of_super = is_super(&call.language, &call.receiver);
        let all = self.of_name(call).into_iter().flat_map(Called::all);
        all.filter(move |known| !of_super || can_be_inherited(known, call)).map(|known| (known.symbol, known.standing))
    }

    fn of_name(&self, call: &Raw) -> Option<&Called<'a>> {
        self.by_name.get(family(&call.language)).and_then(|names| names.get(call.name.as_str()))
    }
}

/// How a call is understood, and the symbol that it means.
type Answer<'a> = (Resolution, Option<&'a Symbol>);

/// `self.open()`: a method of the type around the caller; if it has none, an inherited one.
fn own<'a>(call: &Raw, called: &Called<'a>) -> Answer<'a> {
    let around = call.caller_enclosing.as_str();
    match choose(call, called.enclosed_by(around).filter(|_| !around.is_empty()), Resolution::Imported) {
        (Resolution::Unknown, _) => the_only_method(call, called.all()),
        answer => answer,
    }
}

/// `super.open()`: what the type around the caller holds itself is left out.
fn inherited<'a>(call: &Raw, called: &Called<'a>) -> Answer<'a> {
    the_only_method(call, called.all().filter(|known| can_be_inherited(known, call)))
}

/// Whether it is a method, and of another type than the caller is in.
fn can_be_inherited(known: &Known<'_>, call: &Raw) -> bool {
    let own = call.caller_qualified == known.enclosing || is_inside(&call.caller_qualified, known.enclosing);
    known.is_method() && !(own && known.symbol.path == call.path)
}

/// A method of a type that is not known: the only one, unless libraries have such methods too.
fn the_only_method<'k, 'a: 'k>(call: &Raw, of: impl Iterator<Item = &'k Known<'a>>) -> Answer<'a> {
    if COMMON.contains(&call.name.as_str()) {
        return (Resolution::Unknown, None);
    }
    choose_unique(of.filter(|known| known.is_method()), Resolution::Unique)
}

/// `super::open()`: a function of the same crate.
fn beside<'a>(call: &Raw, called: &Called<'a>) -> Answer<'a> {
    choose(call, called.all().filter(|known| !known.is_method()), Resolution::Imported)
}

/// `exports.open()`: a function of the same file.
fn exported<'a>(call: &Raw, called: &Called<'a>) -> Answer<'a> {
    choose_unique(called.in_file(&call.path).filter(|known| known.holder.is_empty()), Resolution::SameFile)
}

/// `Store::open()`, `cart.add()`: a symbol in the type or module of that name; else a method, if only one can be meant.
fn on<'a>(call: &Raw, receiver: &str, called: &Called<'a>, imports: &[&Import]) -> Answer<'a> {
    let is_path = receiver.ends_with("::");
    let names = segments(receiver);
    let (first, last) = (names.first().copied().unwrap_or_default(), names.last().copied().unwrap_or_default());
    let can_be_module = is_path || !PATHS_HAVE_COLONS.contains(&call.language.as_str());
    let imported = imports.iter().find(|import| can_be_module && !import.name.is_empty() && import.name == first);
    let target = match imported {
        Some(import) if names.len() == 1 => Some(import.target.clone()),
        Some(import) => Some(format!("{}::{}", import.target, names[1..].join("::"))),
        None if names.len() > 1 => Some(receiver.to_owned()),
        None => None,
    };
    let of = match &target {
        Some(target) => called.led_to(&Target::holding(target, &call.language)),
        None if can_be_module => called.held_by(last).collect(),
        None => Vec::new(),
    };
    match choose(call, of.iter().copied(), Resolution::Imported) {
        (Resolution::Unknown, _) => {}
        answer => return answer,
    }
    if !is_path {
        match choose(call, called.of_value(last), Resolution::Imported) {
            (Resolution::Unknown, _) => {}
            answer => return answer,
        }
    }
    let names_a_type = last.starts_with(char::is_uppercase) || is_path || imported.is_some();
    if names_a_type {
        return (Resolution::Unknown, None);
    }
    // Nothing ties the value to this file: a method of the file is as likely as any other.
    the_only_method(call, called.all())
}

/// `open()`
fn plain<'a>(call: &Raw, called: &Called<'a>, imports: &[&Import]) -> Answer<'a> {
    let implicit = IMPLICIT_SELF.contains(&call.language.as_str());
    let can = |known: &&Known<'a>| implicit || !known.is_method();
    let here = || called.in_file(&call.path).filter(can);
    let depth = |known: &Known<'_>| {
        let around = known.enclosing;
        let within = around.is_empty() || call.caller_qualified == around || is_inside(&call.caller_qualified, around);
        within.then_some(around.len())
    };
    // The innermost scope that has the name.
    if let Some(deepest) = here().filter_map(depth).max() {
        return choose_unique(here().filter(|known| depth(known) == Some(deepest)), Resolution::SameFile);
    }
    let found = |answer: Answer<'a>| Some(answer).filter(|(resolution, _)| *resolution != Resolution::Unknown);
    let certain = |answer: Answer<'a>| Some(answer).filter(|(resolution, _)| resolution.is_resolved());
    if let Some(answer) = found(choose_unique(here(), Resolution::SameFile)) {
        return answer;
    }
    if implicit
        && !call.caller_enclosing.is_empty()
        && let Some(answer) = found(choose_unique(called.enclosed_by(&call.caller_enclosing).filter(can), Resolution::Imported))
    {
        return answer;
    }
    if let Some(import) = imports.iter().find(|import| import.name == call.name) {
        let of = called.led_to(&Target::to(&import.target, &call.language, &call.name));
        return choose_unique(of.into_iter().filter(can), Resolution::Imported);
    }
    let everything = imports.iter().filter(|import| import.name.is_empty());
    let there = everything.flat_map(|import| called.led_to(&Target::holding(&import.target, &call.language)));
    if let Some(answer) = certain(choose_unique(there.filter(|known| known.holder.is_empty()).filter(can), Resolution::Imported)) {
        return answer;
    }
    if FOLDER_IS_PACKAGE.contains(&call.language.as_str()) {
        let beside = called.all().filter(can).filter(|known| folder(&known.symbol.path) == folder(&call.path));
        if let Some(answer) = certain(choose_unique(beside, Resolution::Imported)) {
            return answer;
        }
    }
    choose_unique(called.all().filter(can), Resolution::Unique)
}

/// The one of the call's own file if there is one, else the only one.
fn choose<'k, 'a: 'k>(call: &Raw, of: impl Iterator<Item = &'k Known<'a>> + Clone, elsewhere: Resolution) -> Answer<'a> {
    match choose_unique(of.clone().filter(|known| known.symbol.path == call.path), Resolution::SameFile) {
        (Resolution::Unknown, _) => choose_unique(of, elsewhere),
        answer => answer,
    }
}

/// The only one: all that is left is one and the same.
fn choose_unique<'k, 'a: 'k>(mut of: impl Iterator<Item = &'k Known<'a>>, resolution: Resolution) -> Answer<'a> {
    let Some(first) = of.next() else { return (Resolution::Unknown, None) };
    if of.any(|known| known.standing.id != first.standing.id) {
        return (Resolution::Ambiguous, None);
    }
    // What the file only declares is elsewhere.
    let elsewhere = resolution == Resolution::SameFile && first.standing.path != first.symbol.path;
    (if elsewhere { Resolution::Imported } else { resolution }, Some(first.standing))
}

/// Whether a method means with it the type that its own one extends.
fn is_super(language: &str, receiver: &str) -> bool {
    match receiver.trim_end_matches("::") {
        "super" => language != "rust",
        "base" => language == "c#",
        "parent" => language == "php",
        _ => false,
    }
}

/// Whether the qualified name `inner` lies in `outer`.
fn is_inside(inner: &str, outer: &str) -> bool {
    inner.strip_prefix(outer).is_some_and(|rest| rest.starts_with([':', '.', '#']))
}
