//! What a Parquet file's footer and page headers ask for, looked at before the library reads them: it makes room for what they say.
//!
//! Both are Thrift in its compact form (parquet-format, `parquet.thrift`), which is walked here and not kept.

/// How deep columns may lie in one another: the library descends by recursion.
const NESTING: usize = 64;
/// How deep structures of a footer may lie in one another; those of the format need eight.
const DEPTH: usize = 32;
/// The fewest bytes that a row group, or a column of one, takes in a footer.
const LEAST_GROUP: usize = 16;
/// The fewest bytes of a column's description.
const LEAST_COLUMN: usize = 4;

const INT32: u8 = 5;
const BINARY: u8 = 8;
const LIST: u8 = 9;
const STRUCT: u8 = 12;

/// Whether a footer can be given to the library; else what is wrong with it.
pub(super) fn footer(bytes: &[u8]) -> Result<(), String> {
    let mut walk = Walk { bytes, at: 0 };
    let mut deep = false;
    match walk.file(&mut deep) {
        Some(()) => Ok(()),
        None if deep => Err(format!("its columns lie more than {NESTING} deep in one another")),
        None => Err("its footer is damaged".into()),
    }
}

/// The sizes that a page's header states: uncompressed and compressed. They are its second and third field, in this order wherever a
/// page was written.
pub(super) fn page(bytes: &[u8]) -> Option<(i64, i64)> {
    let mut walk = Walk { bytes, at: 0 };
    let mut last = 0;
    let mut sizes = [0; 3];
    for (at, size) in sizes.iter_mut().enumerate() {
        if walk.field(&mut last)?? != (at as i64 + 1, INT32) {
            return None;
        }
        *size = walk.zigzag()?;
    }
    Some((sizes[1], sizes[2]))
}

/// Where a block of DELTA_BINARY_PACKED numbers ends, and how many it states.
pub(super) fn delta(bytes: &[u8]) -> Option<(usize, u64)> {
    let mut walk = Walk { bytes, at: 0 };
    let (block, minis, total) = (walk.varint()?, walk.varint()?, walk.varint()?);
    walk.zigzag()?;
    let each = block.checked_div(minis)?;
    // The format asks for multiples of 32; a block of nothing would never end.
    if each == 0 || !each.is_multiple_of(32) {
        return None;
    }
    let mut left = total.saturating_sub(1);
    while left > 0 {
        walk.zigzag()?;
        let widths = walk.at;
        walk.forward(minis)?;
        for mini in 0..usize::try_from(minis).ok()? {
            if left == 0 {
                break;
            }
            let width = u64::from(*bytes.get(widths + mini)?);
            walk.forward(each.checked_mul(width)? / 8)?;
            left = left.saturating_sub(each);
        }
    }
    Some((walk.at, total))
}

struct Walk<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Walk<'_> {
    fn left(&self) -> usize {
        self.bytes.len() - self.at
    }

    fn byte(&mut self) -> Option<u8> {
        let byte = *self.bytes.get(self.at)?;
        self.at += 1;
        Some(byte)
    }

    fn forward(&mut self, n: u64) -> Option<()> {
        let n = usize::try_from(n).ok().filter(|&n| n <= self.left())?;
        self.at += n;
        Some(())
    }

    fn varint(&mut self) -> Option<u64> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }

    fn zigzag(&mut self) -> Option<i64> {
        let value = self.varint()?;
        Some((value >> 1) as i64 ^ -((value & 1) as i64))
    }

    /// The number and type of the next field; `Some(None)` at the end of a structure.
    fn field(&mut self, last: &mut i64) -> Option<Option<(i64, u8)>> {
        let head = self.byte()?;
        if head == 0 {
            return Some(None);
        }
        *last = match head >> 4 {
            0 => self.zigzag()?,
            more => last.checked_add(i64::from(more))?,
        };
        Some(Some((*last, head & 0x0f)))
    }

    /// Length and type of a list whose elements take at least `least` bytes each.
    fn list(&mut self, least: usize) -> Option<(usize, u8)> {
        let head = self.byte()?;
        let size = match head >> 4 {
            15 => usize::try_from(self.varint()?).ok()?,
            size => usize::from(size),
        };
        (size.checked_mul(least)? <= self.left()).then_some((size, head & 0x0f))
    }

    fn skip(&mut self, kind: u8, depth: usize) -> Option<()> {
        let depth = depth.checked_sub(1)?;
        match kind {
            1 | 2 => Some(()),
            3 => self.forward(1),
            4..=6 => self.varint().map(drop),
            7 => self.forward(8),
            BINARY => {
                let length = self.varint()?;
                self.forward(length)
            }
            LIST | 10 => {
                let (size, kind) = self.list(1)?;
                for _ in 0..size {
                    // In a list a truth value takes a byte; in a structure it is the field's type.
                    if kind <= 2 { self.forward(1)? } else { self.skip(kind, depth)? }
                }
                Some(())
            }
            STRUCT => self.structure(|walk, _, kind| walk.skip(kind, depth)),
            // Parquet has no maps.
            _ => None,
        }
    }

    fn structure(&mut self, mut each: impl FnMut(&mut Self, i64, u8) -> Option<()>) -> Option<()> {
        let mut last = 0;
        while let Some((number, kind)) = self.field(&mut last)? {
            each(self, number, kind)?;
        }
        Some(())
    }

    /// `FileMetaData`
    fn file(&mut self, deep: &mut bool) -> Option<()> {
        self.structure(|walk, number, kind| match (number, kind) {
            (2, LIST) => walk.schema(deep),
            (4, LIST) => {
                let (groups, _) = walk.list(LEAST_GROUP)?;
                (0..groups).try_for_each(|_| walk.group())
            }
            (_, kind) => walk.skip(kind, DEPTH),
        })
    }

    /// The list of `SchemaElement`: a tree, written from its root down.
    fn schema(&mut self, deep: &mut bool) -> Option<()> {
        let (elements, _) = self.list(LEAST_COLUMN)?;
        // The children that are still to come, of each that was opened.
        let mut open: Vec<i64> = Vec::new();
        for _ in 0..elements {
            let mut children = 0;
            self.structure(|walk, number, kind| {
                if (number, kind) == (5, INT32) {
                    children = walk.zigzag()?;
                    return Some(());
                }
                walk.skip(kind, DEPTH)
            })?;
            if let Some(left) = open.last_mut() {
                *left -= 1;
            }
            if children > 0 {
                open.push(children);
            }
            while open.last() == Some(&0) {
                open.pop();
            }
            if open.len() > NESTING {
                *deep = true;
                return None;
            }
        }
        Some(())
    }

    /// `RowGroup`
    fn group(&mut self) -> Option<()> {
        self.structure(|walk, number, kind| match (number, kind) {
            (1, LIST) => {
                let (columns, kind) = walk.list(LEAST_GROUP)?;
                (0..columns).try_for_each(|_| walk.skip(kind, DEPTH))
            }
            (_, kind) => walk.skip(kind, DEPTH),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_fields_of_a_page_s_header() {
        // Type 0, uncompressed 300, compressed 200, then whatever follows.
        assert_eq!(page(&[0x15, 0x00, 0x15, 0xd8, 0x04, 0x15, 0x90, 0x03, 0x2c]), Some((300, 200)));
        assert_eq!(page(&[0x15, 0x00, 0x25, 0xd8, 0x04, 0x15, 0x90, 0x03]), None);
        assert_eq!(page(&[0x15, 0x00, 0x15, 0xff]), None);
        assert_eq!(page(&[]), None);
    }

    #[test]
    fn a_schema_that_is_too_deep() {
        // Each element: a name of one letter, and one child.
        let nested = |depth: u8| {
            let mut bytes = vec![0x29, 0xfc, depth];
            for _ in 1..depth {
                bytes.extend([0x48, 1, b'a', 0x15, 2, 0]);
            }
            bytes.extend([0x48, 1, b'a', 0, 0]);
            bytes
        };
        assert_eq!(footer(&nested(60)), Ok(()));
        assert!(footer(&nested(100)).is_err_and(|reason| reason.contains("64 deep")));
    }

    #[test]
    fn a_list_that_is_longer_than_its_file() {
        // A list of 2^28 row groups.
        assert!(footer(&[0x49, 0xfc, 0x80, 0x80, 0x80, 0x80, 0x01, 0]).is_err());
    }

    #[test]
    fn the_end_of_packed_numbers() {
        // One number: no block follows its header.
        assert_eq!(delta(&[0x80, 0x01, 4, 1, 6]), Some((5, 1)));
        // Five numbers: one block with a width of two bits in the first of its four parts of 32.
        let mut bytes = vec![0x80, 0x01, 4, 5, 2, 0, 2, 0, 0, 0];
        bytes.extend([0; 8]);
        bytes.extend(b"after");
        assert_eq!(delta(&bytes), Some((18, 5)));
        assert_eq!(delta(&[0x80, 0x01, 0, 5, 2]), None);
    }
}
