//! What one visitor's events come to: how far through a funnel, along which path, after which
//! pattern, with which need met. Pure: events in, answers out. Finding a visitor's events and adding
//! visitors up is left to `query`.

pub mod association;
pub mod funnel;
mod hit;
pub mod need;
pub mod path;
pub mod pattern;

pub use hit::Hit;
