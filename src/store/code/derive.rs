//! Making the tables of code follow the event of a file.

use std::collections::HashMap;

use rusqlite::params;
use sha2::{Digest, Sha256};

use super::{CodeFacts, SymbolKind};
use crate::error::Result;
use crate::store::events::Write;
use crate::store::{Content, Kind, Piece};

impl Write<'_> {
    /// Makes the tables say what the facts of a source say; `chunks` are the ids of its pieces.
    pub(in crate::store) fn derive_code(&self, key: &str, content: &Content, chunks: &[i64]) -> Result<()> {
        if content.kind == Kind::Commit {
            return Ok(());
        }
        self.forget_code(key)?;
        let Some(facts) = &content.code else { return Ok(()) };
        let file = file_id(key);
        self.execute(
            "INSERT INTO code_files (id, source, path, language) VALUES (?1, ?2, ?3, ?4)",
            params![file, key, content.path, facts.language],
        )?;
        let ids = symbol_ids(&content.path, facts);
        for (id, symbol) in ids.iter().zip(&facts.symbols) {
            self.execute(
                "INSERT INTO symbols (id, file, chunk, kind, name, qualified, signature, doc, line, end_line, doc_line, doc_end_line, declared)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)",
                params![
                    id,
                    file,
                    piece_at(&content.pieces, symbol.line).and_then(|at| chunks.get(at)),
                    symbol.kind.name(),
                    symbol.name,
                    symbol.qualified,
                    symbol.signature,
                    symbol.doc,
                    symbol.line,
                    symbol.end_line,
                    symbol.doc_line,
                    symbol.doc_end_line,
                    symbol.declared
                ],
            )?;
        }
        for (ordinal, import) in facts.imports.iter().enumerate() {
            self.execute(
                "INSERT INTO imports (file, ordinal, target, name, line) VALUES (?1, ?2, ?3, ?4, ?5)",
                params![file, ordinal as i64, import.target, import.name, import.line],
            )?;
        }
        for (ordinal, call) in facts.calls.iter().enumerate() {
            let caller = call.caller.and_then(|at| ids.get(at as usize));
            self.execute(
                "INSERT INTO calls (file, ordinal, caller, name, receiver, line) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
                params![file, ordinal as i64, caller, call.name, call.receiver, call.line],
            )?;
        }
        Ok(())
    }

    /// Forgets the facts of a source, if it has any.
    pub(in crate::store) fn forget_code(&self, key: &str) -> Result<()> {
        let file = file_id(key);
        for table in ["symbols", "imports", "calls"] {
            self.execute(&format!("DELETE FROM {table} WHERE file = ?1"), [file])?;
        }
        self.execute("DELETE FROM code_files WHERE id = ?1", [file])
    }
}

/// The first piece that holds a line.
fn piece_at(pieces: &[Piece], line: u32) -> Option<usize> {
    let at = pieces.partition_point(|piece| piece.end_line < line);
    pieces.get(at).filter(|piece| piece.line <= line).map(|_| at)
}

fn file_id(key: &str) -> i64 {
    first_bytes(Sha256::digest(key.as_bytes()).as_slice())
}

/// The ids of the symbols of a file, in their order; see [`super::Symbol::id`].
fn symbol_ids(path: &str, facts: &CodeFacts) -> Vec<i64> {
    let mut seen: HashMap<(SymbolKind, &str), u64> = HashMap::new();
    let ids = facts.symbols.iter().map(|symbol| {
        let ordinal = seen.entry((symbol.kind, &symbol.qualified)).or_insert(0);
        let mut hash = Sha256::new();
        for part in [path, symbol.kind.name(), &symbol.qualified] {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        }
        hash.update(ordinal.to_be_bytes());
        *ordinal += 1;
        first_bytes(&hash.finalize())
    });
    ids.collect()
}

fn first_bytes(digest: &[u8]) -> i64 {
    let mut first = [0; 8];
    first.copy_from_slice(&digest[..8]);
    i64::from_be_bytes(first) & i64::MAX
}
