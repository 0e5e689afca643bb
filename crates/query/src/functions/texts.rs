//! Texts by number: each is kept once.

use hashbrown::HashTable;
use std::hash::{BuildHasher, RandomState};

/// Texts that were seen.
#[derive(Clone, Debug, Default)]
pub(super) struct Texts {
    bytes: String,
    /// Where each text ends.
    ends: Vec<usize>,
    numbers: HashTable<u32>,
    hasher: RandomState,
}

impl Texts {
    /// The number of no text.
    pub(super) const NULL: u32 = u32::MAX;

    pub(super) fn number(&mut self, text: Option<&str>) -> u32 {
        let Some(text) = text else { return Self::NULL };
        let hash = self.hasher.hash_one(text);
        let (bytes, ends) = (&self.bytes, &self.ends);
        if let Some(number) = self.numbers.find(hash, |number| at(bytes, ends, *number) == text) {
            return *number;
        }
        let number = self.ends.len() as u32;
        self.bytes.push_str(text);
        self.ends.push(self.bytes.len());
        let (bytes, ends, hasher) = (&self.bytes, &self.ends, &self.hasher);
        let rehash = |number: &u32| hasher.hash_one(at(bytes, ends, *number));
        self.numbers.insert_unique(hash, number, rehash);
        number
    }

    pub(super) fn text(&self, number: u32) -> Option<&str> {
        (number != Self::NULL).then(|| at(&self.bytes, &self.ends, number))
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes.capacity()
            + self.ends.capacity() * size_of::<usize>()
            + self.numbers.capacity() * 2 * size_of::<u32>()
    }
}

fn at<'a>(bytes: &'a str, ends: &[usize], number: u32) -> &'a str {
    let number = number as usize;
    let start = if number == 0 { 0 } else { ends[number - 1] };
    &bytes[start..ends[number]]
}
