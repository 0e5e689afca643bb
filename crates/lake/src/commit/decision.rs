//! Whether a commit is made, was made, or was lost to another writer: pure, so that it can be tried
//! exhaustively.

use std::collections::BTreeMap;

use super::Commit;

/// The version at which each application id of a commit stands in the table.
pub(super) type Standing = BTreeMap<String, Option<i64>>;

/// What to make of a commit that failed, once the table was read again.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It went through before its answer was lost.
    Ours,
    /// Others moved these ids.
    Lost(Standing),
    Again,
    Failed,
}

/// The ids that do not stand where the commit begins: it is not to be tried.
pub(super) fn moved(commit: &Commit, standing: &Standing) -> Standing {
    let moved = commit.progress.iter().filter_map(|progress| {
        let stands = standing.get(&progress.app_id).copied().flatten();
        (stands != progress.from).then(|| (progress.app_id.clone(), stands))
    });
    moved.collect()
}

/// `holds_files`: its files are in the table, or it has none. Another writer that folds the same log
/// reaches the same offsets with files of its own. `may_pass`: what failed may not fail again.
pub(super) fn judge(
    commit: &Commit,
    standing: &Standing,
    holds_files: bool,
    may_pass: bool,
) -> Verdict {
    let reached = commit
        .progress
        .iter()
        .all(|progress| standing.get(&progress.app_id).copied().flatten() == Some(progress.to));
    if reached && holds_files && !commit.progress.is_empty() {
        return Verdict::Ours;
    }
    let moved = moved(commit, standing);
    match moved.is_empty() {
        false => Verdict::Lost(moved),
        true if may_pass => Verdict::Again,
        true => Verdict::Failed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Progress;

    fn commit(progress: &[(&str, Option<i64>, i64)]) -> Commit {
        let progress = progress.iter().map(|(id, from, to)| Progress {
            app_id: (*id).into(),
            from: *from,
            to: *to,
        });
        Commit { progress: progress.collect(), ..Commit::default() }
    }

    fn standing(standing: &[(&str, Option<i64>)]) -> Standing {
        standing.iter().map(|(id, version)| ((*id).to_owned(), *version)).collect()
    }

    #[test]
    fn a_commit_is_tried_where_every_id_stands_where_it_begins() {
        let commit = commit(&[("p", None, 10), ("q", Some(3), 5)]);
        for (p, q, expected) in [
            (None, Some(3), vec![]),
            (Some(0), Some(3), vec![("p", Some(0))]),
            (None, None, vec![("q", None)]),
            (Some(10), Some(5), vec![("p", Some(10)), ("q", Some(5))]),
        ] {
            let moved = moved(&commit, &standing(&[("p", p), ("q", q)]));
            assert_eq!(moved, standing(&expected), "{p:?} {q:?}");
        }
    }

    #[test]
    fn a_commit_that_failed_is_ones_own_lost_or_to_be_tried_again() {
        let moving = commit(&[("p", Some(3), 5), ("q", None, 1)]);
        let lost = |ids: &[(&str, Option<i64>)]| Verdict::Lost(standing(ids));
        let both = lost(&[("p", Some(5)), ("q", Some(1))]);
        for (p, q, holds_files, may_pass, expected) in [
            (Some(5), Some(1), true, false, Verdict::Ours),
            (Some(5), Some(1), false, true, both),
            (Some(5), None, true, true, lost(&[("p", Some(5))])),
            (Some(6), Some(1), true, true, lost(&[("p", Some(6)), ("q", Some(1))])),
            (Some(3), None, false, true, Verdict::Again),
            (Some(3), None, false, false, Verdict::Failed),
            // Its files without its progress are those of an attempt that Delta did not take.
            (Some(3), None, true, false, Verdict::Failed),
        ] {
            let standing = standing(&[("p", p), ("q", q)]);
            let judged = judge(&moving, &standing, holds_files, may_pass);
            assert_eq!(judged, expected, "{p:?} {q:?} {holds_files} {may_pass}");
        }
        // Without progress nothing says whose it is.
        assert_eq!(judge(&commit(&[]), &standing(&[]), true, false), Verdict::Failed);
    }
}
