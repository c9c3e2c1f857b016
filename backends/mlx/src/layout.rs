//! Where the tokens of a batch lie, in shapes that are rounded up: MLX keeps buffers by size and makes kernels by shape, so that a few
//! shapes must serve all batches.

use patina_backend::{Averaging, Token, TokenBatch};

/// Rounds up to one of at most `1 << bits` sizes an octave.
fn bucket(n: usize, bits: u32) -> usize {
    let step = (n.next_power_of_two() >> (bits + 1)).max(1);
    n.next_multiple_of(step)
}

/// Some rows of a batch. Beyond the batch's own tokens there are idle ones, which read row 0 of every table and which no row sees; beyond
/// its rows there are idle rows, which nothing reads.
pub(crate) struct Layout<'a> {
    batch: &'a TokenBatch,
    /// Rows, idle ones included.
    pub rows: usize,
    /// Tokens, idle ones included.
    pub tokens: usize,
    /// Places of a row in the padded layout.
    pub longest: usize,
}

impl Layout<'_> {
    /// The layout of a batch of at least one row, none of them empty.
    pub fn new(batch: &TokenBatch) -> Layout<'_> {
        // Idle tokens cost as much as any other, idle rows and places only in attention: sizes of tokens are finer.
        Layout { batch, rows: bucket(batch.rows(), 3), tokens: bucket(batch.tokens(), 4), longest: bucket(batch.longest(), 3) }
    }

    /// `[tokens]`
    pub fn ids(&self) -> Vec<u32> {
        self.idle(self.batch.ids().to_vec())
    }

    /// `[tokens]`: the position in the row, counted from `offset`.
    pub fn positions(&self, offset: usize) -> Vec<u32> {
        let mut positions: Vec<u32> = self.batch.lengths().flat_map(|length| (0..length).map(move |at| (offset + at) as u32)).collect();
        positions.resize(self.tokens, offset as u32);
        positions
    }

    /// `[tokens]`: 0 for a token of the first text of a pair, 1 for one of the second.
    pub fn segments(&self) -> Vec<u32> {
        self.idle(self.batch.segments().collect())
    }

    /// `[rows, longest]`: for each place of the padded layout the token that lies there, or 0 where there is none.
    pub fn pad(&self) -> Vec<u32> {
        let mut pad = vec![0; self.rows * self.longest];
        for ((places, &start), length) in pad.chunks_exact_mut(self.longest).zip(self.batch.starts()).zip(self.batch.lengths()) {
            for (at, place) in places[..length].iter_mut().enumerate() {
                *place = start + at as u32;
            }
        }
        pad
    }

    /// `[tokens]`: for each token its place in the flattened padded layout.
    pub fn unpad(&self) -> Vec<u32> {
        let places = |(row, length)| (0..length).map(move |at| (row * self.longest + at) as u32);
        self.idle(self.batch.lengths().enumerate().flat_map(places).collect())
    }

    /// `[rows, longest]`: whether there is a token. An idle row has one, so that its attention has something to see.
    pub fn mask(&self) -> Vec<bool> {
        let mut mask = vec![false; self.rows * self.longest];
        let lengths = self.batch.lengths().chain(std::iter::repeat(1));
        for (places, length) in mask.chunks_exact_mut(self.longest).zip(lengths) {
            places[..length].fill(true);
        }
        mask
    }

    /// `[longest, longest]`: how far each key's place (second) is from each query's (first), negative before it.
    pub fn distances(&self) -> impl Iterator<Item = i64> + '_ {
        (0..self.longest as i64).flat_map(move |query| (0..self.longest as i64).map(move |key| key - query))
    }

    /// `[rows, longest]`: whether there is a token that takes part in the pooling. An idle row has one.
    pub fn pooled(&self) -> Vec<bool> {
        let mut mask = self.mask();
        for (places, &out) in mask.chunks_exact_mut(self.longest).zip(self.batch.left_out()) {
            places[..out as usize].fill(false);
        }
        mask
    }

    /// `[rows]`: the first token of each row that takes part in the pooling.
    pub fn firsts(&self) -> Vec<u32> {
        let mut firsts: Vec<u32> = self.batch.starts().iter().zip(self.batch.left_out()).map(|(start, out)| start + out).collect();
        firsts.resize(self.rows, 0);
        firsts
    }

    /// `[rows]`: the last token of each row.
    pub fn lasts(&self) -> Vec<u32> {
        let mut lasts: Vec<u32> = self.batch.starts()[1..].iter().map(|&end| end - 1).collect();
        lasts.resize(self.rows, 0);
        lasts
    }

    /// `[rows]`: the place in its row of the token that is pooled alone; 0 in an idle row.
    pub fn places(&self, token: Token) -> Vec<u32> {
        let mut places: Vec<u32> = match token {
            Token::First => self.batch.left_out().to_vec(),
            Token::Last => self.batch.lengths().map(|length| length as u32 - 1).collect(),
        };
        places.resize(self.rows, 0);
        places
    }

    /// `[rows, tokens]`: each token's weight in its row's sum, 0 in the others' and for tokens that take no part in the pooling.
    pub fn averages(&self, averaging: Averaging) -> Vec<f32> {
        let mut weights = vec![0.0; self.rows * self.tokens];
        let rows = weights.chunks_exact_mut(self.tokens).zip(self.batch.starts()).zip(self.batch.lengths()).zip(self.batch.left_out());
        for (((row, &start), length), &out) in rows {
            let out = out as usize;
            for (at, weight) in row[start as usize..][..length].iter_mut().enumerate().skip(out) {
                *weight = averaging.weight(at, out, length);
            }
        }
        weights
    }

    fn idle(&self, mut values: Vec<u32>) -> Vec<u32> {
        values.resize(self.tokens, 0);
        values
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_are_few_and_never_smaller() {
        for bits in 2..=4 {
            for n in 1..5000 {
                let size = bucket(n, bits);
                assert!(size >= n && size - n <= n >> bits, "{n} became {size}");
                assert_eq!(bucket(size, bits), size);
            }
            let sizes: std::collections::BTreeSet<usize> = (513..=1024).map(|n| bucket(n, bits)).collect();
            assert_eq!(sizes.len(), 1 << bits);
        }
    }

    #[test]
    fn idle_tokens_and_rows_are_seen_by_none() {
        let rows: Vec<Vec<u32>> = (1..=17).map(|length| vec![7; length]).collect();
        let batch = TokenBatch::from_rows(&rows);
        let layout = Layout::new(&batch);
        assert_eq!((layout.rows, layout.tokens, layout.longest), (18, 160, 18));
        assert_eq!(layout.ids()[152..], [7, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(layout.positions(2)[150..154], [16, 17, 18, 2]);
        assert_eq!((&layout.pad()[..2], &layout.pad()[18..21]), (&[0, 0][..], &[1, 2, 0][..]));
        assert_eq!((&layout.unpad()[..4], layout.unpad()[153]), (&[0, 18, 19, 36][..], 0));
        assert_eq!(layout.mask()[18..54].iter().filter(|&&there| there).count(), 2 + 3);
        assert_eq!(layout.mask()[17 * 18..].iter().filter(|&&there| there).count(), 1);
        assert_eq!((layout.firsts()[1], layout.firsts()[17]), (1, 0));
        assert_eq!((layout.lasts()[1], layout.lasts()[16], layout.lasts()[17]), (2, 152, 0));
        let distances: Vec<i64> = layout.distances().collect();
        assert_eq!((distances.len(), distances[0], distances[1], distances[18]), (18 * 18, 0, 1, -1));
        let averages = layout.averages(Averaging::Mean);
        assert_eq!(averages[160..164], [0.0, 0.5, 0.5, 0.0]);
        assert!(averages[17 * 160..].iter().all(|&weight| weight == 0.0));
        assert!(averages.chunks(160).all(|row| row[153..].iter().all(|&weight| weight == 0.0)));
    }

    #[test]
    fn segments_are_those_of_the_pairs() {
        let mut batch = TokenBatch::from_rows([vec![7u32; 15]]);
        batch.push_pair(&[9, 10, 11], 1);
        let layout = Layout::new(&batch);
        let segments = layout.segments();
        assert_eq!((segments.len(), &segments[15..18]), (layout.tokens, &[0, 1, 1][..]));
        assert!(segments[..15].iter().chain(&segments[18..]).all(|&segment| segment == 0));
    }

    #[test]
    fn what_is_left_out_has_no_weight() {
        let mut batch = TokenBatch::new();
        batch.push_after(&[1, 2, 3], 1);
        batch.push(&[4]);
        let layout = Layout::new(&batch);
        assert_eq!((layout.rows, layout.tokens, layout.longest), (2, 4, 3));
        assert_eq!(layout.averages(Averaging::Mean), [0.0, 0.5, 0.5, 0.0, 0.0, 0.0, 0.0, 1.0]);
        assert_eq!(layout.averages(Averaging::ByPosition), [0.0, 0.4, 0.6, 0.0, 0.0, 0.0, 0.0, 1.0]);
        assert_eq!(layout.pooled(), [false, true, true, true, false, false]);
        assert_eq!(layout.mask(), [true, true, true, true, false, false]);
        assert_eq!((layout.firsts(), layout.lasts()), (vec![1, 3], vec![2, 3]));
        assert_eq!((layout.places(Token::First), layout.places(Token::Last)), (vec![1, 0], vec![2, 0]));
    }
}
