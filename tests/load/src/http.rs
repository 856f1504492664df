//! One kept connection, with as little between the buyer and the socket as there can be.

use crate::Failed;
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::{CONTENT_TYPE, HOST, HeaderValue};
use hyper::http::request::Builder;
use hyper::{HeaderMap, StatusCode};
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use tokio::net::TcpStream;

/// Characters of an unexpected answer that are shown.
const SHOWN_CHARS_MAX: usize = 400;

/// A connection that requests go over one after the other.
pub struct Connection {
    sender: SendRequest<Full<Bytes>>,
    host: HeaderValue,
}

/// An answer, read to its end.
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Connection {
    /// Connects to the server of an address such as `http://127.0.0.1:3000`.
    pub async fn open(url: &str) -> Result<Self, Failed> {
        let not_http = || Failed::Because(format!("{url} is no address of a plain HTTP server"));
        let authority = url.strip_prefix("http://").ok_or_else(not_http)?;
        let host = HeaderValue::from_str(authority).map_err(|_| not_http())?;
        let stream = TcpStream::connect(authority).await?;
        stream.set_nodelay(true)?;
        let (sender, connection) = handshake(TokioIo::new(stream)).await?;
        // Whoever sends the next request is told of an error.
        tokio::spawn(async move { drop(connection.await) });
        Ok(Self { sender, host })
    }

    /// Sends a request and reads the answer.
    pub async fn send(&mut self, request: Builder, body: impl Into<Bytes>) -> Result<Answer, Failed> {
        let request = request.header(HOST, &self.host).body(Full::new(body.into()));
        let request = request.map_err(|error| Failed::Because(error.to_string()))?;
        self.sender.ready().await?;
        let (head, body) = self.sender.send_request(request).await?.into_parts();
        let body = body.collect().await?.to_bytes();
        Ok(Answer { status: head.status, headers: head.headers, body })
    }

    /// The same with a JSON body.
    pub async fn send_json(&mut self, request: Builder, body: impl Into<Bytes>) -> Result<Answer, Failed> {
        self.send(request.header(CONTENT_TYPE, "application/json"), body).await
    }
}

impl Answer {
    /// The answer if it has this status; the load cannot go on otherwise.
    pub fn expect(self, status: u16) -> Result<Self, Failed> {
        if self.status == status {
            return Ok(self);
        }
        let shown: String = String::from_utf8_lossy(&self.body).chars().take(SHOWN_CHARS_MAX).collect();
        Err(Failed::Because(format!("{status} was expected, and the answer was {}: {shown}", self.status)))
    }

    pub fn json<T: DeserializeOwned>(&self) -> Result<T, Failed> {
        Ok(serde_json::from_slice(&self.body)?)
    }

    pub fn contains(&self, text: &str) -> bool {
        self.body.windows(text.len()).any(|window| window == text.as_bytes())
    }
}
