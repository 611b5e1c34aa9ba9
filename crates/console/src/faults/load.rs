//! Load on the Configuration table.

use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::Duration;

use tokio::task::JoinHandle;

use crate::items::Items;

/// The highest rate, in changes per second.
pub(super) const MAX_RATE: u32 = 500;
/// The maximum duration of a load, in case the user forgets it.
const MAX_TIME: Duration = Duration::from_mins(10);
/// How many items the load changes in turn.
const ITEMS: u64 = 100;

/// A load, which may be running.
#[derive(Debug, Default)]
pub(crate) struct Load(Mutex<Option<(u32, JoinHandle<()>)>>);

impl Load {
    /// Changes per second; 0 if there is no load.
    pub(super) fn rate(&self) -> u32 {
        let running = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        running.as_ref().filter(|(_, task)| !task.is_finished()).map_or(0, |(rate, _)| *rate)
    }

    /// Replaces the load with one of this rate.
    pub(super) fn set(&self, rate: u32, items: &Items) {
        let task = (rate > 0).then(|| {
            let items = items.clone();
            (rate, tokio::spawn(async move { drop(tokio::time::timeout(MAX_TIME, run(rate, items)).await) }))
        });
        let former = std::mem::replace(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner), task);
        if let Some((_, task)) = former {
            task.abort();
        }
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        if let Some((_, task)) = self.0.get_mut().unwrap_or_else(PoisonError::into_inner).take() {
            task.abort();
        }
    }
}

async fn run(rate: u32, items: Items) {
    let mut ticks = tokio::time::interval(Duration::from_secs(1) / rate);
    // A slow table gets fewer changes, and no burst afterwards.
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    for number in 0_u64.. {
        ticks.tick().await;
        // The overview already shows why a change was rejected.
        let _ = items.set(&format!("LOAD-{}", number % ITEMS), "value", &number.to_string()).await;
    }
}
