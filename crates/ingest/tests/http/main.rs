//! The collector over real sockets and a real log on disk: what goes in, what is answered, what the
//! log holds.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on fails")]

mod bodies;
mod bounds;
mod browsers;
mod enrichment;
mod gate;
mod keys;
mod lifecycle;
mod protocols;
mod replay;
mod sdks;
mod segment;
mod server;
mod suites;
mod tls;
mod validate;
