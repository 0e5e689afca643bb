//! What end-to-end tests start and ask: the built binary, a real Kafka, Python's readers.

mod footfall;
mod kafka;
mod python;

pub use footfall::{Footfall, Running, binary, children_cpu_seconds, wait_until};
pub use kafka::Kafka;
pub use python::{oracle, python, repository, watermarks};
