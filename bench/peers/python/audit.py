"""The entries of a stream's record."""

import hashlib
import uuid
from datetime import datetime, timezone

from aws_lambda_powertools.utilities.data_classes.dynamo_db_stream_event import DynamoDBRecord, DynamoDBRecordEventName


def entries_of(record: DynamoDBRecord) -> list[dict]:
    change = record.dynamodb

    def entry(attribute: str | None, **values) -> dict:
        text = "\0".join([record.event_source_arn, record.event_id, attribute or ""])
        of_change = {
            # The same ID each time the record is delivered.
            "id": str(uuid.UUID(bytes=hashlib.sha256(text.encode()).digest()[:16], version=4)),
            "itemKey": change.keys["key"],
            "modificationTime": timestamp(change.approximate_creation_date_time),
            **values,
        }
        return of_change if attribute is None else {**of_change, "updatedAttribute": attribute}

    if record.event_name == DynamoDBRecordEventName.INSERT:
        return [entry(None, newValue=change.new_image)]
    if record.event_name == DynamoDBRecordEventName.REMOVE:
        return [entry(None, oldValue=change.old_image)]
    old, new = change.old_image, change.new_image
    return [
        entry(
            name,
            **({"oldValue": old[name]} if name in old else {}),
            **({"newValue": new[name]} if name in new else {}),
        )
        for name in sorted(old.keys() | new.keys())
        if name not in old or name not in new or old[name] != new[name]
    ]


def timestamp(seconds: float) -> str:
    moment = datetime.fromtimestamp(seconds, timezone.utc)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
