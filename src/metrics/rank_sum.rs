//! The exact rank-sum test of two samples (Wilcoxon 1945; Mann and Whitney 1947), with mid-ranks where values tie.

/// The most values of both samples together: beyond it the normal approximation would do, and nobody times so many rounds.
const MOST: usize = 200;

/// How likely it is, if both samples are of one distribution, that their ranks lie at least as far apart as they do: two-sided, exact for the
/// ranks at hand. 1 if one is empty, or if both have more than 200 values together. With three values each it is never below 0.1, with four
/// 0.029, with five 0.008.
pub fn rank_sum(a: &[f64], b: &[f64]) -> f64 {
    let (n, all) = (a.len(), a.len() + b.len());
    if a.is_empty() || b.is_empty() || all > MOST {
        return 1.0;
    }
    let mut values: Vec<(f64, bool)> = a.iter().map(|&value| (value, true)).chain(b.iter().map(|&value| (value, false))).collect();
    values.sort_by(|x, y| x.0.total_cmp(&y.0));
    // Twice the ranks, which are whole numbers for ties too.
    let mut ranks = vec![0; all];
    let mut at = 0;
    while at < all {
        let end = (at..all).find(|&next| values[next].0 > values[at].0).unwrap_or(all);
        ranks[at..end].fill(at + end + 1);
        at = end;
    }
    let found: usize = ranks.iter().zip(&values).filter(|(_, value)| value.1).map(|(rank, _)| rank).sum();
    let ways = ways(&ranks, n);
    let middle = middle(n, all);
    let distance = found.abs_diff(middle);
    let far: f64 = ways.iter().enumerate().filter(|(sum, _)| sum.abs_diff(middle) >= distance).map(|(_, ways)| ways).sum();
    far / ways.iter().sum::<f64>()
}

/// How likely it is that [`rank_sum`] gives less than `level` for two samples of so many values of one distribution, none of which tie: the
/// test knows few probabilities where there are few values, and this is the greatest of them below `level`. 0 where there is none.
pub fn rank_sum_below(level: f64, a: usize, b: usize) -> f64 {
    let all = a + b;
    if a == 0 || b == 0 || all > MOST {
        return 0.0;
    }
    let ranks: Vec<usize> = (1..=all).map(|rank| 2 * rank).collect();
    let ways = ways(&ranks, a);
    let choices: f64 = ways.iter().sum();
    let middle = middle(a, all);
    // From the ends to the middle, as long as those so far are few enough.
    let mut at = vec![0.0f64; middle + 1];
    for (sum, ways) in ways.iter().enumerate().filter(|(_, ways)| **ways > 0.0) {
        at[sum.abs_diff(middle)] += ways;
    }
    let mut far = 0.0;
    for ways in at.into_iter().rev() {
        if (far + ways) / choices >= level {
            break;
        }
        far += ways;
    }
    far / choices
}

/// How many choices of `n` of the ranks have each sum.
fn ways(ranks: &[usize], n: usize) -> Vec<f64> {
    let total: usize = ranks.iter().sum();
    let mut ways = vec![vec![0.0f64; total + 1]; n + 1];
    ways[0][0] = 1.0;
    for &rank in ranks {
        for k in (1..=n).rev() {
            for sum in (rank..=total).rev() {
                ways[k][sum] += ways[k - 1][sum - rank];
            }
        }
    }
    ways.swap_remove(n)
}

/// The mean of the doubled sum of `n` ranks of `all`: as far from it on either side.
fn middle(n: usize, all: usize) -> usize {
    n * (all + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `scipy.stats.mannwhitneyu(a, b, method="exact")` of SciPy 1.17.1 where there is no tie; with ties,
    /// `scipy.stats.permutation_test` over all choices of the rank sum.
    #[test]
    fn values_are_those_of_scipy() {
        let close = |a: &[f64], b: &[f64], expected: f64| {
            let found = rank_sum(a, b);
            assert!((found - expected).abs() < 1e-12, "{found} is not {expected}");
            assert_eq!(found, rank_sum(b, a), "the order makes no difference");
        };
        close(&[1.0, 2.0, 3.0, 4.0, 5.0], &[6.0, 7.0, 8.0, 9.0, 10.0], 2.0 / 252.0);
        close(&[1.0, 2.0, 3.0], &[4.0, 5.0, 6.0], 0.1);
        close(&[1.0, 2.0, 3.0, 6.0], &[4.0, 5.0, 7.0, 8.0], 0.11428571428571428);
        close(&[3.1, 2.9, 3.3, 3.0, 2.8], &[3.2, 3.4, 3.6, 2.7, 3.5, 3.7], 0.12554112554112554);
        close(&[1.0, 1.0, 2.0, 3.0], &[2.0, 3.0, 3.0, 4.0, 5.0], 0.07936507936507936);
        close(&[1.0, 1.0], &[1.0, 1.0, 1.0], 1.0);
    }

    /// By hand, from the numbers of orders: of four against four 2 of 70, of five against five 8 of 252 (the next is 14: 0.056).
    #[test]
    fn few_values_give_less_than_a_level_more_seldom_than_it_says() {
        let close = |a: usize, b: usize, expected: f64| {
            let found = rank_sum_below(0.05, a, b);
            assert!((found - expected).abs() < 1e-12, "{found} is not {expected}");
            assert_eq!(found, rank_sum_below(0.05, b, a));
        };
        close(3, 3, 0.0);
        close(3, 4, 0.0);
        close(3, 5, 2.0 / 56.0);
        close(4, 4, 2.0 / 70.0);
        close(5, 5, 8.0 / 252.0);
        assert_eq!((rank_sum_below(0.05, 0, 9), rank_sum_below(0.05, 150, 60)), (0.0, 0.0));
        assert!((0.045..0.05).contains(&rank_sum_below(0.05, 30, 30)));
        // Every order of eight values: as often as it says.
        let orders: Vec<u32> = (0u32..256).filter(|order| order.count_ones() == 4).collect();
        let of = |order: u32, one: u32| (0..8u32).filter(|at| (order >> at) & 1 == one).map(f64::from).collect::<Vec<f64>>();
        let below = orders.iter().filter(|&&order| rank_sum(&of(order, 1), &of(order, 0)) < 0.2).count();
        assert!((rank_sum_below(0.2, 4, 4) - below as f64 / orders.len() as f64).abs() < 1e-12);
    }

    #[test]
    fn nothing_is_said_of_nothing() {
        assert_eq!(rank_sum(&[], &[1.0]), 1.0);
        assert_eq!(rank_sum(&[0.0; 101], &[1.0; 100]), 1.0);
    }
}
