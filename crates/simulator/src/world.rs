//! One complete run: the Configuration table and its stream, the event source mapping, the function with the real
//! handler, the Audit table and the failure bucket, all on one thread and one virtual clock.

use std::rc::Rc;

use tokio::task::LocalSet;

use crate::fault::FaultCounts;
use crate::function::Function;
use crate::laws;
pub use crate::ledger::{Fate, Tally, Unaudited};
use crate::mapping::Mapping;
use crate::observed::Observed;
pub use crate::run::Capture;
use crate::run::Run;
pub use crate::scenario::EPOCH;
use crate::scenario::Scenario;
use crate::stream::Stream;
use crate::witness;

/// The outcome of a run.
#[derive(Debug, Default)]
pub struct Outcome {
    /// The laws that were broken; empty for a good run.
    pub violations: Vec<String>,
    /// The faults that occurred.
    pub faults: FaultCounts,
    /// The totals of what was done.
    pub tally: Tally,
    /// The changes that were not audited.
    pub unaudited: Vec<Unaudited>,
    /// What happened, line by line; empty unless requested.
    pub timeline: Vec<String>,
    /// What CloudWatch got; empty unless requested.
    pub observed: Observed,
}

/// Runs a scenario.
#[must_use]
pub fn run(scenario: &Scenario, capture: Capture) -> Outcome {
    // The handler's random waits are part of the run.
    fastrand::seed(scenario.seed);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    let Ok(runtime) = runtime else {
        return Outcome { violations: vec!["no runtime can be made".to_owned()], ..Outcome::default() };
    };
    LocalSet::new().block_on(&runtime, async {
        let Some(run) = Run::start(scenario.clone(), capture) else {
            return Outcome { violations: vec!["the function cannot be set up".to_owned()], ..Outcome::default() };
        };
        let stream = Rc::new(Stream::new(Rc::clone(&run)));
        let function = Rc::new(Function::new(Rc::clone(&run)));
        let mapping = Rc::new(Mapping::new(Rc::clone(&run), Rc::clone(&stream), function));
        for shard in 0..scenario.shards {
            mapping.start_shard(shard);
        }
        run.spawn("writers", stream.write_all(move |shard| mapping.start_shard(shard)));
        run.settled().await;
        run.check(laws::at_the_end(&run.ledger));
        if let Some(observer) = &run.observer {
            witness::play(&run, observer, run.now().max(scenario.end()));
        }
        Outcome {
            violations: run.ledger.take_violations(),
            faults: run.ledger.faults(),
            tally: run.ledger.tally(run.now()),
            unaudited: run.ledger.unaudited(),
            timeline: run.ledger.take_timeline(),
            observed: run.observer.as_ref().map(|observer| observer.take(run.now())).unwrap_or_default(),
        }
    })
}
