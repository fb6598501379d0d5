//! A small HTTP/1.1 client on one kept-alive connection.
//!
//! The load generator needs one that costs next to nothing, and the harness one that asks the
//! admin listeners and the broker's HTTP API. It knows `Content-Length` and chunked bodies.

use std::net::SocketAddr;

use anyhow::{Context, bail};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

/// One connection; requests go one after the other.
#[derive(Debug)]
pub struct Connection {
    stream: BufReader<TcpStream>,
    line: Vec<u8>,
}

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    /// The status code.
    pub status: u16,
    /// Names in lower case, values trimmed, in order.
    pub headers: Vec<(String, String)>,
    /// The body, decoded from chunks.
    pub body: Vec<u8>,
}

impl Response {
    /// The first header of that lower-case name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(found, _)| found == name)
            .map(|(_, value)| value.as_str())
    }

    /// The body as text; bytes that are no UTF-8 are replaced.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// The bytes of a request; `headers` are whole lines, each with its CRLF.
pub fn request(method: &str, path: &str, headers: &str, body: &[u8]) -> Vec<u8> {
    let mut bytes = format!(
        "{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n{headers}\r\n",
        body.len()
    )
    .into_bytes();
    bytes.extend_from_slice(body);
    bytes
}

/// One request on a connection of its own.
pub async fn once(
    address: SocketAddr,
    method: &str,
    path: &str,
    headers: &str,
    body: &[u8],
) -> anyhow::Result<Response> {
    let mut connection = Connection::open(address).await?;
    connection
        .send(&request(method, path, headers, body))
        .await
        .with_context(|| format!("{method} http://{address}{path}"))
}

impl Connection {
    /// Connects.
    pub async fn open(address: SocketAddr) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(address)
            .await
            .with_context(|| format!("cannot connect to {address}"))?;
        stream.set_nodelay(true)?;
        Ok(Self {
            stream: BufReader::new(stream),
            line: Vec::with_capacity(256),
        })
    }

    /// Sends the bytes of one request and reads its answer.
    pub async fn send(&mut self, request: &[u8]) -> anyhow::Result<Response> {
        self.stream.get_mut().write_all(request).await?;
        let status = self.line().await?;
        let status = status
            .split(' ')
            .nth(1)
            .and_then(|code| code.parse().ok())
            .with_context(|| format!("not a status line: {status:?}"))?;
        let mut headers = Vec::new();
        loop {
            let line = self.line().await?;
            if line.is_empty() {
                break;
            }
            let (name, value) = line.split_once(':').context("a header without a colon")?;
            headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
        let mut response = Response {
            status,
            headers,
            body: Vec::new(),
        };
        response.body = self.body(&response).await?;
        Ok(response)
    }

    async fn body(&mut self, response: &Response) -> anyhow::Result<Vec<u8>> {
        if response.header("transfer-encoding") == Some("chunked") {
            return self.chunks().await;
        }
        let length = match response.header("content-length") {
            Some(length) => length.parse()?,
            None => 0,
        };
        let mut body = vec![0; length];
        self.stream.read_exact(&mut body).await?;
        Ok(body)
    }

    async fn chunks(&mut self) -> anyhow::Result<Vec<u8>> {
        let mut body = Vec::new();
        loop {
            let size = usize::from_str_radix(&self.line().await?, 16)?;
            let mut chunk = vec![0; size];
            self.stream.read_exact(&mut chunk).await?;
            body.append(&mut chunk);
            if !self.line().await?.is_empty() {
                bail!("a chunk of another length than announced");
            }
            if size == 0 {
                return Ok(body);
            }
        }
    }

    async fn line(&mut self) -> anyhow::Result<String> {
        self.line.clear();
        self.stream.read_until(b'\n', &mut self.line).await?;
        let Some(line) = self.line.strip_suffix(b"\r\n") else {
            bail!("the connection was closed in the middle of an answer");
        };
        Ok(String::from_utf8_lossy(line).into_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::TcpListener;

    async fn answering(answer: &'static str) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut buffer = [0; 1024];
            let _ = stream.read(&mut buffer).await.unwrap();
            stream.write_all(answer.as_bytes()).await.unwrap();
        });
        address
    }

    #[tokio::test]
    async fn a_body_of_known_length_is_read() {
        let at =
            answering("HTTP/1.1 503 Busy\r\nRetry-After: 5\r\nContent-Length: 2\r\n\r\nno").await;
        let response = once(at, "GET", "/", "", b"").await.unwrap();
        assert_eq!(response.status, 503);
        assert_eq!(response.header("retry-after"), Some("5"));
        assert_eq!(response.text(), "no");
    }

    #[tokio::test]
    async fn chunks_are_put_together() {
        let at = answering(
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\na\r\n0123456789\r\n0\r\n\r\n",
        )
        .await;
        let response = once(at, "GET", "/", "", b"").await.unwrap();
        assert_eq!(response.text(), "abc0123456789");
    }

    #[tokio::test]
    async fn an_answer_that_is_cut_off_is_an_error() {
        let at = answering("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab").await;
        assert!(once(at, "GET", "/", "", b"").await.is_err());
    }
}
