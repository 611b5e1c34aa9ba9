//! The root certificates that the function trusts.

use aws_smithy_http_client::tls::{Provider, TlsContext, TrustStore, rustls_provider::CryptoMode};
use aws_smithy_runtime_api::client::http::SharedHttpClient;

/// Which root certificates are trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trust {
    /// Amazon's own. They are enough for the endpoints of AWS's public regions.
    AmazonRoots,
    /// The system's, for custom endpoints and for partitions with other certificate authorities.
    System,
}

/// Amazon Root CA 1 to 4 and Starfield Services Root G2: all endpoints in AWS's public regions chain to one of them (Amazon
/// Trust Services repository). Reading the system's 140 certificates instead takes four fifths of the start-up time
/// (docs/decisions.md).
const AMAZON_ROOTS: &[u8] = include_bytes!("amazon-roots.pem");

/// An HTTP client for AWS's services.
///
/// # Errors
///
/// The TLS library does not accept its configuration.
pub fn http_client(trust: Trust) -> Result<SharedHttpClient, Box<dyn std::error::Error + Send + Sync>> {
    let roots = match trust {
        Trust::AmazonRoots => TrustStore::empty().with_pem_certificate(AMAZON_ROOTS),
        Trust::System => TrustStore::default(),
    };
    let context = TlsContext::builder().with_trust_store(roots).build()?;
    let provider = Provider::rustls(CryptoMode::Ring);
    Ok(aws_smithy_http_client::Builder::new().tls_provider(provider).tls_context(context).build_https())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::convert::Infallible;
    use std::io::{Read, Write};
    use std::net::TcpListener;
    use std::process::Command;

    use aws_smithy_runtime::client::orchestrator::operation::Operation;
    use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
    use aws_smithy_types::body::SdkBody;
    use aws_smithy_types::error::display::DisplayErrorContext;
    use base64::Engine;
    use sha2::{Digest, Sha256};

    /// The fingerprints are those that Amazon Trust Services publishes.
    #[test]
    fn the_roots_are_amazons() {
        let text = std::str::from_utf8(AMAZON_ROOTS).unwrap();
        let fingerprints: Vec<String> = text
            .split("-----BEGIN CERTIFICATE-----")
            .skip(1)
            .map(|block| {
                let base64: String = block.split("-----END").next().unwrap().split_whitespace().collect();
                let der = base64::engine::general_purpose::STANDARD.decode(base64).unwrap();
                crate::value::hex(&Sha256::digest(der))
            })
            .collect();
        assert_eq!(
            fingerprints,
            [
                "8ecde6884f3d87b1125ba31ac3fcb13d7016de7f57cc904fe1cb97c6ae98196e",
                "1ba5b2aa8c65401a82960118f80bec4f62304d83cec4713a19c39c011ea46db4",
                "18ce6cfe7bf14e60b2e347b8dfe868cb31d02ebb3ada271569f50343b46db3a4",
                "e35d28419ed02025cfa69038cd623962458da5c695fbdea3c22b0bfb25897092",
                "568d6905a2c88708a4b3025190edcfedb1974a606a13c6e5290fcb2ae63edab5",
            ]
        );
    }

    /// A server on this machine that answers one request. Returns its URL and its self-signed certificate.
    fn server() -> (String, String) {
        let identity = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        let certificate = identity.cert.der().clone();
        let base64 = base64::engine::general_purpose::STANDARD.encode(&certificate);
        let pem = format!("-----BEGIN CERTIFICATE-----\n{base64}\n-----END CERTIFICATE-----\n");
        let key = rustls::pki_types::PrivatePkcs8KeyDer::from(identity.signing_key.serialize_der());
        let config = rustls::ServerConfig::builder_with_provider(rustls::crypto::ring::default_provider().into())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate], key.into())
            .unwrap();
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let url = format!("https://localhost:{}", listener.local_addr().unwrap().port());
        std::thread::spawn(move || {
            let (mut connection, _) = listener.accept().unwrap();
            let mut tls = rustls::ServerConnection::new(config.into()).unwrap();
            let mut stream = rustls::Stream::new(&mut tls, &mut connection);
            // Reading fails if the client refuses the certificate. Then there is nothing to answer.
            if stream.read(&mut [0; 4096]).is_ok() {
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
            }
        });
        (url, pem)
    }

    /// Sends one request. The error is its text.
    async fn get(url: &str, trust: Trust) -> Result<(), String> {
        let operation = Operation::builder()
            .service_name("test")
            .operation_name("Get")
            .endpoint_url(url)
            .no_auth()
            .no_retry()
            .http_client(http_client(trust).unwrap())
            .serializer(|()| Ok(HttpRequest::new(SdkBody::empty())))
            .deserializer::<(), Infallible>(|_: &HttpResponse| Ok(()))
            .build();
        operation.invoke(()).await.map_err(|error| DisplayErrorContext(error).to_string())
    }

    fn assert_refused(result: Result<(), String>) {
        let error = result.expect_err("the certificate was accepted");
        assert!(error.contains("UnknownIssuer"), "{error}");
    }

    /// No test can present a certificate of Amazon's; the test above shows that the roots are Amazon's.
    #[tokio::test]
    async fn an_unknown_certificate_is_refused() {
        for trust in [Trust::AmazonRoots, Trust::System] {
            assert_refused(get(&server().0, trust).await);
        }
    }

    /// `SSL_CERT_FILE` replaces the system's certificates. A process reads them once, so this test starts another.
    #[test]
    fn a_certificate_that_the_system_trusts_is_accepted_only_by_clients_that_trust_the_system() {
        let (url, pem) = server();
        let (other_url, other_pem) = server();
        let certificates = std::env::temp_dir().join(format!("config-audit-roots-{}.pem", std::process::id()));
        std::fs::write(&certificates, pem + &other_pem).unwrap();
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "--ignored", "aws::tls::tests::in_a_process_that_trusts_the_servers"])
            .env("SSL_CERT_FILE", &certificates)
            .env("TEST_SERVERS", format!("{url} {other_url}"))
            .output()
            .unwrap();
        std::fs::remove_file(&certificates).unwrap();
        let output = String::from_utf8_lossy(&child.stdout);
        assert!(child.status.success() && output.contains("1 passed"), "{output}");
    }

    #[tokio::test]
    #[ignore = "the test above runs it, in a process of its own"]
    #[allow(clippy::disallowed_methods, reason = "the test above passes the servers' URLs")]
    async fn in_a_process_that_trusts_the_servers() {
        let urls = std::env::var("TEST_SERVERS").unwrap();
        let (url, other_url) = urls.split_once(' ').unwrap();
        assert_eq!(get(url, Trust::System).await, Ok(()));
        assert_refused(get(other_url, Trust::AmazonRoots).await);
    }
}
