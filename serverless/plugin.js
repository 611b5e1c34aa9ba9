'use strict';

// What Serverless cannot do on its own for this service. Each job has its own file; this one says when each runs.

const { existsSync } = require('fs');
const path = require('path');
const { describeRecipients } = require('./after-deploy');
const { runChecks, checkReaders, checkTables, checkTopics, rollbackConfiguration } = require('./before-deploy');
const { buildArtifact } = require('./build');
const { isDenied } = require('./denied');
const { invokeLocal, takeOver } = require('./invoke-local');
const parameters = require('./parameters');
const { compareParameters } = require('./remembered');
const { adapt, adaptFunctions, applyBoundary, createAuditTableLast, dropRepeatedDependency } = require('./template');

class ConfigAuditPlugin {
  constructor(serverless, options, { log }) {
    this.serverless = serverless;
    this.log = log;
    this.hooks = this.withErrors({
      'initialize': () => this.initialize(),
      'before:package:cleanup': () => this.beforeDeploy(), // `serverless deploy` packages first, which takes minutes.
      'before:package:createDeploymentArtifacts': () => this.build(),
      'after:aws:package:finalize:mergeCustomProviderResources': () => this.orderResources(),
      'after:deploy:deploy': () => this.afterDeploy(),
      'before:deploy:function:initialize': () => this.runDeploymentChecks(compareParameters),
      'before:package:function:package': () => this.build(), // `serverless deploy function`
    });
    this.giveDefaults();
  }

  // ---- every command ---------------------------------------------------------------------------------------------

  /** Serverless reads parameters only after it has created its plugins. */
  giveDefaults() {
    const { params } = this.serverless.configurationInput;
    for (const [name, value] of Object.entries(parameters.DEFAULTS)) {
      if (params?.default?.[name] === undefined) this.serverless.extendConfiguration(['params', 'default', name], value);
    }
  }

  initialize() {
    const { service, configurationInput: { params: blocks }, processedInput: { commands, options } } = this.serverless;
    const given = { blocks, stage: this.provider.getStage(), commandLine: options.param };
    this.parameters = parameters.valuesOf(given);
    const place = { service: service.service, stage: given.stage, region: this.provider.getRegion() };
    const problems = [...parameters.nameProblems(given), ...parameters.valueProblems(this.parameters, place)];
    if (problems.length) throw new Error(problems.join('\n'));

    this.useArtifact();
    adapt(service.resources, this.parameters);
    adaptFunctions(service.functions, this.parameters);
    if (commands.join(' ') === 'invoke local') {
      takeOver(this.serverless, this.withError((aws) => invokeLocal(aws, this.parameters.store)));
    }
  }

  // ---- package ---------------------------------------------------------------------------------------------------

  /** Uses a function that was built elsewhere, so that no toolchain is needed. */
  useArtifact() {
    const { artifact } = this.parameters;
    if (!artifact) return;
    const file = path.resolve(artifact);
    if (!existsSync(file)) throw new Error(`the parameter artifact is "${artifact}"; there is no such file`);
    this.serverless.service.package.artifact = file;
  }

  async build() {
    const { artifact, architecture } = this.parameters;
    if (!artifact) await buildArtifact(this.serverless.serviceDir, architecture, this.log);
  }

  orderResources() {
    const { compiledCloudFormationTemplate: template } = this.serverless.service.provider;
    applyBoundary(template);
    dropRepeatedDependency(template);
    createAuditTableLast(template);
  }

  // ---- deploy ----------------------------------------------------------------------------------------------------

  async beforeDeploy() {
    const { service, processedInput: { commands } } = this.serverless;
    if (commands.join(' ') !== 'deploy') return;
    await this.runDeploymentChecks(compareParameters, checkTables, checkTopics, checkReaders);
    service.provider.rollbackConfiguration ??= await rollbackConfiguration(await this.connect(), {
      stack: this.stack, minutes: Number(this.parameters.rollbackMinutes),
    });
  }

  async runDeploymentChecks(...checks) {
    const { service } = this.serverless;
    await runChecks(await this.connect(), checks, {
      stack: this.stack,
      functionNames: service.getAllFunctionsNames(),
      planned: service.resources,
      confirmed: this.parameters.change?.split(','),
      warn: (text) => this.log.warning(text),
    });
  }

  async afterDeploy() {
    try {
      const lines = await describeRecipients(await this.connect(), {
        stack: this.stack, region: this.provider.getRegion(), parameters: this.parameters,
      });
      for (const [section, line] of Object.entries(lines)) this.serverless.addServiceOutputSection(section, line);
    } catch (error) {
      if (!isDenied(error)) throw error;
      this.log.warning(`Cannot tell whether anyone is paged, because a permission is missing: ${error.message}`);
    }
  }

  // ---- helpers ---------------------------------------------------------------------------------------------------

  get provider() {
    return this.serverless.getProvider('aws');
  }

  get stack() {
    return this.provider.naming.getStackName();
  }

  connect() {
    const { connect } = require('./account'); // Loaded here, because loading the SDK takes a second.
    this.account ??= connect(this.provider);
    return this.account;
  }

  /** Serverless prints a stack trace for every error except its own. */
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
