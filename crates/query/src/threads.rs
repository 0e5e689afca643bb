//! The threads that queries run on.

use std::time::Duration;

use tokio::runtime::{Handle, Runtime};

/// Stack of a thread, for plans as deep as a statement may be; memory is taken only as it is used.
const STACK_BYTES: usize = 64 * 1024 * 1024;
/// How long a query that computes may take until it sees that it is to end.
const END_TIME_MAX: Duration = Duration::from_secs(5);

/// A runtime that may be dropped on another runtime's thread, and waits for its threads. Not to wait ends a
/// process by SIGSEGV now and then: glibc's `pthread_detach` reads from the stack of the thread that it lets
/// go, and the next thread that ends unmaps stacks of ended ones beyond 40 MiB.
pub struct Threads {
    handle: Handle,
    runtime: Option<Runtime>,
}

impl Threads {
    /// # Errors
    /// When the system has no more files for them.
    ///
    /// # Panics
    /// When not one thread can be made.
    pub fn start(count: usize) -> std::io::Result<Threads> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(count)
            .thread_name("footfall-query")
            .thread_stack_size(STACK_BYTES)
            .enable_all()
            .build()?;
        Ok(Threads { handle: runtime.handle().clone(), runtime: Some(runtime) })
    }

    pub fn handle(&self) -> &Handle {
        &self.handle
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        let runtime = &mut self.runtime;
        // On a runtime's thread nothing may wait for another runtime; on a plain one it may.
        std::thread::scope(|scope| {
            let end = move || runtime.take().map(|threads| threads.shutdown_timeout(END_TIME_MAX));
            let _ = std::thread::Builder::new().spawn_scoped(scope, end);
        });
        // The system had no thread to wait in.
        if let Some(threads) = self.runtime.take() {
            threads.shutdown_background();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    #[tokio::test]
    async fn dropped_on_a_runtime_they_have_ended_and_not_only_been_told_to() {
        let threads = Threads::start(1).unwrap();
        let (has_begun, begun) = tokio::sync::oneshot::channel();
        let has_ended = Arc::new(AtomicBool::new(false));
        let ends = has_ended.clone();
        threads.handle().spawn_blocking(move || {
            has_begun.send(()).unwrap();
            std::thread::sleep(Duration::from_millis(200));
            ends.store(true, Ordering::SeqCst);
        });
        begun.await.unwrap();
        drop(threads);
        assert!(has_ended.load(Ordering::SeqCst));
    }
}
