//! The visitors with an open session or held events.

use std::collections::VecDeque;
use std::sync::Arc;

use footfall_event::visitor_hash;
use hashbrown::HashTable;

use crate::held::HeldPlace;
use crate::{Session, Visitor};

/// A place in [`Visitors`]. It may be given to another visitor once its own is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct VisitorPlace(u32);

#[derive(Debug)]
pub struct Entry {
    pub visitor: Arc<Visitor>,
    /// Of the visitor, as a growing table asks for all of them.
    hash: u64,
    pub session: Option<Box<Session>>,
    /// In the order of arrival.
    pub held: VecDeque<HeldPlace>,
    /// Whether a time to look for the session's end is set for this place.
    pub has_closing: bool,
}

#[derive(Debug, Default)]
pub struct Visitors {
    entries: Vec<Option<Entry>>,
    /// Free places; with those whose closing time is still set.
    free: Vec<(VisitorPlace, bool)>,
    places: HashTable<u32>,
}

impl Visitors {
    pub fn find_or_add(&mut self, site: &str, visitor_id: &str) -> VisitorPlace {
        let hash = visitor_hash(site, visitor_id);
        if let Some(place) = self.places.find(hash, |place| self.is_at(*place, site, visitor_id)) {
            return VisitorPlace(*place);
        }
        let (place, has_closing) = self.free.pop().unwrap_or_else(|| {
            self.entries.push(None);
            (VisitorPlace(self.entries.len() as u32 - 1), false)
        });
        let visitor = Arc::new(Visitor { site: site.into(), visitor_id: visitor_id.into() });
        self.entries[place.0 as usize] =
            Some(Entry { visitor, hash, session: None, held: VecDeque::new(), has_closing });
        let entries = &self.entries;
        let rehash = |place: &u32| entries[*place as usize].as_ref().map_or(0, |entry| entry.hash);
        self.places.insert_unique(hash, place.0, rehash);
        place
    }

    pub fn find(&self, site: &str, visitor_id: &str) -> Option<&Entry> {
        let hash = visitor_hash(site, visitor_id);
        let place = self.places.find(hash, |place| self.is_at(*place, site, visitor_id))?;
        self.at(VisitorPlace(*place))
    }

    pub fn at(&self, place: VisitorPlace) -> Option<&Entry> {
        self.entries.get(place.0 as usize)?.as_ref()
    }

    pub fn at_mut(&mut self, place: VisitorPlace) -> Option<&mut Entry> {
        self.entries.get_mut(place.0 as usize)?.as_mut()
    }

    /// The place's closing time has come: whoever is there needs another.
    pub fn clear_closing(&mut self, place: VisitorPlace) {
        match self.at_mut(place) {
            Some(entry) => entry.has_closing = false,
            None => {
                if let Some(free) = self.free.iter_mut().rev().find(|free| free.0 == place) {
                    free.1 = false;
                }
            }
        }
    }

    /// Forgets the visitor if it has neither a session nor held events.
    pub fn forget_if_idle(&mut self, place: VisitorPlace) {
        let is_idle = |entry: &Entry| entry.session.is_none() && entry.held.is_empty();
        let Some(entry) = self.entries[place.0 as usize].take_if(|entry| is_idle(entry)) else {
            return;
        };
        if let Ok(found) = self.places.find_entry(entry.hash, |other| *other == place.0) {
            found.remove();
        }
        self.free.push((place, entry.has_closing));
    }

    pub fn iter(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter().flatten()
    }

    pub fn sessions(&self) -> impl Iterator<Item = &Session> {
        self.entries.iter().flatten().filter_map(|entry| entry.session.as_deref())
    }

    /// The places of the visitors that `is_meant` names, ascending.
    pub fn places_of(&self, is_meant: impl Fn(&Visitor) -> bool) -> Vec<VisitorPlace> {
        let entries = self.entries.iter().enumerate();
        let meant = entries
            .filter(|(_, entry)| entry.as_ref().is_some_and(|entry| is_meant(&entry.visitor)));
        meant.map(|(place, _)| VisitorPlace(place as u32)).collect()
    }

    fn is_at(&self, place: u32, site: &str, visitor_id: &str) -> bool {
        self.entries[place as usize].as_ref().is_some_and(|entry| {
            &*entry.visitor.visitor_id == visitor_id && &*entry.visitor.site == site
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_idle_visitors_place_is_given_to_another() {
        let mut visitors = Visitors::default();
        let place = visitors.find_or_add("shop", "a");
        visitors.forget_if_idle(place);
        assert!(visitors.find("shop", "a").is_none());
        assert_eq!(visitors.places.len(), 0);
        assert!(visitors.find_or_add("shop", "b") == place);
        assert_eq!(visitors.iter().count(), 1);
    }
}
