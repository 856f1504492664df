//! Pages for people, compiled in.

use axum::body::Body;
use axum::http::{HeaderValue, Method, header};
use axum::response::{IntoResponse, Response};

/// One file: where it is served, and what is in it.
struct Page {
    path: &'static str,
    body: &'static str,
}

/// Pages, and the files that they load from `/web/`.
const PAGES: &[Page] = &[
    page("/", include_str!("../../../web/index.html")),
    page("/docs", include_str!("../../../web/docs.html")),
    page("/web/account.js", include_str!("../../../web/account.js")),
    page("/web/alerts.js", include_str!("../../../web/alerts.js")),
    page("/web/api.js", include_str!("../../../web/api.js")),
    page("/web/app.js", include_str!("../../../web/app.js")),
    page("/web/docs.js", include_str!("../../../web/docs.js")),
    page("/web/event.js", include_str!("../../../web/event.js")),
    page("/web/favicon.svg", include_str!("../../../web/favicon.svg")),
    page("/web/forms.js", include_str!("../../../web/forms.js")),
    page("/web/hall.js", include_str!("../../../web/hall.js")),
    page("/web/notices.js", include_str!("../../../web/notices.js")),
    page("/web/orders.js", include_str!("../../../web/orders.js")),
    page("/web/perks.js", include_str!("../../../web/perks.js")),
    page("/web/plans.js", include_str!("../../../web/plans.js")),
    page("/web/seatmap.js", include_str!("../../../web/seatmap.js")),
    page("/web/style.css", include_str!("../../../web/style.css")),
    page("/web/subscriptions.js", include_str!("../../../web/subscriptions.js")),
    page("/web/texts.js", include_str!("../../../web/texts.js")),
    page("/web/ui.js", include_str!("../../../web/ui.js")),
];

const fn page(path: &'static str, body: &'static str) -> Page {
    Page { path, body }
}

/// What a file is, by its name; a page's address has no ending.
fn content_type(path: &str) -> &'static str {
    match path.rsplit_once('.').map(|(_, ending)| ending) {
        Some("js") => "text/javascript; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("svg") => "image/svg+xml",
        _ => "text/html; charset=utf-8",
    }
}

/// What a page may load: nothing but its own files, and the payment sandbox's replies.
pub fn policy(payment_sandbox: &str) -> HeaderValue {
    let policy = format!(
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; font-src 'self'; \
         connect-src 'self' {payment_sandbox}; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    );
    HeaderValue::from_str(&policy).expect("an address on this machine is plain ASCII")
}

/// The page at this path, if there is one.
pub fn find(method: &Method, path: &str, policy: &HeaderValue) -> Option<Response> {
    let page = PAGES.iter().find(|page| page.path == path && method == Method::GET)?;
    let mut response = Body::from(page.body).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type(path)));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.insert(header::CONTENT_SECURITY_POLICY, policy.clone());
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    Some(response)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    /// A file that is not in the table is a page that does not load.
    #[test]
    fn every_file_of_the_pages_is_served() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../web");
        let own_addresses = ["index.html", "docs.html"];
        let mut files = 0;
        for entry in std::fs::read_dir(folder).expect("the pages are beside the packages") {
            let name = entry.expect("a folder that can be read").file_name().into_string().expect("a plain name");
            files += 1;
            if own_addresses.contains(&name.as_str()) {
                continue;
            }
            let response = find(&Method::GET, &format!("/web/{name}"), &policy("http://127.0.0.1:1"));
            let response = response.unwrap_or_else(|| panic!("/web/{name} is not served"));
            assert!(response.headers().contains_key(header::CONTENT_SECURITY_POLICY));
        }
        assert_eq!(files, PAGES.len());
    }
}
