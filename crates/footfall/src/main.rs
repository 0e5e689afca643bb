//! The binary: arguments, configuration, telemetry and wiring. What the parts do is left to their
//! crates.

mod access;
mod arguments;
mod bridges;
mod config;
mod erase;
mod exit;
#[cfg(test)]
mod failing_log;
mod live_sample;
mod load;
mod maintain;
mod map;
mod operator;
mod own_pipeline;
mod parts;
mod query_process;
mod recompute;
mod rejected;
mod reload;
mod sample;
mod secrets;
mod server;
mod settings;
mod shell;
mod sql;
mod status;
mod tail;
mod telemetry;
mod verify;

use std::io::BufWriter;
use std::process::ExitCode;

use clap::Parser;

use arguments::{Arguments, Command, ConfigCommand};
use config::Config;
use sql::Source;

/// jemalloc gives memory back after a burst, from a thread of its own, and its threads do not wait for
/// each other.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    // What makes a line of the configuration does not need one that is right.
    let made = match &arguments.command {
        Command::Key { command } => Some(secrets::key(command)),
        Command::Token { command } => Some(secrets::token(command)),
        _ => None,
    };
    if let Some(made) = made {
        return made.map_or_else(|error| exit::failed(&error), |()| ExitCode::SUCCESS);
    }
    let config = match arguments.configuration() {
        Ok(config) => config,
        Err(mistakes) => return exit::mistaken(&mistakes),
    };
    telemetry::start(&config.telemetry);
    // Two providers are linked, so the process must choose one.
    let chosen = rustls::crypto::aws_lc_rs::default_provider().install_default();
    debug_assert!(chosen.is_ok(), "nothing chose a provider before");
    match run(arguments, config) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => exit::failed(&error),
    }
}

fn run(arguments: Arguments, config: Config) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        match arguments.command {
            Command::Up => parts::up(config).await,
            Command::Ingest => parts::ingest(config).await,
            Command::Pipeline => parts::pipeline(config).await,
            Command::Query { spill_under_up: Some(spill) } => {
                parts::query_under_up(config, spill).await
            }
            Command::Query { spill_under_up: None } => parts::query(config).await,
            Command::Sql { statement, server, token_file, format } => {
                let source = Source::open(&config, server, token_file).await?;
                match statement {
                    Some(statement) => {
                        format.require_no_terminal()?;
                        let mut out = BufWriter::new(std::io::stdout());
                        source.ask(&statement, format, &mut out).await
                    }
                    None => shell::run(source, format).await,
                }
            }
            Command::Status { server, format } => status::run(&config, &server, format).await,
            Command::Erase(erase) => erase::run(&config, &erase).await,
            Command::Tail(tail) => tail::run(&config, &tail).await,
            Command::Rejected { command } => rejected::run(&config, &command).await,
            Command::Sample(sample) => live_sample::run(&config, &sample).await,
            Command::Load { files, map } => load::run(&config, &files, &map).await,
            Command::Maintain => maintain::run(&config).await,
            Command::Recompute(recompute) => recompute::run(&config, &recompute).await,
            Command::Verify => verify::run(&config).await,
            Command::Key { .. } | Command::Token { .. } => Ok(()),
            Command::Config { command: ConfigCommand::Check } => {
                access::check(&config)?;
                println!("the configuration is fit");
                Ok(())
            }
            Command::Config { command: ConfigCommand::Show } => {
                print!("{}", config.show());
                Ok(())
            }
        }
    })
}
