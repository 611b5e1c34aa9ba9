//! Refuses requests that somebody else's web page can make.
//!
//! A page in a browser can reach every port of this machine. It can send requests to other origins, and it can point
//! its own host name at 127.0.0.1 (DNS rebinding), so that the browser takes us for the page's own server. The browser
//! reveals both: it names the page's origin or the kind of site that asked (Fetch Metadata), and `Host` has the name
//! that the page used. Other programs send no origin or site, and use the address that we gave them.
//!
//! An API is for programs only ([`Callers::Programs`]). Our own pages are for browsers ([`Callers::Browser`]): they may
//! send requests to the same server, and a link on any site may open one, because that site cannot read what it opens.

use std::net::{IpAddr, SocketAddr};

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::header::{CONTENT_TYPE, HOST, ORIGIN};
use axum::http::uri::Authority;
use axum::http::{HeaderValue, Method, Response, StatusCode};
use axum::middleware::Next;

/// The port of a URL that does not name one.
const HTTP_PORT: u16 = 80;

/// Who may send requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Callers {
    /// Programs that are not browsers.
    Programs,
    /// Those, and a browser that shows this server's pages.
    Browser,
}

/// Why a request is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
enum Refusal {
    /// A page that is not allowed to send requests did, by `fetch` or a form.
    #[error("the request is a web page's: it has the header Origin")]
    Origin,
    /// A browser requested something that a page embeds, such as an image.
    #[error("the request is a web page's: the header Sec-Fetch-Site says so")]
    Site,
    /// The client was given a name or port other than ours.
    #[error("the request is for another host; use the address that config-audit printed")]
    Host,
}

/// Passes a request on to the server at this address, unless a web page could have made it.
pub(super) async fn guard(
    State((address, callers)): State<(SocketAddr, Callers)>,
    request: Request,
    next: Next,
) -> Response<Body> {
    match check(&request, address.port(), callers) {
        Ok(()) => next.run(request).await,
        Err(refusal) => {
            let mut response = Response::new(Body::from(format!("{refusal}\n")));
            *response.status_mut() = StatusCode::FORBIDDEN;
            response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
            response
        }
    }
}

fn check<B>(request: &axum::http::Request<B>, port: u16, callers: Callers) -> Result<(), Refusal> {
    let headers = request.headers();
    let is_own = |origin: &HeaderValue| {
        let authority = origin.to_str().ok().and_then(|origin| origin.strip_prefix("http://"));
        let authority = authority.and_then(|authority| Authority::try_from(authority).ok());
        let host = headers.get(HOST).and_then(|host| Authority::try_from(host.as_bytes()).ok());
        callers == Callers::Browser && authority.is_some() && authority == host
    };
    if !headers.get_all(ORIGIN).iter().all(is_own) {
        return Err(Refusal::Origin);
    }
    let is = |name: &str, wanted: &str| headers.get(name).is_some_and(|value| value == wanted);
    let opens_page =
        request.method() == Method::GET && is("sec-fetch-mode", "navigate") && is("sec-fetch-dest", "document");
    let is_allowed =
        |site: &HeaderValue| site == "none" || callers == Callers::Browser && (site == "same-origin" || opens_page);
    if !headers.get_all("sec-fetch-site").iter().all(is_allowed) {
        return Err(Refusal::Site);
    }
    let mut hosts = headers.get_all(HOST).iter();
    let authority = |host: &HeaderValue| Authority::try_from(host.as_bytes()).ok();
    let host = hosts.next().and_then(authority).filter(|_| hosts.next().is_none());
    // A request may name its host in its first line too; both must be right.
    let is_ours = |authority: &Authority| is_ours(authority, port);
    if host.as_ref().is_some_and(is_ours) && request.uri().authority().is_none_or(is_ours) {
        Ok(())
    } else {
        Err(Refusal::Host)
    }
}

/// Whether this is a loopback name or address with our port.
fn is_ours(authority: &Authority, port: u16) -> bool {
    let host = authority.host();
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    let is_loopback = address.map_or_else(|_| host.eq_ignore_ascii_case("localhost"), |address| address.is_loopback());
    is_loopback && authority.port_u16().unwrap_or(HTTP_PORT) == port && !authority.as_str().contains('@')
}

#[cfg(test)]
mod tests {
    use axum::http::Request;

    use super::*;

    const PORT: u16 = 8000;

    fn checked(uri: &str, headers: &[(&str, &str)]) -> Result<(), Refusal> {
        let request =
            headers.iter().fold(Request::builder().uri(uri), |request, (name, value)| request.header(*name, *value));
        check(&request.body(()).unwrap(), PORT, Callers::Programs)
    }

    /// Like `checked`, but for a server of pages.
    fn checked_as_page(method: &str, headers: &[(&str, &str)]) -> Result<(), Refusal> {
        let request = Request::builder().method(method).header("host", "localhost:8000");
        let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        check(&request.body(()).unwrap(), PORT, Callers::Browser)
    }

    #[test]
    fn a_host_is_a_loopback_name_or_address_with_the_servers_port() {
        for host in ["127.0.0.1:8000", "localhost:8000", "LocalHost:8000", "[::1]:8000", "127.9.9.9:8000"] {
            assert_eq!(checked("/", &[("host", host)]), Ok(()), "{host}");
        }
        let others = [
            "127.0.0.1",
            "127.0.0.1:8001",
            "127.0.0.1:",
            "127.0.0.1:08000x",
            "localhost.evil.example:8000",
            "evil.example:8000",
            "localhost.:8000",
            "bucket.localhost:8000",
            "localhost@evil.example:8000",
            "evil.example@localhost:8000",
            "0.0.0.0:8000",
            "192.168.0.1:8000",
            "[::]:8000",
            "",
        ];
        for host in others {
            assert_eq!(checked("/", &[("host", host)]), Err(Refusal::Host), "{host}");
        }
        assert_eq!(checked("/", &[]), Err(Refusal::Host));
        assert_eq!(checked("/", &[("host", "localhost:8000"), ("host", "evil.example")]), Err(Refusal::Host));
        assert_eq!(
            check(&Request::builder().header("host", "localhost").body(()).unwrap(), HTTP_PORT, Callers::Programs),
            Ok(())
        );
    }

    #[test]
    fn a_host_in_the_first_line_must_be_ours_too() {
        let host = [("host", "localhost:8000")];
        assert_eq!(checked("http://localhost:8000/", &host), Ok(()));
        assert_eq!(checked("http://evil.example:8000/", &host), Err(Refusal::Host));
    }

    #[test]
    fn what_only_browsers_send_is_refused() {
        let with = |name, value| checked("/", &[("host", "localhost:8000"), (name, value)]);
        for origin in ["https://evil.example", "http://localhost:8000", "null", ""] {
            assert_eq!(with("origin", origin), Err(Refusal::Origin), "{origin}");
        }
        for site in ["cross-site", "same-site", "same-origin", ""] {
            assert_eq!(with("sec-fetch-site", site), Err(Refusal::Site), "{site}");
        }
        // Somebody typed in the address.
        assert_eq!(with("sec-fetch-site", "none"), Ok(()));
    }

    #[test]
    fn pages_of_our_own_may_ask_for_more_and_send_forms() {
        for headers in [
            &[][..],
            &[("origin", "http://localhost:8000")],
            &[("origin", "http://localhost:8000"), ("sec-fetch-site", "same-origin"), ("sec-fetch-mode", "navigate")],
            &[("sec-fetch-site", "same-origin"), ("sec-fetch-dest", "script")],
            &[("sec-fetch-site", "none"), ("sec-fetch-mode", "navigate")],
        ] {
            assert_eq!(checked_as_page("POST", headers), Ok(()), "{headers:?}");
            assert_eq!(checked_as_page("GET", headers), Ok(()), "{headers:?}");
        }
    }

    #[test]
    fn pages_of_others_may_open_a_page_of_ours_and_do_nothing_else() {
        let link = [("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "document")];
        assert_eq!(checked_as_page("GET", &link), Ok(()));
        assert_eq!(checked_as_page("POST", &link), Err(Refusal::Site));
        let frame = [("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "iframe")];
        let image = [("sec-fetch-site", "same-site"), ("sec-fetch-mode", "no-cors"), ("sec-fetch-dest", "image")];
        for headers in [frame, image] {
            assert_eq!(checked_as_page("GET", &headers), Err(Refusal::Site), "{headers:?}");
        }
        // Another port of this machine is another origin, and so is the other name for the same address.
        for origin in [
            "https://evil.example",
            "null",
            "",
            "http://localhost:8001",
            "http://127.0.0.1:8000",
            "https://localhost:8000",
        ] {
            assert_eq!(checked_as_page("POST", &[("origin", origin)]), Err(Refusal::Origin), "{origin}");
        }
    }
}
