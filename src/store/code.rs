//! What source files say of themselves: the symbols that they define, what they import, and what they call.
//!
//! The facts of a file stand in its event ([`CodeFacts`]); the tables follow from them. Which symbol a call means is not stored, since it
//! depends on all other files: it is worked out when it is asked for (`resolve`).

mod called;
mod derive;
mod one;
mod read;
mod resolve;
#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};

pub use read::CallSite;

/// What a symbol is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SymbolKind {
    /// A function that belongs to no type.
    Function,
    /// A function of a type.
    Method,
    /// A class; an object of Scala and Kotlin too.
    Class,
    /// A struct or a record.
    Struct,
    /// An enum.
    Enum,
    /// A union of C and its relatives.
    Union,
    /// A trait, or a protocol.
    Trait,
    /// An interface.
    Interface,
    /// A module, a namespace or a package that is written around its contents.
    Module,
    /// A name for another type.
    Type,
    /// A constant or a variable outside of functions.
    Constant,
    /// A macro.
    Macro,
}

impl SymbolKind {
    /// Every kind, in the order of reports.
    pub const ALL: [SymbolKind; 12] = [
        SymbolKind::Function,
        SymbolKind::Method,
        SymbolKind::Class,
        SymbolKind::Struct,
        SymbolKind::Enum,
        SymbolKind::Union,
        SymbolKind::Trait,
        SymbolKind::Interface,
        SymbolKind::Module,
        SymbolKind::Type,
        SymbolKind::Constant,
        SymbolKind::Macro,
    ];

    /// The word in the database and in reports.
    pub fn name(self) -> &'static str {
        match self {
            SymbolKind::Function => "function",
            SymbolKind::Method => "method",
            SymbolKind::Class => "class",
            SymbolKind::Struct => "struct",
            SymbolKind::Enum => "enum",
            SymbolKind::Union => "union",
            SymbolKind::Trait => "trait",
            SymbolKind::Interface => "interface",
            SymbolKind::Module => "module",
            SymbolKind::Type => "type",
            SymbolKind::Constant => "constant",
            SymbolKind::Macro => "macro",
        }
    }

    /// The kind of that name.
    pub fn parse(name: &str) -> Option<SymbolKind> {
        SymbolKind::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// Whether a call can mean a symbol of this kind: functions, macros, and what is made by calling its name.
    pub fn is_callable(self) -> bool {
        matches!(
            self,
            SymbolKind::Function | SymbolKind::Method | SymbolKind::Macro | SymbolKind::Class | SymbolKind::Struct | SymbolKind::Enum
        )
    }
}

/// The facts of one source file, as its event holds them. Lines are counted from 1.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CodeFacts {
    /// The language's name in lower case, such as `rust` or `c++`.
    pub language: String,
    /// In the order of the file.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub symbols: Vec<SymbolFact>,
    /// In the order of the file.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub imports: Vec<ImportFact>,
    /// In the order of the file.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub calls: Vec<CallFact>,
}

/// A definition in a source file. See [`Symbol`] for the fields.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)] // Each is documented at `Symbol`.
pub struct SymbolFact {
    pub kind: SymbolKind,
    pub name: String,
    pub qualified: String,
    pub signature: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub doc: String,
    pub line: u32,
    pub end_line: u32,
    #[serde(default, skip_serializing_if = "is_zero")]
    pub doc_line: u32,
    #[serde(default, skip_serializing_if = "is_zero")]
    pub doc_end_line: u32,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub declared: bool,
}

/// An import of a source file. See [`Import`] for the fields.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)] // Each is documented at `Import`.
pub struct ImportFact {
    pub target: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
    pub line: u32,
}

/// A call in a source file. See [`Call`] for the fields.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallFact {
    /// The index in [`CodeFacts::symbols`] of the innermost function or class around the call; nothing at the top of a file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub caller: Option<u32>,
    /// See [`Call::name`].
    pub name: String,
    /// See [`Call::receiver`].
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub receiver: String,
    /// See [`Call::line`].
    pub line: u32,
}

fn is_zero(number: &u32) -> bool {
    *number == 0
}

/// A definition: a function, a type, a module, a constant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Symbol {
    /// The first 8 bytes (big-endian, top bit cleared) of a SHA-256 over path, kind, qualified name and the ordinal among equal ones of the
    /// file: it stays the same when lines move or the body changes.
    pub id: u64,
    /// The chunk that holds [`Symbol::line`]: of a definition that is cut into several, the first with its own lines.
    pub chunk: Option<u64>,
    /// What it is.
    pub kind: SymbolKind,
    /// Its own name.
    pub name: String,
    /// The names of what encloses it in the file, and its own, joined as the language joins them: `Store::open`, `Shop.Cart.add`. The names
    /// of packages and files are no part of it.
    pub qualified: String,
    /// What stands before the body, on one line, clipped: `pub fn open(path: &Path) -> Result<Store>`.
    pub signature: String,
    /// Its doc comment (a docstring in Python) without comment marks, clipped; empty if there is none.
    pub doc: String,
    /// The language's name in lower case.
    pub language: String,
    /// The file, relative to the project, with forward slashes.
    pub path: String,
    /// Where the definition begins; its doc comment and attributes stand before that.
    pub line: u32,
    /// Its last line, included.
    pub end_line: u32,
    /// The first line of the doc comment; 0 if there is none. A docstring lies between [`Symbol::line`] and [`Symbol::end_line`].
    pub doc_line: u32,
    /// The last line of the doc comment, included; 0 if there is none.
    pub doc_end_line: u32,
    /// Whether it is only declared here, and its body is elsewhere: the prototype of a function in C and its relatives.
    pub declared: bool,
}

impl Symbol {
    /// Whether a call can mean it: by its kind, or because it is a constant that a call made (`const Row = memo(...)`) in a language in which that
    /// can be a function.
    pub fn is_callable(&self) -> bool {
        self.kind.is_callable() || self.is_made_by_a_call()
    }

    fn is_made_by_a_call(&self) -> bool {
        let functions_are_values = matches!(self.language.as_str(), "javascript" | "typescript" | "tsx" | "python");
        if self.kind != SymbolKind::Constant || !functions_are_values {
            return false;
        }
        let value = self.signature.split_once('=').map_or("", |(_, value)| value.trim_start());
        // What `require` gives belongs to another file, and what `new` gives is no function.
        value.split_once('(').is_some_and(|(callee, _)| {
            let is_name = |c: char| c.is_alphanumeric() || matches!(c, '_' | '$' | '.' | '<' | '>' | ',');
            callee.starts_with(|c: char| c.is_alphabetic() || matches!(c, '_' | '$')) && callee.chars().all(is_name) && callee != "require"
        })
    }

    /// The qualified name of what encloses it; empty at the top of a file.
    pub fn enclosing(&self) -> &str {
        enclosing(&self.qualified, &self.name)
    }
}

/// `Store` of `Store::open` and `open`.
pub(super) fn enclosing<'a>(qualified: &'a str, name: &str) -> &'a str {
    qualified.strip_suffix(name).unwrap_or_default().trim_end_matches([':', '.', '#'])
}

/// What a file brings in from elsewhere.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Import {
    /// The file that imports.
    pub path: String,
    /// What it imports, as written, one a name: `crate::store::Store`, `os.path`, `./cart`, `stdio.h`.
    pub target: String,
    /// The name that it has in the file from then on; empty if everything is brought in, or nothing is named.
    pub name: String,
    /// Where.
    pub line: u32,
}

/// How a call was understood, from the surest to the least sure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Resolution {
    /// A symbol of the same file.
    SameFile,
    /// A symbol that an import of the file, or a name before the call (`Store::open`, `cart.add`), leads to.
    Imported,
    /// The only symbol of the project (and language) with that name.
    Unique,
    /// Several symbols have the name, and nothing tells them apart.
    Ambiguous,
    /// No symbol of the project, as far as names tell.
    Unknown,
}

impl Resolution {
    /// Whether the callee is known.
    pub fn is_resolved(self) -> bool {
        matches!(self, Resolution::SameFile | Resolution::Imported | Resolution::Unique)
    }
}

/// A call of a function by its name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Call {
    /// The innermost symbol around the call that is a function or a class; nothing at the top of a file.
    pub caller: Option<u64>,
    /// The symbol that is called, if [`Resolution::is_resolved`].
    pub callee: Option<u64>,
    /// How the callee was found, or why not.
    pub resolution: Resolution,
    /// The name that is called, without what stands before it.
    pub name: String,
    /// What stands before the name: `Store::` of `Store::open()`, `self` of `self.open()`, `cart` of `cart.add()`; empty if nothing does, `?` if
    /// it is no name (`open()?.read()`).
    pub receiver: String,
    /// The file of the call.
    pub path: String,
    /// Where.
    pub line: u32,
}

/// An edge of the call graph: both ends are known symbols, and different ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct CallEdge {
    /// The symbol that calls.
    pub caller: u64,
    /// The symbol that is called.
    pub callee: u64,
    /// How many calls there are.
    pub count: u64,
}
