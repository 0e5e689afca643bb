//! Bytes that an event takes on disk once its files are compacted: of the columns that the sample sends,
//! and of those that Footfall adds. The sample is posted live, for what is loaded has less of the second.
//!
//! `cargo bench -p footfall-tests --bench storage`; `-- 5000 2000` posts 5,000 sessions, 2,000 events a
//! second.

use std::process::Command;
use std::time::Duration;

use anyhow::{Result, ensure};
use footfall_tests::{Footfall, binary, python_text, wait_until};
use tempfile::TempDir;

const SETTLED_MAX: Duration = Duration::from_secs(120);

/// The sizes that the footers of the current files tell, summed by column.
const SIZES: &str = r#"
import sys
from deltalake import DeltaTable
import pyarrow.parquet as pq
own = {"session_id", "event_time", "received_time", "appended_at", "log", "log_partition", "log_offset",
       "late", "overflow", "received_date", "bot", "browser", "os", "device_type"}
rows, sent, added, columns = 0, 0, 0, {}
files = DeltaTable(sys.argv[1]).file_uris()
for file in files:
    footer = pq.ParquetFile(file).metadata
    rows += footer.num_rows
    for group in range(footer.num_row_groups):
        for column in range(footer.row_group(group).num_columns):
            chunk = footer.row_group(group).column(column)
            name = chunk.path_in_schema.split(".")[0]
            columns[name] = columns.get(name, 0) + chunk.total_compressed_size
for name, size in sorted(columns.items(), key=lambda pair: -pair[1]):
    if name in own: added += size
    else: sent += size
    if size / rows >= 0.5: print(f"  {name:20} {size / rows:6.2f}{' (own)' if name in own else ''}")
print(f"{rows} events in {len(files)} files: {sent / rows:.1f} bytes an event as sent, {added / rows:.1f} of our own")
"#;

fn main() -> Result<()> {
    // Cargo adds `--bench`.
    let arguments: Vec<String> = std::env::args().skip(1).filter(|a| a != "--bench").collect();
    let sessions = arguments.first().map_or("30000", String::as_str);
    let rate = arguments.get(1).map_or("5000", String::as_str);
    let folder = TempDir::new()?;
    let footfall = Footfall::at(folder.path());
    let running = footfall.start("up")?;
    let posted = Command::new(binary())
        .args(["sample", "--sessions", sessions, "--rate", rate, "--server", running.ingest()])
        .output()?;
    ensure!(posted.status.success(), "sample: {}", String::from_utf8_lossy(&posted.stderr));
    let read = "SELECT sum(received) FROM receipts";
    let taken = running.metric(running.ingest(), "footfall_ingest_accepted_total")?;
    wait_until("all events in SQL", SETTLED_MAX, || {
        Ok(running.number(read).is_ok_and(|rows| rows as f64 >= taken))
    })?;
    running.stop()?;
    footfall.run_well(&["maintain"])?;
    let lake = footfall.lake();
    print!("{}", python_text(SIZES, &[&lake.join("events").to_string_lossy()])?);
    Ok(())
}
