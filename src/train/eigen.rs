//! The eigenvectors of a symmetric matrix: Householder tridiagonalisation and the implicit QL method (EISPACK `tred2` and `tql2`,
//! after Bowdler, Martin, Reinsch and Wilkinson 1968), in `f64`, O(n^3).

use crate::error::{Error, Result};

/// More steps of QL for one eigenvalue than any finite matrix needs.
const MAX_STEPS: usize = 64;

/// Eigenvalues in falling order and the eigenvectors, one a row (`n x n`, row-major), of a symmetric `n x n` matrix. The sign of a
/// vector is such that its component of largest magnitude is positive.
pub fn symmetric(mut v: Vec<f64>, n: usize) -> Result<(Vec<f64>, Vec<f64>)> {
    if v.len() != n * n || v.iter().any(|value| !value.is_finite()) {
        return Err(Error::bug(format!("{} numbers are no finite {n} x {n} matrix", v.len())));
    }
    if n == 0 {
        return Ok((Vec::new(), Vec::new()));
    }
    let (mut d, mut e) = (vec![0.0; n], vec![0.0; n]);
    tridiagonalise(&mut v, &mut d, &mut e, n);
    diagonalise(&mut v, &mut d, &mut e, n)?;
    let mut order: Vec<usize> = (0..n).collect();
    order.sort_by(|&a, &b| d[b].total_cmp(&d[a]));
    let mut vectors = Vec::with_capacity(n * n);
    for &at in &order {
        let column = &v[at * n..(at + 1) * n];
        let largest = column.iter().fold(0.0f64, |best, &value| if value.abs() > best.abs() { value } else { best });
        vectors.extend(column.iter().map(|value| if largest < 0.0 { -value } else { *value }));
    }
    Ok((order.iter().map(|&at| d[at]).collect(), vectors))
}

/// `v` holds the matrix by columns, so that every inner loop runs over neighbours; it becomes the transformation, `d` the diagonal
/// and `e[1..]` the sub-diagonal.
fn tridiagonalise(v: &mut [f64], d: &mut [f64], e: &mut [f64], n: usize) {
    for j in 0..n {
        d[j] = v[j * n + n - 1];
    }
    for i in (1..n).rev() {
        let scale: f64 = d[..i].iter().map(|value| value.abs()).sum();
        let mut h = 0.0;
        if scale == 0.0 {
            e[i] = d[i - 1];
            for j in 0..i {
                d[j] = v[j * n + i - 1];
                v[j * n + i] = 0.0;
                v[i * n + j] = 0.0;
            }
        } else {
            for value in &mut d[..i] {
                *value /= scale;
                h += *value * *value;
            }
            let f = d[i - 1];
            let g = if f > 0.0 { -h.sqrt() } else { h.sqrt() };
            e[i] = scale * g;
            h -= f * g;
            d[i - 1] = f - g;
            e[..i].fill(0.0);
            for j in 0..i {
                let f = d[j];
                v[i * n + j] = f;
                let column = &v[j * n..j * n + i];
                let mut g = e[j] + column[j] * f;
                for ((&value, &dk), ek) in column[j + 1..].iter().zip(&d[j + 1..i]).zip(&mut e[j + 1..i]) {
                    g += value * dk;
                    *ek += value * f;
                }
                e[j] = g;
            }
            let mut f = 0.0;
            for (ej, &dj) in e[..i].iter_mut().zip(&d[..i]) {
                *ej /= h;
                f += *ej * dj;
            }
            let hh = f / (h + h);
            for (ej, &dj) in e[..i].iter_mut().zip(&d[..i]) {
                *ej -= hh * dj;
            }
            for j in 0..i {
                let (f, g) = (d[j], e[j]);
                let column = &mut v[j * n..(j + 1) * n];
                for ((value, &ek), &dk) in column[j..i].iter_mut().zip(&e[j..i]).zip(&d[j..i]) {
                    *value -= f * ek + g * dk;
                }
                d[j] = column[i - 1];
                column[i] = 0.0;
            }
        }
        d[i] = h;
    }
    for i in 0..n - 1 {
        v[i * n + n - 1] = v[i * n + i];
        v[i * n + i] = 1.0;
        let h = d[i + 1];
        let (done, rest) = v.split_at_mut((i + 1) * n);
        let next = &mut rest[..=i];
        if h != 0.0 {
            for (dk, &value) in d.iter_mut().zip(next.iter()) {
                *dk = value / h;
            }
            for column in done.chunks_exact_mut(n) {
                let g: f64 = next.iter().zip(column.iter()).map(|(a, b)| a * b).sum();
                for (value, &dk) in column.iter_mut().zip(&d[..=i]) {
                    *value -= g * dk;
                }
            }
        }
        next.fill(0.0);
    }
    for j in 0..n {
        d[j] = v[j * n + n - 1];
        v[j * n + n - 1] = 0.0;
    }
    v[n * n - 1] = 1.0;
    e[0] = 0.0;
}

/// Turns `d` into the eigenvalues and the columns of `v` into the eigenvectors.
fn diagonalise(v: &mut [f64], d: &mut [f64], e: &mut [f64], n: usize) -> Result<()> {
    e.rotate_left(1);
    e[n - 1] = 0.0;
    let (mut shift, mut size) = (0.0, 0.0f64);
    for l in 0..n {
        size = size.max(d[l].abs() + e[l].abs());
        // `e[n - 1]` is zero, so there always is one.
        let m = (l..n).find(|&m| e[m].abs() <= f64::EPSILON * size).unwrap_or(n - 1);
        let mut steps = 0;
        while m > l && (steps == 0 || e[l].abs() > f64::EPSILON * size) {
            steps += 1;
            if steps > MAX_STEPS {
                return Err(Error::failed(format!("the eigenvalues of a {n} x {n} matrix did not converge in {MAX_STEPS} steps")));
            }
            let g = d[l];
            let p = (d[l + 1] - g) / (2.0 * e[l]);
            let r = if p < 0.0 { -p.hypot(1.0) } else { p.hypot(1.0) };
            d[l] = e[l] / (p + r);
            d[l + 1] = e[l] * (p + r);
            let next = d[l + 1];
            let h = g - d[l];
            d[l + 2..].iter_mut().for_each(|value| *value -= h);
            shift += h;
            let mut p = d[m];
            let (mut c, mut c2, mut c3) = (1.0, 1.0, 1.0);
            let (mut s, mut s2) = (0.0, 0.0);
            let above = e[l + 1];
            for i in (l..m).rev() {
                (c3, c2, s2) = (c2, c, s);
                let (g, h) = (c * e[i], c * p);
                let r = p.hypot(e[i]);
                e[i + 1] = s * r;
                s = e[i] / r;
                c = p / r;
                p = c * d[i] - s * g;
                d[i + 1] = h + s * (c * g + s * d[i]);
                let (left, right) = v[i * n..(i + 2) * n].split_at_mut(n);
                for (a, b) in left.iter_mut().zip(right) {
                    let h = *b;
                    *b = s * *a + c * h;
                    *a = c * *a - s * h;
                }
            }
            let p = -s * s2 * c3 * above * e[l] / next;
            e[l] = s * p;
            d[l] = c * p;
        }
        d[l] += shift;
        e[l] = 0.0;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::random::SplitMix64;

    /// numpy.linalg.eigh of the matrix in the example of Numerical Recipes' Householder reduction.
    #[test]
    fn a_small_matrix_has_the_eigenvectors_that_numpy_finds() {
        let matrix = vec![4., 1., -2., 2., 1., 2., 0., 1., -2., 0., 3., -2., 2., 1., -2., -1.];
        let (values, vectors) = symmetric(matrix, 4).expect("converges");
        for (value, expected) in values.iter().zip([6.84462111, 2.26853141, 1.08436446, -2.19751698]) {
            assert!((value - expected).abs() < 1e-7, "{values:?}");
        }
        let expected = [
            [0.71804596, 0.22115299, -0.55735138, 0.35335647],
            [0.2017111, 0.78944991, 0.57963417, 0.010281],
            [0.64226001, -0.54418785, 0.52022185, -0.14398227],
            [-0.17670517, -0.17810047, 0.28766803, 0.92428492],
        ];
        for (value, expected) in vectors.iter().zip(expected.as_flattened()) {
            assert!((value - expected).abs() < 1e-7, "{vectors:?}");
        }
    }

    #[test]
    fn a_rebuilt_matrix_is_the_same_whatever_its_spectrum() {
        let mut random = SplitMix64::new(5);
        let n = 60;
        let noise: Vec<f64> = (0..n * n).map(|_| random.normal()).collect();
        let full: Vec<f64> = (0..n * n).map(|at| noise[at] + noise[at % n * n + at / n]).collect();
        // Rank three, the identity, and zero: repeated eigenvalues.
        let thin: Vec<f64> = (0..n * n).map(|at| (0..3).map(|k| noise[k * n + at / n] * noise[k * n + at % n]).sum()).collect();
        let unit: Vec<f64> = (0..n * n).map(|at| if at / n == at % n { 1.0 } else { 0.0 }).collect();
        for matrix in [full, thin, unit, vec![0.0; n * n]] {
            let (values, vectors) = symmetric(matrix.clone(), n).expect("converges");
            assert!(values.windows(2).all(|pair| pair[0] >= pair[1]));
            for i in 0..n {
                for j in 0..n {
                    let rebuilt: f64 = (0..n).map(|k| values[k] * vectors[k * n + i] * vectors[k * n + j]).sum();
                    assert!((rebuilt - matrix[i * n + j]).abs() < 1e-10, "{rebuilt} at {i} {j}");
                    let product: f64 = (0..n).map(|k| vectors[i * n + k] * vectors[j * n + k]).sum();
                    assert!((product - if i == j { 1.0 } else { 0.0 }).abs() < 1e-12, "{product} at {i} {j}");
                }
            }
        }
    }

    #[test]
    fn one_by_one_and_what_is_no_matrix() {
        assert_eq!(symmetric(vec![3.0], 1).expect("trivial"), (vec![3.0], vec![1.0]));
        symmetric(vec![f64::NAN], 1).expect_err("not finite");
        symmetric(vec![1.0; 3], 2).expect_err("not square");
    }
}
