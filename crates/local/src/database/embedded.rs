//! dynoxide, with the extensions that a long stream needs.
//!
//! dynoxide stores the records of all streams in a table that has no index and never shrinks. Each write looks for the
//! newest record in it, each read for the next ones, and `DescribeStream` for the first and the last: all of them scan
//! every record. So we add an index to that table, remove records as DynamoDB does, and describe streams ourselves.

use dynoxide::actions::describe_stream::{
    DescribeStreamRequest, DescribeStreamResponse, SequenceNumberRange, Shard, StreamDescription,
};
use dynoxide::actions::get_records::GetRecordsRequest;
use dynoxide::actions::get_shard_iterator::encode_shard_iterator;
use dynoxide::streams::shard_id;
use dynoxide::{Database, DynoxideError, Result};
use rusqlite::Connection;
use uuid::Uuid;

/// An index in the order in which dynoxide requests records; it casts the number, so the index does too. And DynamoDB's
/// limit: writing a record removes records of its stream that are more than 24 hours old. It removes two, so that their
/// number falls, but never the new one, so that the numbers of a stream continue from its last record.
///
/// No DynamoDB table can have these names, because they contain a colon.
const STREAM_SCHEMA: &str = r#"
    CREATE INDEX IF NOT EXISTS "stream::order" ON _stream_records (table_name, CAST(sequence_number AS INTEGER));
    CREATE TRIGGER IF NOT EXISTS "stream::trim" AFTER INSERT ON _stream_records BEGIN
        DELETE FROM _stream_records
        WHERE created_at < NEW.created_at - 24 * 60 * 60 AND id IN (
            SELECT id FROM _stream_records WHERE table_name = NEW.table_name
            ORDER BY CAST(sequence_number AS INTEGER) LIMIT 2
        );
    END;
"#;

/// The path of a new in-memory database, which lasts as long as its connections. It holds 2 GB (`.cargo/config.toml`).
///
/// This is `SQLite`'s `memdb`, a file in memory with a small page cache, not `mode=memory`, whose page cache is the
/// database: there, a commit that has balanced a B-tree scans the whole page cache (`pcache1TruncateUnsafe`, because
/// balancing briefly gives a page the number 262,145), so the more it held, the slower it became.
pub(super) fn in_memory() -> String {
    // Because this name begins with a slash, a second connection opens the same database.
    format!("file:/{}?vfs=memdb", Uuid::new_v4())
}

/// The database in memory, or in this file, which is created if it is missing.
pub(super) fn open(path: &str) -> Result<Database> {
    let database = Database::new(path)?;
    // dynoxide does not expose its connection, but all connections share the schema.
    Connection::open(path)?.execute_batch(STREAM_SCHEMA)?;
    // Despite its name, this sets `PRAGMA synchronous = NORMAL`, and otherwise only the defaults. So a write does not
    // wait for the disk. It survives the end of this process; only a failure of the machine may undo the last writes.
    database.disable_bulk_loading()?;
    Ok(database)
}

/// Describes a stream. dynoxide would also name the last record of its shard; DynamoDB does that only for a closed
/// shard, and dynoxide closes none.
pub(super) fn describe_stream(database: &Database, request: DescribeStreamRequest) -> Result<DescribeStreamResponse> {
    let not_found = || {
        let message = format!("Requested resource not found: Stream: {}", request.stream_arn);
        DynoxideError::ResourceNotFoundException(message)
    };
    let table = request.stream_arn.split('/').nth(1).ok_or_else(not_found)?;
    let metadata = database.get_table_metadata(table)?.filter(|table| table.stream_enabled).ok_or_else(not_found)?;
    let shard_id = shard_id(table);
    let from_the_oldest = encode_shard_iterator(table, &shard_id, 0);
    let oldest = database.get_records(GetRecordsRequest { shard_iterator: from_the_oldest, limit: Some(1) })?;
    let starting_sequence_number = oldest.records.into_iter().next().map(|record| record.dynamodb.sequence_number);
    Ok(DescribeStreamResponse {
        stream_description: StreamDescription {
            table_name: table.to_owned(),
            stream_label: metadata.stream_label.unwrap_or_default(),
            stream_status: "ENABLED".to_owned(),
            stream_view_type: metadata.stream_view_type.unwrap_or_else(|| "NEW_AND_OLD_IMAGES".to_owned()),
            shards: vec![Shard {
                shard_id,
                sequence_number_range: SequenceNumberRange { starting_sequence_number, ending_sequence_number: None },
            }],
            creation_request_date_time: metadata.created_at as f64,
            stream_arn: request.stream_arn,
        },
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use config_audit::clock::Clock;
    use dynoxide::actions::{get_records, put_item};
    use dynoxide::storage::Storage;
    use serde::de::DeserializeOwned;
    use serde_json::{Value, json};

    use super::*;

    const TABLE: &str = "Configuration";
    const DAY: i64 = 24 * 60 * 60;

    fn request<T: DeserializeOwned>(content: Value) -> T {
        serde_json::from_value(content).unwrap()
    }

    fn file(directory: &tempfile::TempDir) -> String {
        directory.path().join("dynamodb.sqlite").to_str().unwrap().to_owned()
    }

    /// A database with a table that has a stream.
    fn database(path: &str) -> Database {
        let database = open(path).unwrap();
        let table = json!({
            "TableName": TABLE,
            "AttributeDefinitions": [{ "AttributeName": "key", "AttributeType": "S" }],
            "KeySchema": [{ "AttributeName": "key", "KeyType": "HASH" }],
            "BillingMode": "PAY_PER_REQUEST",
            "StreamSpecification": { "StreamEnabled": true, "StreamViewType": "NEW_AND_OLD_IMAGES" },
        });
        database.create_table(request(table)).unwrap();
        database
    }

    fn put(value: u32) -> put_item::PutItemRequest {
        let item = json!({ "key": { "S": "CACHE_TTL_SEC" }, "value": { "N": value.to_string() } });
        request(json!({ "TableName": TABLE, "Item": item }))
    }

    /// Puts records of this age, in seconds, into the stream.
    fn fill(path: &str, records: u32, age: i64) {
        let created = Clock::System.now().timestamp() - age;
        let insert = "
            WITH RECURSIVE number(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM number WHERE n < ?1)
            INSERT INTO _stream_records (table_name, event_name, keys_json, sequence_number, shard_id, created_at)
            SELECT ?2, 'INSERT', '{}', COALESCE((SELECT MAX(id) FROM _stream_records), 0) + n, ?3, ?4 FROM number";
        Connection::open(path).unwrap().execute(insert, (records, TABLE, shard_id(TABLE), created)).unwrap();
    }

    fn records(path: &str) -> u32 {
        let count = "SELECT COUNT(*) FROM _stream_records";
        Connection::open(path).unwrap().query_row(count, (), |row| row.get(0)).unwrap()
    }

    /// The steps that `SQLite` takes to write an item, to read a page from mid-stream, and to read its oldest record.
    async fn steps(path: &str) -> [usize; 3] {
        let storage = Storage::new(path).unwrap();
        let counter = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&counter);
        storage.conn().progress_handler(
            1,
            Some(move || {
                count.fetch_add(1, Ordering::Relaxed);
                false
            }),
        );
        let taken = || counter.swap(0, Ordering::Relaxed);
        let read = |position, limit| GetRecordsRequest {
            shard_iterator: encode_shard_iterator(TABLE, &shard_id(TABLE), position),
            limit: Some(limit),
        };
        // The first statements read the schema, too.
        put_item::execute(&storage, put(1)).await.unwrap();
        taken();
        put_item::execute(&storage, put(2)).await.unwrap();
        let write = taken();
        assert_eq!(get_records::execute(&storage, read(50, 10)).await.unwrap().records.len(), 10);
        let page = taken();
        assert_eq!(get_records::execute(&storage, read(0, 1)).await.unwrap().records.len(), 1);
        [write, page, taken()]
    }

    #[tokio::test]
    async fn the_work_of_a_write_and_of_a_read_does_not_grow_with_the_stream() {
        let directory = tempfile::tempdir().unwrap();
        for path in [file(&directory), in_memory()] {
            let _database = database(&path);
            fill(&path, 100, 0);
            let short = steps(&path).await;
            fill(&path, 20_000, 0);
            assert_eq!(steps(&path).await, short, "{path}");
            assert!(short.iter().all(|steps| (1..500).contains(steps)), "{short:?}");
        }
    }

    #[test]
    fn a_write_removes_records_that_are_older_than_a_day_and_no_others() {
        let path = in_memory();
        let database = database(&path);
        fill(&path, 5, DAY + 60);
        fill(&path, 2, DAY - 60);
        for (value, left) in [(1, 6), (2, 5), (3, 5), (4, 6)] {
            database.put_item(put(value)).unwrap();
            assert_eq!(records(&path), left);
        }
    }

    /// The numbers of a stream continue from its newest record, however old that is.
    #[test]
    fn a_write_leaves_other_streams_alone() {
        let path = in_memory();
        let database = database(&path);
        fill(&path, 3, 2 * DAY);
        let rename = "UPDATE _stream_records SET table_name = 'Other'";
        Connection::open(&path).unwrap().execute(rename, ()).unwrap();
        database.put_item(put(1)).unwrap();
        assert_eq!(records(&path), 4);
    }

    #[test]
    fn a_stream_is_described_as_dynoxide_does_but_for_the_end_of_its_open_shard() {
        let database = database(&in_memory());
        let compare = |arn: &str| {
            let request = || request(json!({ "StreamArn": arn }));
            let json = |described: Result<DescribeStreamResponse>| {
                described.map_err(|error| error.to_json()).map(|described| serde_json::to_value(described).unwrap())
            };
            let ours = json(describe_stream(&database, request()));
            let mut theirs = json(database.describe_stream(request()));
            if let Ok(theirs) = &mut theirs {
                let range = theirs.pointer_mut("/StreamDescription/Shards/0/SequenceNumberRange").unwrap();
                range.as_object_mut().unwrap().remove("EndingSequenceNumber");
            }
            assert_eq!(ours, theirs);
            ours.is_ok()
        };
        let streams = database.list_streams(request(json!({}))).unwrap();
        let arn = serde_json::to_value(streams).unwrap()["Streams"][0]["StreamArn"].as_str().unwrap().to_owned();
        assert!(compare(&arn));
        for value in [1, 2] {
            database.put_item(put(value)).unwrap();
            assert!(compare(&arn));
        }
        assert!(!compare("arn:aws:dynamodb:dynoxide:000000000000:table/Other/stream/label"));
        assert!(!compare("no-arn"));
    }
}
