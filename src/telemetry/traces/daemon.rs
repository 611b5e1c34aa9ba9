//! The UDP client of the X-Ray daemon.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use opentelemetry_aws::xray_exporter::{SegmentDocument, SegmentDocumentExporter};
use tokio::net::UdpSocket;

/// What stands before each document in a datagram (AWS X-Ray Developer Guide, "Sending segment documents to the X-Ray
/// daemon").
const HEADER: &str = "{\"format\": \"json\", \"version\": 1}\n";

/// The largest document that X-Ray takes, in bytes (AWS X-Ray Developer Guide, "AWS X-Ray segment documents"), less the
/// [`HEADER`], so that both fit a datagram.
const MAX_DOCUMENT: usize = 64 * 1024 - 64;

/// Sends documents. Unlike the exporter's own client it sends many spans as one document, waits while the socket is full, goes
/// on after a document that could not be sent, and counts.
#[derive(Debug, Clone)]
pub(super) struct Daemon {
    address: SocketAddr,
    offered: Arc<AtomicUsize>,
    sent: Arc<AtomicUsize>,
}

/// How many spans there were, in all the time of the process.
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

    /// The first document of a batch is that of the parent of all others.
    async fn export_segment_documents(&self, batch: Vec<SegmentDocument<'_>>) -> Result<(), Self::Error> {
        self.offered.fetch_add(batch.len(), Ordering::Relaxed);
        // Turned to text first: a document must not be held while the task waits.
        let datagrams = nested(batch.into_iter().map(|document| document.to_string()));
        let any: SocketAddr =
            if self.address.is_ipv4() { (Ipv4Addr::UNSPECIFIED, 0).into() } else { (Ipv6Addr::UNSPECIFIED, 0).into() };
        // A new socket for each invocation: after Lambda has frozen and thawed the process, an old one may be dead.
        let socket = UdpSocket::bind(any).await?;
        socket.connect(self.address).await?;
        for (datagram, spans) in datagrams {
            if socket.send(datagram.as_bytes()).await.is_ok() {
                self.sent.fetch_add(spans, Ordering::Relaxed);
            }
        }
        Ok(())
    }
}

/// The datagrams for these documents, and how many spans each has: the first document with all that fit into it, and each
/// other on its own.
fn nested(mut documents: impl Iterator<Item = String>) -> Vec<(String, usize)> {
    let Some(parent) = documents.next() else { return Vec::new() };
    let Some(open) = parent.strip_suffix('}') else { return Vec::new() };
    let mut nested = String::with_capacity(MAX_DOCUMENT);
    nested.extend([HEADER, open]);
    let (mut spans, mut apart) = (1, Vec::new());
    for document in documents {
        if nested.len() + document.len() + 32 > MAX_DOCUMENT {
            apart.push((format!("{HEADER}{document}"), 1));
            continue;
        }
        nested.push_str(if spans == 1 { r#","subsegments":["# } else { "," });
        push_within(&mut nested, &document);
        spans += 1;
    }
    nested.push_str(if spans == 1 { "}" } else { "]}" });
    apart.insert(0, (nested, spans));
    apart
}

/// Adds the document of a subsegment to that of its parent, without the members that only one apart from its parent needs
/// (AWS X-Ray Developer Guide, "AWS X-Ray segment documents"): a sixth of its size. Their values are texts without quotes, and a
/// quote within another text has a backslash before it.
fn push_within(parent: &mut String, document: &str) {
    let mut cuts = [r#""type":""#, r#""trace_id":""#, r#""parent_id":""#].map(|member| {
        let start = document.find(member)?;
        let value = start + member.len();
        let end = value + document[value..].find('"')? + 1;
        Some(start..if document[end..].starts_with(',') { end + 1 } else { end })
    });
    cuts.sort_unstable_by_key(|cut| cut.as_ref().map(|cut| cut.start));
    let mut from = 0;
    for cut in cuts.into_iter().flatten() {
        parent.push_str(&document[from..cut.start]);
        from = cut.end;
    }
    parent.push_str(&document[from..]);
    // The last member may be gone, and the comma before it is not.
    if parent.ends_with(",}") {
        parent.truncate(parent.len() - 2);
        parent.push('}');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subsegment_within_its_parent_does_not_say_whose_it_is() {
        for (apart, within) in [
            (r#"{"name":"a","type":"subsegment","trace_id":"1-2-3","parent_id":"4"}"#, r#"{"name":"a"}"#),
            (
                r#"{"type":"subsegment","parent_id":"4","name":"a","trace_id":"1-2-3","id":"5"}"#,
                r#"{"name":"a","id":"5"}"#,
            ),
            (r#"{"name":"\"type\":\"x\","}"#, r#"{"name":"\"type\":\"x\","}"#),
        ] {
            let mut parent = String::from("[");
            push_within(&mut parent, apart);
            assert_eq!(parent, format!("[{within}"));
        }
    }

    #[test]
    fn what_does_not_fit_is_sent_apart() {
        let document = |name: &str| format!(r#"{{"name":"{name}","type":"subsegment"}}"#);
        let long = document(&"x".repeat(60_000));
        let datagrams = nested([document("a"), document("b"), long.clone(), long.clone(), document("c")].into_iter());
        assert_eq!(datagrams.iter().map(|(_, spans)| *spans).collect::<Vec<_>>(), [4, 1]);
        assert_eq!(datagrams[1].0, format!("{HEADER}{long}"));
        assert_eq!(nested([document("a")].into_iter()), [(format!("{HEADER}{}", document("a")), 1)]);
        assert_eq!(nested(std::iter::empty()), []);
    }
}
