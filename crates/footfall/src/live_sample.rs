//! `footfall sample`: the synthetic storefront's events, printed, or posted as the clock reaches them.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::time::Duration;

use anyhow::{Context, bail};
use footfall_event::Micros;

use crate::arguments::SampleArguments;
use crate::config::Config;
use crate::sample::{Sample, SampleSettings};

/// Events a second, unless told otherwise.
const RATE: f64 = 200.0;
/// Share of events beyond the allowed lateness, unless told otherwise. A file has no lateness.
const LATE: f64 = 0.002;
/// Events of one post at most.
const BATCH_EVENTS: usize = 500;
/// How long due events are gathered before they are posted.
const GATHER: Duration = Duration::from_millis(50);
/// How often a post that was refused for overload is sent again.
const ATTEMPTS_MAX: u32 = 60;

/// Prints or posts a sample.
///
/// # Errors
/// A setting out of range, a file that cannot be written, a collector that does not take a post.
pub async fn run(config: &Config, arguments: &SampleArguments) -> anyhow::Result<()> {
    let mut sample = Sample::new(&settings(config, arguments))?;
    let mut truth = Truth::create(arguments)?;
    match &arguments.server {
        None => print(&mut sample, &mut truth)?,
        Some(server) => post(&mut sample, &mut truth, server, arguments).await?,
    }
    truth.take(&mut sample)?;
    eprintln!("{}", sample.totals().to_json());
    Ok(())
}

fn settings(config: &Config, arguments: &SampleArguments) -> SampleSettings {
    let is_live = arguments.server.is_some();
    let defaults = SampleSettings::default();
    SampleSettings {
        seed: arguments.seed,
        sessions: arguments.sessions,
        start: if is_live { Micros::clock().0 } else { defaults.start },
        session_gap: config.rules.session_gap.0,
        allowed_lateness: config.rules.allowed_lateness.0,
        rate: arguments.rate.or(is_live.then_some(RATE)),
        site: config.ingest.default_site.clone(),
        beyond_lateness: arguments.late.or(is_live.then_some(LATE)).unwrap_or(0.0),
        ..defaults
    }
}

/// The file of what was meant, if one is wanted.
struct Truth(Option<BufWriter<File>>);

impl Truth {
    fn create(arguments: &SampleArguments) -> anyhow::Result<Truth> {
        let Some(path) = &arguments.truth else { return Ok(Truth(None)) };
        let file =
            File::create(path).with_context(|| format!("cannot write {}", path.display()))?;
        Ok(Truth(Some(BufWriter::new(file))))
    }

    fn take(&mut self, sample: &mut Sample) -> anyhow::Result<()> {
        let rows = sample.take_truth();
        if let Some(file) = &mut self.0 {
            for row in rows {
                writeln!(file, "{}", row.to_json())?;
            }
            file.flush()?;
        }
        Ok(())
    }
}

fn print(sample: &mut Sample, truth: &mut Truth) -> anyhow::Result<()> {
    let mut out = BufWriter::new(std::io::stdout().lock());
    let mut count = 0usize;
    while let Some(event) = sample.next() {
        writeln!(out, "{}", event.json)?;
        count += 1;
        if count.is_multiple_of(BATCH_EVENTS) {
            truth.take(sample)?;
        }
    }
    out.flush()?;
    Ok(())
}

async fn post(
    sample: &mut Sample,
    truth: &mut Truth,
    server: &str,
    arguments: &SampleArguments,
) -> anyhow::Result<()> {
    let url = format!("{}/v1/events", server.trim_end_matches('/'));
    let client = reqwest::Client::new();
    let key = arguments.key.clone().or_else(|| std::env::var("FOOTFALL_KEY").ok());
    let mut next = sample.next();
    while next.is_some() {
        let mut body = String::new();
        let (now, mut events) = (Micros::clock().0, 0);
        while let Some(event) = next.take_if(|event| event.arrival <= now) {
            body.push_str(&event.json);
            body.push('\n');
            events += 1;
            next = sample.next();
            if events == BATCH_EVENTS {
                break;
            }
        }
        if events == 0 {
            tokio::time::sleep(GATHER).await;
            continue;
        }
        for _ in 0..if arguments.twice { 2 } else { 1 } {
            send(&client, &url, key.as_deref(), &body).await?;
        }
        truth.take(sample)?;
    }
    Ok(())
}

/// Posts one body until it is taken: overload and a restart of the collector are waited out.
async fn send(
    client: &reqwest::Client,
    url: &str,
    key: Option<&str>,
    body: &str,
) -> anyhow::Result<()> {
    let mut refusal = String::new();
    for _ in 0..ATTEMPTS_MAX {
        let mut request = client.post(url).body(body.to_owned());
        if let Some(key) = key {
            request = request.bearer_auth(key);
        }
        match request.send().await {
            Ok(answer) if answer.status().is_success() => return Ok(()),
            Ok(answer) if answer.status().as_u16() == 429 || answer.status().is_server_error() => {
                refusal = format!("{}", answer.status());
            }
            Ok(answer) => bail!("{url}: {} {}", answer.status(), answer.text().await?),
            Err(error) => refusal = error.to_string(),
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    bail!("{url} takes no events: {refusal}")
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use clap::error::ErrorKind;

    use super::*;
    use crate::arguments::{Arguments, Command};

    fn given(flags: &[&str]) -> SampleSettings {
        let arguments = Arguments::parse_from([&["footfall", "sample"], flags].concat());
        let check = footfall_pipeline::check_condition;
        let config = Config::load(None, [], &[], &check).unwrap();
        match arguments.command {
            Command::Sample(sample) => settings(&config, &sample),
            command => panic!("{command:?}"),
        }
    }

    #[test]
    fn live_events_may_be_late_and_those_of_a_file_are_not() {
        assert_eq!(given(&[]).beyond_lateness, 0.0);
        assert_eq!(given(&["--late", "0.1"]).beyond_lateness, 0.1);
        let live = ["--server", "http://127.0.0.1:8080"];
        assert_eq!(given(&live).beyond_lateness, 0.002);
        assert_eq!(given(&[&live[..], &["--late", "0"]].concat()).beyond_lateness, 0.0);
    }

    #[test]
    fn what_only_a_post_needs_is_refused_for_a_file() {
        for flags in [&["--twice"][..], &["--key", "k"]] {
            let parsed = Arguments::try_parse_from([&["footfall", "sample"], flags].concat());
            assert_eq!(parsed.unwrap_err().kind(), ErrorKind::MissingRequiredArgument, "{flags:?}");
        }
    }
}
