'use strict';

// What the template cannot say itself: which resources it has depends on the parameters.

const { record } = require('./before-deploy');

/** The stack neither creates nor changes existing tables. */
function leaveOutExistingTables({ Resources, Parameters }, { configurationStreamArn, existingAuditTable }) {
  if (existingAuditTable) delete Resources.AuditTable;
  if (configurationStreamArn) {
    delete Resources.ConfigurationTable;
    Parameters.ConfigurationTableName.Default = configurationStreamArn.split('/')[1]; // arn:aws:dynamodb:…:table/NAME/stream/…
  }
}

/** A resource that exists: whatever refers to it gets this name or ARN. */
function useExisting({ Resources, Parameters }, id, value) {
  if (!value) return;
  delete Resources[id];
  Parameters[id] = { Type: 'String', Default: value };
}

/** CloudFormation expects a dashboard's body as text, and substitutes names only in text. */
function writeDashboardsAsText({ Resources }) {
  for (const { Type, Properties } of Object.values(Resources)) {
    if (Type === 'AWS::CloudWatch::Dashboard') Properties.DashboardBody = { 'Fn::Sub': JSON.stringify(Properties.DashboardBody) };
  }
}

/** Changes the template of serverless.yml as these parameters want it. */
function adapt(template, parameters) {
  record(template, parameters);
  leaveOutExistingTables(template, parameters);
  useExisting(template, 'PageTopic', parameters.pageTopicArn);
  useExisting(template, 'NotifyTopic', parameters.notifyTopicArn);
  writeDashboardsAsText(template);
}

/**
 * CloudFormation creates the Audit table when all else is there. It is protected from deletion, so a deployment that fails
 * later could not be rolled back.
 */
function createAuditTableLast({ Resources }) {
  const { AuditTable: table, ...others } = Resources;
  if (!table) return;
  const referred = JSON.stringify(table.Properties);
  // A resource with a condition may not exist, and the table waits for what it refers to anyway.
  table.DependsOn = Object.keys(others).filter((id) => !others[id].Condition && !referred.includes(`"${id}"`));
}

module.exports = { adapt, createAuditTableLast };
