//! Opens the connection to DynamoDB before there is anything to write.

use std::future::poll_fn;
use std::sync::{Arc, OnceLock};
use std::task::Poll;
use std::time::Duration;

use aws_sdk_dynamodb::config::interceptors::BeforeTransmitInterceptorContextMut;
use aws_sdk_dynamodb::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_dynamodb::error::BoxError;
use aws_smithy_runtime_api::client::connection::CaptureSmithyConnection;
use aws_smithy_types::body::SdkBody;
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// The time-out for the answer, the same as Lambda's limit for init. Nothing waits for it.
const ANSWER: Duration = Duration::from_secs(10);

/// The headers of an operation's request that a health check does not have.
const HEADERS: [&str; 6] =
    ["authorization", "content-length", "content-type", "x-amz-date", "x-amz-security-token", "x-amz-target"];

/// Turns a request into `GET /`, without a body, an operation or credentials. Every endpoint of DynamoDB answers that
/// it is healthy: the request reaches no table, and does not count as an error of the account.
#[derive(Debug)]
pub(super) struct HealthCheck(Arc<OnceLock<CaptureSmithyConnection>>);

impl Intercept for HealthCheck {
    fn name(&self) -> &'static str {
        "HealthCheck"
    }

    fn modify_before_transmit(
        &self,
        context: &mut BeforeTransmitInterceptorContextMut<'_>,
        _: &RuntimeComponents,
        config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let request = context.request_mut();
        request.set_method("GET")?;
        *request.body_mut() = SdkBody::empty();
        for name in HEADERS {
            request.headers_mut().remove(name);
        }
        // The SDK put it there, to close a connection that fails.
        if let Some(connection) = config.load::<CaptureSmithyConnection>() {
            let _ = self.0.set(connection.clone());
        }
        Ok(())
    }
}

/// Sends the health check that `send` makes with this interceptor, until the connection is open.
///
/// # Errors
///
/// The answer has not arrived yet. This task reads it while other work continues; then the connection can be reused.
pub(super) async fn open<T: Send + 'static, F>(send: impl FnOnce(HealthCheck) -> F) -> Result<T, JoinHandle<()>>
where
    F: Future<Output = T> + Send + 'static,
{
    let connection = Arc::default();
    let mut request = Box::pin(send(HealthCheck(Arc::clone(&connection))));
    let is_open = || connection.get().is_some_and(|connection| connection.get().is_some());
    let answer = poll_fn(|context| match request.as_mut().poll(context) {
        Poll::Ready(answer) => Poll::Ready(Some(answer)),
        Poll::Pending if is_open() => Poll::Ready(None),
        Poll::Pending => Poll::Pending,
    });
    match answer.await {
        Some(answer) => Ok(answer),
        None => Err(tokio::spawn(async {
            let _ = timeout(ANSWER, request).await;
        })),
    }
}

#[cfg(test)]
mod tests {
    use aws_config::BehaviorVersion;
    use aws_config::retry::RetryConfig;
    use aws_credential_types::Credentials;
    use aws_sdk_dynamodb::config::{Builder, Region, SharedCredentialsProvider};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};

    use super::*;
    use crate::aws::tls::{Trust, http_client};
    use crate::store::Store;
    use crate::store::dynamodb::DynamoDbStore;
    use crate::testing::entries;

    /// A store, and the listener that plays DynamoDB.
    async fn store() -> (DynamoDbStore, TcpListener) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let config = Builder::new()
            .behavior_version(BehaviorVersion::latest())
            .http_client(http_client(Trust::AmazonRoots).unwrap())
            .endpoint_url(format!("http://{}", listener.local_addr().unwrap()))
            .region(Region::from_static("eu-central-1"))
            .credentials_provider(SharedCredentialsProvider::new(Credentials::new(
                "a",
                "b",
                Some("c".into()),
                None,
                "test",
            )))
            .retry_config(RetryConfig::disabled())
            .build();
        (DynamoDbStore::new(aws_sdk_dynamodb::Client::from_conf(config), "Audit"), listener)
    }

    /// The head of the next request on a connection; its body is read, too.
    async fn request(connection: &mut TcpStream) -> String {
        let mut bytes = Vec::new();
        loop {
            let text = String::from_utf8_lossy(&bytes).into_owned();
            if let Some((head, body)) = text.split_once("\r\n\r\n") {
                let head = head.to_ascii_lowercase();
                let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
                if body.len() >= length.map_or(0, |length| length.parse().unwrap()) {
                    return head;
                }
            }
            assert_ne!(connection.read_buf(&mut bytes).await.unwrap(), 0, "the connection was closed after {text:?}");
        }
    }

    async fn answer(connection: &mut TcpStream, status: &str, body: &str) {
        let answer = format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n\r\n{body}", body.len());
        connection.write_all(answer.as_bytes()).await.unwrap();
    }

    #[tokio::test]
    async fn the_connection_is_open_before_the_answer_and_the_next_request_uses_it() {
        let (store, listener) = store().await;
        // The server only listens, so there is no answer when this returns.
        let answered = store.connect().await.unwrap().unwrap();
        let (mut connection, _) = listener.accept().await.unwrap();
        let head = request(&mut connection).await;
        assert!(head.starts_with("get / http/1.1"), "{head}");
        for name in HEADERS {
            assert!(!head.contains(&format!("\n{name}:")), "{head}");
        }
        answer(&mut connection, "200 OK", "healthy").await;
        answered.await.unwrap();
        let entries = entries(1);
        let entries = [&entries[0]];
        let writes = async {
            let head = request(&mut connection).await;
            assert!(head.starts_with("post / http/1.1") && head.contains("batchwriteitem"), "{head}");
            answer(&mut connection, "200 OK", r#"{"UnprocessedItems":{}}"#).await;
        };
        let (written, ()) = tokio::join!(store.put(&entries), writes);
        assert_eq!(written.unwrap().unprocessed, [0; 0]);
    }

    #[tokio::test]
    async fn any_answer_will_do_and_a_refused_connection_is_an_error() {
        let (store, listener) = store().await;
        for status in ["400 Bad Request", "503 Service Unavailable"] {
            let (connected, ()) = tokio::join!(store.connect(), async {
                let (mut connection, _) = listener.accept().await.unwrap();
                request(&mut connection).await;
                answer(&mut connection, status, "").await;
            });
            connected.unwrap();
        }
        drop(listener);
        let error = store.connect().await.unwrap_err();
        assert_eq!(error.code, "connection", "{error:?}");
    }
}
