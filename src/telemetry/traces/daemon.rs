//! The UDP client of the X-Ray daemon.

use std::convert::Infallible;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use opentelemetry_aws::xray_exporter::{SegmentDocument, SegmentDocumentExporter};
use tokio::net::UdpSocket;

/// What stands before each document in a datagram (AWS X-Ray Developer Guide, "Sending segment documents to the X-Ray
/// daemon").
const HEADER: &str = "{\"format\": \"json\", \"version\": 1}\n";

/// The largest datagram of UDP over IPv4, in bytes: header and document together stay below the 64 KB that X-Ray takes of a
/// document (AWS X-Ray Developer Guide, "AWS X-Ray segment documents").
const MAX_DATAGRAM: usize = 65_507;
/// As long as most documents of one span are.
const DOCUMENT: usize = 1024;
/// What a document needs at most besides itself to stand below its parent.
const SUBSEGMENTS: &str = r#","subsegments":["#;
/// What ends a document that has others below it.
const END: &str = "]}";

/// Sends documents. Unlike the exporter's own client it sends many spans as one document, waits while the socket is full, goes
/// on after a document that could not be sent, and counts.
#[derive(Debug, Clone)]
pub(super) struct Daemon {
    address: SocketAddr,
    /// What the exporter gave since the last [`Self::send`].
    packet: Arc<Mutex<Packet>>,
}

/// The datagrams in the making: the first document with all that fit into it, and each other on its own.
#[derive(Debug, Default)]
struct Packet {
    /// The header and the first document, open for the ones below it.
    nested: String,
    /// How many spans it has.
    spans: usize,
    apart: Vec<String>,
}

impl Daemon {
    pub(super) fn new(address: SocketAddr) -> Self {
        Self { address, packet: Arc::default() }
    }

    /// How many spans the exporter had for the daemon since the last [`Self::send`].
    pub(super) fn offered(&self) -> usize {
        let packet = self.packet();
        packet.spans + packet.apart.len()
    }

    /// Sends what the exporter gave. The first of its spans must be the parent of all others. Returns how many were sent.
    pub(super) async fn send(&self) -> usize {
        let packet = std::mem::take(&mut *self.packet());
        // A new socket each time: after Lambda has frozen and thawed the process, an old one may be dead.
        let Ok(socket) = self.socket().await else { return 0 };
        let mut sent = 0;
        for (datagram, spans) in packet.datagrams() {
            if socket.send(datagram.as_bytes()).await.is_ok() {
                sent += spans;
            }
        }
        sent
    }

    async fn socket(&self) -> io::Result<UdpSocket> {
        let any: SocketAddr =
            if self.address.is_ipv4() { (Ipv4Addr::UNSPECIFIED, 0).into() } else { (Ipv6Addr::UNSPECIFIED, 0).into() };
        let socket = UdpSocket::bind(any).await?;
        socket.connect(self.address).await?;
        Ok(socket)
    }

    fn packet(&self) -> MutexGuard<'_, Packet> {
        self.packet.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl SegmentDocumentExporter for Daemon {
    type Error = Infallible;

    async fn export_segment_documents(&self, batch: Vec<SegmentDocument<'_>>) -> Result<(), Self::Error> {
        let mut packet = self.packet();
        let mut json = Vec::with_capacity(DOCUMENT);
        for document in batch {
            json.clear();
            // A document can always be written as JSON, which is UTF-8.
            if serde_json::to_writer(&mut json, &document).is_ok()
                && let Ok(text) = std::str::from_utf8(&json)
            {
                packet.add(text);
            }
        }
        Ok(())
    }
}

impl Packet {
    fn add(&mut self, document: &str) {
        if self.spans == 0 {
            self.nested.reserve(MAX_DATAGRAM);
            self.nested.push_str(HEADER);
            self.nested.push_str(document.strip_suffix('}').unwrap_or(document));
        } else if self.nested.len() + SUBSEGMENTS.len() + document.len() + END.len() <= MAX_DATAGRAM {
            self.nested.push_str(if self.spans == 1 { SUBSEGMENTS } else { "," });
            push_within(&mut self.nested, document);
        } else {
            self.apart.push(format!("{HEADER}{document}"));
            return;
        }
        self.spans += 1;
    }

    /// The datagrams, and how many spans each has.
    fn datagrams(mut self) -> impl Iterator<Item = (String, usize)> {
        self.nested.push_str(if self.spans == 1 { "}" } else { END });
        let nested = (self.spans > 0).then_some((self.nested, self.spans));
        nested.into_iter().chain(self.apart.into_iter().map(|document| (document, 1)))
    }
}

/// Adds the document of a subsegment to that of its parent, without the members that only a document of its own needs
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
        let datagrams = |documents: &[String]| {
            let mut packet = Packet::default();
            for document in documents {
                packet.add(document);
            }
            packet.datagrams().collect::<Vec<_>>()
        };
        let many = datagrams(&[document("a"), document("b"), long.clone(), long.clone(), document("c")]);
        assert_eq!(many.iter().map(|(_, spans)| *spans).collect::<Vec<_>>(), [4, 1]);
        assert_eq!(many[1].0, format!("{HEADER}{long}"));
        assert_eq!(datagrams(&[document("a")]), [(format!("{HEADER}{}", document("a")), 1)]);
        assert_eq!(datagrams(&[]), []);
    }
}
