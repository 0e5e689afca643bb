//! A few texts, each there or not, in one allocation: a fold holds some hundred thousand of them, and
//! an allocation each would take more than the texts.

use serde::de::Error as _;
use serde::ser::SerializeSeq;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// `N` texts, at most 32, by their places.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Texts<const N: usize> {
    texts: Box<str>,
    /// Where each text ends; an absent one ends where it begins and has no bit in `present`.
    ends: [u32; N],
    present: u32,
}

impl<const N: usize> Default for Texts<N> {
    fn default() -> Self {
        Texts { texts: Box::default(), ends: [0; N], present: 0 }
    }
}

impl<const N: usize> Texts<N> {
    /// Packs what `text` knows for each place.
    pub fn pack<'t>(text: impl FnMut(usize) -> Option<&'t str>) -> Texts<N> {
        const { assert!(N <= 32, "each text has a bit in `present`") };
        let found: [Option<&str>; N] = std::array::from_fn(text);
        let mut texts = String::with_capacity(found.iter().flatten().map(|text| text.len()).sum());
        let (mut ends, mut present) = ([0; N], 0);
        for (i, text) in found.into_iter().enumerate() {
            if let Some(text) = text {
                texts.push_str(text);
                present |= 1 << i;
            }
            ends[i] = texts.len() as u32;
        }
        Texts { texts: texts.into_boxed_str(), ends, present }
    }

    pub fn at(&self, i: usize) -> Option<&str> {
        if self.present >> i & 1 == 0 {
            return None;
        }
        let start = if i == 0 { 0 } else { self.ends[i - 1] as usize };
        self.texts.get(start..self.ends[i] as usize)
    }
}

impl<const N: usize> Serialize for Texts<N> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut texts = serializer.serialize_seq(Some(N))?;
        for i in 0..N {
            texts.serialize_element(&self.at(i))?;
        }
        texts.end()
    }
}

impl<'de, const N: usize> Deserialize<'de> for Texts<N> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let texts = Vec::<Option<String>>::deserialize(from)?;
        if texts.len() != N {
            return Err(D::Error::invalid_length(texts.len(), &"a text for each place"));
        }
        Ok(Texts::pack(|i| texts.get(i)?.as_deref()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_come_back_from_memory_and_from_a_snapshot() {
        for given in [
            [None, None, None],
            [Some("a"), None, Some("é")],
            [None, Some(""), None],
            [Some(""), Some("bc"), Some("d")],
        ] {
            let packed = Texts::<3>::pack(|i| given[i]);
            let written = postcard::to_stdvec(&packed).unwrap();
            let read: Texts<3> = postcard::from_bytes(&written).unwrap();
            assert_eq!(read, packed);
            assert_eq!([0, 1, 2].map(|i| read.at(i)), given);
        }
        assert_eq!(Texts::<3>::default(), Texts::pack(|_| None));
    }

    #[test]
    fn a_snapshot_of_other_places_is_refused() {
        let written = postcard::to_stdvec(&Texts::<3>::default()).unwrap();
        assert!(postcard::from_bytes::<Texts<4>>(&written).is_err());
        assert!(postcard::from_bytes::<Texts<2>>(&written).is_err());
    }
}
