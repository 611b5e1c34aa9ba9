//! Whether the trail is intact: `config-audit verify` as a page.

use std::convert::Infallible;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use axum::response::sse::{Event, Sse};
use chrono::{DateTime, Utc};
use config_audit::clock::Clock;
use config_audit_cloudwatch::units::{count, thousands};
use config_audit_tables::{AwsError, Observer, Soundness, Summary, Verification, VerificationSettings};
use config_audit_trail::Finding;
use futures_util::Stream;
use maud::{Markup, html};
use serde::Serialize;
use serde_json::{Value, json};

use super::Trail;
use super::row::item_address;
use crate::layout::{Page, Section};
use crate::live;
use crate::site::{Refusal, done};
use crate::text::{Visible, cut, time};
use crate::token::{Nothing, Sent};

/// The maximum number of findings kept.
const MAX_FINDINGS: usize = 1_000;
/// How long the entries of a change may take, in the local world and in an account.
const SETTLE_LOCAL: Duration = Duration::from_secs(3);
const SETTLE: Duration = Duration::from_secs(30);

/// The progress of a verification, and what it found.
#[derive(Debug, Default)]
pub(super) struct Progress {
    state: Stage,
    findings: Vec<(String, Finding, bool)>,
    dropped: usize,
}

/// The stage of a verification.
#[derive(Debug, Default)]
enum Stage {
    /// Not requested yet.
    #[default]
    NotRun,
    /// In progress, with what it has read so far.
    Running(String),
    /// Finished.
    Done(DateTime<Utc>, Summary),
    /// AWS returned an error.
    Failed(String),
}

/// What the page shows.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct View {
    /// `notRun`, `running`, `done` or `failed`.
    state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    verdict: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    summary: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    findings: Vec<Value>,
    token: String,
}

impl Trail {
    fn verification<T>(&self, read: impl FnOnce(&mut Progress) -> T) -> T {
        read(&mut self.verification.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Checks the whole trail, unless that is in progress already.
    pub(super) async fn verify(self: Arc<Self>) {
        let Some(configuration) = self.configuration.clone() else { return };
        let starts = self.verification(|progress| {
            let starts = !matches!(progress.state, Stage::Running(_));
            if starts {
                *progress = Progress { state: Stage::Running(String::new()), ..Progress::default() };
            }
            starts
        });
        if !starts {
            return;
        }
        let _unfinished = Unfinished(&self);
        let settle = if self.activity.is_some() { SETTLE_LOCAL } else { SETTLE };
        let settings = VerificationSettings { settle, is_complete: false };
        let observer = Watcher(Arc::clone(&self));
        let done = Verification::new(configuration, self.audit.clone(), settings, observer).run().await;
        self.verification(|progress| {
            progress.state = match done {
                Ok(summary) => Stage::Done(Clock::System.now(), summary),
                Err(error) => Stage::Failed(error.to_string()),
            };
        });
    }
}

/// Turns a verification that does not finish, because it panics or is cancelled, into a failed one.
struct Unfinished<'a>(&'a Trail);

impl Drop for Unfinished<'_> {
    fn drop(&mut self) {
        self.0.verification(|progress| {
            if matches!(progress.state, Stage::Running(_)) {
                progress.state = Stage::Failed("checking the trail stopped before its end".to_owned());
            }
        });
        self.0.changed();
    }
}

/// Collects what a verification finds.
struct Watcher(Arc<Trail>);

impl Watcher {
    fn add(&self, key: &str, finding: &Finding, is_wrong: bool) {
        self.0.verification(|progress| {
            if progress.findings.len() < MAX_FINDINGS {
                progress.findings.push((key.to_owned(), finding.clone(), is_wrong));
            } else {
                progress.dropped += 1;
            }
        });
    }
}

impl Observer for Watcher {
    type Error = AwsError;

    fn finding(&mut self, key: &str, finding: &Finding) -> Result<(), AwsError> {
        self.add(key, finding, true);
        Ok(())
    }

    fn older(&mut self, key: &str, finding: &Finding) -> Result<(), AwsError> {
        self.add(key, finding, false);
        Ok(())
    }

    fn progress(&mut self, summary: &Summary, waiting: usize) {
        let text = format!("{}; {} to recheck", summary.read(), count(waiting, "item", "items"));
        self.0.verification(|progress| progress.state = Stage::Running(text));
    }
}

/// The page.
pub(super) async fn page(State(trail): State<Arc<Trail>>, headers: HeaderMap) -> Response {
    let view = trail.verification(|progress| View::of(progress, trail.token.as_str()));
    trail.frame.respond(&headers, &view, || {
        let content = html! {
            p { "Every change must lead to the next, and the last one to what the Configuration table has now. What is missing or
                altered shows as a gap." }
            div.live #verification { (part(&trail)) }
        };
        Page::new("Is the trail intact?", Section::Trail, content).live("/live/verify".to_owned())
    })
}

/// Starts a verification.
///
/// # Errors
/// If the form does not have our token, or there is no Configuration table to check against.
pub(super) async fn start(
    State(trail): State<Arc<Trail>>,
    headers: HeaderMap,
    _: Sent<Nothing>,
) -> Result<Response, Refusal> {
    if trail.configuration.is_none() {
        return Err(Refusal::Invalid("there is no Configuration table to check against".to_owned()));
    }
    trail.spawn(Arc::clone(&trail).verify());
    Ok(done(&headers, "/trail/verify", json!({ "started": true })))
}

/// The live part of the page.
pub(super) async fn live(State(trail): State<Arc<Trail>>) -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    live::stream(trail.revision.subscribe(), move || vec![("verification", part(&trail))])
}

impl View {
    fn of(progress: &Progress, token: &str) -> Self {
        let (state, summary, error) = match &progress.state {
            Stage::NotRun => ("notRun", None, None),
            Stage::Running(_) => ("running", None, None),
            Stage::Done(_, summary) => ("done", Some(summary), None),
            Stage::Failed(error) => ("failed", None, Some(error.clone())),
        };
        Self {
            state,
            verdict: summary.map(|summary| summary.verdict().1),
            summary: summary.map(Summary::json),
            error,
            findings: progress.findings.iter().map(|(key, finding, _)| finding.json(key)).collect(),
            token: token.to_owned(),
        }
    }
}

fn part(trail: &Trail) -> Markup {
    if trail.configuration.is_none() {
        return html! {
            p.empty { "To check the trail, the console must read the Configuration table too: start it with "
                code { "--configuration-table" } ", or run " code { "config-audit verify" } "." }
        };
    }
    trail.verification(|progress| {
        html! {
            @match &progress.state {
                Stage::NotRun => p.empty { "Not checked yet." },
                Stage::Running(read) => {
                    p.message role="status" { "Checking" @if !read.is_empty() { ": " (read) } "." }
                }
                Stage::Done(at, summary) => {
                    @let (soundness, verdict) = summary.verdict();
                    @let (class, sign) = match soundness {
                        Soundness::Intact => ("good", "✓ "),
                        Soundness::Doubtful => ("waiting", "? "),
                        Soundness::Broken => ("bad", "! "),
                    };
                    p.verdict { span class=(format!("badge {class}")) { span aria-hidden="true" { (sign) } (verdict) } }
                    p.quiet { "At " (time(*at)) ": " (summary.counts()) "." }
                }
                Stage::Failed(error) => p.message.bad role="alert" { (Visible(error)) "." },
            }
            @if !matches!(progress.state, Stage::Running(_)) {
                form.plain method="post" action="/trail/verify" {
                    input type="hidden" name="token" value=(trail.token.as_str());
                    button { @if matches!(progress.state, Stage::NotRun) { "Check the trail" } @else { "Check again" } }
                }
            }
            @if !progress.findings.is_empty() {
                ul.notices {
                    @for (key, finding, is_wrong) in &progress.findings {
                        li {
                            @if *is_wrong { span.badge.bad { "! finding" } } @else { span.badge.waiting { "? older" } }
                            " " a.key href=(item_address(key)) { (Visible(&cut(key, 80))) } ": " (Visible(&finding.text()))
                        }
                    }
                }
            }
            @if progress.dropped > 0 {
                p.quiet { (thousands(progress.dropped)) " more are not listed here; " code { "config-audit verify" } " lists all." }
            }
        }
    })
}
