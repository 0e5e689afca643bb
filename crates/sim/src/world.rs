//! What all processes of a run share: its chance, its clock, the faults that are in the air, and the
//! trace of what was done.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use footfall_event::{Micros, simulate_clock};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tokio::runtime::Handle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// 2026-03-01T12:00:00Z, or a minute before the next midnight: when runs begin.
const NOON: Micros = Micros(1_772_366_400_000_000);
const BEFORE_MIDNIGHT: Micros = Micros(NOON.0 + 12 * Micros::HOUR.0 - Micros::MINUTE.0);

thread_local! {
    /// Whose clock the program reads in this thread.
    static RUNNING: RefCell<Option<Arc<World>>> = const { RefCell::new(None) };
}

/// The program's clock is a world's as long as this lives.
pub struct SimulatedClock;

impl SimulatedClock {
    pub fn of(world: &Arc<World>) -> SimulatedClock {
        RUNNING.set(Some(world.clone()));
        simulate_clock(Some(|| {
            RUNNING.with_borrow(|world| world.as_ref().map_or(NOON, |world| world.told()))
        }));
        SimulatedClock
    }
}

impl Drop for SimulatedClock {
    fn drop(&mut self) {
        simulate_clock(None);
        RUNNING.set(None);
    }
}

/// How often what goes wrong, of a thousand steps.
#[derive(Clone, Copy, Debug)]
pub struct Weather {
    /// Fails before anything is done.
    pub fails: u32,
    /// Is done, and its answer is lost.
    pub loses_answer: u32,
    /// Takes up to some seconds.
    pub slow: u32,
    /// Takes twenty seconds to two minutes.
    pub stalls: u32,
    /// Is done behind the back of whoever was told that it failed.
    pub lands_later: u32,
    /// Nothing can be written.
    pub is_full: bool,
}

impl Weather {
    pub const CALM: Weather =
        Weather { fails: 0, loses_answer: 0, slow: 0, stalls: 0, lands_later: 0, is_full: false };
}

/// A step that takes as long stands still.
pub const STALL: Duration = Duration::from_secs(20);

/// What a step of a process meets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Met {
    Nothing,
    Delay(Duration),
    Failure,
}

/// One run, of one seed.
#[derive(Debug)]
pub struct World {
    chance: Mutex<ChaCha8Rng>,
    weather: Mutex<Weather>,
    begin: Micros,
    began: Instant,
    /// How far the processes' clock is ahead of the true time.
    ahead: Mutex<Micros>,
    /// Whose clock stands still; steps on another's, in threads of Delta's library, take no time.
    runtime: tokio::runtime::Id,
    /// Nothing goes wrong any more.
    calm: CancellationToken,
    trace: Mutex<Trace>,
    shows: bool,
}

/// What was done, in its order.
#[derive(Debug, Default)]
struct Trace {
    hasher: DefaultHasher,
    /// How often each kind of step was done, and each fault met.
    counts: BTreeMap<String, u64>,
}

impl Trace {
    fn count(&mut self, what: &str, often: usize) {
        *self.counts.entry(what.to_owned()).or_default() += often as u64;
    }
}

impl World {
    /// `shows`: whether the trace is printed as it comes.
    pub fn new(seed: u64, shows: bool) -> World {
        let mut chance = ChaCha8Rng::seed_from_u64(seed);
        let begin = if chance.random_bool(0.3) { BEFORE_MIDNIGHT } else { NOON };
        World {
            chance: Mutex::new(chance),
            begin,
            weather: Mutex::new(Weather::CALM),
            began: Instant::now(),
            ahead: Mutex::default(),
            runtime: Handle::current().id(),
            calm: CancellationToken::new(),
            trace: Mutex::default(),
            shows,
        }
    }

    pub fn chance(&self) -> MutexGuard<'_, ChaCha8Rng> {
        self.chance.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What it was before.
    pub fn set_weather(&self, weather: Weather) -> Weather {
        let mut now = self.weather.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::replace(&mut *now, weather)
    }

    /// From here on nothing goes wrong, and what was slow or stood still goes on.
    pub fn calm_down(&self) {
        self.set_weather(Weather::CALM);
        self.calm.cancel();
    }

    /// Waits for so long, or until all is calm.
    pub async fn wait(&self, delay: Duration) {
        tokio::select! {
            biased;
            () = self.calm.cancelled() => {}
            () = tokio::time::sleep(delay) => {}
        }
    }

    /// Whether whoever asks is on the run's own clock.
    pub fn is_on_its_clock(&self) -> bool {
        Handle::current().id() == self.runtime
    }

    /// How long the run has lasted.
    pub fn elapsed(&self) -> Duration {
        self.began.elapsed()
    }

    /// The true time, which no process knows.
    pub fn now(&self) -> Micros {
        self.begin + Micros(self.began.elapsed().as_micros() as i64)
    }

    /// The time that processes are told.
    fn told(&self) -> Micros {
        self.now() + *self.ahead.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn set_ahead(&self, ahead: Micros) {
        *self.ahead.lock().unwrap_or_else(PoisonError::into_inner) = ahead;
    }

    /// Tells what was done, and where.
    pub fn trace(&self, who: &str, what: &str, told: &str) {
        let mut trace = self.trace.lock().unwrap_or_else(PoisonError::into_inner);
        (self.began.elapsed(), who, what, told).hash(&mut trace.hasher);
        trace.count(what, 1);
        if self.shows {
            println!("{:12.3} {who:12} {what} {told}", self.began.elapsed().as_secs_f64());
        }
    }

    /// Counts what is part of something traced.
    pub fn count(&self, what: &str) {
        self.count_all(what, 1);
    }

    /// The same of so many.
    pub fn count_all(&self, what: &str, often: usize) {
        self.trace.lock().unwrap_or_else(PoisonError::into_inner).count(what, often);
    }

    /// One number for all that was done, and in which order: equal for equal seeds.
    pub fn digest(&self) -> u64 {
        self.trace.lock().unwrap_or_else(PoisonError::into_inner).hasher.finish()
    }

    /// How often each kind of step was done, and each fault met.
    pub fn counts(&self) -> BTreeMap<String, u64> {
        self.trace.lock().unwrap_or_else(PoisonError::into_inner).counts.clone()
    }

    /// Whether nothing can be written.
    pub fn is_full(&self) -> bool {
        self.weather.lock().unwrap_or_else(PoisonError::into_inner).is_full
    }

    /// For how long a write goes on after its caller was told that it failed.
    pub fn lands_later(&self) -> Option<Duration> {
        let often = self.weather.lock().unwrap_or_else(PoisonError::into_inner).lands_later;
        let mut chance = self.chance();
        let happens = chance.random_range(0..1_000) < often;
        happens.then(|| Duration::from_millis(chance.random_range(1..30_000)))
    }

    /// What a step meets before it is done, or behind it.
    pub fn meets(&self, is_done: bool) -> Met {
        let weather = *self.weather.lock().unwrap_or_else(PoisonError::into_inner);
        let mut chance = self.chance();
        let drawn = chance.random_range(0..1_000);
        let fails = if is_done { weather.loses_answer } else { weather.fails };
        match drawn {
            drawn if drawn < fails => Met::Failure,
            drawn if drawn < fails + weather.slow => {
                Met::Delay(Duration::from_millis(chance.random_range(1..4_000)))
            }
            drawn if drawn < fails + weather.slow + weather.stalls => {
                Met::Delay(Duration::from_secs(chance.random_range(STALL.as_secs()..120)))
            }
            _ => Met::Nothing,
        }
    }
}
