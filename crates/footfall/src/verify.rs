//! `footfall verify`: what the tables say, held against each other.

use anyhow::bail;
use footfall_lake::Lake;

use crate::config::{Config, process_environment};

/// Verifies the lake and prints what was looked at.
///
/// # Errors
/// When anything differs, or the lake cannot be read.
pub async fn run(config: &Config) -> anyhow::Result<()> {
    let lake = Lake::at(&config.lake(), process_environment())?;
    let verified = footfall_pipeline::verify(&lake).await?;
    for (table, rows) in &verified.rows {
        println!("{rows:>12} rows of {table}");
    }
    for left_out in &verified.left_out {
        println!("left out: {left_out}");
    }
    for note in &verified.notes {
        println!("note: {note}");
    }
    for difference in &verified.listed {
        println!("{difference}");
    }
    match verified.differences {
        0 => println!("all of them agree"),
        count => bail!("{count} differences; the first of them are listed above"),
    }
    Ok(())
}
