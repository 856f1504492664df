//! Secrets Manager, SQS and SNS, as far as functions use them: each call is answered at once, and nothing comes of it.

use crate::Failed;
use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::net::TcpListener;

const JSON: &str = "application/x-amz-json-1.1";
const XML: &str = "text/xml";

/// Values by the secret's name.
pub type SecretValues = Arc<BTreeMap<String, String>>;

/// Answers until the runtime ends; where.
pub async fn start(secrets: BTreeMap<String, String>) -> Result<SocketAddr, Failed> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    let address = listener.local_addr()?;
    let routes = Router::new().fallback(answer).with_state(Arc::new(secrets));
    tokio::spawn(async move { axum::serve(listener, routes).await });
    Ok(address)
}

async fn answer(State(secrets): State<SecretValues>, headers: HeaderMap, body: Bytes) -> Response {
    let target = headers.get("x-amz-target").and_then(|target| target.to_str().ok()).unwrap_or_default();
    let ask: Value = serde_json::from_slice(&body).unwrap_or_default();
    let reply = match target {
        "secretsmanager.GetSecretValue" => {
            let name = ask["SecretId"].as_str().unwrap_or_default();
            secrets.get(name).map(|value| json!({ "Name": name, "SecretString": value }))
        }
        "AmazonSQS.SendMessageBatch" => {
            let sent = ask["Entries"].as_array().into_iter().flatten().map(|entry| {
                json!({ "Id": entry["Id"], "MessageId": "5fea7756-0ea4-451a-a703-a558b933e274", "MD5OfMessageBody": "" })
            });
            Some(json!({ "Successful": sent.collect::<Vec<_>>(), "Failed": [] }))
        }
        // SNS speaks forms and XML.
        "" if body.starts_with(b"Action=PublishBatch&") => return published(&body).into_response(),
        _ => None,
    };
    match reply {
        Some(reply) => ([(header::CONTENT_TYPE, JSON)], reply.to_string()).into_response(),
        None => {
            (StatusCode::BAD_REQUEST, json!({ "__type": "NotHere", "message": target }).to_string()).into_response()
        }
    }
}

fn published(body: &[u8]) -> ([(header::HeaderName, &'static str); 1], String) {
    let body = String::from_utf8_lossy(body);
    let ids = body.split('&').filter_map(|field| {
        let (name, value) = field.split_once('=')?;
        name.ends_with(".Id").then(|| format!("<member><Id>{value}</Id><MessageId>m</MessageId></member>"))
    });
    let sent: String = ids.collect();
    let reply = format!(
        "<PublishBatchResponse xmlns=\"http://sns.amazonaws.com/doc/2010-03-31/\"><PublishBatchResult>\
         <Successful>{sent}</Successful><Failed/></PublishBatchResult></PublishBatchResponse>"
    );
    ([(header::CONTENT_TYPE, XML)], reply)
}
