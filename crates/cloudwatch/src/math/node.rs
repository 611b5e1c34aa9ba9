//! Evaluates expressions, all periods at once, because some functions look at other periods.

/// The result for two values; `None` if it is not defined.
pub(super) type Operator = fn(f64, f64) -> Option<f64>;

/// A part of an expression.
#[derive(Debug, Clone)]
pub(super) enum Node {
    Number(f64),
    Metric(usize),
    Unary(fn(f64) -> f64, Box<Node>),
    Binary(Operator, Box<[Node; 2]>),
    If(Box<[Node; 2]>, Option<Box<Node>>),
    Fill(Box<Node>, Filler),
    /// The beginning of each period, even if the series has no value in it.
    Epoch,
}

/// What `FILL` puts where a value is missing.
#[derive(Debug, Clone)]
pub(super) enum Filler {
    /// The value of a number or of another series.
    Value(Box<Node>),
    /// The last value before it.
    Repeat,
    /// A linear interpolation between the values before and after it.
    Linear,
}

/// The operators, loosest binding first.
pub(super) const OPERATORS: [&[(&str, Operator)]; 5] = [
    &[("OR", or), ("||", or)],
    &[("AND", and), ("&&", and)],
    &[
        ("==", |left, right| truth(left - right == 0.0)),
        ("!=", |left, right| truth(left - right != 0.0)),
        ("<=", |left, right| truth(left <= right)),
        (">=", |left, right| truth(left >= right)),
        ("<", |left, right| truth(left < right)),
        (">", |left, right| truth(left > right)),
    ],
    &[("+", |left, right| Some(left + right)), ("-", |left, right| Some(left - right))],
    &[
        ("*", |left, right| Some(left * right)),
        ("/", |left, right| if right == 0.0 { None } else { Some(left / right) }),
    ],
];

#[allow(clippy::unnecessary_wraps, reason = "an operator may have no result")]
fn truth(truth: bool) -> Option<f64> {
    Some(f64::from(u8::from(truth)))
}

fn or(left: f64, right: f64) -> Option<f64> {
    truth(left != 0.0 || right != 0.0)
}

fn and(left: f64, right: f64) -> Option<f64> {
    truth(left != 0.0 && right != 0.0)
}

/// The data on which an expression is evaluated.
#[derive(Clone, Copy)]
pub(super) struct Data<'a> {
    /// When each period begins, in seconds since 1970.
    pub(super) begins: &'a [i64],
    /// The values of each metric in these periods.
    pub(super) metrics: &'a [Vec<Option<f64>>],
}

impl Node {
    /// Whether it is a time series, not a number.
    pub(super) fn is_series(&self) -> bool {
        match self {
            Self::Number(_) => false,
            Self::Unary(_, of) => of.is_series(),
            Self::Binary(_, sides) => sides.iter().any(Self::is_series),
            Self::If(first, otherwise) => first.iter().chain(otherwise.as_deref()).any(Self::is_series),
            Self::Metric(_) | Self::Fill(..) | Self::Epoch => true,
        }
    }

    /// Whether each value depends only on the data of its own period, not on other periods or on the period's time.
    pub(super) fn is_local(&self) -> bool {
        match self {
            Self::Number(_) | Self::Metric(_) => true,
            Self::Unary(_, of) => of.is_local(),
            Self::Binary(_, sides) => sides.iter().all(Self::is_local),
            Self::If(first, otherwise) => first.iter().chain(otherwise.as_deref()).all(Self::is_local),
            Self::Fill(of, Filler::Value(filler)) => of.is_local() && filler.is_local(),
            Self::Fill(..) | Self::Epoch => false,
        }
    }

    /// The value in each period.
    pub(super) fn values(&self, data: Data<'_>) -> Vec<Option<f64>> {
        let each = |value: &dyn Fn(usize) -> Option<f64>| (0..data.begins.len()).map(value).collect();
        match self {
            Self::Number(number) => each(&|_| Some(*number)),
            Self::Metric(number) => {
                each(&|period| data.metrics.get(*number).and_then(|values| values.get(period).copied().flatten()))
            }
            Self::Unary(function, of) => of.values(data).into_iter().map(|value| value.map(function)).collect(),
            Self::Binary(operator, sides) => {
                let missing = sides.iter().all(Self::is_series).then_some(0.0);
                let [left, right] = [&sides[0], &sides[1]].map(|side| side.values(data));
                each(&|period| match (left[period], right[period]) {
                    (None, None) => None,
                    (left, right) => operator(left.or(missing)?, right.or(missing)?),
                })
            }
            Self::If(first, otherwise) => {
                let missing = first[0].is_series().then_some(0.0);
                let [condition, then] = [&first[0], &first[1]].map(|part| part.values(data));
                let otherwise = otherwise.as_ref().map(|otherwise| otherwise.values(data));
                each(&|period| {
                    if condition[period]? == 0.0 { otherwise.as_ref()?[period] } else { then[period].or(missing) }
                })
            }
            Self::Fill(of, Filler::Value(filler)) => {
                let (of, filler) = (of.values(data), filler.values(data));
                each(&|period| of[period].or(filler[period]))
            }
            Self::Fill(of, Filler::Repeat) => {
                let mut last = None;
                let repeat = |value: Option<f64>| {
                    last = value.or(last);
                    last
                };
                of.values(data).into_iter().map(repeat).collect()
            }
            Self::Fill(of, Filler::Linear) => interpolated(of.values(data)),
            Self::Epoch => each(&|period| Some(data.begins[period] as f64)),
        }
    }
}

/// The values with the gaps between them filled. Gaps before the first and after the last remain.
fn interpolated(mut values: Vec<Option<f64>>) -> Vec<Option<f64>> {
    let known: Vec<(usize, f64)> =
        values.iter().enumerate().filter_map(|(period, value)| Some((period, (*value)?))).collect();
    for pair in known.windows(2) {
        let [(from, first), (to, last)] = [pair[0], pair[1]];
        for (step, value) in values[from..to].iter_mut().enumerate().skip(1) {
            *value = Some(first + (last - first) * step as f64 / (to - from) as f64);
        }
    }
    values
}
