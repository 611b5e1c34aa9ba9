//! A reader of a table's stream through the Streams API, shard by shard.

use std::collections::BTreeMap;

use aws_sdk_dynamodbstreams::Client;
use aws_sdk_dynamodbstreams::config::Config;
use aws_sdk_dynamodbstreams::config::retry::RetryConfig;
use aws_sdk_dynamodbstreams::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_dynamodbstreams::operation::get_records::GetRecordsError;
use aws_sdk_dynamodbstreams::operation::get_shard_iterator::GetShardIteratorError;
use aws_sdk_dynamodbstreams::types::{Record, ShardIteratorType};

use super::error::error_message;
use config_audit_mapping::SequenceNumber;

/// The errors for a sequence number that no record of the shard can have. The second is DynamoDB Local's; if it has
/// another cause, more is read than necessary.
const IMPOSSIBLE_NUMBER: [&str; 2] = ["ValidationException", "InternalFailure"];

/// Reads one stream, from its beginning or from where it left off.
#[derive(Debug)]
pub struct StreamReader {
    client: Client,
    stream_arn: String,
    shards: BTreeMap<String, Shard>,
    /// Where to resume in shards that have not been seen yet.
    resume: BTreeMap<String, SequenceNumber>,
    /// Whether a shard has ended since the shards were listed.
    is_outdated: bool,
}

#[derive(Debug, Default)]
struct Shard {
    parent: Option<String>,
    /// The last record read, or the one after which to resume.
    after: Option<SequenceNumber>,
    /// Nothing has been read since `after` was given. So the first read includes that record: if it is missing, what
    /// came after it is unknown.
    is_resuming: bool,
    iterator: Option<String>,
    /// Start with the next record that is written, not with the oldest.
    from_now: bool,
    /// The shard is closed, and all its records have been read.
    exhausted: bool,
    /// The notice of the next page.
    notice: Option<String>,
}

impl Shard {
    fn resuming(shard_id: &str, after: Option<SequenceNumber>) -> Self {
        let is_possible = after.as_ref().is_none_or(SequenceNumber::is_possible);
        let mut shard = Self { is_resuming: after.is_some(), after, ..Self::default() };
        if !is_possible {
            shard.restart_at_oldest(shard_id);
        }
        shard
    }

    /// Continues with the oldest remaining record, because the next ones have left the stream, or because the record
    /// after which to resume is not in it.
    fn restart_at_oldest(&mut self, shard_id: &str) {
        self.notice = Some(match self.after.take_if(|_| self.is_resuming) {
            Some(after) => format!(
                "shard {shard_id} has no record {after}, after which it should be read: that record is older than 24 h, or the \
                 checkpoint is wrong; the shard is read from its oldest record"
            ),
            None => format!("records of shard {shard_id} left the stream, at the age of 24 h, before they were read"),
        });
        self.after = None;
        self.is_resuming = false;
        self.iterator = None;
        self.from_now = false;
    }
}

/// The result of a read.
#[derive(Debug, Default)]
pub struct Page {
    /// Records, in the stream's order.
    pub records: Vec<Record>,
    /// Something the reader of these records should know, such as records that were lost.
    pub notice: Option<String>,
}

/// A request that failed. The next read tries again from the same position.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} of stream {stream_arn}: {message}")]
pub struct StreamError {
    action: &'static str,
    stream_arn: String,
    code: Option<String>,
    message: String,
}

impl StreamError {
    /// AWS's error code, if it responded.
    #[must_use]
    pub fn code(&self) -> Option<&str> {
        self.code.as_deref()
    }

    /// Whether the next read will fail the same way: access is denied, the credentials have expired, or there is no such stream.
    #[must_use]
    pub fn is_final(&self) -> bool {
        let codes = [
            "AccessDeniedException",
            "ExpiredTokenException",
            "ResourceNotFoundException",
            "UnrecognizedClientException",
        ];
        self.code.as_deref().is_some_and(|code| codes.contains(&code))
    }
}

impl StreamReader {
    /// A reader of this stream. In the shards of `resume` it resumes after the given record, if that is still there; in all
    /// others it starts with the oldest.
    #[must_use]
    pub fn new(client: Client, stream_arn: String, resume: BTreeMap<String, SequenceNumber>) -> Self {
        Self { client, stream_arn, shards: BTreeMap::new(), resume, is_outdated: false }
    }

    /// Lists the stream's shards again.
    ///
    /// # Errors
    /// When the endpoint refuses or does not answer.
    pub async fn refresh(&mut self) -> Result<(), StreamError> {
        let mut start = None;
        self.is_outdated = false;
        loop {
            let request = self.client.describe_stream().stream_arn(&self.stream_arn);
            let output = request.set_exclusive_start_shard_id(start).send().await;
            let description = output.map_err(|error| self.error("list the shards", &error))?.stream_description;
            let Some(description) = description else { return Ok(()) };
            for shard in description.shards.unwrap_or_default() {
                let Some(id) = shard.shard_id else { continue };
                let after = self.resume.remove(&id);
                let fresh = || Shard::resuming(&id, after);
                self.shards.entry(id.clone()).or_insert_with(fresh).parent = shard.parent_shard_id;
            }
            start = description.last_evaluated_shard_id;
            if start.is_none() {
                return Ok(());
            }
        }
    }

    /// Skips the records that the known shards have now. Shards that are created later are read from their oldest record.
    ///
    /// # Errors
    /// When the endpoint refuses or does not answer.
    pub async fn skip_to_now(&mut self) -> Result<(), StreamError> {
        let shards: Vec<String> = self.shards.keys().cloned().collect();
        for id in shards {
            if let Some(shard) = self.shards.get_mut(&id) {
                shard.from_now = true;
            }
            self.iterator(&id).await?;
        }
        Ok(())
    }

    /// The known shards, each with its parent.
    pub fn shards(&self) -> impl Iterator<Item = (&str, Option<&str>)> {
        self.shards.iter().map(|(id, shard)| (id.as_str(), shard.parent.as_deref()))
    }

    /// Whether the shards should be listed again: one has ended, as it does when it is split, so its records continue
    /// in others.
    #[must_use]
    pub fn is_outdated(&self) -> bool {
        self.is_outdated
    }

    /// Whether a shard is closed, and all its records have been read.
    #[must_use]
    pub fn is_exhausted(&self, shard_id: &str) -> bool {
        self.shards.get(shard_id).is_some_and(|shard| shard.exhausted)
    }

    /// Reads up to `limit` records (at most 1,000). An empty page is not the end: there may be more later.
    ///
    /// # Errors
    /// When the endpoint refuses or does not answer.
    pub async fn read(&mut self, shard_id: &str, limit: usize) -> Result<Page, StreamError> {
        if self.is_exhausted(shard_id) {
            return Ok(Page::default());
        }
        let Some(iterator) = self.iterator(shard_id).await? else { return Ok(Page::default()) };
        let limit = i32::try_from(limit.clamp(1, 1000)).unwrap_or(1000);
        let output = match self.client.get_records().shard_iterator(iterator).limit(limit).send().await {
            Ok(output) => output,
            Err(error) => return self.failed_read(shard_id, &error),
        };
        let Some(shard) = self.shards.get_mut(shard_id) else { return Ok(Page::default()) };
        let mut records = output.records.unwrap_or_default();
        if shard.is_resuming {
            if records.first().and_then(sequence_number) != shard.after {
                shard.restart_at_oldest(shard_id);
                return Ok(Page { notice: shard.notice.take(), ..Page::default() });
            }
            shard.is_resuming = false;
            records.remove(0);
        }
        shard.exhausted = output.next_shard_iterator.is_none();
        self.is_outdated |= shard.exhausted;
        shard.iterator = output.next_shard_iterator;
        if let Some(newest) = records.last().and_then(sequence_number) {
            shard.after = Some(newest);
        }
        Ok(Page { records, notice: shard.notice.take() })
    }

    async fn iterator(&mut self, shard_id: &str) -> Result<Option<String>, StreamError> {
        let Some(shard) = self.shards.get(shard_id) else { return Ok(None) };
        if shard.iterator.is_some() {
            return Ok(shard.iterator.clone());
        }
        let request = self.client.get_shard_iterator().stream_arn(&self.stream_arn).shard_id(shard_id);
        let request = match &shard.after {
            None if shard.from_now => request.shard_iterator_type(ShardIteratorType::Latest),
            None => request.shard_iterator_type(ShardIteratorType::TrimHorizon),
            Some(after) => {
                let at = ShardIteratorType::AtSequenceNumber;
                let from = if shard.is_resuming { at } else { ShardIteratorType::AfterSequenceNumber };
                request.shard_iterator_type(from).sequence_number(after.as_str())
            }
        };
        let mut request = request.customize();
        if shard.is_resuming {
            // Retries could repeat an error for a minute: see IMPOSSIBLE_NUMBER.
            request = request.config_override(Config::builder().retry_config(RetryConfig::disabled()));
        }
        let result = request.send().await;
        let Some(shard) = self.shards.get_mut(shard_id) else { return Ok(None) };
        match result {
            Ok(output) => shard.iterator = output.shard_iterator,
            // What came after it may be gone too, so continue with the oldest remaining record.
            Err(error)
                if error.as_service_error().is_some_and(GetShardIteratorError::is_trimmed_data_access_exception)
                    || shard.is_resuming && error.code().is_some_and(|code| IMPOSSIBLE_NUMBER.contains(&code)) =>
            {
                shard.restart_at_oldest(shard_id);
            }
            Err(error) => return Err(self.error("start reading a shard", &error)),
        }
        Ok(shard.iterator.clone())
    }

    /// Recovers from a failed read: an iterator expires after 15 minutes, a record after 24 hours.
    fn failed_read(&mut self, shard_id: &str, error: &SdkError<GetRecordsError>) -> Result<Page, StreamError> {
        let service_error = error.as_service_error();
        let expired = service_error.is_some_and(GetRecordsError::is_expired_iterator_exception);
        let trimmed = service_error.is_some_and(GetRecordsError::is_trimmed_data_access_exception);
        let Some(shard) = self.shards.get_mut(shard_id) else { return Ok(Page::default()) };
        // An iterator that failed is not used again, unless nothing else leads back to the same position.
        let is_only_way = shard.from_now && shard.after.is_none();
        if expired || trimmed || !is_only_way {
            shard.iterator = None;
        }
        if trimmed {
            shard.restart_at_oldest(shard_id);
        }
        // What was written between the old iterator and a new one that starts now is unknown.
        let notice = (expired && is_only_way).then(|| {
            format!(
                "shard {shard_id} could not be read for 15 min and is read from now on; records that were written \
                 meanwhile may be missing here"
            )
        });
        if expired || trimmed { Ok(Page { notice, ..Page::default() }) } else { Err(self.error("read a shard", error)) }
    }

    fn error<E, R>(&self, action: &'static str, error: &SdkError<E, R>) -> StreamError
    where
        E: ProvideErrorMetadata + std::error::Error + 'static,
        R: std::fmt::Debug + 'static,
    {
        let code = error.code().map(str::to_owned);
        StreamError { action, stream_arn: self.stream_arn.clone(), code, message: error_message(error) }
    }
}

fn sequence_number(record: &Record) -> Option<SequenceNumber> {
    record.dynamodb.as_ref()?.sequence_number.clone().map(SequenceNumber::new)
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use config_audit_fake_aws::{Answer, refusal, service};
    use serde_json::{Value, json};

    use super::*;

    const NUMBER: &str = "100000000000000000001";
    const NEXT: &str = "100000000000000000002";

    fn resume() -> BTreeMap<String, SequenceNumber> {
        BTreeMap::from([("one".to_owned(), SequenceNumber::new(NUMBER))])
    }

    fn iterator(name: &str) -> Answer {
        (200, json!({ "ShardIterator": name }))
    }

    fn page(next: Option<&str>) -> Answer {
        records(&[NEXT], next)
    }

    fn records(numbers: &[&str], next: Option<&str>) -> Answer {
        let records: Vec<Value> =
            numbers.iter().map(|number| json!({ "dynamodb": { "SequenceNumber": number } })).collect();
        (
            200,
            next.map_or(json!({ "Records": records }), |next| json!({ "Records": records, "NextShardIterator": next })),
        )
    }

    /// A reader of a stream with one shard, whose iterators and records come from `answer`, and the operations that
    /// were requested.
    async fn reader(
        resume: BTreeMap<String, SequenceNumber>,
        answer: impl Fn(&str, &Value) -> Answer + Send + Sync + 'static,
    ) -> (StreamReader, Arc<Mutex<Vec<String>>>) {
        let asked = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&asked);
        let config = service(move |operation, input| {
            log.lock().unwrap().push(operation.to_owned());
            match operation {
                "DescribeStream" => (200, json!({ "StreamDescription": { "Shards": [{ "ShardId": "one" }] } })),
                _ => answer(operation, input),
            }
        });
        let client = Client::new(&config);
        let mut reader = StreamReader::new(client, "arn".to_owned(), resume);
        reader.refresh().await.unwrap();
        (reader, asked)
    }

    fn count(asked: &Mutex<Vec<String>>, operation: &str) -> usize {
        asked.lock().unwrap().iter().filter(|asked| *asked == operation).count()
    }

    /// Answers `GetRecords`: first that the iterator has expired, then with a page.
    fn expired_once() -> impl Fn() -> Answer {
        let expired = Mutex::new(false);
        move || {
            let has_expired = std::mem::replace(&mut *expired.lock().unwrap(), true);
            if has_expired { page(Some("next")) } else { refusal("ExpiredIteratorException") }
        }
    }

    #[tokio::test]
    async fn a_new_shard_is_read_from_its_oldest_record_to_its_end() {
        let (mut reader, asked) = reader(BTreeMap::new(), |operation, input| match operation {
            "GetShardIterator" if input["ShardIteratorType"] == "TRIM_HORIZON" => iterator("first"),
            "GetRecords" if input["ShardIterator"] == "first" => page(None),
            _ => panic!("{operation} {input}"),
        })
        .await;
        assert_eq!(reader.read("one", 10).await.unwrap().records.len(), 1);
        assert!(reader.is_exhausted("one"));
        // There is nothing left to request.
        assert!(reader.read("one", 10).await.unwrap().records.is_empty());
        assert_eq!(count(&asked, "GetRecords"), 1);
    }

    #[tokio::test]
    async fn an_iterator_that_expired_is_replaced_by_one_after_the_last_record() {
        let expired = expired_once();
        let (mut reader, asked) = reader(BTreeMap::new(), move |operation, input| match operation {
            "GetShardIterator" if input["ShardIteratorType"] == "TRIM_HORIZON" => iterator("first"),
            "GetRecords" if input["ShardIterator"] == "first" => records(&[NUMBER], Some("second")),
            "GetShardIterator" if input["SequenceNumber"] == NUMBER => {
                assert_eq!(input["ShardIteratorType"], "AFTER_SEQUENCE_NUMBER");
                iterator("again")
            }
            "GetRecords" => expired(),
            _ => panic!("{operation} {input}"),
        })
        .await;
        assert_eq!(reader.read("one", 10).await.unwrap().records.len(), 1);
        assert!(reader.read("one", 10).await.unwrap().records.is_empty());
        assert_eq!(reader.read("one", 10).await.unwrap().records.len(), 1);
        assert_eq!(count(&asked, "GetShardIterator"), 2);
    }

    #[tokio::test]
    async fn reading_goes_on_after_the_record_of_the_checkpoint() {
        let (mut reader, _) = reader(resume(), |operation, input| match operation {
            "GetShardIterator" if input["SequenceNumber"] == NUMBER => {
                assert_eq!(input["ShardIteratorType"], "AT_SEQUENCE_NUMBER");
                iterator("at")
            }
            "GetRecords" if input["ShardIterator"] == "at" => records(&[NUMBER, NEXT], Some("next")),
            _ => panic!("{operation} {input}"),
        })
        .await;
        let page = reader.read("one", 10).await.unwrap();
        assert_eq!(
            (page.records.iter().filter_map(sequence_number).collect::<Vec<_>>(), page.notice),
            (vec![SequenceNumber::new(NEXT)], None)
        );
    }

    /// The number may be one that the shard cannot have, or the record may have left the stream.
    #[tokio::test]
    async fn a_shard_without_the_record_of_the_checkpoint_is_read_from_its_oldest_and_the_page_says_so() {
        let refusals = ["ValidationException", "InternalFailure", "TrimmedDataAccessException"].map(refusal);
        for at in refusals.into_iter().chain([iterator("nothing"), iterator("another")]) {
            let (mut reader, _) = reader(resume(), move |operation, input| match operation {
                "GetShardIterator" if input["SequenceNumber"] == NUMBER => at.clone(),
                "GetShardIterator" if input["ShardIteratorType"] == "TRIM_HORIZON" => iterator("oldest"),
                "GetRecords" if input["ShardIterator"] == "nothing" => records(&[], Some("nothing")),
                "GetRecords" => page(Some("next")),
                _ => panic!("{operation} {input}"),
            })
            .await;
            let (mut read, mut notices) = (Vec::new(), Vec::new());
            while read.is_empty() {
                let page = reader.read("one", 10).await.unwrap();
                read.extend(page.records);
                notices.extend(page.notice);
            }
            assert_eq!(read.iter().filter_map(sequence_number).collect::<Vec<_>>(), [SequenceNumber::new(NEXT)]);
            assert_eq!(notices.len(), 1);
            assert!(notices[0].contains(NUMBER) && notices[0].contains("from its oldest record"), "{notices:?}");
        }
    }

    #[tokio::test]
    async fn an_expired_iterator_from_now_on_is_replaced_and_the_page_says_so() {
        let records = expired_once();
        let (mut reader, asked) = reader(BTreeMap::new(), move |operation, input| match operation {
            "GetShardIterator" if input["ShardIteratorType"] == "LATEST" => iterator("now"),
            "GetRecords" => records(),
            _ => panic!("{operation} {input}"),
        })
        .await;
        reader.skip_to_now().await.unwrap();
        assert!(reader.read("one", 10).await.unwrap().notice.unwrap().contains("may be missing"));
        let page = reader.read("one", 10).await.unwrap();
        assert_eq!((page.records.len(), page.notice), (1, None));
        assert_eq!(count(&asked, "GetShardIterator"), 2);
    }

    #[tokio::test]
    async fn a_page_says_that_records_left_the_stream_and_the_oldest_left_is_next() {
        let (mut reader, asked) = reader(BTreeMap::new(), |operation, input| match operation {
            "GetShardIterator" if input["ShardIteratorType"] == "TRIM_HORIZON" => iterator("oldest"),
            "GetShardIterator" if input["SequenceNumber"] == NUMBER => iterator("trimmed"),
            "GetRecords" if input["ShardIterator"] == "oldest" => records(&[NUMBER], Some("trimmed")),
            "GetRecords" => refusal("TrimmedDataAccessException"),
            _ => panic!("{operation} {input}"),
        })
        .await;
        assert_eq!(reader.read("one", 10).await.unwrap().records.len(), 1);
        assert!(reader.read("one", 10).await.unwrap().records.is_empty());
        let page = reader.read("one", 10).await.unwrap();
        assert!(page.notice.unwrap().contains("left the stream"));
        assert_eq!((page.records.len(), count(&asked, "GetShardIterator")), (1, 2));
    }
}
