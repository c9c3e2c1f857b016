//! A Parquet file of texts, or of token ids.

use std::collections::VecDeque;
use std::path::Path;

use super::column::{Cells, Kind};
use super::read::{Scan, Table};
use super::{Id, IdKind};
use crate::embed::Input;
use crate::error::{Error, Result};

/// The columns that are looked for if none is named.
const TEXT: &str = "text";
const IDS: &str = "input_ids";

/// The texts of a file, row by row.
pub struct TextTable {
    scan: Scan,
    id_kind: Option<IdKind>,
    ready: VecDeque<(Input, Option<Id>)>,
}

impl TextTable {
    /// Opens a file. `text` names the column of strings or of lists of token ids: `text` or `input_ids` if none; `id` the column
    /// that says what a row is called.
    pub fn open(path: &Path, text: Option<&str>, id: Option<&str>) -> Result<TextTable> {
        TextTable::of(Table::open(path)?, text, id)
    }

    fn of(table: Table, text: Option<&str>, id: Option<&str>) -> Result<TextTable> {
        let name = match text {
            Some(name) => name,
            None if table.has(TEXT) && table.has(IDS) => {
                return Err(Error::usage(format!("the file has both a column `{TEXT}` and a column `{IDS}`"))
                    .at(table.path())
                    .hint(format!("say which with --text-column {TEXT} or --text-column {IDS}")));
            }
            None if table.has(IDS) => IDS,
            None => TEXT,
        };
        let fits = |kind| matches!(kind, Kind::Text | Kind::NumberList { .. });
        let mut columns = vec![table.column(name, "strings, or lists of integers (token ids)", fits)?];
        let mut id_kind = None;
        if let Some(name) = id {
            let fits = |kind| matches!(kind, Kind::Text | Kind::Numbers { .. });
            let column = table.column(name, "strings or integers", fits)?;
            id_kind = Some(if column.1 == Kind::Text { IdKind::Text } else { IdKind::Number });
            columns.push(column);
        }
        Ok(TextTable { scan: table.scan(columns), id_kind, ready: VecDeque::new() })
    }

    /// The rows of the file.
    pub fn rows(&self) -> u64 {
        self.scan.table().rows()
    }

    /// What the column of ids holds, if there is one.
    pub fn id_kind(&self) -> Option<IdKind> {
        self.id_kind
    }

    fn fill(&mut self) -> Result<bool> {
        let Some((first, cells)) = self.scan.next()? else { return Ok(false) };
        let mut cells = cells.into_iter();
        let inputs: Vec<Result<Input>> = match cells.next() {
            Some(Cells::Texts(texts)) => texts
                .into_iter()
                .enumerate()
                .map(|(at, text)| {
                    let text = text.ok_or_else(|| self.null(first + at as u64, 0))?;
                    let text = String::from_utf8(text.data().to_vec());
                    text.map(Input::Text).map_err(|_| self.scan.cell(first + at as u64, 0, "is not UTF-8").hint("write it as UTF-8"))
                })
                .collect(),
            Some(Cells::NumberLists(lists)) => {
                lists.into_iter().enumerate().map(|(at, list)| self.ids(first + at as u64, list).map(Input::Ids)).collect()
            }
            _ => return Err(Error::bug("a column of texts gave no texts")),
        };
        let ids: Vec<Result<Option<Id>>> = match cells.next() {
            Some(Cells::Numbers(numbers)) => numbers.into_iter().map(|number| Ok(number.map(Id::Number))).collect(),
            Some(Cells::Texts(texts)) => texts
                .into_iter()
                .enumerate()
                .map(|(at, text)| {
                    let text = text.map(|text| String::from_utf8(text.data().to_vec())).transpose();
                    text.map(|text| text.map(Id::Text)).map_err(|_| self.scan.cell(first + at as u64, 1, "is not UTF-8"))
                })
                .collect(),
            _ => inputs.iter().map(|_| Ok(None)).collect(),
        };
        for (input, id) in inputs.into_iter().zip(ids) {
            self.ready.push_back((input?, id?));
        }
        Ok(true)
    }

    fn ids(&self, row: u64, list: Option<Vec<Option<i64>>>) -> Result<Vec<u32>> {
        let list = list.ok_or_else(|| self.null(row, 0))?;
        let ids = list.into_iter().map(|id| {
            let id = id.ok_or_else(|| self.scan.cell(row, 0, "has a null in its list").hint("token ids are 0 or more"))?;
            let wrong = |_| self.scan.cell(row, 0, &format!("has {id}, which is no token id")).hint("token ids are 0 or more");
            u32::try_from(id).map_err(wrong)
        });
        ids.collect()
    }

    fn null(&self, row: u64, at: usize) -> Error {
        self.scan.cell(row, at, "is null").hint("fill in the empty text or leave such rows out; nothing is embedded for a null")
    }

    /// The next row: what to embed, and its id unless that is null or was not asked for.
    pub fn read(&mut self) -> Result<Option<(Input, Option<Id>)>> {
        while self.ready.is_empty() {
            if !self.fill()? {
                return Ok(None);
            }
        }
        Ok(self.ready.pop_front())
    }
}

/// Whether bytes are a Parquet file of texts: how many rows could be read.
pub fn check_table(bytes: Vec<u8>) -> Result<u64> {
    let table = Table::of_bytes(bytes, Path::new("texts.parquet"))?;
    let id = if table.has("id") { Some("id") } else { None };
    let mut texts = TextTable::of(table, None, id)?;
    let mut rows = 0;
    while texts.read()?.is_some() {
        rows += 1;
    }
    Ok(rows)
}
