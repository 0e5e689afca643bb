//! SQL over the lake's tables: an [`Engine`] that plans and runs statements within stated bounds,
//! and an HTTP server in front of it. Writing the tables is left to the pipeline.

mod answer;
mod bytes;
mod catalog;
mod config;
mod depth;
mod diagnose;
mod engine;
mod error;
mod fence;
mod format;
mod growth;
mod metrics;
mod names;
mod routes;
mod send;
mod server;
mod session;
mod size;
mod statement;
mod tables;
mod view;
mod window;

pub use answer::Answer;
pub use config::QuerySettings;
pub use engine::Engine;
pub use error::{Place, QueryError, report};
pub use format::{Format, write};
pub use metrics::{Metrics, Outcome};
pub use server::serve;
