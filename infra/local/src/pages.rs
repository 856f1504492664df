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
    page("/web/api.js", include_str!("../../../web/api.js")),
    page("/web/app.js", include_str!("../../../web/app.js")),
    page("/web/docs.js", include_str!("../../../web/docs.js")),
    page("/web/event.js", include_str!("../../../web/event.js")),
    page("/web/favicon.svg", include_str!("../../../web/favicon.svg")),
    page("/web/hall.js", include_str!("../../../web/hall.js")),
    page("/web/orders.js", include_str!("../../../web/orders.js")),
    page("/web/seatmap.js", include_str!("../../../web/seatmap.js")),
    page("/web/style.css", include_str!("../../../web/style.css")),
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
