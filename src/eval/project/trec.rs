//! Rankings and judgements as trec_eval and its kin read them.

use std::path::{Path, PathBuf};

use super::{Rankings, Set};
use crate::error::Result;
use crate::fs;

impl Rankings {
    /// Writes `SET.qrels`, and `SET.SYSTEM.run` for every way of searching, into a folder; returns the files.
    ///
    /// Spaces and `%` in ids and paths are written as in addresses (`%20`), since spaces separate the columns there. Scores only say the
    /// order: a rank has no score that trec_eval could take for the same.
    pub fn write(&self, set: &Set, folder: &Path) -> Result<Vec<PathBuf>> {
        let mut files = Vec::new();
        let name = file_name(&set.name);
        let qrels = folder.join(format!("{name}.qrels"));
        fs::write_atomic(&qrels, |out| {
            for query in &set.queries {
                for unit in &query.relevant {
                    writeln!(out, "{} 0 {} 1", column(&query.id), column(unit))?;
                }
            }
            Ok(())
        })?;
        files.push(qrels);
        for (system, found) in self.names().zip(&self.found) {
            let run = folder.join(format!("{name}.{}.run", file_name(system)));
            fs::write_atomic(&run, |out| {
                for (query, units) in set.queries.iter().zip(found) {
                    for (at, unit) in units.iter().enumerate() {
                        writeln!(out, "{} Q0 {} {} {} patina", column(&query.id), column(unit), at + 1, units.len() - at)?;
                    }
                }
                Ok(())
            })?;
            files.push(run);
        }
        Ok(files)
    }
}

/// A text without spaces from which the same text can be made again.
fn column(text: &str) -> String {
    text.chars().map(|c| if c.is_whitespace() || c == '%' || c.is_control() { escaped(c) } else { c.to_string() }).collect()
}

fn escaped(c: char) -> String {
    let mut bytes = [0; 4];
    c.encode_utf8(&mut bytes).bytes().map(|byte| format!("%{byte:02X}")).collect()
}

/// A name that is a file's on every system.
fn file_name(name: &str) -> String {
    let plain: String = name.chars().map(|c| if c.is_ascii_alphanumeric() || matches!(c, '_' | '-') { c } else { '-' }).take(64).collect();
    if plain.is_empty() { "set".to_owned() } else { plain }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_hold_no_space_and_can_be_read_back() {
        assert_eq!(column("docs/a b%20.md\u{a0}"), "docs/a%20b%2520.md%C2%A0");
        assert_eq!(column("src/main.rs:12"), "src/main.rs:12");
        assert_eq!(file_name("../My set"), "---My-set");
        assert_eq!(file_name("projection:semantic"), "projection-semantic");
    }
}
