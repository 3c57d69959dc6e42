//! The HTTP server: connections and their limits, Origin and Host checks, routes.

mod dashboard;
mod guard;

mod routes;
mod write_timeout;

use std::{convert::Infallible, io, net::SocketAddr, panic::AssertUnwindSafe, sync::Arc, time::Duration};

use axum::{
    Router,
    extract::Request,
    middleware,
    response::{IntoResponse as _, Response},
};
use futures_util::FutureExt as _;
use hyper::{body::Incoming, server::conn::http1};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::{TcpListener, TcpSocket, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    time,
};
use tower::{Service, ServiceExt};

use crate::{Gateway, Panicked, api::error::RequestError, push};
use guard::Guard;
pub use routes::document;
use write_timeout::with_write_timeout;

/// Maximum connections; the next one waits until one ends.
const MAX_CONNECTIONS: usize = 4_096;
/// How long the head of a request may take, and a connection may be idle.
const REQUEST_HEAD_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a client may accept no byte of a response.
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);
/// Maximum bytes of a request's head.
const MAX_HEAD_BYTES: usize = 32 << 10;
/// Maximum header lines.
const MAX_HEADERS: usize = 64;
/// Send buffer of a connection in the kernel, which doubles it.
const SEND_BUFFER_BYTES: u32 = 64 << 10;
/// Maximum wait at shutdown for subscribers to close their connections.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(2);
/// Maximum ports tried after the requested one.
const MAX_PORTS_TRIED: u16 = 20;

/// The address to listen on and the origins to allow.
#[derive(Debug, Clone)]
pub struct ServerOptions {
    /// Address and port; port 0 takes any.
    pub listen: SocketAddr,
    /// Try the next ports where this one is in use.
    pub next_free: bool,
    /// Other sites' origins that may send requests, as `https://host[:port]`.
    pub origins: Vec<String>,
}

/// A server with a bound address.
pub struct Server {
    listener: TcpListener,
    router: Router,
    gateway: Gateway,
    request_head_timeout: Duration,
}

impl Server {
    /// Binds the address. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// The address cannot be bound.
    pub fn bind(gateway: Gateway, options: &ServerOptions) -> io::Result<Self> {
        let mut address = options.listen;
        let last = address.port().saturating_add(if options.next_free { MAX_PORTS_TRIED } else { 0 });
        let listener = loop {
            match listen(address) {
                Err(error) if error.kind() == io::ErrorKind::AddrInUse && address.port() < last => {
                    address.set_port(address.port() + 1);
                }
                other => break other?,
            }
        };
        let loopback = listener.local_addr()?.ip().is_loopback();
        let guard = Guard { origins: options.origins.clone().into(), loopback };
        let router =
            routes::router(gateway.clone()).layer(middleware::from_fn_with_state(guard, guard::guard));
        Ok(Self { listener, router, gateway, request_head_timeout: REQUEST_HEAD_TIMEOUT })
    }

    /// The bound address.
    ///
    /// # Errors
    /// The operating system does not report it.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves until `stop` is done; then closes the clients' connections with a reason, and waits a moment for them.
    ///
    /// # Errors
    /// The publisher panicked: subscribers would receive nothing more.
    pub async fn serve(self, stop: impl Future<Output = ()>) -> Result<(), Panicked> {
        let publisher = push::publish(self.gateway.clone());
        self.serve_with(publisher, stop).await
    }

    async fn serve_with(
        self,
        publish: impl Future<Output = ()> + Send + 'static,
        stop: impl Future<Output = ()>,
    ) -> Result<(), Panicked> {
        let Self { listener, router, gateway, request_head_timeout } = self;
        let mut publisher = tokio::spawn(publish);
        let permits = Arc::new(Semaphore::new(MAX_CONNECTIONS));
        tokio::select! {
            () = accept(&listener, &permits, &router, request_head_timeout) => {}
            () = stop => {}
            ended = &mut publisher => {
                let panic = ended.err().and_then(|error| error.try_into_panic().ok());
                return Err(Panicked::new("the publisher", panic.as_deref().unwrap_or(&"it ended")));
            }
        }
        drop(listener);
        gateway.shared.stopping.cancel();
        let all_permits = gateway.shared.permits.acquire_many(gateway.shared.limits.max_clients as u32);
        let _ = time::timeout(SHUTDOWN_TIMEOUT, all_permits).await.is_ok();
        publisher.abort();
        Ok(())
    }
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    socket.set_reuseaddr(true)?;
    // Accepted connections inherit it.
    socket.set_send_buffer_size(SEND_BUFFER_BYTES)?;
    socket.bind(address)?;
    socket.listen(1_024)
}

async fn accept(
    listener: &TcpListener,
    permits: &Arc<Semaphore>,
    router: &Router,
    request_head_timeout: Duration,
) {
    loop {
        let Ok(permit) = Arc::clone(permits).acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, _)) => {
                drop(tokio::spawn(connection(stream, router.clone(), request_head_timeout, permit)))
            }
            Err(error) => {
                // Usually too many open files: the pause lets other connections end.
                tracing::warn!(%error, "cannot accept a connection, retrying");
                time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

async fn connection(
    stream: TcpStream,
    router: Router,
    request_head_timeout: Duration,
    permit: OwnedSemaphorePermit,
) {
    // Small messages must not wait for more.
    let _ = stream.set_nodelay(true);
    let service = hyper::service::service_fn(move |request: hyper::Request<Incoming>| {
        answer(router.clone(), request.map(axum::body::Body::new))
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(request_head_timeout)
        .max_buf_size(MAX_HEAD_BYTES)
        .max_headers(MAX_HEADERS)
        .serve_connection(TokioIo::new(with_write_timeout(stream, WRITE_TIMEOUT)), service)
        .with_upgrades()
        .await;
    if let Err(error) = served {
        tracing::debug!(%error, "connection closed early");
    }
    drop(permit);
}

/// A handler that panics costs one answer (500): handlers only read.
async fn answer(mut router: Router, request: Request) -> Result<Response, Infallible> {
    let path = request.uri().path().to_owned();
    let answered = async { <Router as ServiceExt<Request>>::ready(&mut router).await?.call(request).await };
    AssertUnwindSafe(answered).catch_unwind().await.unwrap_or_else(|panic| {
        let panicked = Panicked::new("a handler", &*panic);
        tracing::error!(path, message = panicked.message, "a handler panicked");
        Ok(RequestError::Panicked.into_response())
    })
}

#[cfg(test)]
mod tests;
