//! The way from an event on, or to it, with repeats merged.

/// The labels from the one at `anchor` on, at most `depth` of them.
pub fn from(labels: &[u32], anchor: usize, depth: usize) -> Vec<u32> {
    merged(labels[anchor..].iter()).take(depth).collect()
}

/// The labels that lead to the one at `anchor`, itself the last, at most `depth` of them.
pub fn to(labels: &[u32], anchor: usize, depth: usize) -> Vec<u32> {
    let mut path: Vec<u32> = merged(labels[..=anchor].iter().rev()).take(depth).collect();
    path.reverse();
    path
}

fn merged<'a>(labels: impl Iterator<Item = &'a u32>) -> impl Iterator<Item = u32> {
    let mut last = None;
    labels.copied().filter(move |label| last.replace(*label) != Some(*label))
}
