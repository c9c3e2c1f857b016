//! One column of one row group, a few rows at a time.

use parquet::basic::{ConvertedType, LogicalType, Type};
use parquet::column::reader::{ColumnReader, get_column_reader};
use parquet::data_type::ByteArray;
use parquet::errors::{ParquetError, Result};
use parquet::schema::types::{ColumnDescriptor, Type as SchemaType};

use super::pages::Bounded;

/// What a column holds, of what Patina reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Text,
    /// Whole numbers; unsigned ones are of their own.
    Numbers {
        unsigned: bool,
    },
    NumberList {
        unsigned: bool,
    },
    FloatList,
}

impl Kind {
    /// The kind of a leaf of the schema, if it is one of these. `root` is the column that the leaf is in.
    pub fn of(leaf: &ColumnDescriptor, root: &SchemaType) -> Option<Kind> {
        // A group may have several leaves; a list has one.
        let single = leaves(root) == 1;
        match (leaf.max_rep_level(), leaf.physical_type()) {
            (0, Type::BYTE_ARRAY) if root.is_primitive() && is_text(leaf) => Some(Kind::Text),
            (0, Type::INT32 | Type::INT64) if root.is_primitive() => is_number(leaf).map(|unsigned| Kind::Numbers { unsigned }),
            (1, Type::INT32 | Type::INT64) if single => is_number(leaf).map(|unsigned| Kind::NumberList { unsigned }),
            (1, Type::FLOAT) if single => Some(Kind::FloatList),
            _ => None,
        }
    }
}

fn leaves(root: &SchemaType) -> usize {
    if root.is_primitive() { 1 } else { root.get_fields().iter().map(|field| leaves(field)).sum() }
}

fn is_text(leaf: &ColumnDescriptor) -> bool {
    matches!(leaf.logical_type_ref(), Some(LogicalType::String | LogicalType::Enum | LogicalType::Json))
        || matches!(leaf.converted_type(), ConvertedType::UTF8 | ConvertedType::ENUM | ConvertedType::JSON)
}

/// Whether it is unsigned, if it is a whole number and no time or decimal.
fn is_number(leaf: &ColumnDescriptor) -> Option<bool> {
    use ConvertedType::{INT_8, INT_16, INT_32, INT_64, NONE, UINT_8, UINT_16, UINT_32, UINT_64};
    match (leaf.logical_type_ref(), leaf.converted_type()) {
        (Some(LogicalType::Integer(integer)), _) => Some(!integer.is_signed),
        (Some(_), _) => None,
        (None, NONE | INT_8 | INT_16 | INT_32 | INT_64) => Some(false),
        (None, UINT_8 | UINT_16 | UINT_32 | UINT_64) => Some(true),
        _ => None,
    }
}

/// The cells of some rows; `None` is null.
pub(super) enum Cells {
    Texts(Vec<Option<ByteArray>>),
    Numbers(Vec<Option<i64>>),
    /// A null in a list is told apart from a null list.
    NumberLists(Vec<Option<Vec<Option<i64>>>>),
    FloatLists(Vec<Option<Vec<Option<f32>>>>),
}

/// A column that is read from its first row to its last.
pub(super) struct Column {
    kind: Kind,
    reader: ColumnReader,
    most_defined: i16,
    /// The level at which an element of the list is there.
    repeated: i16,
}

impl Column {
    pub fn new(kind: Kind, pages: Bounded) -> Column {
        let leaf = pages.column.clone();
        let (most_defined, repeated) = (leaf.max_def_level(), leaf.repeated_ancestor_def_level());
        Column { kind, reader: get_column_reader(leaf, Box::new(pages)), most_defined, repeated }
    }

    /// The next `rows` cells.
    pub fn read(&mut self, rows: usize) -> Result<Cells> {
        let (mut defined, mut repeats) = (Vec::new(), Vec::new());
        macro_rules! read {
            ($reader:expr) => {{
                let mut values = Vec::new();
                let (found, _, levels) = $reader.read_records(rows, Some(&mut defined), Some(&mut repeats), &mut values)?;
                if found != rows {
                    return Err(ParquetError::EOF("it has fewer rows than its row group says".into()));
                }
                (values, levels)
            }};
        }
        let unsigned = matches!(self.kind, Kind::Numbers { unsigned: true } | Kind::NumberList { unsigned: true });
        match &mut self.reader {
            ColumnReader::ByteArrayColumnReader(reader) => {
                let (values, _) = read!(reader);
                Ok(Cells::Texts(self.flat(values, &defined)?))
            }
            ColumnReader::Int32ColumnReader(reader) => {
                let (values, levels) = read!(reader);
                let wide = |value: i32| if unsigned { i64::from(value.cast_unsigned()) } else { i64::from(value) };
                self.numbers(values.into_iter().map(wide).collect(), &defined, &repeats, levels)
            }
            ColumnReader::Int64ColumnReader(reader) => {
                let (values, levels) = read!(reader);
                if unsigned && values.iter().any(|&value: &i64| value < 0) {
                    return Err(ParquetError::General("it has a number above the greatest int64".into()));
                }
                self.numbers(values, &defined, &repeats, levels)
            }
            ColumnReader::FloatColumnReader(reader) => {
                let (values, levels) = read!(reader);
                Ok(Cells::FloatLists(self.lists(values, &defined, &repeats, levels)?))
            }
            _ => Err(ParquetError::General("its type is not what the schema says".into())),
        }
    }

    fn numbers(&self, values: Vec<i64>, defined: &[i16], repeats: &[i16], levels: usize) -> Result<Cells> {
        match self.kind {
            Kind::NumberList { .. } => Ok(Cells::NumberLists(self.lists(values, defined, repeats, levels)?)),
            _ => Ok(Cells::Numbers(self.flat(values, defined)?)),
        }
    }

    fn flat<T>(&self, values: Vec<T>, defined: &[i16]) -> Result<Vec<Option<T>>> {
        if self.most_defined == 0 {
            return Ok(values.into_iter().map(Some).collect());
        }
        let mut values = values.into_iter();
        let cells = defined.iter().map(|&level| match level == self.most_defined {
            true => values.next().map(Some).ok_or_else(fewer_values),
            false => Ok(None),
        });
        cells.collect()
    }

    fn lists<T>(&self, values: Vec<T>, defined: &[i16], repeats: &[i16], levels: usize) -> Result<Vec<Option<Vec<Option<T>>>>> {
        let mut values = values.into_iter();
        let mut rows: Vec<Option<Vec<Option<T>>>> = Vec::new();
        if defined.len() != levels || repeats.len() != levels {
            return Err(ParquetError::General("its levels are not as many as each other".into()));
        }
        for (&level, &repeat) in defined.iter().zip(repeats) {
            let element = if level == self.most_defined { Some(values.next().ok_or_else(fewer_values)?) } else { None };
            let is_there = level >= self.repeated;
            match (repeat, rows.last_mut()) {
                (0, _) if is_there => rows.push(Some(vec![element])),
                (0, _) if level + 1 == self.repeated => rows.push(Some(Vec::new())),
                (0, _) => rows.push(None),
                (_, Some(Some(row))) if is_there => row.push(element),
                _ => return Err(ParquetError::General("a list goes on that was not begun".into())),
            }
        }
        Ok(rows)
    }
}

fn fewer_values() -> ParquetError {
    ParquetError::General("it has fewer values than its levels say".into())
}
