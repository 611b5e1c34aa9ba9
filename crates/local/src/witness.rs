//! The witness: the same binary as the audit function's, invoked by the Audit table's stream.

use std::path::Path;
use std::sync::Arc;

use config_audit_mapping::MappingSettings;
use tokio::sync::Mutex;
use tokio::sync::mpsc::UnboundedReceiver;

use crate::bucket::Bucket;
use crate::event::{EventBus, WorldEvent};
use crate::faults::Breaker;
use crate::function::{Function, FunctionSettings};
use crate::mapping::checkpoint::Checkpoint;
use crate::mapping::poller::{Endpoints, EventSourceMapping};
use crate::world::WorldError;

/// What the witness needs.
pub(crate) struct Witness {
    /// The audit function; the witness differs in its name and in two variables.
    pub(crate) function: FunctionSettings,
    /// The API of streams.
    pub(crate) streams: aws_sdk_dynamodbstreams::Client,
    /// The Audit table's stream.
    pub(crate) stream_arn: String,
    /// The failure bucket, whose endpoint serves the witness bucket too.
    pub(crate) failures: Arc<Bucket>,
    /// The witness bucket.
    pub(crate) bucket: String,
}

impl Witness {
    /// Starts it. The returned future runs it until it is dropped; it publishes on the bus what happens to the
    /// witness.
    pub(crate) async fn start(
        self,
        directory: Option<&Path>,
        bus: EventBus,
    ) -> Result<impl Future<Output = ()> + use<>, WorldError> {
        let Self { mut function, streams, stream_arn, failures, bucket } = self;
        failures.create(&bucket).await?;
        "config-audit-local-witness".clone_into(&mut function.name);
        function.environment.insert("_HANDLER".to_owned(), "witness".to_owned());
        function.environment.insert("WITNESS_BUCKET".to_owned(), bucket);
        let checkpoint = match directory {
            Some(directory) => Checkpoint::in_file(directory.join("witness.json"), &stream_arn)?,
            None => Checkpoint::in_memory(&stream_arn),
        };
        // Its events must not be taken for those of the audit function.
        let own = EventBus::new();
        let events = own.subscribe();
        let function_arn = function.arn();
        let function = Arc::new(Mutex::new(Function::start(function, own.clone(), Breaker::default()).await?));
        let endpoints = Endpoints { streams, stream_arn, function, function_arn, destination: failures };
        // As in serverless/witness.yml, except the window.
        let settings = MappingSettings { batch_size: 1000, maximum_record_age: None, ..MappingSettings::default() };
        let mapping = EventSourceMapping::new(settings, endpoints, checkpoint, own, Breaker::default());
        Ok(async move {
            tokio::join!(mapping.run(), forward(events, bus));
        })
    }
}

/// Publishes what happens to the witness.
async fn forward(mut events: UnboundedReceiver<Arc<WorldEvent>>, bus: EventBus) {
    while let Some(event) = events.recv().await {
        bus.publish(WorldEvent::Witness(event));
    }
}
