use std::sync::{Arc, Mutex};

use aws_config::{BehaviorVersion, Region};
use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_sdk_s3::config::RequestChecksumCalculation;
use aws_smithy_async::time::StaticTimeSource;
use aws_smithy_runtime_api::client::http::{HttpConnector, HttpConnectorFuture, SharedHttpConnector, http_client_fn};
use chrono::DateTime;

use super::*;

/// Captures each request instead of sending it, and answers with success.
#[derive(Debug, Clone, Default)]
struct Capture(Arc<Mutex<Vec<HttpRequest>>>);

impl HttpConnector for Capture {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        self.0.lock().unwrap().push(request);
        HttpConnectorFuture::ready(Ok(answer(200, Some("\"d41d8cd98f00b204e9800998ecf8427e\""))))
    }
}

fn answer(status: u16, etag: Option<&'static str>) -> HttpResponse {
    let mut response = HttpResponse::new(status.try_into().unwrap(), SdkBody::empty());
    if let Some(etag) = etag {
        response.headers_mut().insert("etag", etag);
    }
    response
}

/// Proxies and captive portals signal success in other ways.
#[test]
fn only_s3s_own_answer_confirms_that_an_object_is_stored() {
    let etag = Some("\"d41d8cd98f00b204e9800998ecf8427e\"");
    for (status, etag, is_stored) in [(200, etag, true), (200, None, false), (204, etag, false), (202, None, false)] {
        assert_eq!(response(&answer(status, etag)).is_ok(), is_stored, "{status} {etag:?}");
    }
}

impl Capture {
    /// The configuration of a client whose requests are captured here.
    fn config(&self, session_token: Option<&str>) -> SdkConfig {
        let connector = SharedHttpConnector::new(self.clone());
        let credentials = Credentials::new(
            "AKIDEXAMPLE",
            "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY",
            session_token.map(str::to_owned),
            None,
            "test",
        );
        SdkConfig::builder()
            .behavior_version(BehaviorVersion::v2026_01_12())
            .region(Region::new("eu-central-1"))
            .credentials_provider(SharedCredentialsProvider::new(credentials))
            .http_client(http_client_fn(move |_, _| connector.clone()))
            .time_source(StaticTimeSource::new(time().into()))
            .build()
    }

    /// The one request that was captured.
    fn request(&self) -> HttpRequest {
        let mut requests = self.0.lock().unwrap();
        assert_eq!(requests.len(), 1);
        requests.remove(0)
    }
}

fn time() -> DateTime<chrono::Utc> {
    DateTime::from_timestamp(1_726_045_348, 0).unwrap()
}

/// What a bucket answers if S3 refuses with this code.
async fn refused_with(status: u16, code: &'static str, purpose: Purpose) -> Result<(), BucketError> {
    let connector = SharedHttpConnector::new(Refuse(status, code));
    let config = Capture::default().config(None).to_builder();
    let config = config.http_client(http_client_fn(move |_, _| connector.clone())).build();
    S3Bucket::new(config, None, "witnesses", purpose, Clock::starting_at(time())).put("key", Vec::new()).await
}

/// Refuses each request with this status and code.
#[derive(Debug)]
struct Refuse(u16, &'static str);

impl HttpConnector for Refuse {
    fn call(&self, _: HttpRequest) -> HttpConnectorFuture {
        let body = format!("<Error><Code>{}</Code></Error>", self.1);
        HttpConnectorFuture::ready(Ok(HttpResponse::new(self.0.try_into().unwrap(), SdkBody::from(body))))
    }
}

/// The key of a witness contains the hash of its content, so an object that is already there is the same one.
#[tokio::test(start_paused = true)]
async fn a_witness_that_is_already_there_is_stored() {
    assert_eq!(refused_with(412, "PreconditionFailed", Purpose::Witness).await, Ok(()));
    for (status, code, purpose) in [
        (412, "PreconditionFailed", Purpose::Failures),
        (409, "ConditionalRequestConflict", Purpose::Witness),
        (403, "AccessDenied", Purpose::Witness),
    ] {
        let error = refused_with(status, code, purpose).await.unwrap_err();
        assert_eq!(error.code, code);
        assert!(error.message.contains(&format!("the {} witnesses", purpose.name())), "{error}");
    }
}

/// Where a request goes.
#[derive(Clone, Copy)]
struct Target {
    endpoint: Option<&'static str>,
    bucket: &'static str,
    purpose: Purpose,
}

/// The request of the SDK's S3 crate, without what the crate adds to ours before it signs: the length, headers about
/// itself, and a query that S3 ignores.
async fn request_of_the_sdk(target: Target, token: Option<&str>, key: &str, body: &[u8]) -> HttpRequest {
    let Target { endpoint, bucket, purpose } = target;
    let capture = Capture::default();
    let mut config = aws_sdk_s3::config::Builder::from(&capture.config(token))
        .request_checksum_calculation(RequestChecksumCalculation::WhenRequired);
    if let Some(endpoint) = endpoint {
        config = config.endpoint_url(endpoint).force_path_style(true);
    }
    let client = aws_sdk_s3::Client::from_conf(config.build());
    let mut put =
        client.put_object().bucket(bucket).key(key).content_type("application/json").body(body.to_vec().into());
    if purpose == Purpose::Witness {
        put = put.if_none_match("*").checksum_sha256(base64_text(&Sha256::digest(body)));
    }
    let reduce = |request: &mut HttpRequest| {
        let uri = request.uri().split('?').next().unwrap().to_owned();
        request.set_uri(uri).unwrap();
        for header in ["content-length", "x-amz-user-agent"] {
            request.headers_mut().remove(header);
        }
    };
    put.customize().mutate_request(reduce).send().await.unwrap();
    capture.request()
}

async fn our_request(target: Target, token: Option<&str>, key: &str, body: &[u8]) -> HttpRequest {
    let Target { endpoint, bucket, purpose } = target;
    let capture = Capture::default();
    let s3 = S3Bucket::new(capture.config(token), endpoint, bucket, purpose, Clock::starting_at(time()));
    s3.put(key, body.to_vec()).await.unwrap();
    capture.request()
}

/// The `Authorization` header contains all that S3 verifies: the date, the region, the service, the names of the signed
/// headers, and the signature over their values, the method, the path and the body's hash.
#[tokio::test(start_paused = true)]
async fn a_request_is_signed_as_the_sdk_signs_it() {
    let endpoint = Some("http://127.0.0.1:9000");
    for (endpoint, bucket, purpose) in [
        (None, "failures", Purpose::Failures),
        (None, "my.failures", Purpose::Failures),
        (endpoint, "failures", Purpose::Failures),
        (None, "witnesses", Purpose::Witness),
        (endpoint, "witnesses", Purpose::Witness),
    ] {
        for token in [None, Some("IQoJb3JpZ2luX2VjE//session+token==")] {
            for key in [
                "quarantined/Configuration/44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a.json",
                "omitted/a_b-c.D/97f346f54443196d55233e83d8b8f944.json",
                "a b+c&d=e?f#g%20h/ü/日本/~!*'();:@,$[]\"<>\\^`{|}",
                "a//b/./c/../d",
            ] {
                let body = br#"{"reason":"no_key"}"#;
                let target = Target { endpoint, bucket, purpose };
                let theirs = request_of_the_sdk(target, token, key, body).await;
                let ours = our_request(target, token, key, body).await;
                assert_eq!((ours.method(), ours.uri()), (theirs.method(), theirs.uri()));
                assert_eq!(ours.headers().get("authorization"), theirs.headers().get("authorization"), "{key}");
                for name in [
                    "content-type",
                    "if-none-match",
                    "x-amz-checksum-sha256",
                    "x-amz-content-sha256",
                    "x-amz-date",
                    "x-amz-security-token",
                ] {
                    assert_eq!(ours.headers().get(name), theirs.headers().get(name), "{name}");
                }
                assert_eq!(ours.headers().get("x-amz-security-token"), token);
                assert!(
                    ours.headers().get("authorization").unwrap().contains("/20240911/eu-central-1/s3/aws4_request")
                );
            }
        }
    }
}

#[test]
fn a_bucket_has_the_address_at_which_s3_serves_it() {
    for (endpoint, region, bucket, expected) in [
        (None, "eu-central-1", "failures", ("https://failures.s3.eu-central-1.amazonaws.com", "")),
        (None, "cn-north-1", "failures", ("https://failures.s3.cn-north-1.amazonaws.com.cn", "")),
        (None, "eusc-de-east-1", "failures", ("https://failures.s3.eusc-de-east-1.amazonaws.eu", "")),
        (None, "eu-central-1", "my.failures", ("https://s3.eu-central-1.amazonaws.com", "/my.failures")),
        (Some("http://127.0.0.1:9000/"), "eu-central-1", "failures", ("http://127.0.0.1:9000", "/failures")),
    ] {
        let Address { origin, path } = Address::new(endpoint, region, bucket);
        assert_eq!((origin.as_str(), path.as_str()), expected);
    }
}

#[test]
fn an_error_is_identified_by_its_code() {
    for (status, body, code) in [
        (403, "<Error><Code>AccessDenied</Code><Message>secret</Message></Error>", "AccessDenied"),
        (500, "", "Http500"),
        (400, "<Code>not a code, but secret</Code>", "Http400"),
    ] {
        let answer = HttpResponse::new(status.try_into().unwrap(), SdkBody::from(body));
        let error = response(&answer).unwrap_err();
        assert_eq!(error.as_operation_error(), Some(&PutError::Refused(code.to_owned())));
    }
}

#[test]
fn the_debug_form_of_a_request_does_not_show_the_record() {
    let put = Put { path: "/y".to_owned(), headers: vec![], body: b"secret".to_vec() };
    assert_eq!(format!("{put:?}"), r#"Put { path: "/y", .. }"#);
}
