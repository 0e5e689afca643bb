//! The query part from outside: statements over HTTP against small Delta tables.

mod answers;
mod errors;
mod limits;
mod service;
