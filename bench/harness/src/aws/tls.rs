//! A certificate authority for `localhost`, created for each run.

use std::io;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio_rustls::TlsAcceptor;

/// The authority's certificate, and an acceptor for a server that it vouches for.
pub(crate) struct Tls {
    /// The authority's certificate, as PEM.
    pub(crate) authority: String,
    /// Accepts TLS connections.
    pub(crate) acceptor: TlsAcceptor,
}

impl Tls {
    /// Creates the authority, and the certificate of `localhost`.
    ///
    /// # Errors
    /// When a key cannot be generated.
    pub(crate) fn new() -> io::Result<Self> {
        let authority_key = KeyPair::generate().map_err(io::Error::other)?;
        let mut authority = CertificateParams::new(Vec::new()).map_err(io::Error::other)?;
        // OpenSSL considers a certificate self-signed if its issuer has the same name.
        authority.distinguished_name.push(DnType::CommonName, "authority of the bench");
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority_certificate = authority.self_signed(&authority_key).map_err(io::Error::other)?;
        let issuer = Issuer::new(authority, authority_key);

        let key = KeyPair::generate().map_err(io::Error::other)?;
        let server = CertificateParams::new(vec!["localhost".to_owned(), "127.0.0.1".to_owned()]);
        let certificate = server.and_then(|server| server.signed_by(&key, &issuer)).map_err(io::Error::other)?;
        let private_key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let config = ServerConfig::builder_with_provider(rustls::crypto::ring::default_provider().into())
            .with_safe_default_protocol_versions()
            .map_err(io::Error::other)?
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], private_key)
            .map_err(io::Error::other)?;
        Ok(Self { authority: authority_certificate.pem(), acceptor: TlsAcceptor::from(std::sync::Arc::new(config)) })
    }
}
