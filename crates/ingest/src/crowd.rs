//! Who has a place among the connections, and who gives it up to another when none is free: the one that
//! has kept the collector waiting longest. Accepting and serving are left to `serve`.

use std::ops::Deref;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

/// How long a stranger is waited for: it may be one of thousands that never say anything, or have sent
/// its head already, which nobody has read yet.
const STRANGER_WAIT_MIN: Duration = Duration::from_millis(50);

/// What a connection is waiting for.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
enum State {
    /// For the head of its first request.
    Stranger,
    /// For the rest of a body, or for the next request.
    Client,
    /// For nothing of the client: its request is being worked on.
    Served,
}

/// One connection, as its server tells of it.
pub struct Guest {
    is_excess: bool,
    state: AtomicU8,
    /// Since when, in milliseconds of the crowd's clock.
    since_ms: AtomicU64,
    began: Instant,
    /// Cancelled when the place goes to another.
    pub turned_out: CancellationToken,
}

/// What can be had for one who has no place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Room {
    /// The place of one that was turned out.
    Now,
    /// A stranger has just come, and is waited for.
    Soon,
    /// All are served, or are clients that were waited for shortly.
    None,
}

/// All connections that have a place.
pub struct Crowd {
    began: Instant,
    /// How long a client that has shown itself, by a request, is waited for.
    client_wait_min: Duration,
    guests: Mutex<Vec<Arc<Guest>>>,
}

/// A connection's place among the others, until it is dropped.
pub struct Seat {
    crowd: Arc<Crowd>,
    guest: Arc<Guest>,
}

impl Deref for Seat {
    type Target = Guest;

    fn deref(&self) -> &Guest {
        &self.guest
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut guests = self.crowd.guests.lock().unwrap_or_else(PoisonError::into_inner);
        // Order is kept: of those that came in one millisecond the first goes first.
        guests.retain(|other| !Arc::ptr_eq(other, &self.guest));
    }
}

impl Guest {
    fn set(&self, state: State) {
        self.since_ms.store(self.began.elapsed().as_millis() as u64, Relaxed);
        self.state.store(state as u8, Relaxed);
    }

    /// The client is to send something: a body, or its next request.
    pub fn waited_for(&self) {
        self.set(State::Client);
    }

    /// A whole request is there.
    pub fn served(&self) {
        self.set(State::Served);
    }

    /// What the guest is turned out by: strangers first, then who was waited for longest. `None`: it
    /// keeps its place.
    fn order(&self, now_ms: u64, client_wait_min: Duration) -> Option<(bool, u64)> {
        let (state, since) = (self.state.load(Relaxed), self.since_ms.load(Relaxed));
        let waited = now_ms.saturating_sub(since);
        if state == State::Stranger as u8 {
            return Some((false, since));
        }
        let is_ripe = state == State::Client as u8 && waited >= client_wait_min.as_millis() as u64;
        is_ripe.then_some((true, since))
    }
}

impl Crowd {
    pub fn new(client_wait_min: Duration) -> Crowd {
        Crowd { began: Instant::now(), client_wait_min, guests: Mutex::default() }
    }

    /// A connection takes a place.
    pub fn enter(self: &Arc<Self>, is_excess: bool) -> Seat {
        let guest = Arc::new(Guest {
            is_excess,
            state: AtomicU8::new(State::Stranger as u8),
            since_ms: AtomicU64::new(self.began.elapsed().as_millis() as u64),
            began: self.began,
            turned_out: CancellationToken::new(),
        });
        self.guests.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::clone(&guest));
        Seat { crowd: Arc::clone(self), guest }
    }

    /// Turns out one guest, if any may be.
    pub fn turn_one_out(&self, is_excess: bool) -> Room {
        let now_ms = self.began.elapsed().as_millis() as u64;
        let guests = self.guests.lock().unwrap_or_else(PoisonError::into_inner);
        let staying = guests
            .iter()
            .filter(|guest| guest.is_excess == is_excess && !guest.turned_out.is_cancelled());
        let ordered =
            staying.filter_map(|guest| Some((guest.order(now_ms, self.client_wait_min)?, guest)));
        let Some(((is_client, since), guest)) = ordered.min_by_key(|(order, _)| *order) else {
            return Room::None;
        };
        let waited = Duration::from_millis(now_ms.saturating_sub(since));
        if !is_client && waited < STRANGER_WAIT_MIN {
            return Room::Soon;
        }
        guest.turned_out.cancel();
        Room::Now
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lets a guest have been waited for since so many seconds before the crowd's time `at_s`.
    fn age(guest: &Guest, state: State, seconds: u64) {
        guest.set(state);
        let now = guest.since_ms.load(Relaxed);
        guest.since_ms.store(now.saturating_sub(seconds * 1_000), Relaxed);
    }

    #[test]
    fn the_longest_waited_for_goes_first_and_strangers_before_clients() {
        let began = Instant::now().checked_sub(Duration::from_secs(3_600)).unwrap();
        let client_wait_min = Duration::from_secs(1);
        let crowd = Arc::new(Crowd { began, client_wait_min, guests: Mutex::default() });
        let [served, idle, fresh, old, new] = [0; 5].map(|_| crowd.enter(false));
        age(&served, State::Served, 100);
        age(&idle, State::Client, 90);
        age(&fresh, State::Client, 0);
        // However long this test stands still.
        fresh.since_ms.fetch_add(3_600_000, Relaxed);
        age(&old, State::Stranger, 3);
        age(&new, State::Stranger, 1);
        let excess = crowd.enter(true);
        for guest in [&old, &new, &idle] {
            assert_eq!(crowd.turn_one_out(false), Room::Now);
            assert!(guest.turned_out.is_cancelled());
        }
        let shortly = "who is served, or was waited for shortly, stays";
        assert_eq!(crowd.turn_one_out(false), Room::None, "{shortly}");
        assert!(!served.turned_out.is_cancelled() && !fresh.turned_out.is_cancelled());
        excess.since_ms.fetch_add(3_600_000, Relaxed);
        assert_eq!(crowd.turn_one_out(true), Room::Soon, "it may have said something");
        age(&excess, State::Stranger, 1);
        assert_eq!(crowd.turn_one_out(true), Room::Now);
        assert!(excess.turned_out.is_cancelled());
        drop(fresh);
        assert_eq!(crowd.guests.lock().unwrap().len(), 5);
    }
}
