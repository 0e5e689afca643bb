//! Nothing lost, nothing twice: the whole way from an accepted event to committed rows, seeded, with the
//! real pipeline over a simulated log, store and clock, and an oracle that shares no code with it.

mod broker;
mod definitions;
mod oracle;
mod process;
mod rules;
mod scenario;
mod store;
mod storefront;
mod tables;
mod world;

use anyhow::{Context, Result};

pub use definitions::Definitions;
pub use scenario::{Outcome, Size};

/// Runs a seed.
///
/// # Errors
/// What does not hold.
pub fn run(seed: u64, size: Size, shows: bool, definitions: &mut Definitions) -> Result<Outcome> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build()
        .context("no runtime")?;
    runtime.block_on(async { scenario::Scenario::new(seed, shows).run(size, definitions).await })
}
