//! The style sheet and the script, embedded in the binary. Their addresses change with their content, so browsers may
//! cache them.

use axum::extract::Path;
use axum::http::HeaderName;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use config_audit::value::hex;

use crate::site::Refusal;

/// An embedded file.
pub(crate) struct Asset {
    name: &'static str,
    content_type: &'static str,
    content: &'static str,
}

/// The style sheet.
pub(crate) const STYLE: Asset = Asset {
    name: "console.css",
    content_type: "text/css; charset=utf-8",
    content: include_str!("../assets/console.css"),
};
/// The style sheet of a drawn dashboard.
pub(crate) const DASHBOARD_STYLE: Asset =
    Asset { name: "dashboard.css", content_type: "text/css; charset=utf-8", content: crate::dashboards::STYLE };
/// The script.
pub(crate) const SCRIPT: Asset = Asset {
    name: "console.js",
    content_type: "text/javascript; charset=utf-8",
    content: include_str!("../assets/console.js"),
};
/// The icon.
pub(crate) const ICON: Asset =
    Asset { name: "icon.svg", content_type: "image/svg+xml", content: include_str!("../assets/icon.svg") };

impl Asset {
    /// Its address.
    #[must_use]
    pub(crate) fn address(&self) -> String {
        format!("/assets/{}/{}", self.version(), self.name)
    }

    /// Changes with the content. A checksum, for caches only.
    fn version(&self) -> String {
        let checksum = self
            .content
            .bytes()
            .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3));
        hex(&checksum.to_be_bytes())
    }
}

/// Serves an asset.
pub(crate) async fn serve(Path((_, name)): Path<(String, String)>) -> Response {
    const HEADERS: [HeaderName; 2] = [CONTENT_TYPE, CACHE_CONTROL];
    match [STYLE, DASHBOARD_STYLE, SCRIPT, ICON].into_iter().find(|asset| asset.name == name) {
        Some(asset) => {
            let [content_type, cache] = HEADERS;
            let headers = [(content_type, asset.content_type), (cache, "public, max-age=31536000, immutable")];
            (headers, asset.content).into_response()
        }
        None => Refusal::NotFound.into_response(),
    }
}
