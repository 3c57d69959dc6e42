//! A connection that does not wait for ever for its client to take something.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    time::{Sleep, sleep},
};

/// Fails a write that the client has not taken a byte of within a time. That bounds every kind of answer alike: what a
/// client that never reads costs is one socket's buffer, for so long.
pub(super) struct Patient {
    stream: TcpStream,
    patience: Duration,
    stuck: Option<Pin<Box<Sleep>>>,
}

impl Patient {
    pub(super) fn new(stream: TcpStream, patience: Duration) -> Self {
        Self { stream, patience, stuck: None }
    }

    fn watched<T>(
        &mut self,
        context: &mut Context<'_>,
        write: impl FnOnce(Pin<&mut TcpStream>, &mut Context<'_>) -> Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if let Poll::Ready(done) = write(Pin::new(&mut self.stream), context) {
            self.stuck = None;
            return Poll::Ready(done);
        }
        let patience = self.patience;
        let stuck = self.stuck.get_or_insert_with(|| Box::pin(sleep(patience)));
        ready!(stuck.as_mut().poll(context));
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the client takes nothing")))
    }
}

impl AsyncRead for Patient {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Patient {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.watched(context, |stream, context| stream.poll_write(context, bytes))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.watched(context, |stream, context| stream.poll_write_vectored(context, parts))
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.watched(context, |stream, context| stream.poll_flush(context))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::future::poll_fn;

    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpListener,
    };

    use super::*;

    /// A server's end of a connection, and its client's.
    async fn connected(patience: Duration) -> (Patient, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (stream, _) = listener.accept().await.unwrap();
        (Patient::new(stream, patience), client)
    }

    #[tokio::test]
    async fn who_takes_nothing_is_given_up() {
        let (mut patient, _client) = connected(Duration::from_millis(50)).await;
        let given_up = async {
            loop {
                if let Err(error) = patient.write_all(&[0; 65_536]).await {
                    break error;
                }
            }
        };
        let error = tokio::time::timeout(Duration::from_secs(30), given_up).await.unwrap();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }

    #[tokio::test]
    async fn who_takes_something_is_waited_for_anew() {
        let patience = Duration::from_millis(50);
        let (mut patient, mut client) = connected(patience).await;
        let mut taken = vec![0; fill(&mut patient).await.unwrap()];
        // What it waited before counts no more once something is taken: by now the time for that is over.
        client.read_exact(&mut taken).await.unwrap();
        sleep(patience * 2).await;
        patient.stream.writable().await.unwrap();
        assert!(fill(&mut patient).await.unwrap() > 0);
    }

    /// Writes for as long as the client's buffers take it; how many bytes that was.
    async fn fill(patient: &mut Patient) -> io::Result<usize> {
        let mut filled = 0;
        poll_fn(|context| {
            while let Poll::Ready(written) = Pin::new(&mut *patient).poll_write(context, &[0; 65_536]) {
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
