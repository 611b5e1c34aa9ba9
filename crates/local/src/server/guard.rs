//! Refuses requests that a web page can make.
//!
//! A page in a browser reaches every port of this machine. It may send requests to other origins, and it may point a name of
//! its own at 127.0.0.1 (DNS rebinding), so that the browser takes us for the page's own server. A browser says both: it names
//! the page's origin, or what kind of site asked (Fetch Metadata), and `Host` has the name that the page used. Programs that
//! are not browsers send neither, and the address that we gave them.

use std::net::{IpAddr, SocketAddr};

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::header::{CONTENT_TYPE, HOST, ORIGIN};
use axum::http::uri::Authority;
use axum::http::{HeaderValue, Response, StatusCode};
use axum::middleware::Next;

/// The port of a URL that has none.
const HTTP_PORT: u16 = 80;

/// Why a request is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
enum Refusal {
    /// A page of some origin asked, by `fetch` or a form.
    #[error("the request is a web page's: it has the header Origin")]
    Origin,
    /// A browser asked by itself for something that a page has in it, such as an image.
    #[error("the request is a web page's: Sec-Fetch-Site is not none")]
    Site,
    /// The client was told another name or port than ours.
    #[error("the request is for another host; use the address that config-audit printed")]
    Host,
}

/// Passes a request on to the server at this address, unless a web page can have made it.
pub(super) async fn guard(State(address): State<SocketAddr>, request: Request, next: Next) -> Response<Body> {
    match check(&request, address.port()) {
        Ok(()) => next.run(request).await,
        Err(refusal) => {
            let mut response = Response::new(Body::from(format!("{refusal}\n")));
            *response.status_mut() = StatusCode::FORBIDDEN;
            response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
            response
        }
    }
}

fn check<B>(request: &axum::http::Request<B>, port: u16) -> Result<(), Refusal> {
    let headers = request.headers();
    if headers.contains_key(ORIGIN) {
        return Err(Refusal::Origin);
    }
    if headers.get_all("sec-fetch-site").iter().any(|site| site != "none") {
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
        check(&request.body(()).unwrap(), PORT)
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
        assert_eq!(check(&Request::builder().header("host", "localhost").body(()).unwrap(), HTTP_PORT), Ok(()));
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
        // Somebody typed the address.
        assert_eq!(with("sec-fetch-site", "none"), Ok(()));
    }
}
