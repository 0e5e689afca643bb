//! `window_funnel` against ClickHouse's windowFunnel on the same files, where the definitions agree.

use std::path::Path;

use anyhow::{Result, ensure};
use footfall_tests::{Footfall, python, repository};
use tempfile::TempDir;

use crate::docs::sampled;

const STEPS: [&str; 4] = ["view_item", "add_to_cart", "begin_checkout", "purchase"];
const WINDOWS: [&str; 4] = ["30 seconds", "5 minutes", "1 hour", "3 days"];
const WINDOWS_US: [i64; 4] = [30_000_000, 300_000_000, 3_600_000_000, 259_200_000_000];

#[test]
fn a_window_funnel_has_the_levels_of_clickhouse() -> Result<()> {
    let folder = TempDir::new()?;
    let footfall = sampled(folder.path())?;
    let mut levels = std::collections::BTreeSet::new();
    for (window, window_us) in WINDOWS.iter().zip(WINDOWS_US) {
        for steps in 2..=STEPS.len() {
            let ours = ours(&footfall, window, &STEPS[..steps])?;
            let theirs = theirs(&footfall.lake(), window_us, &STEPS[..steps])?;
            ensure!(ours.len() > 1_000, "only {} visitors", ours.len());
            for (ours, theirs) in ours.iter().zip(&theirs) {
                ensure!(ours == theirs, "{window}, {steps} steps: {ours}, ClickHouse: {theirs}");
            }
            ensure!(ours.len() == theirs.len(), "{} and {}", ours.len(), theirs.len());
            levels.extend(
                ours.iter().filter_map(|line| line.rsplit_once(',')).map(|it| it.1.to_owned()),
            );
        }
    }
    ensure!(levels.len() == STEPS.len() + 1, "not all levels occur: {levels:?}");
    Ok(())
}

fn ours(footfall: &Footfall, window: &str, steps: &[&str]) -> Result<Vec<String>> {
    let conditions: Vec<String> = steps.iter().map(|it| format!("event_name = '{it}'")).collect();
    let sql = format!(
        "SELECT site, visitor_id, window_funnel(INTERVAL '{window}', 'ordered', event_time, seq, {}) \
         FROM events WHERE visitor_id IS NOT NULL AND ({}) GROUP BY site, visitor_id \
         HAVING count(*) = count(DISTINCT event_time) ORDER BY site, visitor_id",
        conditions.join(", "),
        conditions.join(" OR ")
    );
    let csv = footfall.run_well(&["sql", "--format", "csv", &sql])?;
    Ok(csv.lines().skip(1).map(str::to_owned).collect())
}

fn theirs(lake: &Path, window_us: i64, steps: &[&str]) -> Result<Vec<String>> {
    let program = repository().join("tests/clickhouse/window_funnel.py");
    let (program, lake) = (program.to_string_lossy(), lake.to_string_lossy());
    let window = window_us.to_string();
    let mut arguments = vec![program.as_ref(), lake.as_ref(), window.as_str()];
    arguments.extend(steps);
    // ClickHouse quotes every text.
    Ok(python(&arguments)?.lines().map(|line| line.replace('"', "")).collect())
}
