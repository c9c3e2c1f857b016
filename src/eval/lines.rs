//! The lines of a data set's file, each with its number, so that whatever is wrong has a place.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};

/// Bytes of one line that are read: a document of a data set has a few thousand.
pub(super) const LINE_LIMIT: usize = 16 << 20;

/// A line without its ending.
#[derive(Debug)]
pub(super) struct Line {
    /// From 1.
    pub number: usize,
    pub text: String,
}

/// The lines of a file that are not empty, one at a time.
pub(super) struct Lines {
    reader: BufReader<File>,
    path: PathBuf,
    number: usize,
}

impl Lines {
    /// Opens a regular file; `what` says what it holds, `hint` where such a file comes from.
    pub fn open(path: &Path, what: &str, hint: &str) -> Result<Lines> {
        let metadata = std::fs::metadata(path).map_err(|e| match e.kind() {
            std::io::ErrorKind::NotFound => Error::missing(format!("there is no file here; {what} were expected")).at(path).hint(hint),
            _ => Error::io("read", path, e),
        })?;
        if !metadata.is_file() {
            return Err(Error::usage(format!("this is no file; {what} were expected")).at(path).hint(hint));
        }
        let file = File::open(path).map_err(|e| Error::io("read", path, e))?;
        Ok(Lines { reader: BufReader::new(file), path: path.to_path_buf(), number: 0 })
    }

    fn read(&mut self) -> Result<Option<Line>> {
        loop {
            let mut line = Vec::new();
            let mut limited = self.reader.by_ref().take(LINE_LIMIT as u64 + 1);
            if limited.read_until(b'\n', &mut line).map_err(|e| Error::io("read", &self.path, e))? == 0 {
                return Ok(None);
            }
            self.number += 1;
            if line.len() > LINE_LIMIT {
                return Err(Error::usage(format!("the line has more than {LINE_LIMIT} bytes"))
                    .at_line(&self.path, self.number, 1)
                    .hint("one text a line is expected, ended by a line feed"));
            }
            while line.last().is_some_and(|byte| matches!(byte, b'\n' | b'\r')) {
                line.pop();
            }
            if self.number == 1 && line.starts_with(b"\xef\xbb\xbf") {
                line.drain(..3);
            }
            if line.is_empty() {
                continue;
            }
            let text = String::from_utf8(line).map_err(|e| {
                Error::usage("the line is not UTF-8")
                    .at_line(&self.path, self.number, e.utf8_error().valid_up_to() + 1)
                    .hint("convert the file to UTF-8")
            })?;
            return Ok(Some(Line { number: self.number, text }));
        }
    }
}

impl Iterator for Lines {
    type Item = Result<Line>;

    fn next(&mut self) -> Option<Result<Line>> {
        self.read().transpose()
    }
}

/// The fields of a line between tabs, each with the column that it begins at, from 1.
pub(super) fn fields(line: &str) -> Vec<(&str, usize)> {
    let mut column = 1;
    line.split('\t')
        .map(|field| {
            let at = column;
            column += field.chars().count() + 1;
            (field, at)
        })
        .collect()
}
