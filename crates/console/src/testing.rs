//! The pages over HTTP, without a server.

use std::sync::Arc;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, Request, StatusCode};
use config_audit_local::{AwsSettings, Breaker, Database};
use config_audit_tables::AuditTable;
use tower::ServiceExt;

use crate::activity::Activity;
use crate::alarms::Alarms;
use crate::faults::Load;
use crate::items::Items;
use crate::layout::Frame;
use crate::practice::Incidents;
use crate::site::Site;
use crate::token::FormToken;
use crate::trail::Trail;

/// The pages of a local world in which nothing happens.
pub(crate) struct Fixture {
    pub(crate) database: Database,
    pub(crate) token: FormToken,
    pub(crate) breaker: Breaker,
    router: Router,
}

pub(crate) async fn fixture() -> Fixture {
    let database = Database::memory(0, AwsSettings::dummy()).await.unwrap();
    database.ensure_configuration_table("Configuration", "key").await.unwrap();
    let token = FormToken::random();
    let client = database.client().clone();
    let items = Items::new(client.clone(), "Configuration", "key", "Audit");
    let activity = Arc::new(Activity::new(None));
    let frame = Frame { sections: Site::SECTIONS, ..Frame::default() };
    let audit = AuditTable::new(client, "Audit", "here");
    let trail = Trail::new(frame.clone(), audit, None, Arc::default(), None, token.clone());
    let alarms = Arc::new(Alarms::bundled().unwrap());
    let (breaker, load) = (Breaker::default(), Load::default());
    let site = Site {
        frame,
        activity,
        alarms,
        breaker: breaker.clone(),
        can_break_table: true,
        load,
        items,
        incidents: Incidents::bundled().unwrap(),
        token: token.clone(),
    };
    Fixture { database, token, breaker, router: site.router(Arc::new(trail)) }
}

impl Fixture {
    pub(crate) async fn send(&self, request: Request<Body>) -> (StatusCode, HeaderMap, String) {
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let body = to_bytes(body, usize::MAX).await.unwrap();
        (parts.status, parts.headers, String::from_utf8(body.to_vec()).unwrap())
    }

    pub(crate) async fn get(&self, address: &str, accept: &str) -> (StatusCode, HeaderMap, String) {
        self.send(Request::get(address).header("accept", accept).body(Body::empty()).unwrap()).await
    }

    pub(crate) async fn post(
        &self,
        address: &str,
        token: &str,
        fields: &[(&str, &str)],
    ) -> (StatusCode, HeaderMap, String) {
        let encode =
            |text: &str| percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string();
        let fields = fields.iter().copied().chain([("token", token)]);
        let body: Vec<_> = fields.map(|(name, value)| format!("{name}={}", encode(value))).collect();
        let request = Request::post(address).header("content-type", "application/x-www-form-urlencoded");
        self.send(request.body(Body::from(body.join("&"))).unwrap()).await
    }
}
