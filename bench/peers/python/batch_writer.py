"""Powertools and boto3's batch writer, which sends 25 entries a request and retries what is left unprocessed."""

import os

import boto3
from aws_lambda_powertools import Logger, Metrics, Tracer
from aws_lambda_powertools.metrics import MetricUnit
from aws_lambda_powertools.utilities.data_classes import DynamoDBStreamEvent, event_source
from audit import entries_of

logger = Logger()
metrics = Metrics()
tracer = Tracer()
table = boto3.resource("dynamodb").Table(os.environ["AUDIT_TABLE"])


@logger.inject_lambda_context
@tracer.capture_lambda_handler
@metrics.log_metrics
@event_source(data_class=DynamoDBStreamEvent)
def handler(event: DynamoDBStreamEvent, context) -> dict:
    failed, written = [], 0
    with table.batch_writer() as batch:
        for record in event.records:
            try:
                entries = entries_of(record)
            except Exception:
                logger.exception("a record cannot be audited", sequence_number=record.dynamodb.sequence_number)
                failed.append({"itemIdentifier": record.dynamodb.sequence_number})
                continue
            for entry in entries:
                batch.put_item(Item=entry)
            written += len(entries)
    metrics.add_metric(name="AuditsWritten", unit=MetricUnit.Count, value=written)
    metrics.add_metric(name="Failures", unit=MetricUnit.Count, value=len(failed))
    logger.info("batch audited", written=written, failed=len(failed))
    return {"batchItemFailures": failed}
