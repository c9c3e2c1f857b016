//! The symbols of one name, by what a call asks for: a call of a name that thousands have (`new`) looks at those that it can mean, not at all.

use super::one::ones;
use super::{Symbol, SymbolKind};

/// Files that are named for their folder.
const NAMELESS: &[&str] = &["mod", "lib", "main", "index", "__init__"];

/// Parts of an import that say nothing about where in the project it leads.
const ROOTS: &[&str] = &["crate", "self", "super", ".", "..", "@", "~", "default"];

/// A symbol, and what is asked about it for every call of its name.
#[derive(Clone, Copy)]
pub(super) struct Known<'a> {
    pub symbol: &'a Symbol,
    /// What it is one with, and is meant by it.
    pub standing: &'a Symbol,
    pub enclosing: &'a str,
    /// The last name of what encloses it; empty at the top of a file.
    pub holder: &'a str,
    /// The name that its file gives to what is in it.
    module: &'a str,
}

impl<'a> Known<'a> {
    fn new(symbol: &'a Symbol, standing: &'a Symbol) -> Known<'a> {
        let enclosing = symbol.enclosing();
        Known { symbol, standing, enclosing, holder: segments(enclosing).pop().unwrap_or_default(), module: module(&symbol.path) }
    }

    pub fn is_method(&self) -> bool {
        self.symbol.kind == SymbolKind::Method
    }

    /// Whether the type or module `name` holds it.
    pub fn is_in(&self, name: &str) -> bool {
        if self.holder.is_empty() {
            self.module == name || (self.symbol.language == "go" && last_folder(&self.symbol.path) == name)
        } else {
            self.holder == name
        }
    }
}

/// All symbols of one name in one family of languages.
pub(super) struct Called<'a> {
    all: Vec<Known<'a>>,
    by_path: Index<&'a str>,
    by_enclosing: Index<&'a str>,
    /// What stands at the top of a file is held by the file and by its folder.
    by_holder: Index<&'a str>,
    /// Methods, by what a value of their type would be called.
    by_value: Index<String>,
}

impl<'a> Called<'a> {
    pub fn new(symbols: &[&'a Symbol]) -> Called<'a> {
        let all: Vec<Known<'a>> = ones(symbols).into_iter().zip(symbols).map(|(at, symbol)| Known::new(symbol, symbols[at])).collect();
        let pairs = || (0..).zip(&all);
        Called {
            by_path: Index::new(pairs().map(|(at, known)| (known.symbol.path.as_str(), at))),
            by_enclosing: Index::new(pairs().map(|(at, known)| (known.enclosing, at))),
            by_holder: Index::new(pairs().flat_map(|(at, known)| match known.holder {
                "" => vec![(known.module, at), (last_folder(&known.symbol.path), at)],
                holder => vec![(holder, at)],
            })),
            by_value: Index::new(pairs().filter(|(_, known)| known.is_method()).map(|(at, known)| (value_of(known.holder), at))),
            all,
        }
    }

    pub fn all(&self) -> impl Iterator<Item = &Known<'a>> + Clone {
        self.all.iter()
    }

    pub fn in_file(&self, path: &str) -> impl Iterator<Item = &Known<'a>> + Clone {
        self.at(self.by_path.of(path))
    }

    pub fn enclosed_by(&self, qualified: &str) -> impl Iterator<Item = &Known<'a>> + Clone {
        self.at(self.by_enclosing.of(qualified))
    }

    /// Those that the type or module `name` holds.
    pub fn held_by<'s>(&'s self, name: &'s str) -> impl Iterator<Item = &'s Known<'a>> + Clone {
        self.at(self.by_holder.of(name)).filter(move |known| known.is_in(name))
    }

    /// Methods of the type that a value is named for: `shop_cart` for `ShopCart`.
    pub fn of_value(&self, value: &str) -> impl Iterator<Item = &Known<'a>> + Clone {
        self.at(self.by_value.of(&value_of(value)))
    }

    /// Those that an import leads to.
    pub fn led_to(&self, target: &Target<'_>) -> Vec<&Known<'a>> {
        match target.holder {
            Some(holder) => self.at(self.by_holder.of(holder)).filter(|known| target.leads_to(known)).collect(),
            None => self.all.iter().filter(|known| target.leads_to(known)).collect(),
        }
    }

    fn at<'s, K>(&'s self, pairs: &'s [(K, u32)]) -> impl Iterator<Item = &'s Known<'a>> + Clone {
        pairs.iter().map(|(_, at)| &self.all[*at as usize])
    }
}

/// Positions by a key, sorted: most names are of one symbol, for which a map would be large.
struct Index<K>(Vec<(K, u32)>);

impl<K: Ord + AsRef<str>> Index<K> {
    fn new(pairs: impl Iterator<Item = (K, u32)>) -> Index<K> {
        let mut pairs: Vec<(K, u32)> = pairs.collect();
        pairs.sort_unstable();
        Index(pairs)
    }

    fn of(&self, key: &str) -> &[(K, u32)] {
        let first = self.0.partition_point(|(known, _)| known.as_ref() < key);
        let count = self.0[first..].partition_point(|(known, _)| known.as_ref() == key);
        &self.0[first..first + count]
    }
}

/// Where an import leads.
pub(super) struct Target<'t> {
    /// The names on the way.
    parts: Vec<&'t str>,
    /// With the whole of it meaning what holds the symbol: how that must be called.
    holder: Option<&'t str>,
    whole: bool,
}

impl<'t> Target<'t> {
    /// The target of an import that leads to what holds a symbol: a type, a module, a file.
    pub fn holding(target: &'t str, language: &str) -> Target<'t> {
        let mut target = Target { parts: parts(target, language), holder: None, whole: true };
        target.holder = target.without_extension().or(target.parts.last().copied());
        target
    }

    /// The target of an import that leads to a symbol of that name.
    pub fn to(target: &'t str, language: &str, name: &str) -> Target<'t> {
        let mut target = Target { parts: parts(target, language), holder: None, whole: false };
        if target.parts.last() == Some(&name) {
            target.parts.pop();
        }
        target.without_extension();
        target
    }

    /// Takes off the extension of a file, and returns what comes before it.
    fn without_extension(&mut self) -> Option<&'t str> {
        if self.parts.len() > 1 && self.parts.last().is_some_and(|last| is_extension(last)) {
            self.parts.pop();
            return self.parts.last().copied();
        }
        None
    }

    fn leads_to(&self, known: &Known<'_>) -> bool {
        let path = &known.symbol.path;
        let holds = match self.holder {
            Some(holder) if known.holder.is_empty() => known.module == holder || last_folder(path) == holder,
            Some(holder) => known.holder == holder,
            // Nothing but roots.
            None => !self.whole || known.holder.is_empty(),
        };
        holds && self.parts.iter().all(|part| stem(path).split('/').any(|name| name == *part) || is_around(known.enclosing, part))
    }
}

fn parts<'t>(target: &'t str, language: &str) -> Vec<&'t str> {
    let mut parts = if language == "go" { vec![target.rsplit('/').next().unwrap_or(target)] } else { segments(target) };
    parts.retain(|part| !ROOTS.contains(part) && *part != "*");
    parts
}

/// A type as a value of it would be called.
fn value_of(name: &str) -> String {
    name.replace('_', "").to_lowercase()
}

fn is_extension(part: &str) -> bool {
    matches!(part, "h" | "hpp" | "hh" | "js" | "ts" | "jsx" | "tsx" | "mjs" | "rb" | "py" | "php" | "lua" | "sh")
}

/// The names in a path of names, whatever joins them.
pub(super) fn segments(text: &str) -> Vec<&str> {
    names_in(text).collect()
}

/// Whether a qualified name has `part` among its names.
fn is_around(enclosing: &str, part: &str) -> bool {
    names_in(enclosing).any(|name| name == part)
}

fn names_in(text: &str) -> impl Iterator<Item = &str> {
    text.split([':', '.', '/', '#', '\\']).filter(|part| !part.is_empty())
}

/// The name that a file gives to what is in it: its own, or its folder's.
fn module(path: &str) -> &str {
    let name = path.rsplit('/').next().unwrap_or(path);
    let stem = name.split_once('.').map_or(name, |(stem, _)| stem);
    if NAMELESS.contains(&stem) { last_folder(path) } else { stem }
}

/// A path without its extension.
fn stem(path: &str) -> &str {
    path.rsplit_once('.').map_or(path, |(stem, _)| stem)
}

pub(super) fn folder(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(folder, _)| folder)
}

fn last_folder(path: &str) -> &str {
    folder(path).rsplit('/').next().unwrap_or_default()
}
