'use strict';

// What Serverless cannot do by itself for this service. Each job has a file of its own; this one says when each is done.

const { existsSync, readFileSync } = require('fs');
const path = require('path');
const { whoIsTold } = require('./after-deploy');
const { compareParameters, look, lookAtReaders, lookAtTables, rollbackConfiguration } = require('./before-deploy');
const { buildArtifact } = require('./build');
const { isDenied } = require('./denied');
const { invokeLocal, takeOver } = require('./invoke-local');
const parameters = require('./parameters');
const { adapt, createAuditTableLast } = require('./template');

class ConfigAuditPlugin {
  constructor(serverless, options, { log }) {
    this.serverless = serverless;
    this.log = log;
    this.hooks = this.withErrors({
      'initialize': () => this.initialize(),
      'before:package:cleanup': () => this.beforeDeploy(), // `serverless deploy` packages first, which takes minutes.
      'before:package:createDeploymentArtifacts': () => this.build(),
      'after:aws:package:finalize:mergeCustomProviderResources': () => createAuditTableLast(serverless.service.provider.compiledCloudFormationTemplate),
      'before:deploy:deploy': () => this.beforeDeploy(), // With --package there is nothing to package.
      'after:deploy:deploy': () => this.afterDeploy(),
      'before:deploy:function:initialize': () => this.lookBefore(compareParameters),
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
    const given = { blocks: this.serverless.configurationInput.params, stage: this.provider.getStage(), commandLine: this.serverless.processedInput.options.param };
    this.parameters = parameters.valuesOf(given);
    const place = { service: this.serverless.service.service, stage: given.stage, region: this.provider.getRegion() };
    const problems = [...parameters.misnamed(given), ...parameters.wrong(this.parameters, place)];
    if (problems.length) throw new Error(problems.join('\n'));

    this.useArtifact();
    adapt(this.serverless.service.resources, this.parameters);
    if (this.serverless.processedInput.commands.join(' ') === 'invoke local') {
      takeOver(this.serverless, this.withError((aws) => invokeLocal(aws, this.parameters.store)));
    }
  }

  async beforeDeploy() {
    if (this.serverless.processedInput.commands.join(' ') !== 'deploy' || this.isReady) return;
    await this.lookBefore(compareParameters, lookAtTables, lookAtReaders);
    this.serverless.service.provider.rollbackConfiguration ??= await rollbackConfiguration(await this.connect(), {
      stack: this.provider.naming.getStackName(), minutes: Number(this.parameters.rollbackMinutes),
    });
    this.isReady = true;
  }

  async lookBefore(...things) {
    const { service, processedInput: { options } } = this.serverless;
    const { naming } = this.provider;
    const folder = options.package ?? service.package.path;
    const file = folder && path.resolve(this.serverless.serviceDir, folder, naming.getCompiledTemplateFileName());
    await look(await this.connect(), things, {
      stack: naming.getStackName(),
      functionName: service.getFunction('audit').name,
      planned: file ? JSON.parse(readFileSync(file, 'utf8')) : service.resources,
      confirmed: this.parameters.change?.split(','),
      warn: (text) => this.log.warning(text),
    });
  }

  async afterDeploy() {
    const given = { stack: this.provider.naming.getStackName(), region: this.provider.getRegion() };
    try {
      const lines = await whoIsTold(await this.connect(), given);
      for (const [section, line] of Object.entries(lines)) this.serverless.addServiceOutputSection(section, line);
    } catch (error) {
      if (!isDenied(error)) throw error;
      this.log.warning(`Whether anybody is paged is not known, because a permission is missing: ${error.message}`);
    }
  }

  connect() {
    const { connect } = require('./account'); // Here, because the SDK takes a second to load.
    this.account ??= connect(this.provider);
    return this.account;
  }

  get provider() {
    return this.serverless.getProvider('aws');
  }

  /** Where there is no toolchain, the function was built somewhere else. */
  useArtifact() {
    const { artifact } = this.parameters;
    if (!artifact) return;
    const file = path.resolve(artifact);
    if (!existsSync(file)) throw new Error(`the parameter artifact is "${artifact}"; there is no such file`);
    this.serverless.service.package.artifact = file;
  }

  async build() {
    if (!this.parameters.artifact) await buildArtifact(this.serverless.serviceDir, this.parameters.architecture, this.log);
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
