//! What an import has to write, given what the table holds.
//!
//! One function for both databases: the same files make the same table in either.

use super::{Imported, Series, Target, growth_rate};
use std::borrow::Cow;

/// Rows to write, and what they are.
pub(super) struct Merged<'a> {
    /// New rows, rows with new counts, and rows whose growth rates follow from those.
    pub(super) write: Cow<'a, Series>,
    /// What the rows to import are to the table.
    pub(super) imported: Imported,
}

/// Compares the rows to import with those of the table.
///
/// `existing` must hold every row of the imported videos from the earliest imported one on, and the row before that.
/// From a video's first change on, growth rates are computed anew; those before it are left as they are.
pub(super) fn merge<'a>(existing: &Series, incoming: &'a Series) -> Merged<'a> {
    let mut imported = Imported { videos: incoming.videos.len() as u64, ..Imported::default() };
    if existing.is_empty() {
        imported.inserted = incoming.len() as u64;
        return Merged { write: Cow::Borrowed(incoming), imported };
    }
    let mut write = Series::default();
    for video in &incoming.videos {
        let old_rows = existing.video(&video.id).map_or(0..0, |video| video.rows.clone());
        let (mut old, mut new) = (old_rows.peekable(), video.rows.clone().peekable());
        let (mut previous, mut changed): (Option<[f64; 3]>, bool) = (None, false);
        loop {
            let old_at = old.peek().map(|&row| existing.at[row]);
            let new_at = new.peek().map(|&row| incoming.at[row]);
            let Some(at) = [old_at, new_at].into_iter().flatten().min() else { break };
            let old_row = if old_at == Some(at) { old.next() } else { None };
            let new_row = if new_at == Some(at) { new.next() } else { None };
            let counts = match (old_row, new_row) {
                (_, Some(row)) => incoming.counts_of(row),
                (Some(row), None) => existing.counts_of(row),
                (None, None) => break,
            };
            let differs = old_row.is_none_or(|row| !same(existing.counts_of(row), counts));
            match (old_row, new_row) {
                (None, _) => imported.inserted += 1,
                (Some(_), Some(_)) if differs => imported.updated += 1,
                (Some(_), Some(_)) => imported.unchanged += 1,
                (Some(_), None) => {}
            }
            changed |= differs;
            if changed {
                let growth = growth(previous, counts);
                if differs || old_row.is_none_or(|row| !same(existing.growth_of(row), growth)) {
                    write.push(&video.id, at, counts, growth);
                }
            }
            previous = Some(counts);
        }
    }
    Merged { write: Cow::Owned(write), imported }
}

/// To the last bit; no value is NaN or -0 here.
fn same(a: [f64; 3], b: [f64; 3]) -> bool {
    a.map(f64::to_bits) == b.map(f64::to_bits)
}

fn growth(previous: Option<[f64; 3]>, now: [f64; 3]) -> [f64; 3] {
    Target::ALL.map(Target::index).map(|k| growth_rate(previous.map(|counts| counts[k]), now[k]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::arrange::Arrivals;
    use proptest::prelude::*;

    /// Growth rates computed, as an import finds and makes them.
    fn series(rows: &[(u8, i64, u32)]) -> Series {
        let mut arrivals = Arrivals::new();
        for &(id, at, count) in rows {
            arrivals.push(&id.to_string(), at, [f64::from(count), 1.0, 2.0], [f64::NAN; 3]).expect("counts");
        }
        arrivals.finish().0
    }

    /// What the table holds after the rows are written.
    fn apply(table: &Series, merged: &Merged<'_>) -> Series {
        let mut arrivals = Arrivals::new();
        let mut push = |series: &Series, id: &str, row| {
            arrivals.push(id, series.at[row], series.counts_of(row), series.growth_of(row)).expect("counts");
        };
        for video in &table.videos {
            for row in video.rows.clone() {
                let written = merged
                    .write
                    .video(&video.id)
                    .is_some_and(|v| merged.write.at[v.rows.clone()].contains(&table.at[row]));
                if !written {
                    push(table, &video.id, row);
                }
            }
        }
        for video in &merged.write.videos {
            video.rows.clone().for_each(|row| push(&merged.write, &video.id, row));
        }
        arrivals.finish().0
    }

    fn check(table: &[(u8, i64, u32)], incoming: &[(u8, i64, u32)], counted: (u64, u64, u64), written: usize) {
        let (table, incoming) = (series(table), series(incoming));
        let merged = merge(&table, &incoming);
        assert_eq!((merged.imported.inserted, merged.imported.updated, merged.imported.unchanged), counted);
        assert_eq!(merged.write.len(), written);
    }

    #[test]
    fn writes_what_changes_and_what_follows_from_it() {
        check(&[], &[(1, 1, 5), (1, 2, 6)], (2, 0, 0), 2);
        check(&[(1, 1, 5), (1, 2, 6)], &[(1, 1, 5), (1, 2, 6)], (0, 0, 2), 0);
        check(&[(1, 1, 5), (1, 2, 6)], &[(1, 3, 7)], (1, 0, 0), 1);
        check(&[(1, 1, 5), (1, 3, 6)], &[(1, 2, 7)], (1, 0, 0), 2);
        check(&[(1, 1, 5), (1, 2, 6), (1, 3, 6)], &[(1, 1, 4)], (0, 1, 0), 2);
        check(&[(1, 1, 5), (2, 2, 6)], &[(2, 1, 4), (3, 1, 4)], (2, 0, 0), 3);
    }

    proptest! {
        #[test]
        fn imports_in_any_split_make_the_same_table(
            rows in prop::collection::btree_map((0..3u8, 0..20i64), (0..5u32, 0..3u8), 0..40),
            old in prop::collection::vec((0..3u8, 0..20i64, 0..5u32), 0..30),
        ) {
            let whole: Vec<_> = rows.iter().map(|(&(id, at), &(count, _))| (id, at, count)).collect();
            let start = series(&old);
            let at_once = apply(&start, &merge(&start, &series(&whole)));
            let mut table = start;
            for part in 0..3 {
                let part: Vec<_> =
                    rows.iter().filter(|(_, (_, p))| *p == part).map(|(&(id, at), &(count, _))| (id, at, count)).collect();
                let incoming = series(&part);
                let merged = merge(&table, &incoming);
                prop_assert_eq!(merged.imported.inserted + merged.imported.updated + merged.imported.unchanged, incoming.len() as u64);
                table = apply(&table, &merged);
                let again = merge(&table, &incoming);
                prop_assert_eq!((again.write.len(), again.imported.unchanged), (0, incoming.len() as u64));
            }
            prop_assert_eq!(table.fingerprint(), at_once.fingerprint());
        }

        #[test]
        fn growth_is_right_afterwards(
            old in prop::collection::vec((0..2u8, 0..20i64, 0..5u32), 0..30),
            new in prop::collection::vec((0..2u8, 0..20i64, 0..5u32), 0..30),
        ) {
            let (table, incoming) = (series(&old), series(&new));
            let after = apply(&table, &merge(&table, &incoming));
            for video in &after.videos {
                let mut previous = None;
                for row in video.rows.clone() {
                    prop_assert!(same(after.growth_of(row), growth(previous, after.counts_of(row))));
                    previous = Some(after.counts_of(row));
                }
            }
        }
    }
}
