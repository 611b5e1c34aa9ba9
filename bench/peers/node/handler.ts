// Powertools and the AWS SDK v3: 25 entries a request, all requests at once.

import { createHash } from 'node:crypto';
import { isDeepStrictEqual } from 'node:util';
import { injectLambdaContext } from '@aws-lambda-powertools/logger/middleware';
import { Logger } from '@aws-lambda-powertools/logger';
import { logMetrics } from '@aws-lambda-powertools/metrics/middleware';
import { Metrics, MetricUnit } from '@aws-lambda-powertools/metrics';
import { captureLambdaHandler } from '@aws-lambda-powertools/tracer/middleware';
import { Tracer } from '@aws-lambda-powertools/tracer';
import { type AttributeValue, BatchWriteItemCommand, DynamoDBClient, type WriteRequest } from '@aws-sdk/client-dynamodb';
import middy from '@middy/core';
import type { DynamoDBBatchResponse, DynamoDBRecord, DynamoDBStreamEvent } from 'aws-lambda';

type Item = Record<string, AttributeValue>;
type Entry = { sequenceNumber: string; item: Item };

const ENTRIES_IN_A_REQUEST = 25;
const RETRIES = 5;

const logger = new Logger();
const metrics = new Metrics();
const tracer = new Tracer();
const client = tracer.captureAWSv3Client(new DynamoDBClient({}));
const table = process.env.AUDIT_TABLE!;

export const handler = middy(async (event: DynamoDBStreamEvent): Promise<DynamoDBBatchResponse> => {
  const failed = new Set<string>();
  const entries: Entry[] = [];
  for (const record of event.Records) {
    const sequenceNumber = record.dynamodb!.SequenceNumber!;
    try {
      for (const item of entriesOf(record)) entries.push({ sequenceNumber, item });
    } catch (error) {
      logger.error('a record cannot be audited', { sequenceNumber, error: error as Error });
      failed.add(sequenceNumber);
    }
  }
  const chunks: Entry[][] = [];
  for (let start = 0; start < entries.length; start += ENTRIES_IN_A_REQUEST) {
    chunks.push(entries.slice(start, start + ENTRIES_IN_A_REQUEST));
  }
  await Promise.all(chunks.map(async (chunk) => {
    try {
      await write(chunk.map(({ item }) => ({ PutRequest: { Item: item } })));
    } catch (error) {
      logger.error('entries cannot be written', { error: error as Error });
      for (const { sequenceNumber } of chunk) failed.add(sequenceNumber);
    }
  }));
  metrics.addMetric('AuditsWritten', MetricUnit.Count, entries.length);
  metrics.addMetric('Failures', MetricUnit.Count, failed.size);
  logger.info('batch audited', { written: entries.length, failed: failed.size });
  return { batchItemFailures: [...failed].map((itemIdentifier) => ({ itemIdentifier })) };
})
  .use(injectLambdaContext(logger))
  .use(captureLambdaHandler(tracer))
  .use(logMetrics(metrics));

/** The entries of a record: its images are what the SDK sends, so values stay as they came. */
function entriesOf(record: DynamoDBRecord): Item[] {
  const change = record.dynamodb!;
  const { S, N, B } = change.Keys!.key;
  const entry = (attribute: string | undefined, values: Item): Item => ({
    id: { S: entryId(record, attribute ?? '') },
    itemKey: { S: (S ?? N ?? B)! },
    modificationTime: { S: new Date(change.ApproximateCreationDateTime! * 1000).toISOString() },
    ...(attribute === undefined ? {} : { updatedAttribute: { S: attribute } }),
    ...values,
  });
  const oldImage = (change.OldImage ?? {}) as Item;
  const newImage = (change.NewImage ?? {}) as Item;
  switch (record.eventName) {
    case 'INSERT': return [entry(undefined, { newValue: { M: newImage } })];
    case 'REMOVE': return [entry(undefined, { oldValue: { M: oldImage } })];
    default: return [...new Set([...Object.keys(oldImage), ...Object.keys(newImage)])]
      .filter((name) => !isDeepStrictEqual(oldImage[name], newImage[name]))
      .map((name) => entry(name, {
        ...(name in oldImage ? { oldValue: oldImage[name] } : {}),
        ...(name in newImage ? { newValue: newImage[name] } : {}),
      }));
  }
}

async function write(requests: WriteRequest[]): Promise<void> {
  for (let retry = 0; requests.length > 0; retry += 1) {
    if (retry > RETRIES) throw new Error(`${requests.length} entries are still unprocessed`);
    if (retry > 0) await new Promise((resolve) => setTimeout(resolve, 50 * 2 ** retry));
    const { UnprocessedItems } = await client.send(new BatchWriteItemCommand({ RequestItems: { [table]: requests } }));
    requests = UnprocessedItems?.[table] ?? [];
  }
}

/** The same ID each time a record is delivered, in the form of a UUID of version 4. */
function entryId({ eventSourceARN, eventID }: DynamoDBRecord, attribute: string): string {
  const bytes = createHash('sha256').update(`${eventSourceARN}\0${eventID}\0${attribute}`).digest().subarray(0, 16);
  bytes[6] = (bytes[6] & 0x0f) | 0x40;
  bytes[8] = (bytes[8] & 0x3f) | 0x80;
  return bytes.toString('hex').replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5');
}
