//! Opening the connection to DynamoDB before there is anything to write.

use std::future::poll_fn;
use std::task::Poll;

use aws_sdk_dynamodb::config::interceptors::BeforeTransmitInterceptorContextMut;
use aws_sdk_dynamodb::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_dynamodb::error::BoxError;
use aws_smithy_runtime_api::client::connection::CaptureSmithyConnection;
use aws_smithy_types::body::SdkBody;

/// Makes `GET /` of a request, without a body, an operation or credentials. Each endpoint of DynamoDB answers that it is
/// healthy: no table is asked, and nothing is counted as an error of the account's.
#[derive(Debug)]
pub(super) struct HealthCheck(CaptureSmithyConnection);

impl Intercept for HealthCheck {
    fn name(&self) -> &'static str {
        "HealthCheck"
    }

    fn modify_before_transmit(
        &self,
        context: &mut BeforeTransmitInterceptorContextMut<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let request = context.request_mut();
        request.set_method("GET")?;
        *request.body_mut() = SdkBody::empty();
        for name in
            ["authorization", "content-length", "content-type", "x-amz-date", "x-amz-security-token", "x-amz-target"]
        {
            request.headers_mut().remove(name);
        }
        request.add_extension(self.0.clone());
        Ok(())
    }
}

/// Sends the health check that `send` makes with this interceptor, until the connection is open. Returns the answer if it is
/// there by then; otherwise it is read while other work goes on, so that the connection can be used again.
pub(super) async fn open<T: Send + 'static, F>(send: impl FnOnce(HealthCheck) -> F) -> Option<T>
where
    F: Future<Output = T> + Send + 'static,
{
    let connection = CaptureSmithyConnection::new();
    let mut request = Box::pin(send(HealthCheck(connection.clone())));
    let answer = poll_fn(|context| match request.as_mut().poll(context) {
        Poll::Ready(answer) => Poll::Ready(Some(answer)),
        Poll::Pending if connection.get().is_some() => Poll::Ready(None),
        Poll::Pending => Poll::Pending,
    });
    let answer = answer.await;
    if answer.is_none() {
        tokio::spawn(request);
    }
    answer
}
