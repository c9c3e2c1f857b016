//! A Parquet file of vectors, as [`VectorWriter`](super::VectorWriter) writes it.

use std::collections::VecDeque;

use super::Id;
use super::column::{Cells, Kind};
use super::read::{Scan, Table};
use super::write::{EMBEDDING, ID, ROW};
use crate::error::{Error, Result};

/// A row of it: its number in the input, its id, its vector.
pub type VectorRow = (u64, Option<Id>, Vec<f32>);

/// The vectors of a file, row by row.
pub struct VectorTable {
    scan: Scan,
    ready: VecDeque<VectorRow>,
}

impl VectorTable {
    /// The vectors of an open file.
    pub fn of(table: Table) -> Result<VectorTable> {
        let row = table.column(ROW, "integers", |kind| matches!(kind, Kind::Numbers { .. }))?;
        let vector = table.column(EMBEDDING, "lists of float32", |kind| kind == Kind::FloatList)?;
        let mut columns = vec![row, vector];
        if table.has(ID) {
            columns.push(table.column(ID, "strings or integers", |kind| matches!(kind, Kind::Text | Kind::Numbers { .. }))?);
        }
        Ok(VectorTable { scan: table.scan(columns), ready: VecDeque::new() })
    }

    /// The next row.
    pub fn read(&mut self) -> Result<Option<VectorRow>> {
        while self.ready.is_empty() {
            if !self.fill()? {
                return Ok(None);
            }
        }
        Ok(self.ready.pop_front())
    }

    fn fill(&mut self) -> Result<bool> {
        let Some((first, cells)) = self.scan.next()? else { return Ok(false) };
        let mut cells = cells.into_iter();
        let (Some(Cells::Numbers(rows)), Some(Cells::FloatLists(vectors))) = (cells.next(), cells.next()) else {
            return Err(Error::bug("columns of rows and vectors gave something else"));
        };
        let ids: Vec<Option<Id>> = match cells.next() {
            Some(Cells::Numbers(numbers)) => numbers.into_iter().map(|number| number.map(Id::Number)).collect(),
            Some(Cells::Texts(texts)) => {
                texts.into_iter().map(|text| text.map(|text| Id::Text(String::from_utf8_lossy(text.data()).into_owned()))).collect()
            }
            _ => rows.iter().map(|_| None).collect(),
        };
        for (at, ((row, vector), id)) in rows.into_iter().zip(vectors).zip(ids).enumerate() {
            let here = first + at as u64;
            let row = row.and_then(|row| u64::try_from(row).ok()).ok_or_else(|| self.scan.cell(here, 0, "is no row's number"))?;
            let vector: Option<Vec<f32>> = vector.and_then(|vector| vector.into_iter().collect());
            self.ready.push_back((row, id, vector.ok_or_else(|| self.scan.cell(here, 1, "is no vector: it has a null"))?));
        }
        Ok(true)
    }
}
