//! An HTTP server on 127.0.0.1 that stops on request, and that other people's web pages cannot use.

mod guard;

pub use guard::Callers;

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use axum::Router;
use axum::middleware::from_fn_with_state;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// How long a stopping server waits for requests in flight.
const GRACE: Duration = Duration::from_secs(1);

/// A running server. Dropping it stops it without waiting.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<()>,
}

impl Server {
    /// Binds 127.0.0.1:`port` (0: the system picks one) and serves `router` to these callers until it is stopped.
    ///
    /// # Errors
    /// When the port cannot be bound, usually because another process uses it.
    pub async fn start(port: u16, router: Router, callers: Callers) -> io::Result<Self> {
        // Only the loopback interface: everybody knows the credentials.
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
        let address = listener.local_addr()?;
        let router = router.layer(from_fn_with_state((address, callers), guard::guard));
        let (stop, stopped) = oneshot::channel();
        let until = async move {
            // A dropped sender means that the owner is gone, so stop as well.
            let _ = stopped.await;
        };
        let task = tokio::spawn(async move {
            // Ends only when it is stopped; axum retries a failed accept.
            let _ = axum::serve(listener, router).with_graceful_shutdown(until).await;
        });
        Ok(Self { address, stop: Some(stop), task })
    }

    /// The address that it listens on.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// `http://127.0.0.1:port`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Stops accepting, gives requests in flight a moment to finish, and returns.
    pub async fn stop(mut self) {
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(());
        }
        if tokio::time::timeout(GRACE, &mut self.task).await.is_err() {
            self.task.abort();
        }
    }
}
