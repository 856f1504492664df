//! Pages for people, compiled in.

use axum::body::Body;
use axum::http::{HeaderValue, Method, header};
use axum::response::{IntoResponse, Response};

/// One file: where it is served, what it is, what is in it.
struct Page {
    path: &'static str,
    content_type: &'static str,
    body: &'static str,
}

const HTML: &str = "text/html; charset=utf-8";

const PAGES: &[Page] = &[Page { path: "/", content_type: HTML, body: include_str!("index.html") }];

/// What a page may load: nothing but its own files, and the payment sandbox's replies.
pub fn policy(payment_sandbox: &str) -> HeaderValue {
    let policy = format!(
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; \
         connect-src 'self' {payment_sandbox}; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    );
    HeaderValue::from_str(&policy).expect("an address on this machine is plain ASCII")
}

/// The page at this path, if there is one.
pub fn find(method: &Method, path: &str, policy: &HeaderValue) -> Option<Response> {
    let page = PAGES.iter().find(|page| page.path == path && method == Method::GET)?;
    let mut response = Body::from(page.body).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(page.content_type));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.insert(header::CONTENT_SECURITY_POLICY, policy.clone());
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    Some(response)
}
