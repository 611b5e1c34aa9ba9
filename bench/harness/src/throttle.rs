//! The share of a processor that Lambda gives to a function with a given amount of memory.

use std::io;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::clock;
use crate::processor;
use crate::timer;

/// The memory at which a function has one whole processor, in MB (AWS Lambda Developer Guide, "Configure Lambda function
/// memory").
const WHOLE_PROCESSOR: f64 = 1_769.0;
/// Lambda allots CPU time in periods of this length.
const PERIOD: Duration = Duration::from_millis(20);
/// The interval between checks of the process's CPU time.
const LOOK: Duration = Duration::from_micros(250);

/// Holds a process to the CPU share of a function with this much memory, until the process ends. Stops the process when
/// it has used its time in a period, and resumes it in the next. Linux counts a running process's time in ticks, so a
/// process may exceed its time in a period; the excess is deducted from the next.
///
/// # Errors
/// When the process is gone.
pub(crate) async fn throttle(process: Pid, megabytes: f64) -> io::Result<()> {
    let quota = PERIOD.mul_f64(megabytes / WHOLE_PROCESSOR);
    let mut debt = Duration::ZERO;
    loop {
        let end = clock::now() + PERIOD;
        let start = processor::time_of(process)?;
        let mut is_stopped = debt >= quota;
        if is_stopped {
            kill_process(process, Signal::STOP)?;
        } else {
            kill_process(process, Signal::CONT)?;
        }
        while clock::now() < end {
            timer::wait(LOOK.min(end.saturating_duration_since(clock::now()))).await?;
            if !is_stopped && used_since(process, start)? + debt >= quota {
                kill_process(process, Signal::STOP)?;
                is_stopped = true;
            }
        }
        debt = (debt + used_since(process, start)?).saturating_sub(quota);
    }
}

fn used_since(process: Pid, start: u64) -> io::Result<Duration> {
    Ok(Duration::from_nanos(processor::time_of(process)?.saturating_sub(start)))
}
