//! Which certificates the function trusts.

use aws_smithy_http_client::tls::{Provider, TlsContext, TrustStore, rustls_provider::CryptoMode};
use aws_smithy_runtime_api::client::http::SharedHttpClient;

/// Which root certificates are trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trust {
    /// Amazon's own: all that the endpoints of AWS's public regions need.
    AmazonRoots,
    /// The system's: for endpoints of one's own, and for partitions with other certificate authorities.
    System,
}

/// Amazon Root CA 1 to 4 and Starfield Services Root G2: the roots that all of AWS's endpoints chain to in its public
/// regions (Amazon Trust Services repository). Reading the system's 140 certificates instead takes four fifths of
/// start-up (docs/decisions.md).
const AMAZON_ROOTS: &[u8] = include_bytes!("amazon-roots.pem");

/// An HTTP client for AWS's services that trusts as `trust` says.
///
/// # Errors
///
/// Where the TLS library refuses its settings.
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

    #[test]
    fn a_client_can_be_made_either_way() {
        assert!(http_client(Trust::AmazonRoots).is_ok());
        assert!(http_client(Trust::System).is_ok());
    }
}
