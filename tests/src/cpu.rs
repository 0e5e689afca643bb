//! CPU seconds, user and system together and to the hundredth, as the kernel counts them: what
//! benchmarks measure on a machine that is shared.

use anyhow::{Context, Result};

/// Of this process, all of its threads.
///
/// # Errors
/// When the system does not tell.
pub fn cpu_seconds() -> Result<f64> {
    Ok(times("self")?[..2].iter().sum())
}

/// Of another process, all of its threads.
///
/// # Errors
/// When it is gone.
pub fn cpu_seconds_of(process: u32) -> Result<f64> {
    Ok(times(&process.to_string())?[..2].iter().sum())
}

/// Of this process's children that have ended.
///
/// # Errors
/// As [`cpu_seconds`].
pub fn children_cpu_seconds() -> Result<f64> {
    Ok(times("self")?[2..].iter().sum())
}

/// Of this process's threads of a name.
///
/// # Errors
/// As [`cpu_seconds`].
pub fn cpu_seconds_of_threads(name: &str) -> Result<f64> {
    let mut seconds = 0.0;
    for thread in std::fs::read_dir("/proc/self/task")? {
        let path = thread?.path();
        // One that has ended meanwhile is none.
        let Ok(own) = std::fs::read_to_string(path.join("comm")) else { continue };
        if own.trim_end() == name {
            let thread = path.strip_prefix("/proc")?.to_string_lossy().into_owned();
            seconds += times(&thread)?[..2].iter().sum::<f64>();
        }
    }
    Ok(seconds)
}

/// `utime`, `stime`, `cutime` and `cstime` of proc_pid_stat(5), counted behind the name in brackets.
fn times(process: &str) -> Result<Vec<f64>> {
    const TICKS_A_SECOND: f64 = 100.0;
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat"))?;
    let fields = stat.rsplit(") ").next().context("no fields")?.split(' ');
    let ticks = fields.skip(11).take(4).map(str::parse::<f64>).collect::<Result<Vec<_>, _>>()?;
    Ok(ticks.into_iter().map(|ticks| ticks / TICKS_A_SECOND).collect())
}
