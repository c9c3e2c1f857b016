//! Grouping rows into batches of similar length within a token budget.

/// Tokens of one batch unless the settings say otherwise, padding of the attention's layout included; a longer row is a batch of its
/// own. Above about a thousand tokens the activations of a small model leave the processor's cache, and memory only grows
/// (docs/PERFORMANCE.md).
pub const TOKEN_BUDGET: usize = 1024;

/// Splits rows, given by their lengths in tokens, into batches of row numbers: sorted by length, longest first, so that a
/// batch's rows are nearly equal and the longest memory is claimed at once; each batch's rows times its longest row within
/// `budget`.
pub(super) fn batches(lengths: &[usize], budget: usize) -> Vec<Vec<usize>> {
    let mut order: Vec<usize> = (0..lengths.len()).collect();
    order.sort_by_key(|&row| (std::cmp::Reverse(lengths[row]), row));
    let mut batches: Vec<Vec<usize>> = Vec::new();
    let mut longest = 0;
    for row in order {
        match batches.last_mut() {
            Some(batch) if (batch.len() + 1) * longest <= budget => batch.push(row),
            _ => {
                longest = lengths[row];
                batches.push(vec![row]);
            }
        }
    }
    batches
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_is_in_one_batch_within_the_budget() {
        let lengths = [3, 300, 2, 17, 17, 256, 1, 2000, 40];
        let made = batches(&lengths, 512);
        let mut rows: Vec<usize> = made.iter().flatten().copied().collect();
        rows.sort_unstable();
        assert_eq!(rows, (0..lengths.len()).collect::<Vec<_>>());
        for batch in &made {
            let longest = batch.iter().map(|&row| lengths[row]).max().expect("not empty");
            assert!(batch.len() == 1 || batch.len() * longest <= 512, "{batch:?}");
        }
        assert_eq!(made[0], [7]);
        assert!(batches(&[], 512).is_empty());
        // The least budget: each row alone. The most: all rows, padded to the longest.
        assert!(batches(&lengths, 1).iter().all(|batch| batch.len() == 1));
        assert_eq!(batches(&lengths, lengths.len() * 2000).len(), 1);
    }
}
