//! The collector over real sockets and a real log on disk: what goes in, what is answered, what the
//! log holds.

mod bodies;
mod bounds;
mod keys;
mod lifecycle;
mod sdks;
mod segment;
mod server;
