'use strict';

// What Serverless cannot do by itself for this service. Each job has a file of its own; this one says when each is done.

const { buildArtifact } = require('./build');
const { invokeLocal, takeOver } = require('./invoke-local');
const parameters = require('./parameters');
const { adapt } = require('./template');

class ConfigAuditPlugin {
  constructor(serverless, options, { log }) {
    this.serverless = serverless;
    this.log = log;
    this.hooks = this.withErrors({
      'initialize': () => this.initialize(),
      'before:package:createDeploymentArtifacts': () => this.build(),
      'before:package:function:package': () => this.build(), // `serverless deploy function`
    });
    this.giveDefaults();
  }

  /** Serverless asks for parameters only after its plugins were made. */
  giveDefaults() {
    const { params } = this.serverless.configurationInput;
    for (const [name, value] of Object.entries(parameters.DEFAULTS)) {
      if (params?.default?.[name] === undefined) this.serverless.extendConfiguration(['params', 'default', name], value);
    }
  }

  initialize() {
    const provider = this.serverless.getProvider('aws');
    const given = { blocks: this.serverless.configurationInput.params, stage: provider.getStage(), commandLine: this.serverless.processedInput.options.param };
    this.parameters = parameters.valuesOf(given);
    const place = { service: this.serverless.service.service, stage: given.stage, region: provider.getRegion() };
    const problems = [...parameters.unknown(given), ...parameters.wrong(this.parameters, place)];
    if (problems.length) throw new Error(problems.join('\n'));

    adapt(this.serverless.service.resources, this.parameters);
    if (this.serverless.processedInput.commands.join(' ') === 'invoke local') {
      takeOver(this.serverless, this.withError((aws) => invokeLocal(aws, this.parameters.store)));
    }
  }

  build() {
    return buildArtifact(this.serverless.serviceDir, this.parameters.architecture, this.log);
  }

  /** Serverless prints a stack trace of every error but its own. */
  withError(action) {
    return async (...given) => {
      try {
        return await action(...given);
      } catch (error) {
        const { Error: ServerlessError } = this.serverless.classes;
        throw error.constructor === Error ? new ServerlessError(error.message, 'CONFIG_AUDIT') : error;
      }
    };
  }

  withErrors(hooks) {
    return Object.fromEntries(Object.entries(hooks).map(([event, action]) => [event, this.withError(action)]));
  }
}

module.exports = ConfigAuditPlugin;
