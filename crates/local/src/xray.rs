//! The X-Ray daemon: a UDP socket that takes segment documents. Nothing leaves the machine.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use serde_json::Value;
use tokio::net::UdpSocket;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::happening::{Happening, Happenings};

/// The largest datagram there is.
const DATAGRAM: usize = 65_535;
/// What the socket is to hold while nobody reads, in bytes; the system may allow less. A large batch's documents come at
/// once, and the default has room for about a hundred.
const RECEIVE_BUFFER: usize = 4 << 20;
/// How long to wait for a marker before it is sent again: a full socket drops what arrives.
const MARKER_WAIT: Duration = Duration::from_millis(200);

/// A running daemon. It ends when dropped.
#[derive(Debug)]
pub struct XrayDaemon {
    address: SocketAddr,
    marker: String,
    marks: mpsc::UnboundedReceiver<()>,
    task: JoinHandle<()>,
}

impl XrayDaemon {
    /// Listens on 127.0.0.1, at a port that the system picks; tells each document as [`Happening::SegmentReceived`].
    ///
    /// # Errors
    /// When no port can be bound.
    pub async fn start(happenings: Happenings) -> io::Result<Self> {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let _ = rustix::net::sockopt::set_socket_recv_buffer_size(&socket, RECEIVE_BUFFER);
        let address = socket.local_addr()?;
        let marker = uuid::Uuid::new_v4().to_string();
        let (mark, marks) = mpsc::unbounded_channel();
        let expected = marker.clone();
        let task = tokio::spawn(async move {
            let mut buffer = vec![0; DATAGRAM];
            loop {
                // An error here is about one datagram (such as an ICMP answer to an earlier one), not about the socket.
                let Ok(length) = socket.recv(&mut buffer).await else { continue };
                let datagram = &buffer[..length];
                if datagram == expected.as_bytes() {
                    let _ = mark.send(());
                    continue;
                }
                happenings.tell(match parse(datagram) {
                    Ok(document) => Happening::SegmentReceived { document },
                    Err(why) => Happening::SegmentRefused { why },
                });
            }
        });
        Ok(Self { address, marker, marks, task })
    }

    /// The value of `AWS_XRAY_DAEMON_ADDRESS`: host and port.
    #[must_use]
    pub fn address(&self) -> String {
        self.address.to_string()
    }

    /// Returns when everything sent so far has been told: datagrams on the loopback interface keep their order, so a
    /// marker of our own comes after all of it.
    ///
    /// # Errors
    /// When the marker can't be sent.
    pub async fn flush(&mut self) -> io::Result<()> {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        loop {
            socket.send_to(self.marker.as_bytes(), self.address).await?;
            if tokio::time::timeout(MARKER_WAIT, self.marks.recv()).await.is_ok() {
                return Ok(());
            }
        }
    }
}

impl Drop for XrayDaemon {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A datagram is a header line, `{"format": "json", "version": 1}`, and the document.
fn parse(datagram: &[u8]) -> Result<Value, String> {
    let line_end = datagram.iter().position(|byte| *byte == b'\n').ok_or("no line end after the header")?;
    let (header, document) = (&datagram[..line_end], &datagram[line_end + 1..]);
    let header: Value = serde_json::from_slice(header).map_err(|error| format!("the header is no JSON: {error}"))?;
    if header["format"] != "json" || header["version"] != 1 {
        return Err(format!("the header is {header}, not {{\"format\":\"json\",\"version\":1}}"));
    }
    serde_json::from_slice(document).map_err(|error| format!("the document is no JSON: {error}"))
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

    #[tokio::test]
    async fn a_flush_returns_after_everything_sent_before_it() {
        let happenings = Happenings::new();
        let mut heard = happenings.subscribe();
        let mut daemon = XrayDaemon::start(happenings).await.unwrap();
        let client = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        client.send_to(b"{\"format\":\"json\",\"version\":1}\n{\"id\":\"a\"}", daemon.address()).await.unwrap();
        client.send_to(b"nonsense", daemon.address()).await.unwrap();
        daemon.flush().await.unwrap();
        assert!(
            matches!(&*heard.try_recv().unwrap(), Happening::SegmentReceived { document } if document["id"] == "a")
        );
        assert!(matches!(&*heard.try_recv().unwrap(), Happening::SegmentRefused { .. }));
    }
}
