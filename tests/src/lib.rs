//! What end-to-end tests start and ask: the built binary, a real Kafka, Python's readers.

pub mod attack;
mod certificate;
mod cpu;
mod footfall;
mod kafka;
mod mutations;
mod python;

pub use certificate::Certificate;
pub use cpu::{children_cpu_seconds, cpu_seconds, cpu_seconds_of, cpu_seconds_of_threads};
pub use footfall::{Footfall, Running, binary, wait_until};
pub use kafka::Kafka;
pub use mutations::for_mutants;
pub use python::{
    oracle, oracle_of_all, python, python_text, repository, rules_with_gap, watermarks,
};
