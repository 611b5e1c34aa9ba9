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
  writeDashboardsAsText(template);
}

module.exports = { adapt };
