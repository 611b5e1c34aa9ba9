//! What the function's process prints: each line becomes an event.

use std::io::{self, PipeWriter, Write};
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::unix::pipe;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use uuid::Uuid;

use crate::event::{EventBus, LogSource, WorldEvent};

/// Both outputs of a process.
///
/// We keep the writing ends too: a marker that we write comes out after everything that the process wrote before it.
/// That is how [`Output::flush`] knows that all lines have been published.
#[derive(Debug)]
pub(super) struct Output {
    pipes: [Pipe; 2],
    last_line: Arc<Mutex<Option<String>>>,
}

#[derive(Debug)]
struct Pipe {
    writer: PipeWriter,
    marker: String,
    /// One item for each marker that was read.
    markers: mpsc::UnboundedReceiver<()>,
    task: JoinHandle<()>,
}

impl Output {
    /// Starts reading two new pipes, and returns their writing ends for the process's standard output and error.
    pub(super) fn start(bus: &EventBus) -> io::Result<(Self, Stdio, Stdio)> {
        let last_line = Arc::default();
        let stdout = Pipe::start(LogSource::Stdout, bus, &last_line)?;
        let stderr = Pipe::start(LogSource::Stderr, bus, &last_line)?;
        let (to_stdout, to_stderr) = (stdout.writer.try_clone()?, stderr.writer.try_clone()?);
        Ok((Self { pipes: [stdout, stderr], last_line }, Stdio::from(to_stdout), Stdio::from(to_stderr)))
    }

    /// Returns when everything that the process has printed so far has been published.
    pub(super) async fn flush(&mut self) {
        for pipe in &mut self.pipes {
            pipe.flush().await;
        }
    }

    /// The last line that is not empty.
    pub(super) fn last_line(&self) -> Option<String> {
        self.last_line.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Pipe {
    fn start(source: LogSource, bus: &EventBus, last_line: &Arc<Mutex<Option<String>>>) -> io::Result<Self> {
        let (reader, writer) = io::pipe()?;
        let reader = pipe::Receiver::from_owned_fd(reader.into())?;
        let marker = format!("{}\n", Uuid::new_v4());
        let (sender, markers) = mpsc::unbounded_channel();
        let (expected, bus, last_line) = (marker.clone(), bus.clone(), Arc::clone(last_line));
        let task = tokio::spawn(async move {
            let mut reader = BufReader::new(reader);
            let mut line = Vec::new();
            while reader.read_until(b'\n', &mut line).await.is_ok_and(|length| length > 0) {
                // The marker may follow a line that a dying process did not finish.
                let ends_with_marker = line.ends_with(expected.as_bytes());
                let end = if ends_with_marker { line.len() - expected.len() } else { line.len() };
                let text =
                    String::from_utf8_lossy(line[..end].strip_suffix(b"\n").unwrap_or(&line[..end])).into_owned();
                if !(ends_with_marker && text.is_empty()) {
                    if !text.is_empty() {
                        *last_line.lock().unwrap_or_else(PoisonError::into_inner) = Some(text.clone());
                    }
                    bus.publish(WorldEvent::LogLine { source, line: text });
                }
                if ends_with_marker {
                    let _ = sender.send(());
                }
                line.clear();
            }
        });
        Ok(Self { writer, marker, markers, task })
    }

    async fn flush(&mut self) {
        let Ok(mut writer) = self.writer.try_clone() else { return };
        let marker = self.marker.clone();
        // If the pipe is full, this blocks until the reader has made room, so it must not block the reader's thread.
        let written = tokio::task::spawn_blocking(move || writer.write_all(marker.as_bytes())).await;
        if matches!(written, Ok(Ok(()))) {
            self.markers.recv().await;
        }
    }
}

impl Drop for Pipe {
    fn drop(&mut self) {
        self.task.abort();
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[tokio::test]
    async fn a_flush_returns_after_every_line_even_one_that_was_not_ended() {
        let bus = EventBus::new();
        let mut events = bus.subscribe();
        let (mut output, stdout, stderr) = Output::start(&bus).unwrap();
        // More than a pipe holds.
        let script =
            "i=0; while [ $i -lt 5000 ]; do echo $i 0123456789012345; i=$((i+1)); done; printf half; echo error >&2";
        let mut child = Command::new("sh").args(["-c", script]).stdout(stdout).stderr(stderr).spawn().unwrap();
        tokio::task::spawn_blocking(move || child.wait()).await.unwrap().unwrap();
        output.flush().await;
        let (mut lines, mut errors) = (Vec::new(), Vec::new());
        while let Ok(event) = events.try_recv() {
            match &*event {
                WorldEvent::LogLine { source: LogSource::Stdout, line } => lines.push(line.clone()),
                WorldEvent::LogLine { source: LogSource::Stderr, line } => errors.push(line.clone()),
                other => panic!("{other:?}"),
            }
        }
        assert_eq!((lines.len(), lines[4999].as_str(), lines[5000].as_str()), (5001, "4999 0123456789012345", "half"));
        assert_eq!(errors, ["error"]);
        // Either pipe may have been read last.
        assert!(["half", "error"].contains(&output.last_line().unwrap().as_str()));
    }
}
