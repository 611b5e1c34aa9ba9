//! The X-Ray daemon: a UDP socket that receives segment documents. Nothing leaves the machine.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use serde_json::Value;
use tokio::net::UdpSocket;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use uuid::Uuid;

use crate::event::{EventBus, WorldEvent};

/// The size of the largest possible datagram, in bytes.
const MAX_DATAGRAM: usize = 65_535;
/// How much the socket buffers while nobody reads, in bytes; the system may allow less. The documents of a large batch
/// arrive at once, and the default has room for about a hundred.
const RECEIVE_BUFFER: usize = 4 << 20;
/// How long to wait for a marker before it is sent again: a full socket drops what arrives.
const MARKER_WAIT: Duration = Duration::from_millis(200);

/// A running daemon. It stops when dropped.
#[derive(Debug)]
pub(super) struct XrayDaemon {
    address: SocketAddr,
    /// The prefix of a marker; the number of its flush follows.
    marker: String,
    /// The number of the last flush.
    flushes: u64,
    /// The numbers of the markers that were received.
    received: mpsc::UnboundedReceiver<u64>,
    task: JoinHandle<()>,
}

impl XrayDaemon {
    /// Listens on 127.0.0.1, at a port that the system picks; publishes each document as
    /// [`WorldEvent::SegmentReceived`].
    ///
    /// # Errors
    /// When no port can be bound.
    pub(super) async fn start(bus: EventBus) -> io::Result<Self> {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let _ = rustix::net::sockopt::set_socket_recv_buffer_size(&socket, RECEIVE_BUFFER);
        let address = socket.local_addr()?;
        let marker = format!("marker {} ", Uuid::new_v4());
        let (sender, received) = mpsc::unbounded_channel();
        let expected = marker.clone();
        let task = tokio::spawn(async move {
            let mut buffer = vec![0; MAX_DATAGRAM];
            loop {
                // An error here is about one datagram (such as an ICMP answer to an earlier one), not about the socket.
                let Ok(length) = socket.recv(&mut buffer).await else { continue };
                let datagram = &buffer[..length];
                if let Some(number) = flush_number(datagram, &expected) {
                    let _ = sender.send(number);
                    continue;
                }
                bus.publish(match parse(datagram) {
                    Ok(document) => WorldEvent::SegmentReceived { document },
                    Err(reason) => WorldEvent::SegmentRejected { reason },
                });
            }
        });
        Ok(Self { address, marker, flushes: 0, received, task })
    }

    /// The value of `AWS_XRAY_DAEMON_ADDRESS`: host and port.
    #[must_use]
    pub(super) fn address(&self) -> String {
        self.address.to_string()
    }

    /// Returns when everything sent so far has been published. Datagrams on the loopback interface keep their order, so
    /// a marker sent now is received after all of them.
    ///
    /// A marker that is received late is sent again, and then received twice. So each flush has its own marker: the
    /// second copy must not end a later flush.
    ///
    /// # Errors
    /// When the marker cannot be sent.
    pub(super) async fn flush(&mut self) -> io::Result<()> {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        self.flushes += 1;
        let number = self.flushes;
        let marker = format!("{}{number}", self.marker);
        loop {
            socket.send_to(marker.as_bytes(), self.address).await?;
            let returned = async {
                while let Some(received) = self.received.recv().await {
                    if received == number {
                        return Ok(());
                    }
                }
                Err(io::Error::other("the X-Ray daemon has stopped"))
            };
            if let Ok(result) = timeout(MARKER_WAIT, returned).await {
                return result;
            }
        }
    }
}

impl Drop for XrayDaemon {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The number of the flush, if this datagram is its marker.
fn flush_number(datagram: &[u8], marker: &str) -> Option<u64> {
    str::from_utf8(datagram.strip_prefix(marker.as_bytes())?).ok()?.parse().ok()
}

/// A datagram is a header line, `{"format": "json", "version": 1}`, and the document.
fn parse(datagram: &[u8]) -> Result<Value, String> {
    let line_end = datagram.iter().position(|byte| *byte == b'\n').ok_or("no newline after the header")?;
    let (header, document) = (&datagram[..line_end], &datagram[line_end + 1..]);
    let header: Value =
        serde_json::from_slice(header).map_err(|error| format!("the header is not valid JSON: {error}"))?;
    if header["format"] != "json" || header["version"] != 1 {
        return Err(format!("the header is {header}, not {{\"format\":\"json\",\"version\":1}}"));
    }
    serde_json::from_slice(document).map_err(|error| format!("the document is not valid JSON: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_datagram_is_a_header_line_and_a_document() {
        let document = parse(b"{\"format\": \"json\", \"version\": 1}\n{\"id\":\"a\"}").unwrap();
        assert_eq!(document["id"], "a");
        for bad in
            ["", "{}", "{}\n{}", "{\"format\":\"json\",\"version\":2}\n{}", "{\"format\":\"json\",\"version\":1}\n{"]
        {
            assert!(parse(bad.as_bytes()).is_err(), "{bad:?}");
        }
    }

    const DOCUMENT: &[u8] = b"{\"format\":\"json\",\"version\":1}\n{\"id\":\"a\"}";

    #[tokio::test]
    async fn a_flush_returns_after_everything_sent_before_it() {
        let bus = EventBus::new();
        let mut events = bus.subscribe();
        let mut daemon = XrayDaemon::start(bus).await.unwrap();
        let client = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        client.send_to(DOCUMENT, daemon.address()).await.unwrap();
        client.send_to(b"nonsense", daemon.address()).await.unwrap();
        daemon.flush().await.unwrap();
        assert!(
            matches!(&*events.try_recv().unwrap(), WorldEvent::SegmentReceived { document } if document["id"] == "a")
        );
        assert!(matches!(&*events.try_recv().unwrap(), WorldEvent::SegmentRejected { .. }));
    }

    #[tokio::test]
    async fn a_marker_that_was_sent_twice_does_not_end_the_next_flush() {
        let bus = EventBus::new();
        let mut events = bus.subscribe();
        let mut daemon = XrayDaemon::start(bus).await.unwrap();
        let client = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        daemon.flush().await.unwrap();
        // The second copy of the first flush's marker, as a slow daemon receives it; the document shows when it has.
        client.send_to(format!("{}1", daemon.marker).as_bytes(), daemon.address()).await.unwrap();
        client.send_to(DOCUMENT, daemon.address()).await.unwrap();
        events.recv().await.unwrap();
        for _ in 0..3 {
            client.send_to(DOCUMENT, daemon.address()).await.unwrap();
            daemon.flush().await.unwrap();
            assert!(matches!(&*events.try_recv().unwrap(), WorldEvent::SegmentReceived { .. }));
        }
    }
}
