//! The query part from outside: statements over HTTP against small Delta tables.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on fails")]

mod access;
mod answers;
mod errors;
mod limits;
mod service;
