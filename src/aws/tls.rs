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

/// Amazon Root CA 1 to 4 and Starfield Services Root G2: all endpoints in AWS's public regions chain to one of them
/// (Amazon Trust Services repository). Reading the system's 140 certificates instead takes a good part of start-up
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

    /// How a server behaves.
    #[derive(Clone, Copy)]
    enum Server {
        /// As it should.
        Sound,
        /// Its certificate has expired.
        Expired,
        /// Its certificate is not valid yet.
        NotYetValid,
        /// Its certificate belongs to another host.
        OtherName,
        /// It closes its half of the connection instead of shaking hands.
        NoHandshake,
        /// It closes the connection in the middle of an answer that has a length.
        CutAnswer,
        /// It closes the connection at the end of an answer without a length, but sends no TLS close notification. An
        /// attacker who cuts the connection can do the same, so the answer may be incomplete.
        UnsaidEnd,
    }

    impl Server {
        /// Starts one on this machine, which answers one request. Returns its URL and its self-signed certificate.
        fn start(self) -> (String, String) {
            let name = if matches!(self, Self::OtherName) { "other.example" } else { "localhost" };
            let mut parameters = rcgen::CertificateParams::new(vec![name.to_owned()]).unwrap();
            match self {
                Self::Expired => parameters.not_after = rcgen::date_time_ymd(2015, 1, 1),
                Self::NotYetValid => parameters.not_before = rcgen::date_time_ymd(3000, 1, 1),
                _ => {}
            }
            let key = rcgen::KeyPair::generate().unwrap();
            let certificate = parameters.self_signed(&key).unwrap().der().clone();
            let base64 = base64::engine::general_purpose::STANDARD.encode(&certificate);
            let pem = format!("-----BEGIN CERTIFICATE-----\n{base64}\n-----END CERTIFICATE-----\n");
            let key = rustls::pki_types::PrivatePkcs8KeyDer::from(key.serialize_der());
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
                if matches!(self, Self::NoHandshake) {
                    connection.shutdown(std::net::Shutdown::Write).unwrap();
                    // Reads whatever arrives, until the client disconnects.
                    let _ = std::io::copy(&mut connection, &mut std::io::sink());
                    return;
                }
                let mut tls = rustls::ServerConnection::new(config.into()).unwrap();
                let mut stream = rustls::Stream::new(&mut tls, &mut connection);
                let answer: &[u8] = match self {
                    Self::CutAnswer => b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\n{}",
                    Self::UnsaidEnd => b"HTTP/1.1 200 OK\r\n\r\n{}",
                    _ => b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}",
                };
                // Reading fails if the client refuses the certificate, and then there is nothing to answer.
                if stream.read(&mut [0; 4096]).is_ok() {
                    let _ = stream.write_all(answer);
                }
            });
            (url, pem)
        }
    }

    /// Sends one request. Returns an error as text.
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

    fn assert_refused(result: Result<(), String>, reason: &str) {
        let error = result.expect_err(reason);
        assert!(error.contains(reason), "{error}");
    }

    /// No test can present an Amazon certificate; the test above shows that the roots are Amazon's.
    #[tokio::test]
    async fn an_unknown_certificate_is_refused() {
        for trust in [Trust::AmazonRoots, Trust::System] {
            assert_refused(get(&Server::Sound.start().0, trust).await, "UnknownIssuer");
        }
    }

    /// What the system's clients report for each server whose certificate the system trusts.
    const SERVERS: [(Server, Option<&str>); 7] = [
        (Server::Sound, None),
        (Server::Expired, Some("certificate expired")),
        (Server::NotYetValid, Some("certificate not valid yet")),
        (Server::OtherName, Some("certificate not valid for name \"localhost\"")),
        (Server::NoHandshake, Some("tls handshake eof")),
        (Server::CutAnswer, Some("close_notify")),
        (Server::UnsaidEnd, Some("close_notify")),
    ];

    /// `SSL_CERT_FILE` replaces the system's certificates. A process reads them once, so this test starts another.
    #[test]
    fn a_certificate_that_the_system_trusts_is_accepted_only_if_it_is_valid_and_by_clients_that_trust_the_system() {
        let servers = SERVERS.map(|(server, _)| server.start());
        let (other_url, other_pem) = Server::Sound.start();
        let pems: String = servers.iter().map(|(_, pem)| pem.as_str()).chain([other_pem.as_str()]).collect();
        let urls: Vec<&str> = servers.iter().map(|(url, _)| url.as_str()).chain([other_url.as_str()]).collect();
        let certificates = std::env::temp_dir().join(format!("config-audit-roots-{}.pem", std::process::id()));
        std::fs::write(&certificates, pems).unwrap();
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "--ignored", "aws::tls::tests::in_a_process_that_trusts_the_servers"])
            .env("SSL_CERT_FILE", &certificates)
            .env("TEST_SERVERS", urls.join(" "))
            .output()
            .unwrap();
        std::fs::remove_file(&certificates).unwrap();
        let output = String::from_utf8_lossy(&child.stdout);
        assert!(child.status.success() && output.contains("1 passed"), "{output}");
    }

    #[tokio::test]
    #[ignore = "the test above runs it in its own process"]
    #[allow(clippy::disallowed_methods, reason = "the test above passes the servers' URLs")]
    async fn in_a_process_that_trusts_the_servers() {
        let urls = std::env::var("TEST_SERVERS").unwrap();
        let urls: Vec<&str> = urls.split(' ').collect();
        for (url, (_, refusal)) in urls.iter().zip(SERVERS) {
            let result = get(url, Trust::System).await;
            match refusal {
                None => assert_eq!(result, Ok(())),
                Some(reason) => assert_refused(result, reason),
            }
        }
        assert_refused(get(urls[SERVERS.len()], Trust::AmazonRoots).await, "UnknownIssuer");
    }
}
