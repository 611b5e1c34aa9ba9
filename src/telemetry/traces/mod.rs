//! Spans: from a report to AWS X-Ray, by way of the daemon that Lambda runs.
//!
//! Spans are made after the work, from the report, and only for a trace that is sampled: an invocation whose trace is
//! not sampled pays nothing for them. All of them are subsegments below the segment that Lambda itself creates for the
//! function; a segment would be a second node on the map.
//!
//! The invocation's span and those within it form one document. If it has no room for all, the others go into more
//! documents, each within a span that only groups them. [`document`] knows what X-Ray accepts, and [`spans`] what to
//! say about a report, in OpenTelemetry's terms.
//!
//! The spans of a large batch are limited to all records that were not audited as they should be, and the
//! [`spans::MAX_HEALTHY`] slowest of the others; the same applies to requests and objects. Spans that cannot be sent
//! before the deadline are counted as lost. Spans that UDP loses after sending cannot be counted.

mod document;
mod spans;

use std::io;
use std::iter::Peekable;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;
use std::vec::IntoIter;

use chrono::{DateTime, TimeDelta, Utc};
use opentelemetry::trace::SpanContext;
use tokio::net::UdpSocket;
use tokio::time::{Instant, timeout_at};

use crate::clock::Clock;
use crate::report::Report;
use crate::settings::Settings;
use spans::{Function, Maker, Subject};

/// The pause between two documents, so that the daemon can keep up.
const PAUSE: Duration = Duration::from_millis(1);

/// The age of the oldest trace that X-Ray accepts (AWS X-Ray API Reference, `PutTraceSegments`).
const MAX_AGE: TimeDelta = TimeDelta::days(30);

/// Sends spans to the X-Ray daemon.
#[derive(Debug)]
pub struct Traces {
    daemon: SocketAddr,
    function: Function,
}

impl Traces {
    /// Sends spans to the daemon at `daemon`, named according to the settings.
    #[must_use]
    pub fn new(daemon: SocketAddr, settings: &Settings) -> Self {
        Self { daemon, function: Function::new(settings) }
    }

    /// Sends the spans of an invocation, if its trace is sampled, until `until`. Returns how many were not sent.
    pub async fn export(&self, report: &Report, clock: Clock, until: Instant) -> usize {
        if !report.trace.is_valid() || !report.trace.is_sampled() {
            return 0;
        }
        let maker = Maker::new(report, &self.function);
        let datagrams = Datagrams::new(&maker);
        let mut lost = datagrams.spans();
        if is_too_old(&report.trace, report.started) {
            tracing::debug!(spans = lost, "no span was sent: the trace is older than 30 days, so X-Ray rejects it");
        } else if clock.instant() < until {
            // The reason does not matter: nothing can be done about it, and unsent spans are counted.
            let _ = timeout_at(until, self.send(datagrams, &mut lost)).await;
        }
        lost
    }

    /// Sends all datagrams, and subtracts the spans that were sent from `lost`.
    async fn send(&self, datagrams: Datagrams<'_>, lost: &mut usize) -> io::Result<()> {
        let socket = connect(self.daemon).await?;
        for (number, datagram) in datagrams.enumerate() {
            if number > 0 {
                tokio::time::sleep(PAUSE).await;
            }
            let Datagram { bytes, spans } = datagram?;
            socket.send(&bytes).await?;
            *lost -= spans;
        }
        Ok(())
    }
}

/// One datagram for the daemon.
struct Datagram {
    bytes: Vec<u8>,
    /// How many spans it has, not counting one that only groups the others.
    spans: usize,
}

/// The datagrams of one report, each made on demand.
struct Datagrams<'a> {
    maker: &'a Maker<'a>,
    /// Whether the invocation's span, which comes first, has been made.
    has_begun: bool,
    subjects: Peekable<IntoIter<Subject<'a>>>,
}

impl<'a> Datagrams<'a> {
    fn new(maker: &'a Maker<'a>) -> Self {
        Self { maker, has_begun: false, subjects: maker.plan().into_iter().peekable() }
    }

    /// How many spans are left.
    fn spans(&self) -> usize {
        usize::from(!self.has_begun) + self.subjects.len()
    }

    fn make(&mut self) -> serde_json::Result<Datagram> {
        let spans = self.spans();
        let mut document = if self.has_begun { self.maker.more()? } else { self.maker.invocation()? };
        if self.has_begun
            && let Some(subject) = self.subjects.next()
        {
            // Every span fits into a document that has no others.
            self.maker.add(&subject, &mut document);
        }
        self.has_begun = true;
        while self.subjects.next_if(|subject| self.maker.add(subject, &mut document)).is_some() {}
        Ok(Datagram { bytes: document.finish(), spans: spans - self.spans() })
    }
}

impl Iterator for Datagrams<'_> {
    type Item = serde_json::Result<Datagram>;

    fn next(&mut self) -> Option<Self::Item> {
        (self.spans() > 0).then(|| self.make())
    }
}

/// A socket for one invocation: after Lambda has frozen and thawed the process, an old one may be dead.
async fn connect(daemon: SocketAddr) -> io::Result<UdpSocket> {
    let any: SocketAddr =
        if daemon.is_ipv4() { (Ipv4Addr::UNSPECIFIED, 0).into() } else { (Ipv6Addr::UNSPECIFIED, 0).into() };
    let socket = UdpSocket::bind(any).await?;
    socket.connect(daemon).await?;
    Ok(socket)
}

/// The first eight digits of a trace's ID are the time when it began, in seconds since 1970.
fn is_too_old(trace: &SpanContext, now: DateTime<Utc>) -> bool {
    let seconds = u32::from_str_radix(&trace.trace_id().to_string()[..8], 16).unwrap_or_default();
    DateTime::from_timestamp(i64::from(seconds), 0).is_some_and(|began| now - began > MAX_AGE)
}

#[cfg(test)]
mod tests;
