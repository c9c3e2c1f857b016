//! Opening a Parquet file, finding its columns, and reading its row groups one after the other.

use std::collections::BTreeMap;
use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use parquet::basic::Compression;
use parquet::errors::ParquetError;
use parquet::file::metadata::{ParquetMetaData, ParquetMetaDataReader};
use parquet::file::reader::{Length, SerializedPageReader};

use super::column::{Cells, Column, Kind};
use super::look;
use super::pages::{Bounded, Budget, Source};
use crate::error::{Error, Result};

/// The most bytes of a footer. What the library makes of it is some times as large.
const FOOTER_LIMIT: usize = 16 << 20;
/// Rows that are read at once.
const BATCH: usize = 32;
/// How a Parquet file begins and ends.
const MAGIC: &[u8] = b"PAR1";
/// How one ends whose footer is encrypted.
const ENCRYPTED: &[u8] = b"PARE";

/// A Parquet file whose footer was read.
pub struct Table {
    source: Source,
    meta: ParquetMetaData,
    path: PathBuf,
}

impl Table {
    /// Opens a file and reads its footer.
    pub fn open(path: &Path) -> Result<Table> {
        let file = File::open(path).map_err(|e| Error::io("read", path, e))?;
        let is_file = file.metadata().map_err(|e| Error::io("read", path, e))?.is_file();
        if !is_file {
            return Err(Error::failed("this is no file").at(path).hint("a Parquet file is read from its end: name one, not a pipe"));
        }
        Table::of(Source::file(file).map_err(|e| Error::io("read", path, e))?, path)
    }

    /// The same of bytes in memory.
    pub(super) fn of_bytes(bytes: Vec<u8>, path: &Path) -> Result<Table> {
        Table::of(Source::memory(Bytes::from(bytes)), path)
    }

    fn of(source: Source, path: &Path) -> Result<Table> {
        let damaged = |reason: String| {
            Error::corrupt(format!("this is no whole Parquet file: {reason}")).at(path).hint("get or write the file again")
        };
        let read = |start, length| source.read(start, length).map_err(|e| Error::io("read", path, e));
        let length = source.len();
        if length < 12 || read(0, 4)? != MAGIC {
            return Err(damaged("it does not begin with PAR1".into()));
        }
        let tail = read(length - 8, 8)?;
        if &tail[4..] == ENCRYPTED {
            return Err(Error::usage("the file is encrypted, which is not supported").at(path).hint("write it without encryption"));
        }
        if &tail[4..] != MAGIC {
            return Err(damaged("it does not end with PAR1, so that its end is missing".into()));
        }
        let footer = u32::from_le_bytes([tail[0], tail[1], tail[2], tail[3]]) as usize;
        if footer > FOOTER_LIMIT {
            return Err(damaged(format!("its footer has {footer} bytes; at most {FOOTER_LIMIT} are read")));
        }
        let start = (length - 8).checked_sub(footer as u64).filter(|&start| start >= 4);
        let start = start.ok_or_else(|| damaged(format!("its footer has {footer} bytes, more than the file")))?;
        let footer = read(start, footer)?;
        look::footer(&footer).map_err(damaged)?;
        let meta = guarded(|| ParquetMetaDataReader::decode_metadata(&footer)).map_err(|e| damaged(said(&e)))?;
        let rows: Option<i64> = meta.row_groups().iter().try_fold(0i64, |sum, group| sum.checked_add(group.num_rows().max(0)));
        if rows != Some(meta.file_metadata().num_rows()) {
            return Err(damaged("its row groups have not as many rows as it says".into()));
        }
        Ok(Table { source, meta, path: path.to_path_buf() })
    }

    /// The rows of all row groups.
    pub fn rows(&self) -> u64 {
        u64::try_from(self.meta.file_metadata().num_rows()).unwrap_or(0)
    }

    /// The file's own keys and values.
    pub fn facts(&self) -> BTreeMap<String, String> {
        let pairs = self.meta.file_metadata().key_value_metadata();
        pairs.into_iter().flatten().filter_map(|pair| Some((pair.key.clone(), pair.value.clone()?))).collect()
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Whether a column has this name.
    pub(super) fn has(&self, name: &str) -> bool {
        self.root(name).is_some()
    }

    fn root(&self, name: &str) -> Option<usize> {
        let schema = self.meta.file_metadata().schema_descr();
        (0..schema.num_columns()).find(|&leaf| schema.get_column_root(leaf).name() == name)
    }

    /// The number of a column and what it holds, which must be something that `fits`.
    pub(super) fn column(&self, name: &str, expected: &str, fits: impl Fn(Kind) -> bool) -> Result<(usize, Kind)> {
        let schema = self.meta.file_metadata().schema_descr();
        let Some(leaf) = self.root(name) else {
            let fields = schema.root_schema().get_fields();
            let names: Vec<String> = fields.iter().take(20).map(|field| format!("`{}`", field.name())).collect();
            return Err(Error::usage(format!("there is no column `{name}`"))
                .at(&self.path)
                .hint(format!("the file's columns are {}; --text-column and --id-column name the ones to read", names.join(", "))));
        };
        let (column, root) = (schema.column(leaf), schema.get_column_root(leaf));
        match Kind::of(&column, root).filter(|&kind| fits(kind)) {
            Some(kind) => Ok((leaf, kind)),
            None => {
                let found = match (root.is_group(), column.logical_type_ref()) {
                    (true, _) => format!("a group or list whose first leaf is {}", column.physical_type()),
                    (false, Some(logical)) => format!("{} ({logical:?})", column.physical_type()),
                    (false, None) => column.physical_type().to_string(),
                };
                Err(Error::usage(format!("the column `{name}` must hold {expected} and is {found}"))
                    .at(&self.path)
                    .hint("cast the column, or name another with --text-column or --id-column"))
            }
        }
    }

    /// The rows of some columns, from the first to the last.
    pub(super) fn scan(self, columns: Vec<(usize, Kind)>) -> Scan {
        Scan { table: self, columns, group: 0, open: Vec::new(), left: 0, row: 0, budget: Budget::default() }
    }
}

/// Columns of a table, read a few rows at a time.
pub(super) struct Scan {
    table: Table,
    columns: Vec<(usize, Kind)>,
    /// The row group that is read next.
    group: usize,
    open: Vec<Column>,
    /// Rows of the row group that is open.
    left: usize,
    /// The next row.
    row: u64,
    budget: Budget,
}

impl Scan {
    pub fn table(&self) -> &Table {
        &self.table
    }

    /// The number of the first of these rows, and the cells of each column; `None` at the end.
    pub fn next(&mut self) -> Result<Option<(u64, Vec<Cells>)>> {
        while self.left == 0 {
            if self.group == self.table.meta.num_row_groups() {
                return Ok(None);
            }
            self.open()?;
        }
        let rows = self.left.min(BATCH);
        self.budget.renew();
        let (first, group) = (self.row, self.group - 1);
        let mut cells = Vec::new();
        for at in 0..self.open.len() {
            let column = &mut self.open[at];
            cells.push(guarded(|| column.read(rows)).map_err(|e| self.damaged(&e, at, group))?);
        }
        self.left -= rows;
        self.row += rows as u64;
        Ok(Some((first, cells)))
    }

    fn open(&mut self) -> Result<()> {
        let group = self.table.meta.row_group(self.group);
        self.left = usize::try_from(group.num_rows()).unwrap_or(0);
        let mut open = Vec::new();
        for (at, &(leaf, kind)) in self.columns.iter().enumerate() {
            let chunk = group.columns().get(leaf).ok_or_else(|| {
                Error::corrupt(format!("row group {} has not the columns of the schema", self.group)).at(&self.table.path)
            })?;
            let name = self.name(at);
            if let Some(codec) = unsupported(chunk.compression()) {
                return Err(Error::usage(format!("the column `{name}` is compressed with {codec}, which is not supported"))
                    .at(&self.table.path)
                    .hint("write the file with snappy, gzip, lz4 or no compression"));
            }
            let pages = guarded(|| SerializedPageReader::new(Arc::new(self.table.source.clone()), chunk, self.left, None));
            let pages = pages.map_err(|e| self.damaged(&e, at, self.group))?;
            let column = self.table.meta.file_metadata().schema_descr().column(leaf);
            open.push(Column::new(kind, Bounded { inner: pages, column, budget: self.budget.clone() }));
        }
        self.open = open;
        self.group += 1;
        Ok(())
    }

    fn name(&self, at: usize) -> String {
        self.table.meta.file_metadata().schema_descr().get_column_root(self.columns[at].0).name().to_owned()
    }

    fn damaged(&self, error: &ParquetError, at: usize, group: usize) -> Error {
        let place = format!("the column `{}` of row group {group} cannot be read at row {}", self.name(at), self.row);
        Error::corrupt(format!("{place}: {}", said(error))).at(&self.table.path).hint("get or write the file again")
    }

    /// An error about one cell: `what` follows "the column `x`".
    pub fn cell(&self, row: u64, at: usize, what: &str) -> Error {
        Error::usage(format!("row {row} (row group {}): the column `{}` {what}", self.group.saturating_sub(1), self.name(at)))
            .at(&self.table.path)
    }
}

fn unsupported(compression: Compression) -> Option<&'static str> {
    match compression {
        Compression::UNCOMPRESSED | Compression::SNAPPY | Compression::GZIP(_) | Compression::LZ4 | Compression::LZ4_RAW => None,
        Compression::ZSTD(_) => Some("zstd"),
        Compression::BROTLI(_) => Some("brotli"),
        Compression::LZO => Some("lzo"),
    }
}

/// A damaged file can panic the library.
fn guarded<T>(read: impl FnOnce() -> parquet::errors::Result<T>) -> parquet::errors::Result<T> {
    catch_unwind(AssertUnwindSafe(read)).unwrap_or_else(|_| Err(ParquetError::General("the parquet library gave up on it".into())))
}

/// What the library says, without its own name.
pub(super) fn said(error: &ParquetError) -> String {
    match error {
        ParquetError::General(message) | ParquetError::EOF(message) => message.clone(),
        ParquetError::External(inner) => inner.to_string(),
        other => other.to_string(),
    }
}
