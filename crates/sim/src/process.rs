//! A process of the run: it may die at any of its steps, and nothing of it goes on then.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use footfall_lake::Between;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::world::{Met, STALL, World};

/// When it dies.
#[derive(Clone, Debug)]
pub struct Doom {
    /// At which steps, such as `commit`; empty: at any.
    pub kind: &'static str,
    /// How many of them it does before.
    pub steps: u64,
}

/// Each step asks it before and behind what is done: that is where it dies, waits or fails.
#[derive(Debug)]
pub struct Process {
    pub world: Arc<World>,
    pub name: String,
    doom: Mutex<Option<Doom>>,
    death: CancellationToken,
    /// Before which step it will stand still.
    halt: Mutex<Option<&'static str>>,
    is_frozen: AtomicBool,
    /// Told when it goes on.
    thaw: Notify,
}

/// Steps that need room on the disk.
const WRITES: [&str; 5] = ["append", "publish", "put", "commit", "rewrite"];

impl Process {
    pub fn new(world: &Arc<World>, name: String) -> Arc<Process> {
        Arc::new(Process {
            world: world.clone(),
            name,
            doom: Mutex::default(),
            death: CancellationToken::new(),
            halt: Mutex::default(),
            is_frozen: AtomicBool::new(false),
            thaw: Notify::new(),
        })
    }

    /// Lets it die at one of its next steps.
    pub fn dies(&self, doom: Doom) {
        *self.doom.lock().unwrap_or_else(PoisonError::into_inner) = Some(doom);
    }

    /// Lets it live, whatever was to come.
    pub fn spare(&self) {
        *self.doom.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    pub fn is_dead(&self) -> bool {
        self.death.is_cancelled()
    }

    pub fn die(&self) {
        self.death.cancel();
    }

    /// Resolves when it is dead.
    pub async fn death(&self) {
        self.death.cancelled().await;
    }

    /// Lets it stand still before the next of such steps.
    pub fn halts_before(&self, kind: &'static str) {
        *self.halt.lock().unwrap_or_else(PoisonError::into_inner) = Some(kind);
    }

    pub fn is_frozen(&self) -> bool {
        self.is_frozen.load(Ordering::Relaxed)
    }

    /// Lets it stand still, or go on from where it stood.
    pub fn freeze(&self, is_frozen: bool) {
        *self.halt.lock().unwrap_or_else(PoisonError::into_inner) = None;
        self.is_frozen.store(is_frozen, Ordering::Relaxed);
        if !is_frozen {
            self.thaw.notify_waiters();
        }
    }

    /// Resolves when it does not stand still, and never once it is dead: whatever awaits it goes no further.
    pub async fn lives(&self) {
        while self.is_frozen() {
            self.thaw.notified().await;
        }
        if self.is_dead() {
            std::future::pending::<()>().await;
        }
    }

    /// As `lives`; but a thread of Delta's must not wait: the clock stands still as long as it does, and one that
    /// waited without end would outlive the run. Nobody hears what it is told.
    async fn goes_on(&self, what: &str) -> Result<(), String> {
        match (self.world.is_on_its_clock(), self.is_dead()) {
            (true, _) => self.lives().await,
            (false, true) => return Err(format!("{what}: {} is dead", self.name)),
            (false, false) => {}
        }
        Ok(())
    }

    /// A step that changes nothing: it may fail, but is no place to die at.
    pub async fn looks(&self, what: &str) -> Result<(), String> {
        self.goes_on(what).await?;
        match self.world.meets(false) {
            Met::Failure => {
                self.world.trace(&self.name, "unreachable", what);
                Err(format!("{what}: nobody answers"))
            }
            _ => Ok(()),
        }
    }

    async fn step(&self, what: &str, is_done: bool) -> Result<(), String> {
        let is_on_its_clock = self.world.is_on_its_clock();
        self.goes_on(what).await?;
        let dies = {
            let mut doom = self.doom.lock().unwrap_or_else(PoisonError::into_inner);
            match doom.as_mut().filter(|doom| what.starts_with(doom.kind)) {
                Some(Doom { steps: 0, .. }) => true,
                Some(doom) => {
                    doom.steps -= 1;
                    false
                }
                None => false,
            }
        };
        let when = if is_done { "behind" } else { "before" };
        let halt = *self.halt.lock().unwrap_or_else(PoisonError::into_inner);
        if !is_done && is_on_its_clock && halt.is_some_and(|kind| what.starts_with(kind)) {
            self.world.trace(&self.name, "halt", what);
            self.freeze(true);
            self.lives().await;
        }
        if dies {
            self.world.trace(&self.name, "death", &format!("{when} {what}"));
            let role = self.name.trim_end_matches(|digit: char| digit.is_ascii_digit());
            self.world.count(&format!("death of a {role} {when} {what}"));
            let kind = what.split(' ').next().unwrap_or(what);
            self.world.count(&format!("death of a {role} at {kind}"));
            self.die();
            if !is_on_its_clock {
                return Err(format!("{what}: {} died", self.name));
            }
            self.lives().await;
        }
        if !is_done && self.world.is_full() && WRITES.iter().any(|kind| what.starts_with(kind)) {
            self.world.trace(&self.name, "full", what);
            return Err(format!("{what}: no space is left"));
        }
        match self.world.meets(is_done) {
            Met::Nothing => {}
            Met::Delay(_) if !is_on_its_clock => {}
            Met::Delay(delay) => {
                let met = if delay < STALL { "delay" } else { "stall" };
                self.world.trace(&self.name, met, &format!("{when} {what}: {delay:?}"));
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
            match kind {
                "rewrite" => self.world.count(what),
                "conflict" if what.starts_with("conflict rewrite") => {
                    self.world.count("conflict of rewrites");
                }
                _ => {}
            }
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

    fn lands_later(&self, what: &str) -> Option<Duration> {
        // Delta's own threads have no time.
        let later = self.world.is_on_its_clock().then(|| self.world.lands_later())??;
        self.world.trace(&self.name, "lands later", &format!("{what}: {later:?}"));
        Some(later)
    }
}
