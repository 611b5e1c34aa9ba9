//! Spans: from a report to AWS X-Ray, by way of the daemon that Lambda runs.
//!
//! Spans are made after the work, from the report, and only for a trace that is sampled: an invocation whose trace is
//! not sampled pays nothing for them. All of them are subsegments below the segment that Lambda itself creates for the
//! function; a segment would be a second node on the map.
//!
//! The invocation's span and those within it are one document. Where one has no room for all, the others go into more
//! documents, each within a span that only holds them together. [`document`] knows what X-Ray takes, [`spans`] what there is
//! to say, by OpenTelemetry's names.
//!
//! A large batch is bounded: all records that were not audited as they should be, and the [`spans::MAX_HEALTHY`] slowest of the
//! others; the same for requests and objects. Those that there is no time to send before the deadline are counted as lost.
//! Spans that UDP loses after sending cannot be counted.

mod document;
mod spans;

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use opentelemetry::trace::SpanContext;
use tokio::net::UdpSocket;
use tokio::time::{Instant, timeout_at};

use crate::clock::Clock;
use crate::report::Report;
use crate::settings::Settings;
use spans::{Function, Maker, Subject};

/// Between two documents, for the daemon to catch up.
const PAUSE: Duration = Duration::from_millis(1);

/// X-Ray takes no trace that is older (AWS X-Ray API Reference, `PutTraceSegments`).
const MAX_AGE: TimeDelta = TimeDelta::days(30);

/// Sends spans to the X-Ray daemon.
#[derive(Debug)]
pub struct Traces {
    daemon: SocketAddr,
    function: Function,
}

impl Traces {
    /// Sends to the daemon at `daemon`, spans that are named as the settings have it.
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
        let subjects = maker.plan();
        let mut lost = 1 + subjects.len();
        if is_too_old(&report.trace, report.started) {
            tracing::debug!(spans = lost, "no span was sent: the trace is older than 30 days, so X-Ray rejects it");
        } else if clock.instant() < until {
            // The reason does not matter: nothing can be done about it, and unsent spans are counted.
            let _ = timeout_at(until, self.send(&maker, subjects, &mut lost)).await;
        }
        lost
    }

    /// Sends all, and takes from `lost` what was sent.
    async fn send(&self, maker: &Maker<'_>, subjects: Vec<Subject<'_>>, lost: &mut usize) -> io::Result<()> {
        let socket = connect(self.daemon).await?;
        let mut subjects = subjects.into_iter().peekable();
        let mut document = maker.invocation()?;
        loop {
            while subjects.next_if(|subject| maker.add(subject, &mut document)).is_some() {}
            let (datagram, spans) = document.finish();
            socket.send(&datagram).await?;
            *lost -= spans;
            let Some(next) = subjects.next() else { return Ok(()) };
            tokio::time::sleep(PAUSE).await;
            document = maker.more()?;
            *lost += 1;
            // Each span has room in a document that has no others.
            maker.add(&next, &mut document);
        }
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
