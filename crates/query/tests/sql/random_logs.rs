//! Every function against a brute force written from docs/semantics.md, over thousands of random small
//! logs. It shares no code with the crates: of them it knows the tables' columns and the query part's
//! door, no more.

mod calendar;
mod chains;
mod episodes;
mod funnels;
mod log;
mod paths;
mod patterns;
mod returns;
