//! Connections whose writes time out.

use std::{pin::Pin, time::Duration};

use tokio::net::TcpStream;
use tokio_io_timeout::TimeoutStream;

/// A connection whose writes fail once the client has accepted no byte for `timeout`. That bounds every kind of response alike: a client
/// that never reads costs one socket's buffer, for that long.
pub(super) fn with_write_timeout(stream: TcpStream, timeout: Duration) -> Pin<Box<TimeoutStream<TcpStream>>> {
    let mut stream = TimeoutStream::new(stream);
    stream.set_write_timeout(Some(timeout));
    Box::pin(stream)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::{future::poll_fn, io, task::Poll};

    use tokio::{
        io::{AsyncReadExt, AsyncWrite, AsyncWriteExt},
        net::TcpListener,
        time::sleep,
    };

    use super::*;

    /// A server's end of a connection, and its client's.
    async fn connected(timeout: Duration) -> (Pin<Box<TimeoutStream<TcpStream>>>, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (stream, _) = listener.accept().await.unwrap();
        (with_write_timeout(stream, timeout), client)
    }

    #[tokio::test]
    async fn a_write_that_no_byte_is_accepted_of_times_out() {
        let (mut stream, _client) = connected(Duration::from_millis(50)).await;
        let timed_out = async {
            loop {
                if let Err(error) = stream.write_all(&[0; 65_536]).await {
                    break error;
                }
            }
        };
        let error = tokio::time::timeout(Duration::from_secs(30), timed_out).await.unwrap();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }

    #[tokio::test]
    async fn an_accepted_byte_restarts_the_timeout() {
        let timeout = Duration::from_millis(50);
        let (mut stream, mut client) = connected(timeout).await;
        let mut taken = vec![0; fill(&mut stream).await.unwrap()];
        client.read_exact(&mut taken).await.unwrap();
        sleep(timeout * 2).await;
        stream.get_ref().writable().await.unwrap();
        assert!(fill(&mut stream).await.unwrap() > 0);
    }

    /// Writes for as long as the client's buffers take it; how many bytes that was.
    async fn fill(stream: &mut Pin<Box<TimeoutStream<TcpStream>>>) -> io::Result<usize> {
        let mut filled = 0;
        poll_fn(|context| {
            while let Poll::Ready(written) = stream.as_mut().poll_write(context, &[0; 65_536]) {
                match written {
                    Ok(bytes) => filled += bytes,
                    Err(error) => return Poll::Ready(Err(error)),
                }
            }
            Poll::Ready(Ok(filled))
        })
        .await
    }
}
