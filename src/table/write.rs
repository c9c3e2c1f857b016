//! Writing vectors as Parquet: `row`, `id` where there is one, and `embedding`, a list of float32 in the three levels that every
//! reader knows.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parquet::basic::{Compression, Encoding};
use parquet::data_type::{ByteArray, ByteArrayType, DataType, FloatType, Int64Type};
use parquet::errors::ParquetError;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
use parquet::schema::parser::parse_message_type;
use parquet::schema::types::ColumnPath;

use super::read::said;
use super::{Id, IdKind};
use crate::error::{Error, Result};

/// The names of the columns.
pub(super) const ROW: &str = "row";
pub(super) const ID: &str = "id";
pub(super) const EMBEDDING: &str = "embedding";

/// Bytes of the vectors of one row group, which are kept until it is written.
const GROUP_BYTES: usize = 32 << 20;
/// Bytes of a page: whoever merges many shards holds one of each.
const PAGE_BYTES: usize = 256 << 10;

/// A Parquet file that is written row by row.
pub struct VectorWriter {
    file: Option<File>,
    writer: Option<SerializedFileWriter<File>>,
    /// The file's name when it is whole, for errors.
    path: PathBuf,
    created_by: String,
    dimensions: usize,
    with_id: bool,
    id_kind: Option<IdKind>,
    rows: Vec<i64>,
    ids: Vec<Option<Id>>,
    values: Vec<f32>,
}

impl VectorWriter {
    /// Begins a file at `aside`; whoever calls puts it into place as `path` when it is finished. `created_by` is who writes. With
    /// `with_id` there is a column of ids, of `id_kind` or of the kind that the first of them has.
    pub fn begin(
        aside: &Path,
        path: &Path,
        created_by: &str,
        dimensions: usize,
        with_id: bool,
        id_kind: Option<IdKind>,
    ) -> Result<VectorWriter> {
        let file = OpenOptions::new().write(true).create(true).truncate(true).open(aside).map_err(|e| Error::io("write", path, e))?;
        Ok(VectorWriter {
            file: Some(file),
            writer: None,
            path: path.to_path_buf(),
            created_by: created_by.to_owned(),
            dimensions,
            with_id,
            id_kind,
            rows: Vec::new(),
            ids: Vec::new(),
            values: Vec::new(),
        })
    }

    /// One vector and the number of its row.
    pub fn row(&mut self, row: u64, id: Option<&Id>, vector: &[f32]) -> Result<()> {
        debug_assert_eq!(vector.len(), self.dimensions);
        if let Some(id) = id {
            let kind = *self.id_kind.get_or_insert(id.kind());
            if kind != id.kind() {
                return Err(Error::usage(format!("row {row} has the id {id:?}, and the ids before it are of another type"))
                    .at(&self.path)
                    .hint("a column of ids holds strings or integers, not both"));
            }
        }
        self.rows.push(i64::try_from(row).map_err(|_| Error::bug("a row's number is beyond int64"))?);
        self.ids.push(id.cloned());
        self.values.extend_from_slice(vector);
        if self.values.len() * size_of::<f32>() >= GROUP_BYTES {
            self.group()?;
        }
        Ok(())
    }

    /// Writes what is left, the keys and values, and the footer.
    pub fn finish(mut self, facts: &BTreeMap<String, String>) -> Result<()> {
        if !self.rows.is_empty() {
            self.group()?;
        }
        self.started()?;
        let Some(mut writer) = self.writer.take() else { return Err(Error::bug("a Parquet file was finished twice")) };
        for (key, value) in facts {
            writer.append_key_value_metadata(KeyValue::new(key.clone(), value.clone()));
        }
        writer.close().map(drop).map_err(|e| self.failed(e))
    }

    /// Writes the head of the file once it is known what ids are.
    fn started(&mut self) -> Result<()> {
        let Some(file) = self.file.take() else { return Ok(()) };
        let id = match self.id_kind {
            _ if !self.with_id => "",
            Some(IdKind::Number) => "optional int64 id;",
            Some(IdKind::Text) | None => "optional binary id (STRING);",
        };
        let schema = format!(
            "message patina {{ required int64 {ROW}; {id} required group {EMBEDDING} (LIST) {{ repeated group list {{ required float element; }} }} }}"
        );
        let schema = parse_message_type(&schema).map_err(|e| Error::bug(format!("the schema of vectors: {e}")))?;
        // Vectors do not get smaller by compression or a dictionary, and plain bytes are the same bytes every time.
        let properties = WriterProperties::builder()
            .set_created_by(self.created_by.clone())
            .set_compression(Compression::UNCOMPRESSED)
            .set_encoding(Encoding::PLAIN)
            .set_dictionary_enabled(false)
            .set_statistics_enabled(EnabledStatistics::None)
            .set_column_statistics_enabled(ColumnPath::from(ROW), EnabledStatistics::Chunk)
            .set_data_page_size_limit(PAGE_BYTES)
            .set_max_row_group_row_count(None)
            .build();
        let writer = SerializedFileWriter::new(file, Arc::new(schema), Arc::new(properties)).map_err(|e| self.failed(e))?;
        self.writer = Some(writer);
        Ok(())
    }

    fn group(&mut self) -> Result<()> {
        self.started()?;
        self.columns().map_err(|e| self.failed(e))?;
        self.rows.clear();
        self.ids.clear();
        self.values.clear();
        Ok(())
    }

    fn columns(&mut self) -> parquet::errors::Result<()> {
        let Some(writer) = &mut self.writer else { return Err(ParquetError::General("the file was not begun".into())) };
        let mut group = writer.next_row_group()?;
        column::<Int64Type>(&mut group, &self.rows, None, None)?;
        if self.with_id {
            let there: Vec<i16> = self.ids.iter().map(|id| i16::from(id.is_some())).collect();
            match self.id_kind {
                Some(IdKind::Number) => {
                    let number = |id: &Option<Id>| if let Some(Id::Number(number)) = id { Some(*number) } else { None };
                    let numbers: Vec<i64> = self.ids.iter().filter_map(number).collect();
                    column::<Int64Type>(&mut group, &numbers, Some(&there), None)?;
                }
                _ => {
                    let text = |id: &Option<Id>| if let Some(Id::Text(text)) = id { Some(ByteArray::from(text.as_str())) } else { None };
                    let texts: Vec<ByteArray> = self.ids.iter().filter_map(text).collect();
                    column::<ByteArrayType>(&mut group, &texts, Some(&there), None)?;
                }
            }
        }
        let there = vec![1; self.values.len()];
        let repeats: Vec<i16> = (0..self.values.len()).map(|at| i16::from(!at.is_multiple_of(self.dimensions))).collect();
        column::<FloatType>(&mut group, &self.values, Some(&there), Some(&repeats))?;
        group.close().map(drop)
    }

    fn failed(&self, error: ParquetError) -> Error {
        match error {
            ParquetError::External(inner) => match inner.downcast::<std::io::Error>() {
                Ok(error) => Error::io("write", &self.path, *error),
                Err(inner) => Error::failed(format!("the file cannot be written: {inner}")).at(&self.path),
            },
            other => Error::failed(format!("the file cannot be written: {}", said(&other))).at(&self.path),
        }
    }
}

fn column<T: DataType>(
    group: &mut SerializedRowGroupWriter<'_, File>,
    values: &[T::T],
    defined: Option<&[i16]>,
    repeats: Option<&[i16]>,
) -> parquet::errors::Result<()> {
    let column = group.next_column()?;
    let mut column = column.ok_or_else(|| ParquetError::General("the schema has fewer columns than are written".into()))?;
    column.typed::<T>().write_batch(values, defined, repeats)?;
    column.close()
}
