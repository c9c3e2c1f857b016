//! Which rows of an input belong to which shard.

use std::str::FromStr;

use crate::error::{Error, Result};

/// Rows that follow one another and stay together: blocks are dealt to the shards in turn, so that no length of the input need be
/// known, and neither a sorted input nor one whose every n-th row is long loads one shard alone.
pub(super) const BLOCK: u64 = 32;

/// The most shards. A merge holds all of them open.
const MOST: u64 = 10_000;

/// Shard `index`, counted from 0, of `of`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Shard {
    pub index: u64,
    pub of: u64,
}

impl Shard {
    /// Everything, as one shard.
    pub const WHOLE: Shard = Shard { index: 0, of: 1 };

    pub fn parse(text: &str) -> Result<Shard> {
        let number = |text: &str| u64::from_str(text).ok();
        let parts = text.split_once('/').and_then(|(index, of)| Some((number(index)?, number(of)?)));
        let Some((index, of)) = parts else {
            return Err(Error::usage(format!("--shard is {text:?}; it must be I/N, such as 0/4 for the first of four")));
        };
        if !(1..=MOST).contains(&of) {
            return Err(Error::usage(format!("--shard is {text}: there can be 1 to {MOST} shards")));
        }
        if index >= of {
            return Err(Error::usage(format!("--shard is {text}, and there is no such shard"))
                .hint(format!("shards are counted from 0: the last of {of} is {}/{of}", of - 1)));
        }
        Ok(Shard { index, of })
    }

    /// The shard that a row of the input, counted from 0, belongs to.
    pub fn of_row(row: u64, of: u64) -> u64 {
        row / BLOCK % of
    }

    pub fn has(self, row: u64) -> bool {
        Shard::of_row(row, self.of) == self.index
    }

    /// The row of the input that is the shard's own `number`-th, from 0.
    pub fn row(self, number: u64) -> u64 {
        (number / BLOCK * self.of + self.index) * BLOCK + number % BLOCK
    }

    /// How many of the first `rows` rows of the input are its own.
    pub fn count(self, rows: u64) -> u64 {
        let round = BLOCK * self.of;
        let rest = (rows % round).saturating_sub(self.index * BLOCK);
        rows / round * BLOCK + rest.min(BLOCK)
    }
}

impl std::fmt::Display for Shard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.index, self.of)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_is_in_one_shard_and_is_found_again() {
        for of in [1, 2, 3, 7] {
            for rows in [0, 1, 31, 32, 33, 200, 1000] {
                let mut seen = 0;
                for index in 0..of {
                    let shard = Shard { index, of };
                    let own: Vec<u64> = (0..rows).filter(|&row| shard.has(row)).collect();
                    assert_eq!(shard.count(rows), own.len() as u64, "{shard} of {rows}");
                    let again: Vec<u64> = (0..own.len() as u64).map(|number| shard.row(number)).collect();
                    assert_eq!(again, own, "{shard} of {rows}");
                    seen += own.len() as u64;
                }
                assert_eq!(seen, rows);
            }
        }
    }

    #[test]
    fn shards_differ_by_a_block_at_most() {
        let counts: Vec<u64> = (0..7).map(|index| Shard { index, of: 7 }.count(100_000)).collect();
        assert!(counts.iter().max().expect("seven") - counts.iter().min().expect("seven") <= BLOCK);
    }

    #[test]
    fn what_is_no_shard() {
        assert_eq!(Shard::parse("3/4").expect("the last of four"), Shard { index: 3, of: 4 });
        for wrong in ["", "1", "1/", "/2", "-1/2", "1/0", "4/4", "0/10001", "a/b", "0/4/2"] {
            assert!(Shard::parse(wrong).is_err(), "{wrong}");
        }
        assert_eq!(Shard::parse("4/4").expect_err("from 0").hint_text(), Some("shards are counted from 0: the last of 4 is 3/4"));
    }
}
