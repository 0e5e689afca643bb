//! The query part from outside: statements over HTTP against small Delta tables.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on fails")]

mod access;
mod answers;
#[path = "../../../journey/tests/oracle/brute_force.rs"]
mod brute_force;
mod documents;
mod errors;
mod funnels;
mod journeys;
mod lake_scan;
mod limits;
mod live;
mod postgres;
mod random_logs;
mod service;
mod views;
