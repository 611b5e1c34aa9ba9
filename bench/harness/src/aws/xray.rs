//! The X-Ray daemon: a UDP socket that counts what it receives.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};

/// How much the socket buffers, in bytes; the system may allow less. Nothing reads it while the clock runs.
const RECEIVE_BUFFER: usize = 8 << 20;

/// A daemon whose socket is read on demand.
#[derive(Debug)]
pub(crate) struct XrayDaemon {
    socket: UdpSocket,
}

/// The datagrams that a daemon has received.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Datagrams {
    /// Their number.
    pub(crate) count: u64,
    /// Their total size in bytes.
    pub(crate) bytes: u64,
}

impl XrayDaemon {
    /// Listens on 127.0.0.1, on a port that the system picks.
    ///
    /// # Errors
    /// When no port can be bound.
    pub(crate) fn start() -> io::Result<Self> {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
        socket.set_nonblocking(true)?;
        let forced = rustix::net::sockopt::set_socket_recv_buffer_size_force(&socket, RECEIVE_BUFFER);
        if forced.is_err() {
            rustix::net::sockopt::set_socket_recv_buffer_size(&socket, RECEIVE_BUFFER)?;
        }
        Ok(Self { socket })
    }

    /// The value of `AWS_XRAY_DAEMON_ADDRESS`.
    ///
    /// # Errors
    /// When the system does not report it.
    pub(crate) fn address(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// The datagrams received since the last call.
    pub(crate) fn take(&self) -> Datagrams {
        let mut buffer = vec![0; 65_535];
        let mut datagrams = Datagrams::default();
        while let Ok(length) = self.socket.recv(&mut buffer) {
            datagrams.count += 1;
            datagrams.bytes += length as u64;
        }
        datagrams
    }
}
