//! SQL over the lake's tables and the open state of pipelines: an [`Engine`] that plans and runs statements within stated bounds,
//! and servers in front of it, of HTTP and of Postgres' protocol. Writing the tables is left to the pipeline.

mod bind;
mod bytes;
mod catalog;
mod config;
mod depth;
mod diagnose;
mod dictionary;
mod engine;
mod error;
mod fence;
mod format;
mod functions;
mod growth;
mod live;
mod metrics;
mod names;
mod plain;
mod postgres;
mod routes;
mod rows;
mod scan;
mod send;
mod server;
mod session;
mod size;
mod statement;
mod tables;
mod threads;
mod view;
mod window;

pub use bind::Parameters;
pub use config::QuerySettings;
pub use engine::Engine;
pub use error::{Place, QueryError, report};
pub use format::{Format, write};
pub use functions::{Declared, DeclaredNeed, DeclaredStep};
pub use live::Pipelines;
pub use metrics::{Metrics, Outcome};
pub use postgres::serve_postgres;
pub use rows::Rows;
pub use server::serve;
