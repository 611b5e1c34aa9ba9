"""Powertools' batch processor, as its documentation shows it: one record after the other, one request an entry."""

import os

import boto3
from aws_lambda_powertools import Logger, Metrics, Tracer
from aws_lambda_powertools.metrics import MetricUnit
from aws_lambda_powertools.utilities.batch import BatchProcessor, EventType, process_partial_response
from aws_lambda_powertools.utilities.data_classes.dynamo_db_stream_event import DynamoDBRecord
from audit import entries_of

processor = BatchProcessor(event_type=EventType.DynamoDBStreams)
logger = Logger()
metrics = Metrics()
tracer = Tracer()
table = boto3.resource("dynamodb").Table(os.environ["AUDIT_TABLE"])


@tracer.capture_method
def audit(record: DynamoDBRecord) -> None:
    entries = entries_of(record)
    for entry in entries:
        table.put_item(Item=entry)
    metrics.add_metric(name="AuditsWritten", unit=MetricUnit.Count, value=len(entries))


@logger.inject_lambda_context
@tracer.capture_lambda_handler
@metrics.log_metrics
def handler(event: dict, context) -> dict:
    answer = process_partial_response(event=event, record_handler=audit, processor=processor, context=context)
    logger.info("batch audited", failed=len(answer["batchItemFailures"]))
    return answer
