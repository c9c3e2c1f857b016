//! What a generated graph takes: arrays that the engine computes from a packed batch.

use patina_backend::{Averaging, Buckets, TokenBatch};

/// One input of the graph. `tokens`, `rows` and `longest` (tokens of the longest row) vary from batch to batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Input {
    /// int64 `[tokens]`
    Ids,
    /// int64 `[tokens]`: 0 for a token of the first text of a pair, 1 for one of the second.
    Segments,
    /// int64 `[tokens]`: the position in the row, counted from the offset.
    Positions(usize),
    /// int64 `[rows, longest]`: for each place of the padded layout the token that lies there, or 0 beyond the row's end.
    Pad,
    /// int64 `[rows + 1]`: the first token of each row, and their number.
    Starts,
    /// int64 `[rows]`: the first token of each row that takes part in the pooling.
    Firsts,
    /// int64 `[rows]`: the last token of each row.
    Lasts,
    /// float `[rows, tokens]`: each token's weight in its row's sum, 0 in the others' and for tokens that take no part in the pooling.
    Averages(Averaging),
    /// int64 `[1, tokens]`: 0, 1, 2, ...
    Numbers,
    /// float `[2 * longest - 1, 1]`: how many places apart two places of a row are, for each key's place minus the query's, rising.
    Distances,
    /// int64 `[2 * longest - 1]`: the bucket of each key's place minus the query's, rising.
    Buckets(Buckets),
    /// float `[rows, longest, 1]`: 0 where there is a token that takes part in the pooling, the most negative float elsewhere.
    Beyond,
}

/// The element type and data of an input.
pub(crate) enum Data {
    Int64(Vec<i64>),
    Int32(Vec<i32>),
    Float(Vec<f32>),
}

impl Input {
    pub fn name(self) -> &'static str {
        match self {
            Input::Ids => "ids",
            Input::Segments => "segments",
            Input::Positions(_) => "positions",
            Input::Pad => "pad",
            Input::Starts => "starts",
            Input::Firsts => "firsts",
            Input::Lasts => "lasts",
            Input::Averages(Averaging::Mean) => "averages",
            Input::Averages(Averaging::SqrtLength) => "averages_by_root",
            Input::Averages(Averaging::ByPosition) => "averages_by_position",
            Input::Numbers => "numbers",
            Input::Distances => "distances",
            Input::Buckets(_) => "buckets",
            Input::Beyond => "beyond",
        }
    }

    /// The names of its dimensions.
    pub fn dimensions(self) -> &'static [&'static str] {
        match self {
            Input::Ids | Input::Segments | Input::Positions(_) => &["tokens"],
            Input::Starts => &["borders"],
            Input::Pad => &["rows", "longest"],
            Input::Firsts | Input::Lasts => &["rows"],
            Input::Averages(_) => &["rows", "tokens"],
            Input::Numbers => &["one", "tokens"],
            Input::Distances => &["distances", "one"],
            Input::Buckets(_) => &["distances"],
            Input::Beyond => &["rows", "longest", "one"],
        }
    }

    /// Its shape and data for a batch of at least one row.
    pub fn of(self, batch: &TokenBatch) -> (Vec<i64>, Data) {
        let (rows, tokens, longest) = (batch.rows(), batch.tokens(), batch.longest());
        let starts = batch.starts();
        let left_out = || batch.left_out().iter().map(|&n| n as usize);
        let data = match self {
            Input::Ids => Data::Int64(batch.ids().iter().map(|&id| i64::from(id)).collect()),
            Input::Segments => Data::Int64(batch.segments().map(i64::from).collect()),
            Input::Positions(offset) => {
                Data::Int64(batch.lengths().flat_map(|length| (0..length).map(move |at| (offset + at) as i64)).collect())
            }
            Input::Pad => {
                let place = |(start, length)| (0..longest).map(move |at| if at < length { i64::from(start) + at as i64 } else { 0 });
                Data::Int64(starts.iter().copied().zip(batch.lengths()).flat_map(place).collect())
            }
            Input::Starts => Data::Int64(starts.iter().map(|&start| i64::from(start)).collect()),
            Input::Firsts => Data::Int64(starts.iter().zip(left_out()).map(|(&start, out)| i64::from(start) + out as i64).collect()),
            Input::Lasts => Data::Int64(starts[1..].iter().map(|&end| i64::from(end) - 1).collect()),
            Input::Averages(averaging) => {
                let mut weights = vec![0.0; rows * tokens];
                for (row, ((&start, length), out)) in starts.iter().zip(batch.lengths()).zip(left_out()).enumerate() {
                    let own = &mut weights[row * tokens + start as usize..][..length];
                    for (at, weight) in own.iter_mut().enumerate().skip(out) {
                        *weight = averaging.weight(at, out, length);
                    }
                }
                Data::Float(weights)
            }
            Input::Numbers => Data::Int64((0..tokens as i64).collect()),
            Input::Distances => Data::Float(distances(longest).map(|away| away.unsigned_abs() as f32).collect()),
            Input::Buckets(buckets) => Data::Int64(distances(longest).map(|away| buckets.of(away) as i64).collect()),
            Input::Beyond => {
                let place = |(length, out)| (0..longest).map(move |at| if (out..length).contains(&at) { 0.0 } else { f32::MIN });
                Data::Float(batch.lengths().zip(left_out()).flat_map(place).collect())
            }
        };
        let size = |name: &&str| match *name {
            "tokens" => tokens as i64,
            "rows" => rows as i64,
            "longest" => longest as i64,
            "borders" => rows as i64 + 1,
            "distances" => 2 * longest as i64 - 1,
            _ => 1,
        };
        (self.dimensions().iter().map(size).collect(), data)
    }
}

/// How far a key's place can be from a query's, negative before it.
fn distances(longest: usize) -> impl Iterator<Item = i64> {
    1 - longest as i64..longest as i64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ints(input: Input) -> Vec<i64> {
        let batch = TokenBatch::from_rows([&[7u32, 8][..], &[9, 10, 11]]);
        match input.of(&batch).1 {
            Data::Int64(values) => values,
            _ => panic!("not integers"),
        }
    }

    #[test]
    fn the_arrays_describe_the_batch() {
        assert_eq!(ints(Input::Ids), [7, 8, 9, 10, 11]);
        assert_eq!(ints(Input::Positions(2)), [2, 3, 2, 3, 4]);
        assert_eq!(ints(Input::Pad), [0, 1, 0, 2, 3, 4]);
        assert_eq!(ints(Input::Starts), [0, 2, 5]);
        assert_eq!(ints(Input::Firsts), [0, 2]);
        assert_eq!(ints(Input::Lasts), [1, 4]);
        assert_eq!(ints(Input::Numbers), [0, 1, 2, 3, 4]);
        assert_eq!(ints(Input::Buckets(Buckets { count: 8, farthest: 4 })), [2, 1, 0, 5, 6]);
    }

    #[test]
    fn segments_are_those_of_the_pairs() {
        let mut batch = TokenBatch::from_rows([&[7u32, 8][..]]);
        batch.push_pair(&[9, 10, 11], 1);
        let (shape, Data::Int64(values)) = Input::Segments.of(&batch) else { panic!("not integers") };
        assert_eq!((shape, values), (vec![5], vec![0, 0, 0, 1, 1]));
    }

    #[test]
    fn distances_have_a_number_for_each_key_and_query() {
        let batch = TokenBatch::from_rows([&[7u32, 8][..], &[9, 10, 11]]);
        let (shape, Data::Float(values)) = Input::Distances.of(&batch) else { panic!("not floats") };
        assert_eq!((shape, values), (vec![5, 1], vec![2.0, 1.0, 0.0, 1.0, 2.0]));
    }

    #[test]
    fn averages_follow_their_definition() {
        let batch = TokenBatch::from_rows([&[1u32, 2][..], &[3]]);
        let floats = |averaging| match Input::Averages(averaging).of(&batch) {
            (shape, Data::Float(values)) => (shape, values),
            _ => panic!("not floats"),
        };
        assert_eq!(floats(Averaging::Mean), (vec![2, 3], vec![0.5, 0.5, 0.0, 0.0, 0.0, 1.0]));
        assert_eq!(floats(Averaging::ByPosition).1, [1.0 / 3.0, 2.0 / 3.0, 0.0, 0.0, 0.0, 1.0]);
        let root = 1.0 / 2f32.sqrt();
        assert_eq!(floats(Averaging::SqrtLength).1, [root, root, 0.0, 0.0, 0.0, 1.0]);
    }

    #[test]
    fn what_is_left_out_has_no_weight() {
        let mut batch = TokenBatch::new();
        batch.push_after(&[1, 2, 3], 1);
        batch.push(&[4]);
        let floats = |input: Input| match input.of(&batch).1 {
            Data::Float(values) => values,
            _ => panic!("not floats"),
        };
        assert_eq!(floats(Input::Averages(Averaging::Mean)), [0.0, 0.5, 0.5, 0.0, 0.0, 0.0, 0.0, 1.0]);
        assert_eq!(floats(Input::Averages(Averaging::ByPosition)), [0.0, 0.4, 0.6, 0.0, 0.0, 0.0, 0.0, 1.0]);
        let root = 1.0 / 2f32.sqrt();
        assert_eq!(floats(Input::Averages(Averaging::SqrtLength)), [0.0, root, root, 0.0, 0.0, 0.0, 0.0, 1.0]);
        assert_eq!(floats(Input::Beyond), [f32::MIN, 0.0, 0.0, 0.0, f32::MIN, f32::MIN]);
        assert!(matches!(Input::Firsts.of(&batch).1, Data::Int64(firsts) if firsts == [1, 3]));
        assert!(matches!(Input::Lasts.of(&batch).1, Data::Int64(lasts) if lasts == [2, 3]));
    }
}
