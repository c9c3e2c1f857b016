//! Reading the tables of code, and resolving calls meanwhile.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use rusqlite::Row;

use super::called::segments;
use super::one::ones;
use super::resolve::{Names, Raw};
use super::{Call, CallEdge, Import, Symbol, SymbolKind, enclosing};
use crate::error::{Error, Result};
use crate::store::Store;

const SYMBOL: &str = "SELECT s.id, s.chunk, s.kind, s.name, s.qualified, s.signature, s.doc, f.language, f.path, s.line, s.end_line, s.doc_line, \
     s.doc_end_line, s.declared FROM symbols s JOIN code_files f ON f.id = s.file";
pub(super) const IMPORT: &str = "SELECT f.path, i.target, i.name, i.line FROM imports i JOIN code_files f ON f.id = i.file";
/// A file by its id, which the tables are sorted by; by its path every file would be looked at for each.
pub(super) const OF_FILE: &str = "WHERE i.file = ?1 ORDER BY i.ordinal";
const CALL: &str = "SELECT c.caller, s.qualified, s.name, c.name, c.receiver, f.path, f.language, c.line, c.file \
     FROM calls c JOIN code_files f ON f.id = c.file LEFT JOIN symbols s ON s.id = c.caller";

/// A call beside what its name could mean.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallSite {
    /// The call.
    pub call: Call,
    /// The symbols of the called name in the call's language, ids in the order of the symbols.
    pub candidates: Vec<u64>,
    /// How many they are, overloads, declarations and constructors not counted apart.
    pub distinct: usize,
}

impl Store {
    /// All symbols, ordered by path, line and id.
    pub fn symbols(&self) -> Result<Vec<Symbol>> {
        self.symbols_where("", [])
    }

    /// All imports, ordered by path, then as they stand in the file.
    pub fn imports(&self) -> Result<Vec<Import>> {
        let mut imports = self.rows(&format!("{IMPORT} ORDER BY i.file, i.ordinal"), [], import)?;
        imports.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(imports)
    }

    /// All calls with their callees as far as names tell, ordered by path, then as they stand in the file.
    pub fn calls(&self) -> Result<Vec<Call>> {
        let (symbols, imports) = (self.symbols()?, self.imports()?);
        let names = Names::new(&symbols, &imports);
        let mut calls = self.rows(&format!("{CALL} ORDER BY c.file, c.ordinal"), [], |row| Ok(call(&names, raw(row)?)))?;
        calls.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(calls)
    }

    /// The edges of the call graph, ordered by caller, then callee: the dependencies between symbols. Recursion is none.
    pub fn call_edges(&self) -> Result<Vec<CallEdge>> {
        let mut edges: BTreeMap<(u64, u64), u64> = BTreeMap::new();
        for call in self.calls()? {
            if let (Some(caller), Some(callee)) = (call.caller, call.callee)
                && caller != callee
            {
                *edges.entry((caller, callee)).or_default() += 1;
            }
        }
        Ok(edges.into_iter().map(|((caller, callee), count)| CallEdge { caller, callee, count }).collect())
    }

    /// The symbols that a name means: a plain one (`open`), one with what encloses it (`Store::open`, `Store.open`), or either after the end of a
    /// path and a colon (`store/open.rs:open`); a name that holds such marks itself (`log::error` of a shell) is meant too. With something before it, what is called exactly so is meant rather than what ends so. Ordered as
    /// [`Store::symbols`].
    pub fn symbols_named(&self, name: &str) -> Result<Vec<Symbol>> {
        let whole = name;
        let (path, name) = match name.split_once(':') {
            Some((path, rest)) if !rest.starts_with(':') && !rest.is_empty() && !path.is_empty() => (Some(path), rest),
            _ => (None, name),
        };
        let wanted = segments(name);
        let Some(last) = wanted.last() else { return Ok(Vec::new()) };
        let mut found = self.symbols_where("WHERE s.name IN (?1, ?2, ?3)", [*last, name, whole])?;
        found.retain(|symbol| {
            let has = segments(&symbol.qualified);
            let in_path = path.is_none_or(|path| symbol.path == path || symbol.path.ends_with(&format!("/{path}")));
            symbol.name == whole || (in_path && (symbol.name == name || has.ends_with(&wanted)))
        });
        if path.is_some_and(|path| found.iter().any(|symbol| symbol.path == path)) {
            found.retain(|symbol| Some(symbol.path.as_str()) == path);
        }
        let is_exact = |symbol: &Symbol| segments(&symbol.qualified) == wanted;
        if (path.is_some() || wanted.len() > 1) && found.iter().any(is_exact) {
            found.retain(is_exact);
        }
        Ok(found)
    }

    /// What can be called and a name means, as [`Store::symbols_named`] understands it: of what is one and the same (overloads, a definition and its
    /// declarations) the one that stands for the others.
    pub fn meant_by(&self, name: &str) -> Result<Vec<Symbol>> {
        let mut found = self.symbols_named(name)?;
        found.retain(|symbol| symbol.is_callable());
        let ids: BTreeSet<u64> = found.iter().map(|symbol| symbol.id).collect();
        let mut meant = Vec::new();
        for name in found.into_iter().map(|symbol| symbol.name).collect::<BTreeSet<_>>() {
            let named = self.callable(&name)?;
            let ones = ones(&named.iter().collect::<Vec<_>>());
            let standing: BTreeSet<usize> = (0..named.len()).filter(|at| ids.contains(&named[*at].id)).map(|at| ones[at]).collect();
            meant.extend(named.into_iter().enumerate().filter(|(at, _)| standing.contains(at)).map(|(_, symbol)| symbol));
        }
        Ok(meant)
    }

    fn callable(&self, name: &str) -> Result<Vec<Symbol>> {
        let mut named = self.symbols_where("WHERE s.name = ?1", [name])?;
        named.retain(|symbol| symbol.is_callable());
        Ok(named)
    }

    /// All that is one and the same with a symbol, itself included; first what stands for the others.
    pub(in crate::store) fn one_with(&self, symbol: &Symbol) -> Result<Vec<Symbol>> {
        let named = self.callable(&symbol.name)?;
        let ones = ones(&named.iter().collect::<Vec<_>>());
        let Some(standing) = named.iter().position(|other| other.id == symbol.id).map(|at| ones[at]) else {
            return Ok(vec![symbol.clone()]);
        };
        let mut one: Vec<(usize, Symbol)> = named.into_iter().enumerate().filter(|(at, _)| ones[*at] == standing).collect();
        one.sort_by_key(|(at, _)| *at != standing);
        Ok(one.into_iter().map(|(_, symbol)| symbol).collect())
    }

    /// These symbols in the order asked; missing ones are left out.
    pub fn symbols_by_id(&self, ids: &[u64]) -> Result<Vec<Symbol>> {
        let mut found = Vec::with_capacity(ids.len());
        for &id in ids {
            found.append(&mut self.symbols_where("WHERE s.id = ?1", [id as i64])?);
        }
        Ok(found)
    }

    /// All calls of a plain name, whatever they mean, ordered by path, then as they stand in the file.
    pub fn calls_of(&self, name: &str) -> Result<Vec<CallSite>> {
        self.sites(&format!("{CALL} WHERE c.name = ?1 ORDER BY c.file, c.ordinal"), [name])
    }

    /// All calls in a symbol, in the order of the file.
    pub fn calls_in(&self, symbol: u64) -> Result<Vec<CallSite>> {
        self.sites(&format!("{CALL} WHERE c.caller = ?1 ORDER BY c.file, c.ordinal"), [symbol as i64])
    }

    /// The names of symbols, each once, sorted: what a name that is not there may have meant.
    pub fn symbol_names(&self) -> Result<Vec<String>> {
        self.rows("SELECT DISTINCT name FROM symbols ORDER BY name", [], |row| row.get(0))
    }

    fn sites(&self, sql: &str, params: impl rusqlite::Params) -> Result<Vec<CallSite>> {
        let raws = self.rows(sql, params, raw)?;
        let mut symbols = Vec::new();
        for name in raws.iter().map(|raw| raw.name.as_str()).collect::<BTreeSet<_>>() {
            symbols.append(&mut self.symbols_where("WHERE s.name = ?1", [name])?);
        }
        let mut imports = Vec::new();
        for file in raws.iter().map(|raw| raw.file).collect::<BTreeSet<_>>() {
            imports.append(&mut self.rows(&format!("{IMPORT} {OF_FILE}"), [file], import)?);
        }
        let names = Names::new(&symbols, &imports);
        let mut sites: Vec<CallSite> = raws.into_iter().map(|raw| site(&names, raw)).collect();
        sites.sort_by(|a, b| a.call.path.cmp(&b.call.path));
        Ok(sites)
    }

    fn symbols_where(&self, condition: &str, params: impl rusqlite::Params) -> Result<Vec<Symbol>> {
        let mut kinds: HashMap<String, SymbolKind> = HashMap::new();
        let rows = self.rows(&format!("{SYMBOL} {condition}"), params, |row| Ok((row.get::<_, String>(2)?, symbol(row)?)))?;
        let mut symbols = Vec::with_capacity(rows.len());
        for (name, symbol) in rows {
            let kind = match kinds.get(&name) {
                Some(kind) => *kind,
                None => {
                    let kind = SymbolKind::parse(&name)
                        .ok_or_else(|| Error::corrupt(format!("the database names the unknown kind of symbol {name:?}")).at(self.path()))?;
                    kinds.insert(name, kind);
                    kind
                }
            };
            symbols.push(Symbol { kind, ..symbol });
        }
        symbols.sort_by(|a, b| (&a.path, a.line, a.id).cmp(&(&b.path, b.line, b.id)));
        Ok(symbols)
    }
}

fn site(names: &Names<'_>, raw: Raw) -> CallSite {
    let candidates = names.candidates(&raw).map(|(symbol, _)| symbol.id).collect();
    let distinct = names.candidates(&raw).map(|(_, standing)| standing.id).collect::<BTreeSet<_>>().len();
    CallSite { candidates, distinct, call: call(names, raw) }
}

fn call(names: &Names<'_>, raw: Raw) -> Call {
    let (resolution, callee) = names.resolve(&raw);
    Call {
        caller: raw.caller,
        callee: callee.map(|symbol| symbol.id),
        resolution,
        name: raw.name,
        receiver: raw.receiver,
        path: raw.path,
        line: raw.line,
    }
}

fn raw(row: &Row<'_>) -> rusqlite::Result<Raw> {
    let caller: Option<i64> = row.get(0)?;
    let qualified: String = row.get::<_, Option<String>>(1)?.unwrap_or_default();
    let name: String = row.get::<_, Option<String>>(2)?.unwrap_or_default();
    Ok(Raw {
        caller: caller.map(|id| id as u64),
        caller_enclosing: enclosing(&qualified, &name).to_owned(),
        caller_qualified: qualified,
        name: row.get(3)?,
        receiver: row.get(4)?,
        path: row.get(5)?,
        language: row.get(6)?,
        line: row.get(7)?,
        file: row.get(8)?,
    })
}

fn import(row: &Row<'_>) -> rusqlite::Result<Import> {
    Ok(Import { path: row.get(0)?, target: row.get(1)?, name: row.get(2)?, line: row.get(3)? })
}

/// A symbol whose kind is still to be read from its name.
fn symbol(row: &Row<'_>) -> rusqlite::Result<Symbol> {
    Ok(Symbol {
        id: row.get::<_, i64>(0)? as u64,
        chunk: row.get::<_, Option<i64>>(1)?.map(|id| id as u64),
        kind: SymbolKind::Function,
        name: row.get(3)?,
        qualified: row.get(4)?,
        signature: row.get(5)?,
        doc: row.get(6)?,
        language: row.get(7)?,
        path: row.get(8)?,
        line: row.get(9)?,
        end_line: row.get(10)?,
        doc_line: row.get(11)?,
        doc_end_line: row.get(12)?,
        declared: row.get(13)?,
    })
}
