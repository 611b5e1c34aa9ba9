//! Processors: which process runs on which, and how much CPU time a process uses.

use std::fs;
use std::io;
use std::time::Duration;

use rustix::process::Pid;
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// The processors of a run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Processors {
    /// Where the harness runs, with the stand-ins for AWS.
    harness: CpuSet,
    /// Where the measured process runs.
    subject: CpuSet,
}

impl Processors {
    /// Assigns the last processor that this process may use to the harness, and the one before it to the subject. If
    /// there is only one, both share it. The second value says whether each has its own.
    ///
    /// # Errors
    /// When the system refuses.
    pub(crate) fn divide() -> io::Result<(Self, bool)> {
        let allowed = sched_getaffinity(None)?;
        let usable: Vec<usize> = (0..CpuSet::MAX_CPU).filter(|number| allowed.is_set(*number)).collect();
        let (harness, subject) = match usable[..] {
            [.., subject, harness] => (harness, subject),
            _ => (usable.first().copied().unwrap_or_default(), usable.first().copied().unwrap_or_default()),
        };
        let only = |number| {
            let mut set = CpuSet::new();
            set.set(number);
            set
        };
        let processors = Self { harness: only(harness), subject: only(subject) };
        sched_setaffinity(None, &processors.harness)?;
        Ok((processors, harness != subject))
    }

    /// Starts a process on the subject's processor: a new process inherits its parent's.
    ///
    /// # Errors
    /// When the system refuses, or `start` fails.
    pub(crate) fn start<T>(&self, start: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        sched_setaffinity(None, &self.subject)?;
        let started = start();
        sched_setaffinity(None, &self.harness)?;
        started
    }
}

/// The CPU time of all threads of a process, in nanoseconds.
///
/// # Errors
/// When the process is gone.
pub(crate) fn time_of(process: Pid) -> io::Result<u64> {
    let mut nanoseconds = 0;
    for task in fs::read_dir(format!("/proc/{}/task", process.as_raw_nonzero()))? {
        // A thread may end before its file is read.
        let Ok(text) = fs::read_to_string(task?.path().join("schedstat")) else { continue };
        let time = text.split(' ').next().and_then(|number| number.parse::<u64>().ok());
        nanoseconds += time.ok_or_else(|| io::Error::other("the kernel's schedstat cannot be read"))?;
    }
    Ok(nanoseconds)
}

/// The CPU time of this process.
pub(crate) fn own_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::try_from(time).unwrap_or_default()
}

/// The largest resident set that a process has had, in bytes.
///
/// # Errors
/// When the process is gone.
pub(crate) fn peak_memory_of(process: Pid) -> io::Result<u64> {
    let status = fs::read_to_string(format!("/proc/{}/status", process.as_raw_nonzero()))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kilobytes = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok());
    Ok(kilobytes.ok_or_else(|| io::Error::other("the kernel's status has no VmHWM"))? * 1024)
}
