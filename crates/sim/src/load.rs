//! Loads of history beside the pipelines: what a shop exported, some of it of events that came live as well.
//! One that dies is done again by the same command.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use footfall_event::{EventDecoder, Micros, Offset, Partition, Times, parse_event};
use footfall_lake::Lake;
use footfall_pipeline::{
    HistoryBatch, HistoryFiles, JobsRun, Load, PipelineError, load as load_files,
};
use rand::Rng;
use rand::seq::IndexedRandom;
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use crate::oracle;
use crate::process::{Doom, Process};
use crate::rules::{Edition, HIDDEN};
use crate::scenario::{SECOND, Scenario};
use crate::storefront::{Key, SITE, Sent, key_of};

/// How many loads there are in one run.
const LOADS_MAX: usize = 2;
/// How soon the same command must be done once nothing fails any more.
const LOADED_WITHIN: Duration = Duration::from_secs(120);
/// How far back what is loaded lies.
const HISTORY: Micros = Micros(2 * Micros::HOUR.0);
/// And how near: what is ahead of the clock of who loads it, which may be behind, becomes of its time.
const YOUNGEST: Micros = Micros(15 * Micros::SECOND.0);

/// A load, until all tables have it.
pub struct Loading {
    hash: String,
    edition: Edition,
    lines: Arc<Vec<String>>,
    runs: Vec<LoadRun>,
}

struct LoadRun {
    process: Arc<Process>,
    task: JoinHandle<Option<Result<(), PipelineError>>>,
}

impl Scenario {
    /// Begins a load, or another run of the one that is under way: of two runs at once, or after one that
    /// died.
    ///
    /// # Errors
    /// When the lake cannot be read, or a run failed for good.
    pub async fn load(&mut self, lake: &Lake) -> Result<()> {
        self.take_up_loads().await?;
        if self.loading.is_none() {
            // Before anything was read live, a load takes all but what is young for over. In this weather the
            // receipts may be out of reach.
            let is_read = oracle::has_receipts(lake).await.unwrap_or(false);
            if self.loads == LOADS_MAX || !is_read {
                return Ok(());
            }
            self.loads += 1;
            let lines = Arc::new(self.history());
            let hash = format!("{}", self.loads);
            let (edition, runs) = (self.edition, Vec::new());
            self.loading = Some(Loading { hash, edition, lines, runs });
        }
        let dies = self.world.chance().random_bool(0.6);
        let doom = dies.then(|| {
            let (kind, most) =
                [("commit", 14), ("put", 8), ("", 40)][self.world.chance().random_range(0..3)];
            Doom { kind, steps: self.world.chance().random_range(0..most) }
        });
        self.run_load(doom)
    }

    fn run_load(&mut self, doom: Option<Doom>) -> Result<()> {
        let name = format!("load{}", self.loads);
        let process = Process::new(&self.world, name);
        let lake = self.lake(&process)?;
        let loading = self.loading.as_mut().context("no load")?;
        self.world.trace(&process.name, "load", &format!("{doom:?}"));
        if let Some(doom) = doom {
            process.dies(doom);
        }
        let load = Load {
            hash: loading.hash.clone(),
            rules: Arc::new(loading.edition.rules()),
            started: Micros::clock(),
            jobs_run: JobsRun::OnRuntime,
        };
        let files = files(load.log(), loading.lines.clone(), load.started);
        let dying = process.clone();
        let task = tokio::spawn(async move {
            tokio::select! {
                biased;
                () = dying.death() => None,
                loaded = load_files(&lake, &load, &files) => Some(loaded.map(drop)),
            }
        });
        loading.runs.push(LoadRun { process, task });
        Ok(())
    }

    /// Looks what became of the runs: the load is done when one of them is.
    async fn take_up_loads(&mut self) -> Result<()> {
        let Some(loading) = &mut self.loading else { return Ok(()) };
        let (mut under_way, mut is_done) = (Vec::new(), false);
        for run in std::mem::take(&mut loading.runs) {
            if !run.task.is_finished() {
                under_way.push(run);
                continue;
            }
            match run.task.await.context("a load panicked")? {
                Some(Ok(())) => is_done = true,
                Some(Err(error)) if !error.passes() => return Err(error.into()),
                Some(Err(_)) | None => {}
            }
        }
        loading.runs = under_way;
        if is_done {
            self.world.trace("world", "loaded", &loading.hash);
            let mut sent = self.ledger.sent();
            for line in loading.lines.iter() {
                let line: Value = serde_json::from_str(line)?;
                if let Some(sent) = sent.get_mut(&key_of(&line)) {
                    sent.is_acknowledged = true;
                }
            }
            drop(sent);
            // Another run of it may go on: it adds nothing.
            self.loading = None;
        }
        Ok(())
    }

    /// Gives the command again until it is done.
    ///
    /// # Errors
    /// When a run failed for good.
    pub async fn finish_load(&mut self) -> Result<()> {
        let calm_at = self.world.elapsed();
        loop {
            self.take_up_loads().await?;
            let Some(loading) = &self.loading else { return Ok(()) };
            ensure!(
                self.world.elapsed() < calm_at + LOADED_WITHIN,
                "a load was not done {LOADED_WITHIN:?} after the last fault"
            );
            loading.runs.iter().for_each(|run| run.process.spare());
            if loading.runs.is_empty() {
                self.run_load(None)?;
            }
            tokio::time::sleep(SECOND).await;
        }
    }

    /// Lines of a file: events that nobody sent, of hours before or of just now, and some that were sent.
    fn history(&self) -> Vec<String> {
        let now = self.world.now();
        let mut lines = Vec::new();
        let sent: Vec<(Key, Sent)> = {
            let sent = self.ledger.sent();
            let copied = sent.iter().filter(|_| self.world.chance().random_bool(0.1));
            copied.map(|(key, sent)| (key.clone(), sent.clone())).collect()
        };
        // Those of no session stand twice, as docs/reliability.md has it.
        let is_of_session = |(key, sent): &&(Key, Sent)| {
            let is_over = sent.at < now - YOUNGEST;
            is_over && !sent.is_bad && !key[1].is_empty() && sent.event_name != HIDDEN[1]
        };
        for (key, sent) in sent.iter().filter(is_of_session) {
            lines.push(line(key, sent));
        }
        let count = self.world.chance().random_range(1..12);
        for number in 0..count {
            let mut chance = self.world.chance();
            let back = [60 * Micros::SECOND.0, HISTORY.0].choose(&mut *chance).copied();
            let back = chance.random_range(YOUNGEST.0..back.unwrap_or(HISTORY.0));
            let names = ["page_view", "click", "info_exposed"];
            let event = Sent {
                event_name: (*names.choose(&mut *chance).unwrap_or(&"click")).to_owned(),
                note: format!("{:x}", chance.random::<u64>()),
                page_path: "/old".to_owned(),
                at: now - Micros(back),
                columns: serde_json::Map::new(),
                is_acknowledged: false,
                is_bad: false,
            };
            let visitor_id = format!("v{}", chance.random_range(0..8));
            drop(chance);
            let key = [SITE.to_owned(), visitor_id, format!("load{}-{number}", self.loads)];
            lines.push(line(&key, &event));
            self.ledger.sent().insert(key, event);
        }
        lines
    }
}

fn line([site, visitor_id, id]: &Key, event: &Sent) -> String {
    let mut line = json!({
        "event_id": id, "site": site, "visitor_id": visitor_id, "event_name": event.event_name,
        "timestamp": event.at.to_string(), "page_path": event.page_path,
        "properties": {"note": event.note},
    });
    if event.event_name == "info_exposed" {
        line["info_key"] = json!("delivery");
    }
    line.to_string()
}

/// The lines as `footfall load` decodes them.
fn files(log: String, lines: Arc<Vec<String>>, started: Micros) -> HistoryFiles {
    Box::new(move || {
        let mut decoder = EventDecoder::new(&log, Partition(0));
        for (number, line) in lines.iter().enumerate() {
            let mut event = parse_event(line).map_err(|error| error.to_string())?;
            event.set_whole(footfall_event::Whole::Seq, number as i64);
            let at = event.client.timestamp.unwrap_or(started);
            let times = Times { event_time: at.min(started), received_time: started };
            decoder.push_event(&event, times, Offset(number as i64), None);
        }
        let events = decoder.finish().rows;
        let mut batch = Some(HistoryBatch { events, rejected: Vec::new() });
        Ok(Box::new(move || Ok(batch.take())))
    })
}
