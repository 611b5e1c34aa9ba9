//! The UDP client of the X-Ray daemon.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use opentelemetry_aws::xray_exporter::{SegmentDocument, SegmentDocumentExporter};
use tokio::net::UdpSocket;

/// What stands before each document in a datagram (AWS X-Ray Developer Guide, "Sending segment documents to the X-Ray
/// daemon").
const HEADER: &str = "{\"format\": \"json\", \"version\": 1}\n";

/// Sends documents. Unlike the exporter's own client it waits while the socket is full, goes on after a document that could
/// not be sent, and counts.
#[derive(Debug, Clone)]
pub(super) struct Daemon {
    address: SocketAddr,
    offered: Arc<AtomicUsize>,
    sent: Arc<AtomicUsize>,
}

/// How many documents there were, in all the time of the process.
#[derive(Debug, Clone, Copy)]
pub(super) struct Counts {
    /// That the exporter had for the daemon.
    pub(super) offered: usize,
    /// That were sent.
    pub(super) sent: usize,
}

impl Daemon {
    pub(super) fn new(address: SocketAddr) -> Self {
        Self { address, offered: Arc::default(), sent: Arc::default() }
    }

    pub(super) fn counts(&self) -> Counts {
        Counts { offered: self.offered.load(Ordering::Relaxed), sent: self.sent.load(Ordering::Relaxed) }
    }
}

impl SegmentDocumentExporter for Daemon {
    type Error = std::io::Error;

    async fn export_segment_documents(&self, batch: Vec<SegmentDocument<'_>>) -> Result<(), Self::Error> {
        self.offered.fetch_add(batch.len(), Ordering::Relaxed);
        // Turned to text first: a document must not be held while the task waits.
        let datagrams: Vec<String> =
            batch.into_iter().map(|document| format!("{HEADER}{}", document.to_string())).collect();
        let any: SocketAddr =
            if self.address.is_ipv4() { (Ipv4Addr::UNSPECIFIED, 0).into() } else { (Ipv6Addr::UNSPECIFIED, 0).into() };
        // A new socket for each invocation: after Lambda has frozen and thawed the process, an old one may be dead.
        let socket = UdpSocket::bind(any).await?;
        socket.connect(self.address).await?;
        for datagram in datagrams {
            if socket.send(datagram.as_bytes()).await.is_ok() {
                self.sent.fetch_add(1, Ordering::Relaxed);
            }
        }
        Ok(())
    }
}
