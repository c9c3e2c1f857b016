//! Files that pyarrow wrote (tests/fixtures/parquet), our own files read back, and damage.

#![allow(clippy::disallowed_methods)] // Tests make and break files by themselves.

use std::collections::BTreeMap;
use std::path::PathBuf;

use proptest::prelude::*;

use super::*;
use crate::embed::Input;
use crate::error::{Error, ErrorKind, Result};

fn fixture(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/parquet").join(format!("{name}.parquet"))
}

type Rows = Vec<(Input, Option<Id>)>;

fn read(name: &str, text: Option<&str>, id: Option<&str>) -> Result<Rows> {
    let mut table = TextTable::open(&fixture(name), text, id)?;
    let mut rows = Vec::new();
    while let Some(row) = table.read()? {
        rows.push(row);
    }
    assert_eq!(rows.len() as u64, table.rows());
    Ok(rows)
}

/// What make.py wrote.
fn texts() -> Vec<String> {
    (0..99).map(|n| format!("text number {n}{}", " again".repeat(n % 5))).chain([String::new()]).collect()
}

#[test]
fn texts_in_every_form_that_pyarrow_writes() {
    let expected: Rows = texts().into_iter().enumerate().map(|(n, text)| (Input::Text(text), Some(Id::Text(format!("key-{n}"))))).collect();
    for name in ["plain", "snappy", "gzip", "lz4", "page-v2", "delta-length", "delta"] {
        assert_eq!(read(name, None, Some("id")).unwrap_or_else(|e| panic!("{name}: {e}")), expected, "{name}");
    }
    let numbers: Vec<Option<Id>> = (0..100).map(|n| Some(Id::Number(n * 1_000_000_007))).collect();
    for name in ["large-string", "many-columns"] {
        let rows = read(name, Some("text"), Some("id")).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert_eq!(rows.iter().map(|(_, id)| id.clone()).collect::<Vec<_>>(), numbers, "{name}");
        assert_eq!(rows.into_iter().map(|(text, _)| text).collect::<Vec<_>>(), texts().into_iter().map(Input::Text).collect::<Vec<_>>());
    }
    let rows = read("required", None, None).expect("a column that has no nulls");
    assert_eq!(rows.len(), 100);
    assert!(rows.iter().all(|(_, id)| id.is_none()));
    for name in ["dictionary", "categories"] {
        let rows = read(name, None, None).unwrap_or_else(|e| panic!("{name}: {e}"));
        for (n, (text, _)) in rows.into_iter().enumerate() {
            assert_eq!(text, Input::Text(["a", "b", "a", "c"][n % 4].into()), "{name}");
        }
    }
    assert_eq!(read("no-rows", None, Some("id")).expect("no rows"), Vec::new());
}

#[test]
fn token_ids_in_every_form_that_pyarrow_writes() {
    for (name, column) in [("ids-int64", None), ("ids-int32", Some("tokens")), ("ids-uint32", Some("input_ids"))] {
        let rows = read(name, column, None).unwrap_or_else(|e| panic!("{name}: {e}"));
        for (n, (ids, _)) in rows.into_iter().enumerate() {
            assert_eq!(ids, Input::Ids((0..=n as u32 % 7).collect()), "{name} {n}");
        }
    }
    let rows: Vec<Input> = read("ids-empty", None, None).expect("an empty list").into_iter().map(|(ids, _)| ids).collect();
    assert_eq!(rows, [Input::Ids(vec![1]), Input::Ids(vec![]), Input::Ids(vec![2])]);
}

#[test]
fn a_null_id_is_none() {
    let rows = read("null-id", None, Some("id")).expect("ids with nulls");
    assert_eq!((&rows[0].1, &rows[1].1), (&None, &Some(Id::Number(1))));
}

fn error(name: &str, text: Option<&str>, id: Option<&str>) -> Error {
    match read(name, text, id) {
        Err(error) => error,
        Ok(rows) => panic!("{name} was read: {} rows", rows.len()),
    }
}

#[test]
fn what_cannot_be_read_is_named() {
    let cases = [
        ("null-text", None, ErrorKind::Usage, "row 70 (row group 1): the column `text` is null"),
        ("null-list", None, ErrorKind::Usage, "row 1 (row group 0): the column `input_ids` is null"),
        ("null-in-list", None, ErrorKind::Usage, "row 1 (row group 0): the column `input_ids` has a null in its list"),
        ("negative-ids", None, ErrorKind::Usage, "row 1 (row group 0): the column `input_ids` has -3, which is no token id"),
        ("both", None, ErrorKind::Usage, "the file has both a column `text` and a column `input_ids`"),
        ("neither", None, ErrorKind::Usage, "there is no column `text`"),
        ("number-text", None, ErrorKind::Usage, "the column `text` must hold strings, or lists of integers (token ids) and is DOUBLE"),
        ("binary-text", None, ErrorKind::Usage, "the column `text` must hold strings, or lists of integers (token ids) and is BYTE_ARRAY"),
        (
            "list-of-strings",
            None,
            ErrorKind::Usage,
            "the column `input_ids` must hold strings, or lists of integers (token ids) and is a group or list whose first leaf is BYTE_ARRAY",
        ),
        ("many-columns", Some("nested"), ErrorKind::Usage, "the column `nested` must hold strings"),
        ("not-utf8", None, ErrorKind::Usage, "row 0 (row group 0): the column `text` is not UTF-8"),
        ("zstd", None, ErrorKind::Usage, "the column `text` is compressed with zstd, which is not supported"),
        ("brotli", None, ErrorKind::Usage, "the column `text` is compressed with brotli, which is not supported"),
        ("cut", None, ErrorKind::Corrupt, "it does not end with PAR1"),
        ("no-parquet", None, ErrorKind::Corrupt, "it does not begin with PAR1"),
    ];
    for (name, text, kind, part) in cases {
        let error = error(name, text, None);
        assert!(error.message().contains(part), "{name}: {error}");
        assert_eq!(error.kind(), kind, "{name}");
        assert!(error.hint_text().is_some(), "{name}");
        assert_eq!(error.place().map(|place| place.path.clone()), Some(fixture(name)), "{name}");
    }
    assert!(error("time-id", None, Some("id")).message().contains("the column `id` must hold strings or integers"));
}

/// Sampled damage of every small file: an error or rows, never a panic that comes out.
#[test]
fn damage_is_an_error() {
    let check = |bytes: Vec<u8>| check_table(bytes).map_err(|e| assert_ne!(e.kind(), ErrorKind::Bug, "{e}"));
    for name in ["snappy", "ids-int64", "page-v2", "delta-length", "dictionary", "gzip", "delta"] {
        let whole = std::fs::read(fixture(name)).expect("a fixture");
        assert!(check_table(whole.clone()).is_ok(), "{name}");
        let mut errors = 0;
        for at in (0..whole.len()).step_by(7) {
            errors += usize::from(check(whole[..at].to_vec()).is_err());
            for byte in [0x00, 0x7f, 0xff] {
                let mut damaged = whole.clone();
                damaged[at] = byte;
                let _ = check(damaged);
            }
        }
        assert_eq!(errors, whole.len().div_ceil(7), "{name}: a file that is cut off was read");
    }
}

fn written(rows: &[(u64, Option<Id>, Vec<f32>)], dimensions: usize, with_id: bool) -> PathBuf {
    let folder = tempfile::tempdir().expect("a folder").keep();
    let path = folder.join("v.parquet");
    let mut writer = VectorWriter::begin(&path, &path, "a test", dimensions, with_id, None).expect("a file");
    for (row, id, vector) in rows {
        writer.row(*row, id.as_ref(), vector).expect("a row");
    }
    writer.finish(&BTreeMap::from([("key".to_owned(), "a value".to_owned())])).expect("whole");
    path
}

fn vectors(path: &std::path::Path) -> Vec<VectorRow> {
    let table = Table::open(path).expect("our own file");
    assert_eq!(table.facts().get("key").map(String::as_str), Some("a value"));
    let mut table = VectorTable::of(table).expect("our own columns");
    std::iter::from_fn(|| table.read().expect("a row")).collect()
}

#[test]
fn a_row_group_is_written_when_it_is_full() {
    // 32 MiB of vectors of 16 KiB: 2048 rows each.
    let rows: Vec<_> = (0..2500u64).map(|row| (row * 3, Some(Id::Number(row as i64)), vec![row as f32; 4096])).collect();
    let path = written(&rows, 4096, true);
    assert_eq!(vectors(&path), rows);
    std::fs::remove_dir_all(path.parent().expect("a folder")).expect("removed");
}

#[test]
fn ids_of_two_types_are_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("v.parquet");
    let mut writer = VectorWriter::begin(&path, &path, "a test", 1, true, None).expect("a file");
    writer.row(0, Some(&Id::Number(1)), &[1.0]).expect("a row");
    assert_eq!(writer.row(1, Some(&Id::Text("a".into())), &[1.0]).expect_err("another type").kind(), ErrorKind::Usage);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn what_is_written_is_read(
        rows in prop::collection::vec((0u64..1 << 60, prop::option::of("[a-zé]{0,9}"), prop::collection::vec(any::<f32>(), 5)), 0..90),
        with_id: bool,
    ) {
        let id = |text: Option<String>| text.filter(|_| with_id).map(Id::Text);
        let rows: Vec<_> = rows.into_iter().map(|(row, text, vector)| (row, id(text), vector)).collect();
        let path = written(&rows, 5, with_id);
        let bits = |rows: Vec<VectorRow>| -> Vec<_> {
            rows.into_iter().map(|(row, id, vector)| (row, id, vector.into_iter().map(f32::to_bits).collect::<Vec<_>>())).collect()
        };
        prop_assert_eq!(bits(vectors(&path)), bits(rows));
        std::fs::remove_dir_all(path.parent().expect("a folder")).expect("removed");
    }
}
