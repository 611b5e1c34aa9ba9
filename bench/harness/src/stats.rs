//! Statistics of measurements.

use std::collections::BTreeMap;

/// Measurements of one quantity, in one unit, by round.
#[derive(Debug, Clone, Default)]
pub(crate) struct Samples(BTreeMap<usize, f64>);

/// The median and the quartiles of measurements.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Spread {
    /// The lower quartile.
    pub(crate) low: f64,
    /// The median.
    pub(crate) median: f64,
    /// The upper quartile.
    pub(crate) high: f64,
}

impl Samples {
    /// Adds a round's measurement.
    pub(crate) fn push(&mut self, round: usize, value: f64) {
        self.0.insert(round, value);
    }

    /// The ratio of this to the other, round by round: whatever disturbs a whole round disturbs both.
    pub(crate) fn over(&self, other: &Self) -> Self {
        let ratio = |(round, value): (&usize, &f64)| Some((*round, value / other.0.get(round)?));
        Self(self.0.iter().filter_map(ratio).collect())
    }

    /// The median and the quartiles; `None` without measurements.
    pub(crate) fn spread(&self) -> Option<Spread> {
        let mut sorted: Vec<f64> = self.0.values().copied().collect();
        sorted.sort_by(f64::total_cmp);
        let at = |share: f64| {
            let place = share * (sorted.len().checked_sub(1)?) as f64;
            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is an index of the list")]
            let (below, above) = (place.floor() as usize, place.ceil() as usize);
            Some(sorted[below] + (sorted[above] - sorted[below]) * place.fract())
        };
        Some(Spread { low: at(0.25)?, median: at(0.5)?, high: at(0.75)? })
    }

    /// The median.
    pub(crate) fn median(&self) -> Option<f64> {
        self.spread().map(|spread| spread.median)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples(values: &[f64]) -> Samples {
        Samples(values.iter().copied().enumerate().collect())
    }

    #[test]
    fn the_median_is_in_the_middle_of_the_quartiles() {
        assert_eq!(samples(&[]).spread(), None);
        let spread = samples(&[9.0, 1.0, 3.0, 7.0, 5.0]).spread();
        assert_eq!(spread, Some(Spread { low: 3.0, median: 5.0, high: 7.0 }));
        assert_eq!(samples(&[9.0, 1.0, 3.0, 7.0, 5.0, 11.0]).median(), Some(6.0));
    }

    #[test]
    fn a_ratio_is_taken_of_what_was_measured_in_one_round() {
        let mut other = Samples::default();
        other.push(1, 2.0);
        other.push(2, 10.0);
        assert_eq!(samples(&[1.0, 4.0, 5.0]).over(&other).spread(), samples(&[2.0, 0.5]).spread());
    }
}
