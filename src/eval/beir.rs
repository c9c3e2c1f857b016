//! A retrieval data set in BEIR's layout: `corpus.jsonl`, `queries.jsonl`, and `qrels/SPLIT.tsv` with a header and three columns.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::lines::{Line, Lines, fields};
use crate::error::{Error, ErrorKind, Result};
use crate::fs;
use crate::metrics::Judgements;
use crate::progress::Job;

const CORPUS: &str = "corpus.jsonl";
const QUERIES: &str = "queries.jsonl";
const QRELS: &str = "qrels";

const LAYOUT: &str = "a BEIR data set is a folder with corpus.jsonl, queries.jsonl and qrels/test.tsv";
const CORPUS_HINT: &str = "a line of corpus.jsonl is {\"_id\": \"4983\", \"title\": \"...\", \"text\": \"...\"}; the title may be left out";
const QUERIES_HINT: &str = "a line of queries.jsonl is {\"_id\": \"1\", \"text\": \"...\"}";
const QRELS_HINT: &str = "a line of qrels has a query's id, a document's id and a grade (a whole number) between tabs";

/// A question, what it shall find, and what it may not.
#[derive(Clone, Debug, PartialEq)]
pub struct Query {
    /// Its id.
    pub id: String,
    /// Its text.
    pub text: String,
    /// Grades by document number. A document that the corpus does not have has a number beyond the corpus, so that it counts as not found.
    pub judged: Judgements<u32>,
    /// The document of the same id, which BEIR leaves out of the ranking: a question that was made from a document shall not find itself.
    pub own: Option<u32>,
}

/// How much there is, and what the files do not agree on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Documents of the corpus.
    pub documents: usize,
    /// Queries that are evaluated: those with judgements.
    pub queries: usize,
    /// Judgements of these queries.
    pub judgements: usize,
    /// Queries that are evaluated although no document is relevant for them: every measure of theirs is 0, as in pytrec_eval.
    pub queries_without_relevant: usize,
    /// Queries that have no judgement in this split and are left out.
    pub queries_not_judged: usize,
    /// Queries that the qrels name and queries.jsonl does not have; they cannot be asked and are left out.
    pub unknown_queries: usize,
    /// Judgements about documents that the corpus does not have; relevant ones count as not found, as in pytrec_eval.
    pub unknown_documents: usize,
}

/// The SHA-256 of each file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Files {
    /// Of corpus.jsonl.
    pub corpus: String,
    /// Of queries.jsonl.
    pub queries: String,
    /// Of the split's qrels.
    pub qrels: String,
}

/// A data set, read and checked; the texts of its documents stay on disk.
#[derive(Clone, Debug, PartialEq)]
pub struct BeirSet {
    /// The folder.
    pub folder: PathBuf,
    /// The split.
    pub split: String,
    /// The queries with judgements, in the order of their file.
    pub queries: Vec<Query>,
    /// How much there is.
    pub counts: Counts,
    /// The hashes of the files.
    pub files: Files,
    /// The ids of the documents in the order of their bytes: a document's number is its place here, so that numbers tie as ids do.
    ids: Vec<String>,
    /// The number of the document on each row of the corpus.
    rows: Vec<u32>,
}

/// A document's texts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Document {
    pub title: String,
    pub text: String,
}

impl Document {
    /// What is embedded: title, space, text, as BEIR joins them.
    pub fn joined(&self) -> String {
        format!("{} {}", self.title, self.text).trim().to_owned()
    }
}

impl BeirSet {
    /// Reads a split.
    ///
    /// # Errors
    /// [`ErrorKind::Missing`] if a file or the split is not there, [`ErrorKind::Usage`] with the place if a file is not what it must be, if an id
    /// is there twice, or if nothing is judged relevant.
    pub fn read(folder: &Path, split: &str, job: Job<'_>) -> Result<BeirSet> {
        if !folder.is_dir() {
            let error = if folder.exists() { Error::usage("this is no folder") } else { Error::missing("there is no such folder") };
            return Err(error.at(folder).hint(LAYOUT));
        }
        let qrels = qrels_path(folder, split)?;
        let (corpus, queries) = (folder.join(CORPUS), folder.join(QUERIES));
        let grades = read_qrels(&qrels)?;
        let texts = read_queries(&queries)?;
        let documents = read_corpus(&corpus, job)?;
        let mut ids: Vec<(String, usize)> = documents.into_iter().map(|(id, (row, _))| (id, row)).collect();
        ids.sort_unstable();
        let mut rows = vec![0; ids.len()];
        for (number, &(_, row)) in (0..).zip(&ids) {
            rows[row] = number;
        }
        let ids = ids.into_iter().map(|(id, _)| id).collect();
        let files = Files { corpus: fs::sha256_file(&corpus)?, queries: fs::sha256_file(&queries)?, qrels: fs::sha256_file(&qrels)? };
        let mut set = BeirSet {
            folder: folder.to_path_buf(),
            split: split.to_owned(),
            queries: Vec::new(),
            counts: Counts::default(),
            files,
            ids,
            rows,
        };
        set.counts.documents = set.ids.len();
        set.judge(&qrels, grades, texts)?;
        Ok(set)
    }

    /// Keeps the first `count` queries, in the order of their file; the corpus stays whole.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`] if nothing is relevant for any of them.
    pub fn keep_first_queries(&mut self, count: usize) -> Result<()> {
        self.queries.truncate(count);
        let documents = self.rows.len() as u32;
        let mut counts =
            Counts { queries: self.queries.len(), judgements: 0, queries_without_relevant: 0, unknown_documents: 0, ..self.counts };
        for query in &self.queries {
            counts.judgements += query.judged.len();
            counts.queries_without_relevant += usize::from(query.judged.values().all(|&grade| grade == 0));
            counts.unknown_documents += query.judged.keys().filter(|&&document| document >= documents).count();
        }
        self.counts = counts;
        if counts.queries_without_relevant == counts.queries {
            return Err(Error::usage(format!("no document is judged relevant for any of the first {count} queries"))
                .at(&self.folder)
                .hint("take more of them"));
        }
        Ok(())
    }

    /// The id of a document.
    pub fn id(&self, document: u32) -> &str {
        self.ids.get(document as usize).map_or("", String::as_str)
    }

    /// The document of an id.
    pub fn document(&self, id: &str) -> Option<u32> {
        self.ids.binary_search_by(|known| known.as_str().cmp(id)).ok().and_then(|at| u32::try_from(at).ok())
    }

    /// The number of the document on a row of the corpus, from 0.
    pub(super) fn on_row(&self, row: usize) -> Option<u32> {
        self.rows.get(row).copied()
    }

    /// The texts of all documents, row by row, read from the file as they are asked for.
    ///
    /// # Errors
    /// [`ErrorKind::Stale`] if the file is no longer what was read before.
    pub(super) fn texts(&self) -> Result<impl Iterator<Item = Result<Document>> + '_> {
        let path = self.folder.join(CORPUS);
        let lines = Lines::open(&path, "documents", LAYOUT)?;
        let changed = || Error::stale("the file was changed while it was read").at(self.folder.join(CORPUS)).hint("run the command again");
        let documents = lines.enumerate().map(move |(row, line)| {
            let (id, document) = document(&path, &line?)?;
            match self.on_row(row) {
                Some(number) if self.id(number) == id => Ok(document),
                _ => Err(changed()),
            }
        });
        // A file that was cut off would silently be a smaller set.
        let mut left = self.rows.len();
        let end = std::iter::once(()).map(move |()| Err(changed()));
        let mut documents = documents.chain(end);
        Ok(std::iter::from_fn(move || {
            let next = if left > 0 { documents.next() } else { None };
            left = left.saturating_sub(1);
            next
        }))
    }

    /// Brings queries and judgements together.
    fn judge(&mut self, qrels: &Path, mut grades: BTreeMap<String, BTreeMap<String, u32>>, texts: Vec<(String, String)>) -> Result<()> {
        let mut counts = self.counts;
        let mut queries = Vec::new();
        for (id, text) in texts {
            let Some(grades) = grades.remove(&id) else {
                counts.queries_not_judged += 1;
                continue;
            };
            let mut judged = Judgements::new();
            let mut beyond = self.rows.len() as u32;
            counts.judgements += grades.len();
            counts.queries_without_relevant += usize::from(grades.values().all(|&grade| grade == 0));
            for (document, grade) in grades {
                let number = self.document(&document).unwrap_or_else(|| {
                    counts.unknown_documents += 1;
                    beyond += 1;
                    beyond - 1
                });
                judged.insert(number, grade);
            }
            let own = self.document(&id);
            queries.push(Query { id, text, judged, own });
        }
        counts.unknown_queries = grades.len();
        counts.queries = queries.len();
        (self.queries, self.counts) = (queries, counts);
        if counts.queries == 0 {
            return Err(Error::usage(format!("none of the {} queries that are judged here is in {QUERIES}", counts.unknown_queries))
                .at(qrels)
                .hint("the three files of a data set belong together; ids are compared letter by letter"));
        }
        if counts.queries_without_relevant == counts.queries {
            return Err(Error::usage("no document is judged relevant for any query, so that every measure would be 0")
                .at(qrels)
                .hint("an unlabelled split cannot be evaluated; take one whose judgements are published"));
        }
        Ok(())
    }
}

fn qrels_path(folder: &Path, split: &str) -> Result<PathBuf> {
    let path = fs::contained(&folder.join(QRELS), &format!("{split}.tsv")).map_err(|_| {
        Error::usage(format!("the split {split:?} is no name of a file in {QRELS}")).hint("splits are called test, dev or train")
    })?;
    if path.is_file() {
        return Ok(path);
    }
    let entries = std::fs::read_dir(folder.join(QRELS)).into_iter().flatten().flatten();
    let mut splits: Vec<String> =
        entries.filter_map(|entry| entry.file_name().to_str().and_then(|name| name.strip_suffix(".tsv")).map(str::to_owned)).collect();
    splits.sort();
    let hint = match splits.as_slice() {
        [] => LAYOUT.to_owned(),
        splits => format!("splits that are there: {}", splits.join(", ")),
    };
    Err(Error::missing(format!("the data set has no split {split:?}")).at(path).hint(hint))
}

/// Grades by query and document. A grade below 0 is one of 0, as in trec_eval.
fn read_qrels(path: &Path) -> Result<BTreeMap<String, BTreeMap<String, u32>>> {
    let mut grades: BTreeMap<String, BTreeMap<String, u32>> = BTreeMap::new();
    let mut is_first = true;
    for line in Lines::open(path, "judgements", LAYOUT)? {
        let line = line?;
        let wrong = |message: String, column: usize| Error::usage(message).at_line(path, line.number, column).hint(QRELS_HINT);
        let fields = fields(&line.text);
        let &[(query, query_at), (document, document_at), (word, grade_at)] = fields.as_slice() else {
            return Err(wrong(format!("the line has {} columns; 3 were expected", fields.len()), 1));
        };
        if std::mem::take(&mut is_first) && query.eq_ignore_ascii_case("query-id") {
            continue;
        }
        for (id, at) in [(query, query_at), (document, document_at)] {
            if id.is_empty() {
                return Err(wrong("the id is empty".to_owned(), at));
            }
        }
        let grade: i32 = word.trim().parse().map_err(|_| wrong(format!("the grade is {word:?}; a whole number was expected"), grade_at))?;
        let grade = u32::try_from(grade).unwrap_or(0);
        let of_query = grades.entry(query.to_owned()).or_default();
        match of_query.insert(document.to_owned(), grade) {
            Some(before) if before != grade => {
                return Err(wrong(format!("query {query:?} and document {document:?} are judged {grade} here and {before} above"), 1));
            }
            _ => {}
        }
    }
    if grades.is_empty() {
        return Err(Error::usage("the file holds no judgement, and an unlabelled split cannot be evaluated").at(path).hint(QRELS_HINT));
    }
    Ok(grades)
}

/// Ids and texts in the order of the file.
fn read_queries(path: &Path) -> Result<Vec<(String, String)>> {
    let mut queries = Vec::new();
    let mut seen: HashMap<String, usize> = HashMap::new();
    for line in Lines::open(path, "queries", LAYOUT)? {
        let line = line?;
        let object = Object::parse(path, &line, QUERIES_HINT)?;
        let (id, text) = (object.id()?, object.text("text")?);
        if text.trim().is_empty() {
            return Err(object.wrong("the query has no text".to_owned()));
        }
        once(&mut seen, &id, line.number, &object)?;
        queries.push((id, text));
    }
    if queries.is_empty() {
        return Err(Error::usage("the file holds no query").at(path).hint(QUERIES_HINT));
    }
    Ok(queries)
}

/// The row (from 0) and line of each id.
fn read_corpus(path: &Path, job: Job<'_>) -> Result<HashMap<String, (usize, usize)>> {
    let mut rows: HashMap<String, (usize, usize)> = HashMap::new();
    for line in Lines::open(path, "documents", LAYOUT)? {
        job.check()?;
        let line = line?;
        let (id, _) = document(path, &line)?;
        let row = rows.len();
        if let Some((_, before)) = rows.insert(id.clone(), (row, line.number)) {
            return Err(Error::usage(format!("the id {id:?} is that of line {before} too"))
                .at_line(path, line.number, 1)
                .hint("every document has an id of its own"));
        }
    }
    match rows.len() {
        0 => Err(Error::usage("the file holds no document").at(path).hint(CORPUS_HINT)),
        // Judged documents that are not there get numbers beyond.
        count if count > (u32::MAX / 2) as usize => Err(Error::usage(format!("{count} documents are more than can be ranked")).at(path)),
        _ => Ok(rows),
    }
}

fn document(path: &Path, line: &Line) -> Result<(String, Document)> {
    let object = Object::parse(path, line, CORPUS_HINT)?;
    let title = match object.value.get("title") {
        None | Some(Value::Null) => String::new(),
        Some(_) => object.text("title")?,
    };
    Ok((object.id()?, Document { title, text: object.text("text")? }))
}

fn once(seen: &mut HashMap<String, usize>, id: &str, line: usize, object: &Object<'_>) -> Result<()> {
    match seen.insert(id.to_owned(), line) {
        Some(before) => Err(object.wrong(format!("the id {id:?} is that of line {before} too"))),
        None => Ok(()),
    }
}

/// A line of JSON lines.
struct Object<'a> {
    path: &'a Path,
    line: usize,
    hint: &'static str,
    value: serde_json::Map<String, Value>,
}

impl<'a> Object<'a> {
    fn parse(path: &'a Path, line: &Line, hint: &'static str) -> Result<Object<'a>> {
        let value = serde_json::from_str(&line.text).map_err(|e| {
            let message = e.to_string();
            // The place is told with the file.
            let reason = message.rsplit_once(" at line ").map_or(message.as_str(), |(reason, _)| reason);
            Error::new(ErrorKind::Usage, format!("the line is no JSON object: {reason}"))
                .at_line(path, line.number, e.column().max(1))
                .hint(hint)
        })?;
        Ok(Object { path, line: line.number, hint, value })
    }

    fn wrong(&self, message: String) -> Error {
        Error::usage(message).at_line(self.path, self.line, 1).hint(self.hint)
    }

    /// The id: a text, or a whole number, which some sets have.
    fn id(&self) -> Result<String> {
        match self.value.get("_id") {
            Some(Value::String(id)) if id.is_empty() => Err(self.wrong("the id is empty".to_owned())),
            // The separators of qrels cannot be part of an id that qrels name.
            Some(Value::String(id)) if id.contains(['\t', '\n', '\r']) => {
                Err(self.wrong(format!("the id {id:?} has a tab or a line break")))
            }
            Some(Value::String(id)) => Ok(id.clone()),
            Some(Value::Number(id)) if id.is_i64() || id.is_u64() => Ok(id.to_string()),
            Some(_) => Err(self.wrong("`_id` is neither a text nor a whole number".to_owned())),
            None => Err(self.wrong("the line has no `_id`".to_owned())),
        }
    }

    fn text(&self, name: &str) -> Result<String> {
        match self.value.get(name) {
            Some(Value::String(text)) => Ok(text.clone()),
            Some(_) => Err(self.wrong(format!("`{name}` is no text"))),
            None => Err(self.wrong(format!("the line has no `{name}`"))),
        }
    }
}
