//! End to end: the binary as a user runs it, on both logs, killed and restarted, read by programs
//! that know nothing of it.
#![allow(clippy::unwrap_used)]

mod access;
mod attacks;
mod bad_input;
mod bridge;
mod changed_rules;
mod clickhouse;
mod clients;
mod command_line;
mod crash;
mod docs;
mod durable;
mod erasure;
mod history;
mod kafka;
mod live;
mod live_tables;
mod metrics;
mod naughty;
mod operations;
mod pauses;
mod promql;
mod queries;
mod recompute;
mod repair;
mod replay;
mod retention;
mod sample;
mod sdks;
mod shell;
mod upgrade;
mod verify;
