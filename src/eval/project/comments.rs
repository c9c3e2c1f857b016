//! Doc comments to their functions: the first sentence of a doc comment asks for the piece of code that it documents.
//!
//! The answer must not hold the question, so all doc comments are taken out of the code: what is searched is a copy of the project in a
//! scratch folder, without commits. Pieces that lost a comment are embedded anew; the vectors of all others are the project's own.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::{Flat, Query, Set, Unit};
use crate::embed::{Embedder, Input, Order, TextKind};
use crate::error::{Error, Result};
use crate::fs;
use crate::progress::Job;
use crate::search::lexical;
use crate::store::{Chunk, Content, Kind, Piece, Source, Store, StoredVectors, Symbol, SymbolKind};

/// A sentence of fewer words asks for nothing ("The name.").
pub const MIN_WORDS: usize = 4;
/// A longer sentence is cut after so many words.
pub const MAX_WORDS: usize = 40;
/// The most chunks that are copied: whole files, as good as drawn by chance.
const MOST_CHUNKS: usize = 100_000;
/// Sources that are written in one transaction.
const BATCH: usize = 256;
/// The most chunks that are looked at for a sentence's own words.
const MOST_HOLDERS: usize = 10_000;

/// The copy of a project without doc comments, and the questions that they ask.
pub struct Comments {
    /// The questions.
    pub set: Set,
    /// The copy.
    pub store: Store,
    /// Its vectors.
    pub vectors: Flat,
    // After the store, which is to be closed before its folder is removed.
    _folder: tempfile::TempDir,
}

/// A piece of the copy and the chunk of the project that it was.
struct Copied {
    original: u64,
    path: String,
    piece: Piece,
    /// Whether it is without a comment that it had.
    stripped: bool,
}

impl Comments {
    /// The questions of a project, at most `limit`, without any copy: enough to know whether there are enough. `trained` are the groups of
    /// all pairs that a projection was trained on.
    pub fn questions(store: &Store, trained: &BTreeSet<String>, limit: usize) -> Result<(Set, Vec<Symbol>)> {
        let symbols = store.symbols()?;
        let mut set = Set {
            name: "docs".to_owned(),
            about: "the first sentence of a doc comment asks for its function, in code without doc comments".to_owned(),
            queries: Vec::new(),
            kinds: vec![Kind::Session, Kind::Document, Kind::Code],
            unit: Unit::Chunk,
            left_out: Vec::new(),
            notes: Vec::new(),
        };
        let is_function = |symbol: &&Symbol| matches!(symbol.kind, SymbolKind::Function | SymbolKind::Method);
        let asked: Vec<(&Symbol, Option<String>)> = symbols
            .iter()
            .filter(is_function)
            .filter(|symbol| !symbol.doc.is_empty())
            .map(|symbol| (symbol, sentence(&symbol.doc)))
            .collect();
        let mut standing: BTreeMap<&str, usize> = BTreeMap::new();
        asked.iter().filter_map(|(_, text)| text.as_deref()).for_each(|text| *standing.entry(text).or_default() += 1);
        let undocumented = symbols.iter().filter(is_function).count() - asked.len();
        let (mut short, mut twice, mut homeless, mut seen) = (0, 0, 0, 0);
        for (symbol, text) in &asked {
            let Some(text) = text else {
                short += 1;
                continue;
            };
            match symbol.chunk {
                _ if standing.get(text.as_str()).is_some_and(|&count| count > 1) => twice += 1,
                // A comment on the line of the code itself cannot be taken out of it.
                Some(_) if symbol.doc_line == 0 || symbol.doc_line == symbol.line => homeless += 1,
                None => homeless += 1,
                Some(_) if trained.contains(&symbol.path) => seen += 1,
                Some(chunk) => {
                    let id = format!("{}:{}", symbol.path, symbol.line);
                    let places = BTreeMap::from([(chunk, id.clone())]);
                    let (relevant, group) = (BTreeSet::from([id.clone()]), symbol.path.clone());
                    set.queries.push(Query { id, text: text.clone(), group, relevant, without: BTreeSet::new(), places });
                }
            }
        }
        set.left_out("functions", "without a doc comment", undocumented);
        set.left_out("functions", "first sentences of fewer than 4 words", short);
        set.left_out("functions", "first sentences that several functions have", twice);
        set.left_out("functions", "comments that cannot be told from the code", homeless);
        set.left_out("functions", "a projection was trained on pairs of their file", seen);
        // Two functions on one line have one name here.
        let mut names = BTreeSet::new();
        set.queries.retain(|query| names.insert(query.id.clone()));
        set.draw(limit, "functions");
        Ok((set, symbols))
    }

    /// Copies the project without its doc comments, and embeds what changed by it. `vectors` are the project's own.
    pub fn build(
        (mut set, symbols): (Set, Vec<Symbol>),
        store: &Store,
        vectors: &StoredVectors<'_>,
        embedder: &mut Embedder,
        job: Job<'_>,
    ) -> Result<Comments> {
        let mut by_path: BTreeMap<String, Vec<Chunk>> = BTreeMap::new();
        for chunk in store.sample(MOST_CHUNKS)?.into_iter().filter(|chunk| chunk.kind != Kind::Commit) {
            by_path.entry(chunk.path.clone()).or_default().push(chunk);
        }
        let mut lines: HashMap<&str, BTreeSet<u32>> = HashMap::new();
        for symbol in symbols.iter().filter(|symbol| symbol.doc_line > 0 && symbol.doc_line != symbol.line) {
            lines.entry(&symbol.path).or_default().extend(symbol.doc_line..=symbol.doc_end_line);
        }
        let folder = fs::scratch_folder()?;
        let mut copy = Store::open(&folder.path().join("patina.db"))?;
        let mut copied: Vec<Copied> = Vec::new();
        job.progress.begin("copying without comments", Some(by_path.len() as u64), "files");
        let files: Vec<(String, Vec<Chunk>)> = by_path.into_iter().collect();
        for batch in files.chunks(BATCH) {
            job.check()?;
            let sources: Vec<Source> =
                batch.iter().filter_map(|(path, chunks)| source(path, chunks, lines.get(path.as_str()), &mut copied)).collect();
            copy.put_sources(&sources.iter().map(|source| (source, None)).collect::<Vec<_>>())?;
            job.progress.advance(batch.len() as u64);
        }
        job.progress.end("");
        let new_ids = new_ids(&copy, &copied)?;
        let flat = embedded(&copied, &new_ids, vectors, embedder, job)?;
        let (mut lost, mut said) = (0, 0);
        let mut queries = Vec::with_capacity(set.queries.len());
        for mut query in std::mem::take(&mut set.queries) {
            let Some((original, place)) = query.places.pop_first() else { continue };
            let Some(&new) = new_ids.get(&original) else {
                lost += 1;
                continue;
            };
            if let Some(phrase) = lexical::phrase(&query.text) {
                query.without = copy.lexical(&phrase, MOST_HOLDERS)?.into_iter().map(|(id, _)| id).collect();
            }
            if query.without.contains(&new) {
                said += 1;
                continue;
            }
            query.places.insert(new, place);
            queries.push(query);
        }
        set.queries = queries;
        set.left_out("functions", "nothing is left of the piece without its comments, or it was not drawn", lost);
        set.left_out("functions", "the code holds the sentence too", said);
        Ok(Comments { set, store: copy, vectors: flat, _folder: folder })
    }
}

/// A file without the lines of its comments; none if nothing is left of it.
fn source(path: &str, chunks: &[Chunk], comments: Option<&BTreeSet<u32>>, copied: &mut Vec<Copied>) -> Option<Source> {
    let first = chunks.first()?;
    let mut ordered: Vec<&Chunk> = chunks.iter().collect();
    ordered.sort_by_key(|chunk| (chunk.line, chunk.id));
    let mut pieces = Vec::new();
    for chunk in ordered {
        let text = comments.map_or_else(|| chunk.text.clone(), |comments| without_lines(chunk, comments));
        if text.trim().is_empty() {
            continue;
        }
        let stripped = text != chunk.text;
        let piece = Piece { title: chunk.title.clone(), text, line: chunk.line, end_line: chunk.end_line };
        copied.push(Copied { original: chunk.id, path: path.to_owned(), piece: piece.clone(), stripped });
        pieces.push(piece);
    }
    let hash = fs::sha256(pieces.iter().map(|piece| piece.text.as_str()).collect::<Vec<_>>().join("\n").as_bytes());
    let content = Content { kind: first.kind, path: path.to_owned(), hash, date: first.date.clone(), commit: None, code: None, pieces };
    (!content.pieces.is_empty()).then(|| Source { key: format!("file:{path}"), content })
}

/// The text of a chunk without some lines of its file. A text of fewer lines than the chunk has lost those at its beginning.
fn without_lines(chunk: &Chunk, lines: &BTreeSet<u32>) -> String {
    let span = chunk.end_line.saturating_sub(chunk.line).saturating_add(1);
    let lost = span.saturating_sub(u32::try_from(chunk.text.lines().count()).unwrap_or(u32::MAX));
    let first = chunk.line.saturating_add(lost);
    let kept: Vec<&str> = (first..).zip(chunk.text.lines()).filter(|(line, _)| !lines.contains(line)).map(|(_, text)| text).collect();
    kept.join("\n")
}

/// The chunk of the copy that each chunk of the project became.
fn new_ids(copy: &Store, copied: &[Copied]) -> Result<HashMap<u64, u64>> {
    let mut waiting: HashMap<(String, String, String, u32), Vec<u64>> = HashMap::new();
    for chunk in copy.chunks()? {
        waiting.entry((chunk.path, chunk.title, chunk.text, chunk.line)).or_default().push(chunk.id);
    }
    let mut ids = HashMap::with_capacity(copied.len());
    for Copied { original, path, piece, .. } in copied {
        let key = (path.clone(), piece.title.clone(), piece.text.clone(), piece.line);
        let id = waiting.get_mut(&key).and_then(Vec::pop);
        ids.insert(*original, id.ok_or_else(|| Error::bug(format!("a piece of {path} is not in the copy")))?);
    }
    Ok(ids)
}

/// The vectors of the copy: the project's own where the text is the same.
fn embedded(
    copied: &[Copied],
    new_ids: &HashMap<u64, u64>,
    vectors: &StoredVectors<'_>,
    embedder: &mut Embedder,
    job: Job<'_>,
) -> Result<Flat> {
    let mut flat = Flat::new(vectors.dimensions());
    let new = |original: &u64| new_ids.get(original).copied().ok_or_else(|| Error::bug("a chunk of the copy has no id"));
    let same: Vec<u64> = copied.iter().filter(|copied| !copied.stripped).map(|copied| copied.original).collect();
    vectors.each(&same, &mut |id, vector| flat.push(new(&id)?, vector))?;
    let stripped: Vec<&Copied> = copied.iter().filter(|copied| copied.stripped).collect();
    job.progress.begin("embedding without comments", Some(stripped.len() as u64), "chunks");
    let inputs = stripped.iter().map(|copied| Ok(Input::Text(format!("{}\n{}", copied.piece.title, copied.piece.text))));
    let name = |number: usize| stripped.get(number).map_or_else(String::new, |copied| format!("{}:{}", copied.path, copied.piece.line));
    embedder.embed(inputs, TextKind::Document, Order::AsComputed, job, name, |number, vector| {
        flat.push(new(&stripped[number].original)?, vector)
    })?;
    job.progress.end("");
    Ok(flat)
}

/// The first sentence of a comment, on one line; none if it says too little.
fn sentence(doc: &str) -> Option<String> {
    let paragraph: Vec<&str> = doc.trim().lines().map(str::trim).take_while(|line| !line.is_empty()).collect();
    let text = paragraph.join(" ");
    // A full stop inside a word ends nothing; one after a short word may be an abbreviation (e.g., i.e.).
    let mut end = text.len();
    for (at, _) in text.match_indices(". ") {
        let word = text[..at].rsplit(' ').next().unwrap_or_default();
        if !word.contains('.') && word.chars().count() > 1 {
            end = at;
            break;
        }
    }
    let words: Vec<&str> = text[..end].split_whitespace().collect();
    let said = words.iter().filter(|word| word.chars().any(char::is_alphabetic)).count();
    (said >= MIN_WORDS).then(|| words[..words.len().min(MAX_WORDS)].join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_sentence_is_asked() {
        let asked = |doc: &str| sentence(doc).unwrap_or_default();
        assert_eq!(asked("Reads all sections\nof a note. And more.\n\nLater."), "Reads all sections of a note");
        assert_eq!(asked("Splits identifiers, e.g. snake_case, into parts.\n"), "Splits identifiers, e.g. snake_case, into parts.");
        assert_eq!(asked("Reads main.rs of v0.3 whole"), "Reads main.rs of v0.3 whole");
        assert_eq!(asked("The name."), "");
        assert_eq!(asked(&"word ".repeat(90)).split(' ').count(), MAX_WORDS);
    }

    #[test]
    fn lines_of_comments_are_taken_out() {
        let chunk = |line, end_line, text: &str| Chunk {
            id: 1,
            kind: Kind::Code,
            path: "a.rs".into(),
            line,
            end_line,
            title: "a.rs".into(),
            text: text.into(),
            date: None,
            group: "a.rs".into(),
        };
        let lines = BTreeSet::from([11, 12]);
        assert_eq!(without_lines(&chunk(10, 13, "use x;\n/// Reads.\n/// All.\nfn read() {}"), &lines), "use x;\nfn read() {}");
        // The first line of this one is not in its text.
        assert_eq!(without_lines(&chunk(10, 13, "/// Reads.\n/// All.\nfn read() {}"), &lines), "fn read() {}");
        assert_eq!(without_lines(&chunk(20, 21, "a\nb"), &lines), "a\nb");
    }
}
