//! An HTTP server on 127.0.0.1 that stops on request.

use std::future::Future;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// How long a stopping server waits for requests in flight.
const GRACE: Duration = Duration::from_secs(1);

/// A running server. Dropping it stops it without waiting.
#[derive(Debug)]
pub(crate) struct Server {
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<()>,
}

impl Server {
    /// Binds 127.0.0.1:`port` (0: the system picks one) and runs `serve` on it until it is stopped.
    ///
    /// # Errors
    /// When the port cannot be bound, most often because another process uses it.
    pub(crate) async fn start<F, Fut>(port: u16, serve: F) -> io::Result<Self>
    where
        F: FnOnce(TcpListener, oneshot::Receiver<()>) -> Fut,
        Fut: Future<Output = ()> + Send + 'static,
    {
        // Only the loopback interface: everybody knows the credentials.
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
        let address = listener.local_addr()?;
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(serve(listener, stopped));
        Ok(Self { address, stop: Some(stop), task })
    }

    /// The same for an axum router.
    pub(crate) async fn start_router(port: u16, router: axum::Router) -> io::Result<Self> {
        Self::start(port, |listener, stopped| async move {
            let until = async move {
                // A dropped sender means that the owner is gone, so stop as well.
                let _ = stopped.await;
            };
            // Ends only when it is stopped; axum retries a failed accept.
            let _ = axum::serve(listener, router).with_graceful_shutdown(until).await;
        })
        .await
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// `http://127.0.0.1:port`.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Stops accepting, gives requests in flight a moment to finish, and returns.
    pub(crate) async fn stop(mut self) {
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(());
        }
        if tokio::time::timeout(GRACE, &mut self.task).await.is_err() {
            self.task.abort();
        }
    }
}
