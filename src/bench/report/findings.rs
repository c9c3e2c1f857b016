//! What a result says, in sentences: computed from the figures, and no more than they carry.

use super::numbers::{MIB, fixed, listed, many, range, short, signed};
use super::view::{ROUNDS_FOR_NOISE, Ratio, Row, Told, View, median_interval, mix_name};
use crate::bench::result::{Change, Measured, Spread};

/// A finding: what it is about, and the sentences.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Finding {
    pub about: &'static str,
    pub text: String,
}

type Pair<'v, 'a> = (&'v Row<'a>, &'a Measured);

/// The findings, the greatest first. Figures that are flagged win nothing.
pub(super) fn findings(view: &View<'_>) -> Vec<Finding> {
    let sound: Vec<Pair<'_, '_>> = view.measured().filter(|(row, _)| !row.doubtful()).collect();
    let of = |mix: &str| sound.iter().copied().filter(|(row, _)| row.cell.asked.mix == mix).collect::<Vec<_>>();
    // All but the ranking of documents depends on the lengths of the texts.
    let here = of(view.mix);
    let others: Vec<String> = view.mixes.iter().filter(|mix| **mix != view.mix).filter_map(|mix| other_mix(mix, &of(mix))).collect();
    let found = [
        ("Fastest in bulk", fastest(view, &here)),
        ("Fastest without a loss", fastest_without_a_loss(&here)),
        ("Best ranking", best_ranking(view, &sound)),
        ("Other lengths", (!others.is_empty()).then(|| others.join(" "))),
        ("Quickest query", quickest(&here)),
        ("Least memory", least_memory(&here)),
        ("Left out here", doubtful(view)),
        ("Failed", failed(view)),
    ];
    found.into_iter().filter_map(|(about, text)| Some(Finding { about, text: text? })).collect()
}

fn most<'v, 'a>(pairs: &[Pair<'v, 'a>], figure: impl Fn(&Measured) -> f64) -> Option<Pair<'v, 'a>> {
    pairs.iter().copied().filter(|(_, m)| figure(m).is_finite()).max_by(|(a, x), (b, y)| {
        // Of equal ones the first is named.
        figure(x).total_cmp(&figure(y)).then(b.number.cmp(&a.number))
    })
}

fn fastest(view: &View<'_>, pairs: &[Pair<'_, '_>]) -> Option<String> {
    let (row, measured) = most(pairs, |m| m.texts_per_second.median)?;
    let mut text = format!("{} embeds {} texts/s", row.series, with_range(&measured.texts_per_second, 1.0));
    if view.mixes.len() > 1 {
        text += &format!(" of the mix \u{201c}{}\u{201d}", mix_name(view.mix));
    }
    text += &match row.ratio(|m| &m.texts_per_second) {
        _ if row.cell.reference => "; it is the reference".to_owned(),
        Some(ratio) => format!(", {}", times(ratio)),
        None => String::new(),
    };
    text += ".";
    text += &ties(row, pairs, |m| &m.texts_per_second);
    text += &match (quality(row, measured), measured.parity) {
        (Some(quality), _) => format!(" Its nDCG@10 (\u{d7}100) is {quality}."),
        (None, _) if row.as_reference => String::new(),
        (None, Some(parity)) => {
            format!(
                " Its vectors keep a cosine of at least {:.6} with its reference\u{2019}s; quality was not measured.",
                parity.worst_cosine
            )
        }
        (None, None) => " Neither its quality nor its parity was measured.".to_owned(),
    };
    Some(text)
}

/// Where the fastest cell lost quality, the fastest one that did not.
fn fastest_without_a_loss(pairs: &[Pair<'_, '_>]) -> Option<String> {
    let lost = |(_, m): &Pair<'_, '_>| m.quality.and_then(|quality| quality.change).is_some_and(|change| change.high < 0.0);
    let kept =
        |(row, m): &Pair<'_, '_>| row.as_reference || m.quality.and_then(|quality| quality.change).is_some_and(|change| change.high >= 0.0);
    most(pairs, |m| m.texts_per_second.median).filter(lost)?;
    let keeping: Vec<Pair<'_, '_>> = pairs.iter().copied().filter(kept).collect();
    let (row, measured) = most(&keeping, |m| m.texts_per_second.median)?;
    let ratio = row.ratio(|m| &m.texts_per_second).filter(|_| !row.cell.reference).map(|ratio| format!(", {}", times(ratio)));
    let mut text = format!("{} embeds {} texts/s{}.", row.series, with_range(&measured.texts_per_second, 1.0), ratio.unwrap_or_default());
    if let Some(change) = measured.quality.and_then(|quality| quality.change) {
        text += &format!(" Its change of nDCG@10 (\u{d7}100) against its reference is {}.", change_words(change));
    }
    Some(text)
}

fn best_ranking(view: &View<'_>, pairs: &[Pair<'_, '_>]) -> Option<String> {
    let ranked: Vec<Pair<'_, '_>> = pairs.iter().copied().filter(|(_, m)| m.quality.is_some()).collect();
    if ranked.len() < 2 {
        return None;
    }
    let (row, measured) = most(&ranked, |m| m.quality.map_or(f64::NAN, |quality| quality.ndcg10))?;
    // Paired differences with one reference, where all have them: means of the same questions vary together, so that their intervals hide what differs.
    let paired = |(row, m): &Pair<'_, '_>| match m.quality?.change {
        _ if row.as_reference => Some((0.0, 0.0)),
        change => change.map(|change| (change.low, change.high)),
    };
    let all_paired = view.models.len() == 1 && ranked.iter().all(|pair| paired(pair).is_some());
    let interval = |pair: &Pair<'_, '_>| if all_paired { paired(pair) } else { pair.1.quality.map(|quality| (quality.low, quality.high)) };
    let best = interval(&(row, measured))?;
    let others: Vec<String> = ranked
        .iter()
        .filter(|pair| pair.0.series != row.series && interval(pair).is_some_and(|other| other.1 >= best.0))
        .map(|(other, _)| other.series.clone())
        .fold(Vec::new(), |mut names, name| {
            if !names.contains(&name) {
                names.push(name);
            }
            names
        });
    let mut text = format!("{} has the highest nDCG@10 (\u{d7}100): {}.", row.series, quality(row, measured)?);
    if !others.is_empty() {
        text += &format!(" Not told apart from it: {}, whose intervals overlap with its own.", few(&others));
    }
    Some(text)
}

fn other_mix(mix: &str, pairs: &[Pair<'_, '_>]) -> Option<String> {
    // One alone is not the fastest of anything.
    let (row, measured) = most(pairs, |m| m.tokens_per_second.median).filter(|_| pairs.len() > 1)?;
    let ratio = row.ratio(|m| &m.texts_per_second).map(|ratio| format!(", {}", times(ratio))).unwrap_or_default();
    let rate = with_range(&measured.texts_per_second, 1.0);
    Some(
        format!("At {} a text, {} is the fastest with {rate} texts/s{ratio}.", mix_name(mix), row.series)
            + &ties(row, pairs, |m| &m.texts_per_second),
    )
}

fn quickest(pairs: &[Pair<'_, '_>]) -> Option<String> {
    let (row, measured) = most(pairs, |m| -m.query.p50_ms)?;
    let query = &measured.query;
    let mut text = format!(
        "{} answers half of the single queries ({}) within {} ms, 95 of 100 within {} and 99 within {}",
        row.series,
        many(query.tokens, "token"),
        short(query.p50_ms),
        short(query.p95_ms),
        short(query.p99_ms)
    );
    let reference = row.base.filter(|_| !row.cell.reference).and_then(|base| base.measured.as_ref());
    if row.cell.reference {
        text += "; it is the reference";
    } else if let Some(reference) = reference {
        text += &format!("; its reference\u{2019}s half is at {} ms", short(reference.query.p50_ms));
        match (median_interval(query), median_interval(&reference.query)) {
            (Some((_, high)), Some((low, _))) if high < low => {}
            (Some(_), Some(_)) => text += ", which is within noise",
            _ => text += ", from too few queries to tell noise",
        }
    }
    Some(text + ".")
}

fn least_memory(pairs: &[Pair<'_, '_>]) -> Option<String> {
    let (row, measured) = most(pairs, |m| -m.peak_memory_bytes.median)?;
    let mut text = format!("{} peaks at {} MiB", row.series, with_range(&measured.peak_memory_bytes, 1.0 / MIB));
    text += &format!(" with a model of {} MiB", short(measured.model_bytes as f64 / MIB));
    text += &match row.ratio(|m| &m.peak_memory_bytes) {
        _ if row.cell.reference => "; it is the reference".to_owned(),
        Some(ratio) => format!(", {}", times(ratio)),
        None => String::new(),
    };
    Some(text + "." + &ties(row, pairs, |m| &m.peak_memory_bytes))
}

fn doubtful(view: &View<'_>) -> Option<String> {
    let rows: Vec<String> = view.rows.iter().filter(|row| row.doubtful()).map(|row| row.name.clone()).collect();
    (!rows.is_empty()).then(|| format!("{}, whose figures are flagged (see the table).", few(&rows)))
}

fn failed(view: &View<'_>) -> Option<String> {
    let rows: Vec<String> = view.failed().map(|(row, reason)| format!("{}: {}", row.name, reason.trim_end_matches('.'))).collect();
    (!rows.is_empty()).then(|| format!("{} of {}. {}.", rows.len(), many(view.rows.len(), "cell"), few(&rows)))
}

/// How often the reference's figure goes into one, with what the rounds say of it.
fn times(ratio: Ratio) -> String {
    let [median, low, high] = [ratio.median, ratio.low, ratio.high].map(|value| fixed(value, 2));
    let told = match ratio.told() {
        Told::TooFewRounds => format!("from fewer than {ROUNDS_FOR_NOISE} rounds, too few to tell noise"),
        Told::WithinNoise => format!("{} by round: within noise", range(&low, &high)),
        Told::Above | Told::Below => format!("{} by round", range(&low, &high)),
    };
    format!("{median} times its reference ({told})")
}

/// The others whose rounds overlap those of the winner.
fn ties(winner: &Row<'_>, pairs: &[Pair<'_, '_>], spread: fn(&Measured) -> &Spread) -> String {
    let Some(best) = winner.cell.measured.as_ref().map(spread) else { return String::new() };
    let near = |(row, m): &&Pair<'_, '_>| {
        let other = spread(m);
        row.number != winner.number && other.max >= best.min && other.min <= best.max
    };
    let names: Vec<String> = pairs.iter().filter(near).map(|(row, _)| row.series.clone()).collect();
    if names.is_empty() { String::new() } else { format!(" The rounds of {} overlap with it: not told apart.", few(&names)) }
}

/// The quality of a cell and its change in words.
fn quality(row: &Row<'_>, measured: &Measured) -> Option<String> {
    let quality = measured.quality?;
    let [mean, low, high] = [quality.ndcg10, quality.low, quality.high].map(|value| fixed(100.0 * value, 2));
    let change = match quality.change {
        _ if row.cell.reference => String::new(),
        Some(change) => format!(", {} against its reference", change_words(change)),
        None => String::new(),
    };
    Some(format!("{mean} ({}){change}", range(&low, &high)))
}

/// A change with its interval and what that says.
fn change_words(change: Change) -> String {
    let [mean, low, high] = [change.mean, change.low, change.high].map(|value| signed(100.0 * value, 2));
    let told = match change {
        Change { low, .. } if low > 0.0 => "a gain beyond noise",
        Change { high, .. } if high < 0.0 => "a loss beyond noise",
        Change { low, high, .. } if low == 0.0 && high == 0.0 => "no difference",
        _ => "within noise",
    };
    format!("{mean} ({low} to {high}: {told})")
}

fn with_range(spread: &Spread, scale: f64) -> String {
    let [median, min, max] = [spread.median, spread.min, spread.max].map(|value| short(scale * value));
    if spread.rounds.len() > 1 { format!("{median} ({})", range(&min, &max)) } else { median }
}

/// The first few names; of thirty nobody reads more.
fn few(names: &[String]) -> String {
    const FEW: usize = 4;
    if names.len() <= FEW {
        return listed(names);
    }
    let mut shown = names[..FEW - 1].to_vec();
    shown.push(format!("{} more", names.len() - shown.len()));
    listed(&shown)
}
