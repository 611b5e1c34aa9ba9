//! The share of a processor that Lambda gives to a function of so much memory.

use std::io;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::clock;
use crate::processor;
use crate::timer;

/// The memory at which a function has one whole processor, in MB (AWS Lambda Developer Guide, "Configure Lambda function
/// memory").
const WHOLE_PROCESSOR: f64 = 1_769.0;
/// Lambda shares processors out in periods of this length.
const PERIOD: Duration = Duration::from_millis(20);
/// Between two looks at what the process has used.
const LOOK: Duration = Duration::from_micros(250);

/// Holds a process to the share of a function with so much memory, until it ends: it is stopped when it has used its
/// time in a period, and goes on with the next one. Linux counts a running process's time in ticks, so a period may run
/// over; what is too much is taken from the next.
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
