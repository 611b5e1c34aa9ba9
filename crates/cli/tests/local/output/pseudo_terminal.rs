//! A terminal that a test reads.

use std::fs::File;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::process::Stdio;
use std::thread::JoinHandle;

use rustix::pty::{OpenptFlags, grantpt, ioctl_tiocgptpeer, openpt, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

/// A terminal. What is written to it is read at once, so it never fills up.
pub(super) struct PseudoTerminal {
    slave: OwnedFd,
    written: JoinHandle<Vec<u8>>,
}

impl PseudoTerminal {
    pub(super) fn with_columns(columns: u16) -> Self {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY;
        let master = openpt(flags).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        let slave = ioctl_tiocgptpeer(&master, flags).unwrap();
        tcsetwinsize(&slave, Winsize { ws_row: 50, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 }).unwrap();
        let written = std::thread::spawn(move || {
            let (mut master, mut all, mut buffer) = (File::from(master), Vec::new(), [0; 4096]);
            // Reading fails once nobody has the other side open.
            while let Ok(length @ 1..) = master.read(&mut buffer) {
                all.extend_from_slice(&buffer[..length]);
            }
            all
        });
        Self { slave, written }
    }

    /// For a process's output.
    pub(super) fn output(&self) -> Stdio {
        self.slave.try_clone().unwrap().into()
    }

    /// Everything that was written, once every process that could write has ended.
    pub(super) fn into_text(self) -> String {
        drop(self.slave);
        String::from_utf8(self.written.join().unwrap()).unwrap()
    }
}
