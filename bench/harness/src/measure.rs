//! Measures the subjects in turn in one run, so that a busy machine affects all of them equally.

pub(crate) mod limits;

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use rustix::process::Pid;

use crate::aws::dynamodb::DynamoDb;
use crate::aws::tls::Tls;
use crate::aws::xray::XrayDaemon;
use crate::entries::{Entries, EntriesError};
use crate::event;
use crate::function::{Function, FunctionError, Start};
use crate::processor::Processors;
use crate::stats::Samples;
use crate::subjects::{Built, Endpoint, MEMORY, SUBJECTS, Subject};
use crate::terminal;
use crate::throttle::throttle;

/// Sizes of the batches whose time is measured as Lambda bills it.
const BILLED: [usize; 2] = [1, 100];

/// The size of the batch whose allocations are counted.
pub(crate) const COUNTED: usize = 100;
/// The number of such batches.
const COUNTINGS: usize = 5;
/// The number of batches that a process handles before its instructions are counted.
const FEW: usize = 3;
/// The largest batch that a subject handles once unmeasured before it is measured, in each of its turns.
const LARGEST_REHEARSAL: usize = 1_000;

/// Why a measurement failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum MeasureError {
    /// The harness itself cannot run.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// A subject misbehaved.
    #[error("{subject}, batch of {records}: {source}")]
    Function {
        /// Its name.
        subject: &'static str,
        /// The size of the batch.
        records: usize,
        /// What it did.
        source: FunctionError,
    },
    /// A subject wrote something other than ours did.
    #[error("{subject}, batch of {records}: {source}")]
    Entries {
        /// Its name.
        subject: &'static str,
        /// The size of the batch.
        records: usize,
        /// What it wrote.
        source: EntriesError,
    },
    /// A subject wrote more or fewer entries than there are changes.
    #[error("{subject}, batch of {records}: it wrote {entries} entries")]
    Count {
        /// Its name.
        subject: &'static str,
        /// The size of the batch.
        records: usize,
        /// How many it wrote.
        entries: usize,
    },
}

/// What is measured, and how often.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    /// Which subjects take part.
    pub(crate) subjects: Vec<Subject>,
    /// Batch sizes, with the number of rounds for each.
    pub(crate) batches: Vec<(usize, usize)>,
    /// How often each subject is started in each [`StartMode`].
    pub(crate) starts: usize,
    /// Invocations of each process before the first measured one.
    pub(crate) warm_up: usize,
    /// The number of invocations with the CPU share of 256 MB.
    pub(crate) billed: usize,
}

/// How a subject is started when its first answer is timed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum StartMode {
    /// DynamoDB over plain HTTP, at full speed.
    Plain,
    /// DynamoDB over TLS, at full speed.
    Secure,
    /// DynamoDB over TLS; from the first poll on, with the CPU share of 256 MB.
    Throttled,
}

/// What a batch costs a subject.
#[derive(Debug, Clone, Default)]
pub(crate) struct BatchFigures {
    /// Milliseconds from the event to the answer.
    pub(crate) wall: Samples,
    /// Milliseconds of CPU time.
    pub(crate) processor: Samples,
    /// Milliseconds of CPU time of the stand-ins for AWS.
    pub(crate) harness: Samples,
    /// The largest resident set, in bytes.
    pub(crate) peak_memory: u64,
    /// Requests to DynamoDB.
    pub(crate) requests: Samples,
    /// Bytes of their bodies.
    pub(crate) request_bytes: Samples,
    /// Datagrams to the X-Ray daemon.
    pub(crate) datagrams: Samples,
    /// Bytes of the datagrams.
    pub(crate) datagram_bytes: Samples,
    /// Bytes logged.
    pub(crate) log_bytes: Samples,
    /// What was logged in the last round.
    pub(crate) log: Vec<u8>,
}

/// All figures of a run.
#[derive(Debug, Default)]
pub(crate) struct Figures {
    /// By subject and batch size.
    pub(crate) batches: BTreeMap<(&'static str, usize), BatchFigures>,
    /// Milliseconds from the process's start to its first answer.
    pub(crate) first_answers: BTreeMap<(&'static str, StartMode), Samples>,
    /// Allocations in a batch of [`COUNTED`] records.
    pub(crate) allocations: BTreeMap<&'static str, Samples>,
    /// Bytes of the uploaded package.
    pub(crate) zips: BTreeMap<&'static str, u64>,
    /// Milliseconds from the event to the answer with the CPU share of 256 MB, by subject and batch size.
    pub(crate) billed: BTreeMap<(&'static str, usize), Samples>,
    /// Whether the harness and the subject each had their own processor.
    pub(crate) own_processors: bool,
}

/// Everything around the subjects.
pub(crate) struct Bench {
    processors: Processors,
    own_processors: bool,
    dynamodb: DynamoDb,
    xray: XrayDaemon,
    built: Built,
}

impl Bench {
    /// Starts the stand-ins for AWS. `directory` has the built subjects, `latency` is DynamoDB's.
    ///
    /// # Errors
    /// When the system refuses.
    pub(crate) async fn start(directory: &Path, amazon_roots: &Path, latency: Duration) -> io::Result<Self> {
        let (processors, own_processors) = Processors::divide()?;
        let tls = Tls::new()?;
        let xray = XrayDaemon::start()?;
        let built = Built::new(directory, amazon_roots, &tls, xray.address()?.to_string())?;
        let dynamodb = DynamoDb::start(latency, &tls).await?;
        Ok(Self { processors, own_processors, dynamodb, xray, built })
    }

    /// Measures everything in a plan.
    ///
    /// # Errors
    /// When a subject misbehaves.
    pub(crate) async fn run(&self, plan: &Plan) -> Result<Figures, MeasureError> {
        let mut figures = Figures { own_processors: self.own_processors, ..Figures::default() };
        figures.zips =
            plan.subjects.iter().filter_map(|subject| Some((subject.name, self.built.zip(subject)?))).collect();
        for &(records, rounds) in &plan.batches {
            terminal::progress(&format!("batches of {records}, {rounds} rounds"));
            self.batches(plan, records, rounds, &mut figures).await?;
        }
        if plan.batches.iter().any(|(records, _)| *records == COUNTED) {
            self.allocations(plan, &mut figures).await?;
        }
        if plan.starts > 0 {
            terminal::progress(&format!("first answers, {} starts", plan.starts));
            self.first_answers(plan, &mut figures).await?;
        }
        for records in BILLED.into_iter().filter(|_| plan.billed > 0) {
            terminal::progress(&format!("batches of {records} with the CPU of {MEMORY} MB, {} rounds", plan.billed));
            self.billed(plan, records, &mut figures).await?;
        }
        Ok(figures)
    }

    async fn batches(
        &self,
        plan: &Plan,
        records: usize,
        rounds: usize,
        figures: &mut Figures,
    ) -> Result<(), MeasureError> {
        let endpoint = Endpoint::Plain(self.dynamodb.plain_url());
        let fails = |subject: &Subject| {
            let subject = subject.name;
            move |source| MeasureError::Function { subject, records, source }
        };
        let mut functions = Vec::new();
        for subject in plan.subjects.iter().filter(|subject| subject.largest_batch >= records) {
            let start = self.built.start(subject, &endpoint);
            let mut function = Function::start(&start, &self.processors).await.map_err(fails(subject))?;
            for round in 0..plan.warm_up(records) {
                let event = event::batch(round, records);
                function.invoke(event, subject.is_sampled).await.map_err(fails(subject))?;
            }
            functions.push((*subject, function, BatchFigures::default()));
        }
        let mut written = Vec::new();
        for round in 0..rounds {
            let event = event::batch(plan.warm_up(records) + round, records);
            // Each round starts with a different subject, so that none always follows the same one.
            let first = round % functions.len().max(1);
            functions.rotate_left(first);
            for (subject, function, measured) in &mut functions {
                if round % subject.every != 0 {
                    continue;
                }
                if records <= LARGEST_REHEARSAL {
                    // The previous subject has filled this processor's caches.
                    function.invoke(event.clone(), subject.is_sampled).await.map_err(fails(subject))?;
                }
                self.xray.take();
                self.dynamodb.take_kept();
                let invoked = function.invoke(event.clone(), subject.is_sampled).await.map_err(fails(subject))?;
                let (requests, datagrams) = (self.dynamodb.take_kept(), self.xray.take());
                let bytes: usize = requests.iter().map(Bytes::len).sum();
                measured.wall.push(round, invoked.wall.as_secs_f64() * 1e3);
                measured.processor.push(round, invoked.processor.as_secs_f64() * 1e3);
                measured.harness.push(round, invoked.harness.as_secs_f64() * 1e3);
                measured.requests.push(round, requests.len() as f64);
                measured.request_bytes.push(round, bytes as f64);
                measured.datagrams.push(round, datagrams.count as f64);
                measured.datagram_bytes.push(round, datagrams.bytes as f64);
                measured.log_bytes.push(round, invoked.output.len() as f64);
                measured.log = invoked.output;
                written.push((round, *subject, requests));
            }
            functions.rotate_right(first);
        }
        for (subject, function, mut measured) in functions {
            measured.peak_memory = function.peak_memory()?;
            figures.batches.insert((subject.name, records), measured);
            function.end().await;
        }
        compare(records, &written)
    }

    /// How often a subject allocates in a batch.
    async fn allocations(&self, plan: &Plan, figures: &mut Figures) -> Result<(), MeasureError> {
        let endpoint = Endpoint::Plain(self.dynamodb.plain_url());
        for subject in plan.subjects.iter().filter(|subject| subject.has_counted_allocations()) {
            let wrong = |source| MeasureError::Function { subject: subject.name, records: COUNTED, source };
            let (start, file) = self.built.start_counted(subject, &endpoint);
            fs::write(&file, [0; size_of::<u64>()])?;
            let count = || {
                let bytes =
                    fs::read(&file)?.try_into().map_err(|_| io::Error::other("the count is not eight bytes"))?;
                Ok::<_, io::Error>(u64::from_ne_bytes(bytes))
            };
            let mut function = Function::start(&start, &self.processors).await.map_err(wrong)?;
            let mut samples = Samples::default();
            for round in 0..plan.warm_up(COUNTED) + COUNTINGS {
                let before = count()?;
                function.invoke(event::batch(round, COUNTED), subject.is_sampled).await.map_err(wrong)?;
                if round >= plan.warm_up(COUNTED) {
                    samples.push(round, (count()? - before) as f64);
                }
            }
            figures.allocations.insert(subject.name, samples);
            function.end().await;
        }
        self.dynamodb.take_kept();
        self.xray.take();
        Ok(())
    }

    /// The number of instructions that a subject executes for a batch of [`COUNTED`] records, according to callgrind:
    /// those of a process that handled some such batches, minus those of a process that handled fewer.
    ///
    /// # Errors
    /// When the subject misbehaves, or valgrind is missing.
    pub(crate) async fn instructions(&self, subject: &Subject) -> Result<f64, MeasureError> {
        terminal::progress(&format!("instructions of {}", subject.name));
        let wrong = |source| MeasureError::Function { subject: subject.name, records: COUNTED, source };
        let endpoint = Endpoint::Plain(self.dynamodb.plain_url());
        let mut totals = [0.0; 2];
        for (total, batches) in totals.iter_mut().zip([FEW, FEW + COUNTINGS]) {
            let (start, file) = self.built.start_under_callgrind(subject, &endpoint);
            let mut function = Function::start(&start, &self.processors).await.map_err(wrong)?;
            for round in 0..batches {
                function.invoke(event::batch(round, COUNTED), subject.is_sampled).await.map_err(wrong)?;
            }
            function.terminate().await.map_err(wrong)?;
            let profile = fs::read_to_string(&file)?;
            let summary = profile.lines().find_map(|line| line.strip_prefix("totals: "));
            let count = summary.and_then(|text| text.trim().parse::<f64>().ok());
            *total = count.ok_or_else(|| io::Error::other(format!("{}: callgrind counted nothing", file.display())))?;
        }
        self.dynamodb.take_kept();
        self.xray.take();
        Ok((totals[1] - totals[0]) / COUNTINGS as f64)
    }

    /// Measures from the start of a process to its answer to its first event, which has one change.
    async fn first_answers(&self, plan: &Plan, figures: &mut Figures) -> Result<(), MeasureError> {
        for round in 0..plan.starts {
            let event = event::batch(round, 1);
            for subject in plan.subjects.iter().filter(|subject| subject.is_timed_from_start()) {
                for mode in [StartMode::Plain, StartMode::Secure, StartMode::Throttled] {
                    let endpoint = match mode {
                        StartMode::Plain => Endpoint::Plain(self.dynamodb.plain_url()),
                        StartMode::Secure | StartMode::Throttled => Endpoint::Secure(self.dynamodb.secure_url()),
                    };
                    let start = self.built.start(subject, &endpoint);
                    let took = self.first_answer(&start, event.clone(), mode).await;
                    let took =
                        took.map_err(|source| MeasureError::Function { subject: subject.name, records: 1, source })?;
                    let samples = figures.first_answers.entry((subject.name, mode)).or_default();
                    samples.push(round, took.as_secs_f64() * 1e3);
                }
            }
        }
        Ok(())
    }

    async fn first_answer(&self, start: &Start, event: Bytes, mode: StartMode) -> Result<Duration, FunctionError> {
        let mut function = Function::start(start, &self.processors).await?;
        function.ready().await?;
        let (process, started) = (function.process(), function.started);
        let answer = function.answer(event, false);
        let (_, answered) = match mode {
            StartMode::Throttled => throttled(process, answer).await?,
            StartMode::Plain | StartMode::Secure => answer.await?,
        };
        function.end().await;
        self.dynamodb.take_kept();
        Ok(answered - started)
    }

    /// Measures the time of a batch as Lambda bills it: over TLS, with the CPU share of 256 MB.
    async fn billed(&self, plan: &Plan, records: usize, figures: &mut Figures) -> Result<(), MeasureError> {
        let endpoint = Endpoint::Secure(self.dynamodb.secure_url());
        for subject in plan.subjects.iter().filter(|subject| subject.is_billed()) {
            let wrong = |source| MeasureError::Function { subject: subject.name, records, source };
            let start = self.built.start(subject, &endpoint);
            let mut function = Function::start(&start, &self.processors).await.map_err(wrong)?;
            for round in 0..plan.warm_up(records) {
                function.invoke(event::batch(round, records), subject.is_sampled).await.map_err(wrong)?;
            }
            let process = function.process();
            let invocations = async {
                let mut samples = Samples::default();
                for round in 0..plan.billed.div_ceil(subject.every) {
                    let invoked = function.invoke(event::batch(round, records), subject.is_sampled).await?;
                    samples.push(round, invoked.wall.as_secs_f64() * 1e3);
                }
                Ok(samples)
            };
            let samples = throttled(process, invocations).await.map_err(wrong)?;
            figures.billed.insert((subject.name, records), samples);
            function.end().await;
            self.dynamodb.take_kept();
            self.xray.take();
        }
        Ok(())
    }
}

/// Runs `work` while the process is held to its share of a processor.
async fn throttled<T>(process: Pid, work: impl Future<Output = Result<T, FunctionError>>) -> Result<T, FunctionError> {
    tokio::select! {
        biased;
        done = work => done,
        failed = throttle(process, f64::from(MEMORY)) => {
            Err(failed.err().unwrap_or_else(|| io::Error::other("throttling ended")).into())
        }
    }
}

/// Checks that in each round each subject wrote the same entries as ours, each once.
fn compare(records: usize, written: &[(usize, Subject, Vec<Bytes>)]) -> Result<(), MeasureError> {
    let mut ours: BTreeMap<usize, Entries> = BTreeMap::new();
    for (round, subject, bodies) in written.iter().filter(|(_, subject, _)| subject.writes_entries) {
        let subject = subject.name;
        let wrong = |source| MeasureError::Entries { subject, records, source };
        let entries = Entries::read(bodies).map_err(wrong)?;
        if entries.len() != records {
            return Err(MeasureError::Count { subject, records, entries: entries.len() });
        }
        match ours.get(round) {
            Some(ours) => entries.compare(ours).map_err(wrong)?,
            None => drop(ours.insert(*round, entries)),
        }
    }
    Ok(())
}

impl Plan {
    /// The full plan, or one that takes less than two minutes.
    pub(crate) fn new(is_quick: bool) -> Self {
        let subjects = SUBJECTS.to_vec();
        if is_quick {
            let batches = vec![(1, 21), (100, 31), (1_000, 7), (10_000, 2)];
            Self { subjects, batches, starts: 5, warm_up: 3, billed: 5 }
        } else {
            let batches = vec![(1, 101), (100, 101), (1_000, 31), (10_000, 7)];
            Self { subjects, batches, starts: 21, warm_up: 20, billed: 21 }
        }
    }

    /// A large batch warms a process up by itself.
    fn warm_up(&self, records: usize) -> usize {
        if records > 100 { self.warm_up.min(3) } else { self.warm_up }
    }
}
