//! What an unmet need is associated with losing: visitors who left times the difference of the
//! conversion rates of those who found and those who did not, times the average order. An association:
//! who finds may have come to buy.

use rand::distr::Distribution;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use rand_distr::{Binomial, Normal};

/// Sessions on either side, below which nothing is claimed.
pub const SESSIONS_MIN: u64 = 30;
/// Samples of the bootstrap, and their seed: equal data give equal intervals.
const SAMPLES: usize = 1_000;
const SEED: u64 = 1;
/// The bounds of the middle 95 % of them.
const LOW: usize = SAMPLES / 40;
const HIGH: usize = SAMPLES - 1 - LOW;
/// From so many orders on their mean is drawn from its normal distribution.
const ORDERS_DRAWN_MAX: usize = 1_000;

/// Sessions in which a need was found or not, and their conversions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sides {
    pub found: u64,
    pub found_converted: u64,
    pub not_found: u64,
    pub not_found_converted: u64,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Loss {
    pub loss: f64,
    /// 95 % bootstrap interval (percentiles).
    pub low: f64,
    pub high: f64,
}

/// The loss in the currency of `orders`, the values of the converted sessions, in any order; `None`
/// below [`SESSIONS_MIN`] sessions on either side, and without orders.
pub fn loss(sides: Sides, orders: &[f64]) -> Option<Loss> {
    let Sides { found, found_converted, not_found, not_found_converted } = sides;
    if found < SESSIONS_MIN || not_found < SESSIONS_MIN || orders.is_empty() {
        return None;
    }
    let lost = (not_found - not_found_converted) as f64;
    let rate = |converted: u64, of: u64| converted as f64 / of as f64;
    let mean = orders.iter().sum::<f64>() / orders.len() as f64;
    let (found_rate, other_rate) =
        (rate(found_converted, found), rate(not_found_converted, not_found));
    // To draw sessions of one side again is to draw the number of its conversions.
    let found_drawn = Binomial::new(found, found_rate).ok()?;
    let other_drawn = Binomial::new(not_found, other_rate).ok()?;
    let variance =
        orders.iter().map(|order| (order - mean).powi(2)).sum::<f64>() / orders.len() as f64;
    let mean_drawn = Normal::new(mean, (variance / orders.len() as f64).sqrt()).ok()?;
    let mut sorted = orders.to_vec();
    sorted.sort_by(f64::total_cmp);
    let mut rng = ChaCha8Rng::seed_from_u64(SEED);
    let mut samples: Vec<f64> = (0..SAMPLES)
        .map(|_| {
            let found_rate = rate(found_drawn.sample(&mut rng), found);
            let other_rate = rate(other_drawn.sample(&mut rng), not_found);
            let mean = match sorted.len() <= ORDERS_DRAWN_MAX {
                true => mean_of_drawn(&sorted, &mut rng),
                false => mean_drawn.sample(&mut rng),
            };
            lost * (found_rate - other_rate) * mean
        })
        .collect();
    samples.sort_by(f64::total_cmp);
    let loss = lost * (found_rate - other_rate) * mean;
    Some(Loss { loss, low: samples[LOW], high: samples[HIGH] })
}

fn mean_of_drawn(orders: &[f64], rng: &mut ChaCha8Rng) -> f64 {
    let place = rand::distr::Uniform::new(0, orders.len());
    let Ok(place) = place else { return f64::NAN };
    let sum: f64 = (0..orders.len()).map(|_| orders[place.sample(rng)]).sum();
    sum / orders.len() as f64
}
