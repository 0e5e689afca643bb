//! A process of the run: it may die at any of its steps, and nothing of it goes on then.

use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use footfall_lake::Between;
use tokio::sync::watch;

use crate::world::{Met, World};

/// Each step asks it before and behind what is done: that is where it dies, waits or fails.
#[derive(Debug)]
pub struct Process {
    pub world: Arc<World>,
    pub name: String,
    /// Steps that are left before it dies.
    steps_left: Mutex<Option<u64>>,
    is_dead: watch::Sender<bool>,
}

impl Process {
    pub fn new(world: &Arc<World>, name: String) -> Arc<Process> {
        let (is_dead, _) = watch::channel(false);
        Arc::new(Process { world: world.clone(), name, steps_left: Mutex::default(), is_dead })
    }

    /// Lets it die at one of its next steps.
    pub fn dies_in(&self, steps: u64) {
        *self.steps_left.lock().unwrap_or_else(PoisonError::into_inner) = Some(steps);
    }

    /// Lets it live, whatever was to come.
    pub fn spare(&self) {
        *self.steps_left.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    pub fn is_dead(&self) -> bool {
        *self.is_dead.borrow()
    }

    pub fn die(&self) {
        self.is_dead.send_replace(true);
    }

    /// Resolves when it is dead.
    pub async fn death(&self) {
        // The sender lives as long as this.
        let _ = self.is_dead.subscribe().wait_for(|is_dead| *is_dead).await;
    }

    /// Never resolves once it is dead: whatever awaits it goes no further.
    pub async fn lives(&self) {
        if self.is_dead() {
            std::future::pending::<()>().await;
        }
    }

    async fn step(&self, what: &str, is_done: bool) -> Result<(), String> {
        self.lives().await;
        let dies = {
            let mut left = self.steps_left.lock().unwrap_or_else(PoisonError::into_inner);
            match left.as_mut() {
                Some(0) => true,
                Some(left) => {
                    *left -= 1;
                    false
                }
                None => false,
            }
        };
        let when = if is_done { "behind" } else { "before" };
        if dies {
            self.world.trace(&self.name, "death", &format!("{when} {what}"));
            self.die();
            self.lives().await;
        }
        match self.world.meets(is_done) {
            Met::Nothing => {}
            Met::Delay(delay) => {
                self.world.trace(&self.name, "delay", &format!("{when} {what}: {delay:?}"));
                self.world.wait(delay).await;
                self.lives().await;
            }
            Met::Failure => {
                self.world.trace(&self.name, "failure", &format!("{when} {what}"));
                let when = if is_done { "its answer was lost" } else { "nothing was done" };
                return Err(format!("{what}: {when}"));
            }
        }
        if is_done {
            let kind = what.split(' ').next().unwrap_or(what);
            self.world.trace(&self.name, kind, what);
        }
        Ok(())
    }
}

#[async_trait]
impl Between for Process {
    async fn before(&self, what: &str) -> Result<(), String> {
        self.step(what, false).await
    }

    async fn after(&self, what: &str) -> Result<(), String> {
        self.step(what, true).await
    }
}
