//! A corpus in a database of its own, in a scratch folder, searched with the words that `scry --mode lexical` searches with.

use std::collections::HashMap;

use super::beir::{BeirSet, Document};
use super::best::{Best, Scored};
use crate::error::{Error, Result};
use crate::fs;
use crate::progress::Job;
use crate::search::lexical::{match_expression, terms};
use crate::store::{Content, Kind, Piece, Source, Store};

/// Documents that are written in one transaction.
const BATCH: usize = 256;

pub(super) struct LexicalIndex {
    store: Store,
    /// Documents of the chunks that were found so far.
    documents: HashMap<u64, u32>,
    // After the store, which is to be closed before its folder is removed.
    _folder: tempfile::TempDir,
}

impl LexicalIndex {
    /// Writes all documents. One without any word in it cannot be found by words and is left out.
    pub fn build(set: &BeirSet, job: Job<'_>) -> Result<LexicalIndex> {
        let folder = fs::scratch_folder()?;
        let mut store = Store::open(&folder.path().join("patina.db"))?;
        job.progress.begin("indexing", Some(set.counts.documents as u64), "documents");
        let mut batch = Vec::with_capacity(BATCH);
        let mut write = |batch: &mut Vec<Source>| -> Result<()> {
            job.check()?;
            let sources: Vec<_> = batch.iter().map(|source| (source, None)).collect();
            store.put_sources(&sources)?;
            job.progress.advance(batch.len() as u64);
            batch.clear();
            Ok(())
        };
        for (row, document) in set.texts()?.enumerate() {
            batch.extend(source(row, document?));
            if batch.len() == BATCH {
                write(&mut batch)?;
            }
        }
        write(&mut batch)?;
        job.progress.end("");
        Ok(LexicalIndex { store, documents: HashMap::new(), _folder: folder })
    }

    /// The best documents for a question by BM25, at most `depth`, without `own`.
    pub fn search(&mut self, set: &BeirSet, question: &str, own: Option<u32>, depth: usize) -> Result<Vec<Scored>> {
        let Some(expression) = match_expression(&terms(question)) else { return Ok(Vec::new()) };
        let found = self.store.lexical(&expression, depth + usize::from(own.is_some()))?;
        let new: Vec<u64> = found.iter().map(|(chunk, _)| *chunk).filter(|chunk| !self.documents.contains_key(chunk)).collect();
        for chunk in self.store.chunks_by_id(&new)? {
            let document = row(&chunk.path).and_then(|row| set.on_row(row));
            let document = document.ok_or_else(|| Error::bug(format!("the scratch database names no row: {:?}", chunk.path)))?;
            self.documents.insert(chunk.id, document);
        }
        let mut best = Best::new(depth);
        for (chunk, score) in found {
            let document = self.documents.get(&chunk).ok_or_else(|| Error::bug("a chunk that was found is not there"))?;
            if own != Some(*document) {
                best.offer(Scored::new(*document, score));
            }
        }
        Ok(best.into_ranking())
    }
}

fn source(row: usize, document: Document) -> Option<Source> {
    let (title, text) = match (document.title.trim().is_empty(), document.text.trim().is_empty()) {
        (true, true) => return None,
        (_, false) => (document.title, document.text),
        (false, true) => (String::new(), document.title),
    };
    let path = path(row);
    let piece = Piece { title, text, line: 1, end_line: 1 };
    let hash = fs::sha256(piece.text.as_bytes());
    let content = Content { kind: Kind::Document, path: path.clone(), hash, date: None, commit: None, code: None, pieces: vec![piece] };
    Some(Source { key: format!("file:{path}"), content })
}

/// The row in binary, of marks that are no words: a path is searched too, and an id is no text of BEIR's.
fn path(row: usize) -> String {
    format!("{row:b}").chars().map(|digit| if digit == '1' { '/' } else { '.' }).collect()
}

fn row(path: &str) -> Option<usize> {
    let digits: String = path.chars().map(|mark| if mark == '/' { '1' } else { '0' }).collect();
    usize::from_str_radix(&digits, 2).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_says_its_row_and_no_word() {
        for number in [0, 1, 2, 5182, 1 << 40] {
            let path = path(number);
            assert_eq!(row(&path), Some(number));
            assert!(!path.chars().any(char::is_alphanumeric), "{path}");
        }
    }
}
