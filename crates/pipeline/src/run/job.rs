//! A long job beside the loop, one at a time.

use std::future::Future;

use futures::FutureExt;

/// Where what computes for long runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum JobsRun {
    /// On threads of its own: commits must not wait for it.
    #[default]
    OnThreads,
    /// With the loop, where time is simulated.
    OnRuntime,
}

pub enum Job<T> {
    Thread(std::thread::JoinHandle<T>),
    Task(tokio::task::JoinHandle<T>),
}

impl<T: Send + 'static> Job<T> {
    /// # Errors
    /// When there is no thread to be had.
    pub fn begin<F>(
        name: &str,
        jobs_run: JobsRun,
        job: impl FnOnce() -> F + Send + 'static,
    ) -> std::io::Result<Job<T>>
    where
        F: Future<Output = T> + Send + 'static,
    {
        match jobs_run {
            JobsRun::OnRuntime => Ok(Job::Task(tokio::spawn(job()))),
            JobsRun::OnThreads => {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
                let run = move || runtime.block_on(job());
                let thread = std::thread::Builder::new().name(name.to_owned());
                thread.spawn(run).map(Job::Thread)
            }
        }
    }

    pub fn is_finished(&self) -> bool {
        match self {
            Job::Thread(thread) => thread.is_finished(),
            Job::Task(task) => task.is_finished(),
        }
    }

    /// What a job that is finished came to; `None` where it panicked.
    pub fn ended(self) -> Option<T> {
        match self {
            Job::Thread(thread) => thread.join().ok(),
            // Also where the loop has used up its turn.
            Job::Task(task) => tokio::task::coop::unconstrained(task).now_or_never()?.ok(),
        }
    }
}
