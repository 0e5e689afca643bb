//! Nothing lost, nothing twice: the whole way from an accepted event to committed rows, seeded, with the
//! real pipeline over a simulated log, store and clock, and an oracle that shares no code with it.

mod broker;
mod definitions;
mod happened;
mod load;
mod lost_log;
mod old_files;
mod oracle;
mod pipelines;
mod process;
mod rules;
mod scenario;
mod snapshots;
mod store;
mod storefront;
mod storm;
mod tables;
mod world;

use std::time::Duration;

use anyhow::{Context, Result};

pub use definitions::Definitions;
pub use happened::missing;
pub use scenario::{Outcome, Size};

/// How seeds are run.
#[derive(Clone, Copy, Debug, Default)]
pub struct Manner {
    /// On Delta's own logs instead of the model: its library works in threads of its own, so that a seed is not
    /// one run then.
    pub on_real_tables: bool,
    /// Print what is done.
    pub shows: bool,
}

/// Runs a seed.
///
/// # Errors
/// What does not hold.
pub fn run(
    seed: u64,
    size: Size,
    manner: Manner,
    definitions: &mut Definitions,
) -> Result<Outcome> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build()
        .context("no runtime")?;
    let Manner { on_real_tables, shows } = manner;
    let ran = runtime.block_on(async {
        scenario::Scenario::new(seed, on_real_tables, shows).run(size, definitions).await
    });
    // A thread of Delta's may still be at work for a process that was killed.
    runtime.shutdown_timeout(Duration::from_secs(5));
    ran
}
