//! Reading many items by their keys.

use std::time::Duration;

/// The maximum number of keys in one `BatchGetItem`.
pub(crate) const MAX_BATCH: usize = 100;

/// DynamoDB's code for a table that has reached its capacity and therefore processes no keys.
pub(crate) const THROTTLED: &str = "ProvisionedThroughputExceededException";

/// How many requests in a row may return nothing.
const MAX_STALLS: u32 = 6;
/// The wait after the first of them; it doubles each time.
const FIRST_PAUSE: Duration = Duration::from_millis(50);

/// Limits how long keys that DynamoDB leaves unprocessed are requested again. It processes none while it throttles, and
/// only some if the items are larger than a response.
#[derive(Debug, Default)]
pub(crate) struct Patience {
    stalls: u32,
}

impl Patience {
    /// Whether the remaining keys should be requested again. Waits first if none was processed.
    pub(crate) async fn is_left_after(&mut self, requested: usize, left: usize) -> bool {
        if left < requested {
            self.stalls = 0;
            return true;
        }
        self.stalls += 1;
        if self.stalls < MAX_STALLS {
            tokio::time::sleep(FIRST_PAUSE * 2_u32.pow(self.stalls - 1)).await;
        }
        self.stalls < MAX_STALLS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn keys_are_requested_again_only_while_some_are_processed() {
        let mut patience = Patience::default();
        for left in (0..100).rev() {
            assert!(patience.is_left_after(left + 1, left).await);
        }
        for _ in 1..MAX_STALLS {
            assert!(patience.is_left_after(9, 9).await);
        }
        assert!(!patience.is_left_after(9, 9).await);
    }
}
