//! A client that writes bytes and reads answers piece by piece: for what no library lets one see.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};

use super::{Answer, Headers};
use crate::support::raw;

/// A connection to an application or to the gateway.
pub(super) struct Wire {
    stream: BufReader<TcpStream>,
}

impl Wire {
    pub(super) fn open(address: SocketAddr) -> Self {
        Self { stream: BufReader::new(raw::connect(address)) }
    }

    pub(super) fn send(&mut self, bytes: &[u8]) {
        self.stream.get_mut().write_all(bytes).expect("the other end reads");
    }

    /// The next head, also of an interim answer.
    pub(super) fn head(&mut self) -> Answer {
        let start = self.line();
        let status = start.split(' ').nth(1).expect("a status").parse().expect("a number");
        let mut headers = Headers::new();
        loop {
            let line = self.line();
            if line.is_empty() {
                return Answer { status, headers, body: Vec::new() };
            }
            let (name, value) = line.split_once(':').expect("a header");
            headers.entry(name.to_ascii_lowercase()).or_default().push(value.trim().to_owned());
        }
    }

    /// The next answer with its body, which ends as the head says: by its length, with its last
    /// chunk, or with the connection.
    pub(super) fn answer(&mut self) -> Answer {
        let mut answer = self.head();
        if answer.header("transfer-encoding").is_some() {
            answer.body = self.chunks();
        } else if let Some(length) = answer.header("content-length") {
            answer.body = self.exactly(length.parse().expect("a number"));
        } else if answer.status != 204 && answer.status != 304 {
            answer.body = self.rest();
        }
        answer
    }

    /// The content of the next chunk; nothing at the end.
    pub(super) fn chunk(&mut self) -> Vec<u8> {
        let size = usize::from_str_radix(&self.line(), 16).expect("the size of a chunk");
        let content = self.exactly(size);
        assert_eq!(self.line(), "", "a chunk ends where it says");
        content
    }

    /// Chunks until what they hold ends with `end`.
    pub(super) fn chunks_until(&mut self, end: &str) -> String {
        let mut content = Vec::new();
        while !content.ends_with(end.as_bytes()) {
            let chunk = self.chunk();
            assert!(!chunk.is_empty(), "it ended with {:?}", String::from_utf8_lossy(&content));
            content.extend(chunk);
        }
        String::from_utf8(content).expect("text")
    }

    pub(super) fn exactly(&mut self, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        self.stream.read_exact(&mut bytes).expect("all of it comes");
        bytes
    }

    /// Everything until the other end closes.
    pub(super) fn rest(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.stream.read_to_end(&mut bytes).expect("it closes in order");
        bytes
    }

    fn chunks(&mut self) -> Vec<u8> {
        let mut content = Vec::new();
        loop {
            let chunk = self.chunk();
            if chunk.is_empty() {
                return content;
            }
            content.extend(chunk);
        }
    }

    fn line(&mut self) -> String {
        let mut line = Vec::new();
        let read = self.stream.read_until(b'\n', &mut line).expect("a line comes");
        assert!(read > 0, "the other end has closed");
        let line = line.strip_suffix(b"\r\n").expect("a line ends with CR LF");
        String::from_utf8_lossy(line).into_owned()
    }
}
