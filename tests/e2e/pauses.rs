//! Pauses between kills: at random moments, yet the same in each run.

use std::time::Duration;

pub struct Pauses(u64);

impl Pauses {
    pub fn new(seed: u64) -> Pauses {
        Pauses(seed)
    }

    /// Sleeps for some time between the two.
    pub fn sleep(&mut self, least_ms: u64, most_ms: u64) {
        // Knuth's linear congruential generator, of which the upper bits are random enough.
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        std::thread::sleep(Duration::from_millis(least_ms + (self.0 >> 33) % (most_ms - least_ms)));
    }
}
