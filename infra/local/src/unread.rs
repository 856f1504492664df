//! What a function left of a request's body. A server that answers and closes while its client still sends makes the
//! client's system throw the answer away: who sends too much would see a broken connection, and not the 413 that says why.
//! API Gateway takes a body whole before it asks a function; here the rest of it is read, and forgotten, before the answer.

use axum::body::{Body, BodyDataStream, Bytes};
use axum::http::{HeaderMap, header};
use futures_util::{StreamExt, stream};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Mutex;

/// What is read at most of a body that nobody wants: what API Gateway takes of one.
const UNREAD_BYTES_MAX: usize = 10 * 1024 * 1024;
/// How long is read at most.
const UNREAD_SECONDS_MAX: u64 = 5;

/// A request's body, of which a function may leave a part.
pub struct Unread {
    body: Arc<Mutex<Reading>>,
    /// The client sends nothing before it is told to (RFC 9110, section 10.1.1), which reading does.
    waits: bool,
}

struct Reading {
    chunks: BodyDataStream,
    is_begun: bool,
}

impl Reading {
    async fn next(&mut self) -> Option<Result<Bytes, axum::Error>> {
        self.is_begun = true;
        self.chunks.next().await
    }
}

impl Unread {
    /// The body for the function, and what will read the rest of it.
    pub fn of(body: Body, headers: &HeaderMap) -> (Body, Self) {
        let reading = Reading { chunks: body.into_data_stream(), is_begun: false };
        let unread = Self { body: Arc::new(Mutex::new(reading)), waits: headers.contains_key(header::EXPECT) };
        let chunks = stream::unfold(unread.body.clone(), async |body| {
            let chunk = body.lock().await.next().await;
            chunk.map(|chunk| (chunk, body))
        });
        (Body::from_stream(chunks), unread)
    }

    /// Reads what is left, within limits, or until the client ends. Whoever has the body must be done with it.
    pub async fn read(self) {
        let mut body = self.body.lock().await;
        if self.waits && !body.is_begun {
            return;
        }
        let mut bytes = 0;
        let rest = async {
            while let Some(Ok(chunk)) = body.next().await {
                bytes += chunk.len();
                if bytes > UNREAD_BYTES_MAX {
                    return;
                }
            }
        };
        // Who sends for longer is answered now, and may not see it.
        let _ = tokio::time::timeout(Duration::from_secs(UNREAD_SECONDS_MAX), rest).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    const CHUNK_BYTES: usize = 1024 * 1024;

    /// Bytes that are asked of a client that sends so many chunks, where a function takes this many and answers.
    async fn asked(chunks: usize, takes: usize, headers: &[(&'static str, &'static str)]) -> usize {
        let pairs =
            headers.iter().map(|(name, value)| (name.parse().expect("a name"), value.parse().expect("a value")));
        let sent = Arc::new(AtomicUsize::new(0));
        let counted = sent.clone();
        let source = stream::iter(0..chunks).map(move |_| {
            counted.fetch_add(CHUNK_BYTES, Ordering::Relaxed);
            Ok::<_, axum::Error>(Bytes::from(vec![b' '; CHUNK_BYTES]))
        });
        let (body, unread) = Unread::of(Body::from_stream(source), &pairs.collect());
        let taken: Vec<_> = body.into_data_stream().take(takes).collect().await;
        assert_eq!(taken.len(), takes.min(chunks));
        unread.read().await;
        sent.load(Ordering::Relaxed) / CHUNK_BYTES
    }

    #[tokio::test]
    async fn what_is_left_is_read_within_limits() {
        assert_eq!(asked(3, 3, &[]).await, 3);
        assert_eq!(asked(3, 1, &[]).await, 3);
        assert_eq!(asked(3, 0, &[]).await, 3, "who may not ask at all still hears it");
        assert_eq!(asked(100, 1, &[]).await, 12, "ten of the rest, and one that is too much");
    }

    #[tokio::test]
    async fn who_waits_to_be_told_is_not_told_for_nothing() {
        assert_eq!(asked(3, 0, &[("expect", "100-continue")]).await, 0);
        assert_eq!(asked(3, 1, &[("expect", "100-continue")]).await, 3, "the function told it to send");
    }
}
