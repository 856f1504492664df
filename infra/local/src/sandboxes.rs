//! Servers of others that are played here: each on a loopback port and a thread of its own named `sandbox`.

use crate::error::Error;
use std::future::Future;
use std::io;
use std::thread::JoinHandle;
use tokio::net::TcpListener;
use tokio::sync::oneshot;

/// A sandbox that runs. Dropping it stops it and waits until its file is closed.
pub struct Sandbox {
    pub url: String,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Sandbox {
    /// Serves with this until it is dropped.
    pub fn start<F>(serve: impl FnOnce(TcpListener) -> F + Send + 'static) -> Result<Self, Error>
    where
        F: Future<Output = io::Result<()>>,
    {
        let failed = |error: io::Error| Error::Sandbox(error.to_string());
        let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).map_err(failed)?;
        listener.set_nonblocking(true).map_err(failed)?;
        let url = format!("http://{}", listener.local_addr().map_err(failed)?);
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::Builder::new().name("sandbox".to_owned());
        let thread = thread.spawn(move || run(serve, listener, stopped)).map_err(failed)?;
        Ok(Self { url, stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        if let Some(stop) = self.stop.take() {
            // The thread may have ended already; then there is nothing to stop.
            let _ = stop.send(());
        }
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("a sandbox panicked");
        }
    }
}

fn run<F>(serve: impl FnOnce(TcpListener) -> F, listener: std::net::TcpListener, stopped: oneshot::Receiver<()>)
where
    F: Future<Output = io::Result<()>>,
{
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return tracing::error!(%error, "a sandbox has no runtime"),
    };
    let result = runtime.block_on(async {
        let listener = TcpListener::from_std(listener)?;
        tokio::select! {
            result = serve(listener) => result,
            // No call is waited for: whoever asked was stopped first, and can ask again.
            _ = stopped => Ok(()),
        }
    });
    if let Err(error) = result {
        tracing::error!(%error, "a sandbox ended");
    }
}
