'use strict';

// What Lambda's managed runtime does for a handler, in the least of code: its own client of the Runtime API
// (`aws-lambda-ric`) is built with cmake and libcurl, which a machine may not have.

const http = require('node:http');
const { handler } = require('./handler.js');

const [hostname, port] = process.env.AWS_LAMBDA_RUNTIME_API.split(':');
const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });

const call = (method, path, body) => new Promise((resolve, reject) => {
  const request = http.request({ hostname, port, agent, method, path: `/2018-06-01/runtime/${path}` }, (response) => {
    const chunks = [];
    response.on('data', (chunk) => chunks.push(chunk));
    response.on('end', () => resolve({ headers: response.headers, body: Buffer.concat(chunks) }));
  });
  request.on('error', reject);
  request.end(body);
});

(async () => {
  for (;;) {
    const { headers, body } = await call('GET', 'invocation/next');
    const id = headers['lambda-runtime-aws-request-id'];
    const deadline = Number(headers['lambda-runtime-deadline-ms']);
    process.env._X_AMZN_TRACE_ID = headers['lambda-runtime-trace-id'];
    const context = {
      awsRequestId: id,
      callbackWaitsForEmptyEventLoop: true,
      functionName: process.env.AWS_LAMBDA_FUNCTION_NAME,
      functionVersion: process.env.AWS_LAMBDA_FUNCTION_VERSION,
      invokedFunctionArn: headers['lambda-runtime-invoked-function-arn'],
      logGroupName: process.env.AWS_LAMBDA_LOG_GROUP_NAME,
      logStreamName: process.env.AWS_LAMBDA_LOG_STREAM_NAME,
      memoryLimitInMB: process.env.AWS_LAMBDA_FUNCTION_MEMORY_SIZE,
      getRemainingTimeInMillis: () => deadline - Date.now(),
    };
    try {
      const answer = await handler(JSON.parse(body), context);
      await call('POST', `invocation/${id}/response`, JSON.stringify(answer));
    } catch (error) {
      const { name: errorType, message: errorMessage, stack } = error;
      const report = { errorType, errorMessage, stackTrace: stack.split('\n') };
      await call('POST', `invocation/${id}/error`, JSON.stringify(report));
    }
  }
})();
