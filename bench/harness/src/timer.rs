//! Waits that end on time. tokio's own timer counts in milliseconds, so a wait of 5 ms takes up to 6.

use std::io;
use std::time::Duration;

use rustix::time::{Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec};
use tokio::net::unix::pipe::Receiver;

/// Returns after this duration, give or take about 50 µs.
///
/// # Errors
/// When the system has no timer left.
pub(crate) async fn wait(duration: Duration) -> io::Result<()> {
    if duration.is_zero() {
        return Ok(());
    }
    let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
    let timer = rustix::time::timerfd_create(TimerfdClockId::Monotonic, flags)?;
    let once = Timespec { tv_sec: 0, tv_nsec: 0 };
    let it_value = Timespec::try_from(duration).map_err(io::Error::other)?;
    let setting = Itimerspec { it_interval: once, it_value };
    rustix::time::timerfd_settime(&timer, TimerfdTimerFlags::empty(), &setting)?;
    // A timer becomes readable like a pipe, and nothing else matters here.
    Receiver::from_owned_fd_unchecked(timer)?.readable().await
}
