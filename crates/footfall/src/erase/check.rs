//! `footfall erase --check`: searches everything for a visitor who was erased. Beside a running server the
//! log is searched by it, as one process alone has it open; everything else is read here.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use anyhow::{Context, bail};
use footfall_lake::Lake;
use footfall_pipeline::{Erasure, Found, LogSearch, Person, find_erasure, search_lake, search_log};
use reqwest::Client;
use serde_json::json;

use crate::config::{Config, process_environment};
use crate::parts::{kafka_log, local_log};
use crate::server::{path, send};

/// Read at once of a file that is searched as it is.
const PIECE_BYTES: usize = 1024 * 1024;

/// Prints `absent`, or each place where the visitor still is.
///
/// # Errors
/// When anything was found, or could not be searched; when the proof is another visitor's or not done.
pub async fn run(
    config: &Config,
    server: Option<&str>,
    proof: &str,
    visitor_id: &str,
) -> anyhow::Result<()> {
    let lake = Lake::at(&config.lake(), process_environment())?;
    let erasure = proof_of(&lake, proof).await?;
    if !erasure.mark().is_of(&erasure.site, visitor_id) {
        bail!("the proof {} is not of this visitor: its hash is another", erasure.id);
    }
    if !erasure.is_done() {
        bail!("erasure {} is not done yet: wait for it, as `footfall erase` does", erasure.id);
    }
    let mut found = search_lake(&lake, &erasure, visitor_id).await?;
    let log = log(config, server, &erasure, visitor_id).await?;
    if let Some(records) = log.records.filter(|records| *records > 0) {
        found.add(format!("the event log: {records} records or signals"));
    }
    if config.data_dir.is_dir() {
        let person = Person::new(&erasure.site, visitor_id);
        search_folder(&config.data_dir, &person, &mut found)?;
    }
    for note in &found.notes {
        eprintln!("note: {note}");
    }
    for place in &found.places {
        println!("{place}");
    }
    if found.count > 0 {
        bail!("the visitor is still there, in {} places; the first are listed above", found.count);
    }
    if !log.pending.is_empty() {
        let pending: Vec<String> = log.pending.iter().map(i32::to_string).collect();
        bail!(
            "absent from the lake; partitions {} of the log hold what lies before the erasure, until \
             the retention of the topic takes it: check again then",
            pending.join(", ")
        );
    }
    println!("absent");
    Ok(())
}

/// The proof of an id, as the lake has it, or of a file.
async fn proof_of(lake: &Lake, proof: &str) -> anyhow::Result<Erasure> {
    if Path::new(proof).is_file() {
        let text = std::fs::read_to_string(proof)?;
        return serde_json::from_str(&text).with_context(|| format!("{proof} is no proof"));
    }
    let found = find_erasure(lake, proof).await?;
    found.with_context(|| format!("{proof} is no file, and no erasure of the lake {}", lake.url()))
}

async fn log(
    config: &Config,
    server: Option<&str>,
    erasure: &Erasure,
    visitor_id: &str,
) -> anyhow::Result<LogSearch> {
    if let Some(server) = server {
        let search = path(server, &format!("/v1/erasures/{}/search", erasure.id));
        let request = Client::new().post(search).json(&json!({ "visitor": visitor_id }));
        match send(server, request).await {
            Ok(answer) => return Ok(answer.json().await?),
            Err(error) if is_unreachable(&error) => {}
            Err(error) => return Err(error),
        }
    }
    let log = match &config.log.brokers {
        Some(brokers) => kafka_log(config, brokers).await?,
        None => local_log(config).await.context(
            "the log cannot be searched: name what has it open by --server, as its start printed it",
        )?,
    };
    Ok(search_log(log.as_ref(), erasure, visitor_id).await?)
}

fn is_unreachable(error: &anyhow::Error) -> bool {
    let mut causes = error.chain().filter_map(|cause| cause.downcast_ref::<reqwest::Error>());
    causes.any(reqwest::Error::is_connect)
}

/// Searches the bytes of all files as they are, whatever they are.
fn search_folder(folder: &Path, person: &Person, found: &mut Found) -> anyhow::Result<()> {
    let entries = std::fs::read_dir(folder);
    for entry in entries.with_context(|| format!("{} cannot be searched", folder.display()))? {
        let path = entry?.path();
        if path.is_dir() {
            search_folder(&path, person, found)?;
            continue;
        }
        // A file may go while others are searched.
        let Ok(mut file) = File::open(&path) else { continue };
        if holds(&mut file, person).with_context(|| format!("{} cannot be read", path.display()))? {
            found.add_unless_of_newcomer(path.display().to_string());
        }
    }
    Ok(())
}

/// Whether the bytes stand in a stream, also across two pieces.
fn holds(stream: &mut impl Read, person: &Person) -> std::io::Result<bool> {
    // A byte more on each side tells whether a short id is a word.
    let overlap = person.visitor_id().len() + 1;
    let mut bytes = vec![0; PIECE_BYTES + overlap];
    let mut kept = 0;
    loop {
        let read = stream.read(&mut bytes[kept..])?;
        if read == 0 {
            return Ok(false);
        }
        let end = kept + read;
        if person.is_in_bytes(&bytes[..end]) {
            return Ok(true);
        }
        let tail = end.saturating_sub(overlap);
        bytes.copy_within(tail..end, 0);
        kept = end - tail;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_found_also_across_pieces() {
        for at in [0, PIECE_BYTES - 3, PIECE_BYTES + 1, 2 * PIECE_BYTES + 2] {
            let mut content = vec![b'.'; 3 * PIECE_BYTES];
            content[at..at + 6].copy_from_slice(b"person");
            let person = Person::new("shop", "person");
            assert!(holds(&mut &content[..], &person).unwrap(), "at {at}");
            content[at] = b'_';
            assert!(!holds(&mut &content[..], &person).unwrap(), "at {at}");
        }
    }
}
