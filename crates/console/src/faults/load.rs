//! Load on the Configuration table.

use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::Duration;

use tokio::task::{JoinHandle, JoinSet};

use crate::items::Items;

/// The highest rate, in changes per second.
pub(super) const MAX_RATE: u32 = 500;
/// The maximum duration of a load, in case the user forgets it.
const MAX_TIME: Duration = Duration::from_mins(10);
/// How many items the load changes in turn.
const ITEMS: u64 = 100;
/// The maximum number of writes in flight: enough for the highest rate if each takes 120 ms, and fewer than there are items, so
/// that no two change the same item at once.
const MAX_IN_FLIGHT: usize = 64;

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
            let write = move |number: u64| {
                let items = items.clone();
                async move {
                    // The overview already shows why a change was rejected.
                    let _ = items.set(&format!("LOAD-{}", number % ITEMS), "value", &number.to_string()).await;
                }
            };
            (rate, tokio::spawn(async move { drop(tokio::time::timeout(MAX_TIME, run(rate, write)).await) }))
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

/// Starts writes at this rate, without waiting for each to finish.
async fn run<W: Future<Output = ()> + Send + 'static>(rate: u32, write: impl Fn(u64) -> W) {
    let mut writes = JoinSet::new();
    // A tick that comes late is made up for, so that the rate is kept.
    let mut ticks = tokio::time::interval(Duration::from_secs(1) / rate);
    for number in 0_u64.. {
        ticks.tick().await;
        while writes.try_join_next().is_some() {}
        if writes.len() >= MAX_IN_FLIGHT {
            writes.join_next().await;
            // A slow table gets fewer changes, and no burst afterwards.
            ticks.reset();
        }
        writes.spawn(write(number));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    /// How many writes were started in ten seconds, and how many of them were in flight at most, if each takes this long.
    async fn load(rate: u32, latency: Duration) -> (usize, usize) {
        let [started, in_flight, most] = [(); 3].map(|()| Arc::new(AtomicUsize::new(0)));
        let write = {
            let (started, most) = (Arc::clone(&started), Arc::clone(&most));
            move |_| {
                let in_flight = Arc::clone(&in_flight);
                started.fetch_add(1, Ordering::Relaxed);
                most.fetch_max(in_flight.fetch_add(1, Ordering::Relaxed) + 1, Ordering::Relaxed);
                async move {
                    tokio::time::sleep(latency).await;
                    in_flight.fetch_sub(1, Ordering::Relaxed);
                }
            }
        };
        tokio::time::timeout(Duration::from_secs(10), run(rate, write)).await.unwrap_err();
        (started.load(Ordering::Relaxed), most.load(Ordering::Relaxed))
    }

    #[tokio::test(start_paused = true)]
    async fn the_rate_is_kept_as_long_as_the_table_is_fast_enough() {
        for (rate, milliseconds) in [(1, 5), (1, 3_000), (200, 5), (200, 100), (MAX_RATE, 100)] {
            let (started, most) = load(rate, Duration::from_millis(milliseconds)).await;
            let expected = rate as usize * 10;
            assert!(started.abs_diff(expected) <= 1 + expected / 100, "{rate}, {milliseconds} ms: {started}");
            assert!(most <= MAX_IN_FLIGHT, "{most}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_table_has_a_bounded_number_of_writes_to_answer() {
        let (started, most) = load(MAX_RATE, Duration::from_secs(2)).await;
        assert_eq!(most, MAX_IN_FLIGHT);
        assert!((4 * MAX_IN_FLIGHT..=6 * MAX_IN_FLIGHT).contains(&started), "{started}");
    }
}
