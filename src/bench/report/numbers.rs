//! Numbers as the report writes them.

/// Stands for a figure that was not measured.
pub(super) const NOTHING: &str = "\u{2013}";
/// A mebibyte, the unit of memory.
pub(super) const MIB: f64 = 1_048_576.0;

/// Decimals that leave three digits that count, or two below a tenth.
pub(super) fn decimals(value: f64) -> usize {
    match value.abs() {
        value if value == 0.0 || value >= 100.0 => 0,
        value if value >= 10.0 => 1,
        value if value >= 0.1 => 2,
        value if value >= 0.01 => 3,
        _ => 4,
    }
}

/// A number with groups of three digits, and the minus sign that is as wide as a plus.
pub(super) fn fixed(value: f64, decimals: usize) -> String {
    if !value.is_finite() {
        return NOTHING.to_owned();
    }
    let digits = format!("{:.decimals$}", value.abs());
    let negative = value < 0.0 && digits.bytes().any(|digit| matches!(digit, b'1'..=b'9'));
    let (whole, fraction) = digits.split_once('.').map_or((digits.as_str(), None), |(whole, fraction)| (whole, Some(fraction)));
    let mut out = String::from(if negative { "\u{2212}" } else { "" });
    for (at, digit) in whole.chars().enumerate() {
        if at > 0 && (whole.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    if let Some(fraction) = fraction {
        out.push('.');
        out.push_str(fraction);
    }
    out
}

/// A number with three digits that count.
pub(super) fn short(value: f64) -> String {
    fixed(value, decimals(value))
}

/// A difference: always with its sign, but for one that rounds to nothing.
pub(super) fn signed(value: f64, decimals: usize) -> String {
    let text = fixed(value, decimals);
    let zero = !text.bytes().any(|digit| matches!(digit, b'1'..=b'9'));
    if value > 0.0 && !zero { format!("+{text}") } else { text }
}

/// The ends of a range; equal ends are one number.
pub(super) fn range(low: &str, high: &str) -> String {
    if low == high {
        low.to_owned()
    } else if [low, high].iter().any(|end| end.starts_with(['+', '\u{2212}'])) {
        format!("{low} to {high}")
    } else {
        format!("{low}\u{2013}{high}")
    }
}

/// A number of things.
pub(super) fn many(n: usize, noun: &str) -> String {
    format!("{} {noun}{}", fixed(n as f64, 0), if n == 1 { "" } else { "s" })
}

/// Names in a sentence: `a`, `a and b`, `a, b and c`.
pub(super) fn listed(names: &[String]) -> String {
    match names {
        [] => String::new(),
        [one] => one.clone(),
        [first @ .., last] => format!("{} and {last}", first.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped_signed_and_rounded() {
        assert_eq!(fixed(1_234_567.891, 1), "1,234,567.9");
        assert_eq!(fixed(999.96, 1), "1,000.0");
        assert_eq!(fixed(-0.004, 2), "0.00");
        assert_eq!(fixed(-12.5, 1), "\u{2212}12.5");
        assert_eq!(fixed(f64::NAN, 1), NOTHING);
        assert_eq!(signed(0.25, 2), "+0.25");
        assert_eq!(signed(0.004, 2), "0.00");
        assert_eq!(short(7.911), "7.91");
        assert_eq!(short(66.94), "66.9");
        assert_eq!(short(12_345.6), "12,346");
        assert_eq!(short(0.0357), "0.036");
        assert_eq!(short(0.0), "0");
    }

    #[test]
    fn ranges_and_lists_read_well() {
        assert_eq!(range("65.8", "67.2"), "65.8\u{2013}67.2");
        assert_eq!(range("\u{2212}0.31", "+0.78"), "\u{2212}0.31 to +0.78");
        assert_eq!(range("1.0", "1.0"), "1.0");
        assert_eq!(listed(&["a".into(), "b".into(), "c".into()]), "a, b and c");
        assert_eq!(many(1, "cell"), "1 cell");
        assert_eq!(many(1_000, "text"), "1,000 texts");
    }
}
