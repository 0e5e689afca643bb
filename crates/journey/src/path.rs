//! Labels on a way, with repeats merged.

/// At most `depth` of them, from the first on.
pub fn first(labels: &[u32], depth: usize) -> Vec<u32> {
    merged(labels.iter()).take(depth).collect()
}

/// At most `depth` of them, up to the last.
pub fn last(labels: &[u32], depth: usize) -> Vec<u32> {
    let mut path: Vec<u32> = merged(labels.iter().rev()).take(depth).collect();
    path.reverse();
    path
}

fn merged<'a>(labels: impl Iterator<Item = &'a u32>) -> impl Iterator<Item = u32> {
    let mut last = None;
    labels.copied().filter(move |label| last.replace(*label) != Some(*label))
}
