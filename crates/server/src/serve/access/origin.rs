//! Which web pages may talk to the server.

use axum::http::{HeaderMap, header};
use std::net::IpAddr;

/// The origin of a page that may not connect. Any page can open a WebSocket to this machine, so without this every site
/// that someone here visits could read and write.
pub(in crate::serve) fn stranger(headers: &HeaderMap, allowed: &[String]) -> Option<String> {
    let origin = headers.get(header::ORIGIN)?;
    let origin = String::from_utf8_lossy(origin.as_bytes()).into_owned();
    let (_, authority) = origin.split_once("://").unwrap_or(("", &origin));
    (!is_local(authority) && !allowed.contains(&origin)).then_some(origin)
}

/// The host of a request to another name than this machine's. A page can give its own name this machine's address and is
/// then, to the browser, of the same origin as the server: such a request has no `Origin`, but the page's name as its host.
pub(super) fn strange_host(headers: &HeaderMap, allowed: &[String]) -> Option<String> {
    let host = headers.get(header::HOST)?;
    let host = String::from_utf8_lossy(host.as_bytes()).into_owned();
    let mut configured = allowed.iter().filter_map(|origin| origin.split_once("://"));
    let known = is_local(&host) || configured.any(|(_, authority)| authority == host);
    (!known).then_some(host)
}

/// Whether `HOST` or `HOST:PORT` is this machine.
fn is_local(authority: &str) -> bool {
    let host = match authority.strip_prefix('[') {
        Some(rest) => rest.split_once(']').map_or(rest, |(host, _)| host),
        None => authority
            .split_once(':')
            .map_or(authority, |(host, _)| host),
    };
    host == "localhost" || host.parse().is_ok_and(|ip: IpAddr| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: header::HeaderName, value: &str) -> HeaderMap {
        HeaderMap::from_iter([(name, value.parse().unwrap())])
    }

    #[test]
    fn only_pages_of_this_machine_and_those_configured_may_connect() {
        let allowed = ["https://app.example".to_owned()];
        let origin = |origin: &str| stranger(&headers(header::ORIGIN, origin), &allowed);
        assert_eq!(stranger(&HeaderMap::new(), &[]), None);
        for local in [
            "http://localhost:5173",
            "http://127.0.0.1",
            "http://[::1]:80",
        ] {
            assert_eq!(origin(local), None, "{local}");
        }
        assert_eq!(origin("https://app.example"), None);
        for far in [
            "https://evil.example",
            "http://localhost.evil.example",
            "http://127.0.0.1.evil.example",
            "null",
            "https://app.example:444",
        ] {
            assert_eq!(origin(far).as_deref(), Some(far));
        }
    }

    #[test]
    fn only_requests_to_this_machine_are_of_this_machine() {
        let allowed = ["https://app.example".to_owned()];
        let host = |host: &str| strange_host(&headers(header::HOST, host), &allowed);
        for local in [
            "localhost:3030",
            "127.0.0.1:3030",
            "[::1]:3030",
            "app.example",
        ] {
            assert_eq!(host(local), None, "{local}");
        }
        for far in [
            "evil.example:3030",
            "127.0.0.1.evil.example",
            "app.example:1",
        ] {
            assert_eq!(host(far).as_deref(), Some(far));
        }
    }
}
