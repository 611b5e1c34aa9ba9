'use strict';

// Queries the AWS account before and after a deployment.

const { CloudFormationClient, DescribeStacksCommand, GetTemplateCommand } = require('@aws-sdk/client-cloudformation');
const { DescribeTableCommand, DynamoDBClient } = require('@aws-sdk/client-dynamodb');
const { LambdaClient, paginateListEventSourceMappings } = require('@aws-sdk/client-lambda');
const { SNSClient, paginateListSubscriptionsByTopic } = require('@aws-sdk/client-sns');

/** An account, as the credentials and the region of Serverless's provider reach it. */
async function connect(provider) {
  // Only osls has this. With other versions, the SDK finds the same credentials, except those of `--aws-profile`.
  const config = (await provider.getAwsSdkV3Config?.()) ?? { region: provider.getRegion() };
  const [cloudFormation, dynamoDb, lambda, sns] = [CloudFormationClient, DynamoDBClient, LambdaClient, SNSClient]
    .map((Client) => new Client(config));
  return {
    /** The template that a stack was last deployed with; undefined if there is no such stack. */
    async template(stack) {
      // GetTemplate still answers for stacks deleted within 90 days.
      const exists = await undefinedIfAbsent(/does not exist/, cloudFormation.send(new DescribeStacksCommand({ StackName: stack })));
      if (!exists) return undefined;
      const { TemplateBody } = await cloudFormation.send(new GetTemplateCommand({ StackName: stack }));
      return JSON.parse(TemplateBody);
    },

    /** The outputs of a stack, by name. */
    async outputs(stack) {
      const { Stacks: [{ Outputs }] } = await cloudFormation.send(new DescribeStacksCommand({ StackName: stack }));
      return Object.fromEntries(Outputs.map(({ OutputKey, OutputValue }) => [OutputKey, OutputValue]));
    },

    /** A table; undefined if it does not exist. */
    async table(name) {
      const answer = await undefinedIfAbsent(/not found/i, dynamoDb.send(new DescribeTableCommand({ TableName: name })));
      return answer?.Table;
    },

    /** The ARNs of the functions that read a stream. */
    async readersOf(stream) {
      const mappings = await all(paginateListEventSourceMappings({ client: lambda }, { EventSourceArn: stream }), 'EventSourceMappings');
      return mappings.map(({ FunctionArn }) => FunctionArn);
    },

    /** The subscriptions of a topic, {protocol, endpoint, confirmed}; undefined if there is no such topic. */
    async subscriptionsOf(topic) {
      const pages = paginateListSubscriptionsByTopic({ client: sns }, { TopicArn: topic });
      const subscriptions = await undefinedIfAbsent(/does not exist/, all(pages, 'Subscriptions'));
      return subscriptions?.map(({ Protocol: protocol, Endpoint: endpoint, SubscriptionArn: arn }) => ({
        protocol, endpoint, confirmed: arn.startsWith('arn:'), // Until then, it is the text PendingConfirmation.
      }));
    },
  };
}

const ABSENT = ['ValidationError', 'ResourceNotFoundException', 'NotFoundException'];

/** The response to a request; undefined if it fails because something does not exist. */
async function undefinedIfAbsent(message, request) {
  try {
    return await request;
  } catch (error) {
    if (ABSENT.includes(error.name) && message.test(error.message)) return undefined;
    throw error;
  }
}

async function all(pages, member) {
  const items = [];
  for await (const page of pages) items.push(...(page[member] ?? []));
  return items;
}

module.exports = { connect };
