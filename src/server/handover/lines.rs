//! A conversation in lines.

use std::io;

use rustix::net::{RecvFlags, recv};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, Interest};
use tokio::net::UnixStream;
use tokio::time::{Duration, timeout};

use super::LINE_MAX;

/// Whether anything is said at all within `longest`. Nothing is taken.
pub(super) async fn begins(stream: &UnixStream, longest: Duration) -> bool {
    let mut byte = [0];
    let said = async {
        loop {
            stream.readable().await?;
            match peek(stream, &mut byte) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                other => return other,
            }
        }
    };
    matches!(timeout(longest, said).await, Ok(Ok(1)))
}

fn peek(stream: &UnixStream, byte: &mut [u8; 1]) -> io::Result<usize> {
    let look = || Ok(recv(stream, byte.as_mut_slice(), RecvFlags::PEEK)?.0);
    stream.try_io(Interest::READABLE, look)
}

/// Waits for a line, without its end, for `longest`.
pub(super) async fn read(stream: &mut UnixStream, longest: Duration) -> Result<String, String> {
    let line = async {
        let mut line = Vec::new();
        // A byte at a time: a line is short, and nothing behind it is taken.
        loop {
            match stream.read_u8().await {
                Ok(b'\n') => return String::from_utf8(line).map_err(|_| "no text".to_owned()),
                Ok(byte) if line.len() < LINE_MAX => line.push(byte),
                Ok(_) => return Err("it says too much".to_owned()),
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                    return Err("it has gone".to_owned());
                }
                Err(error) => return Err(error.to_string()),
            }
        }
    };
    let silent = |_| format!("it has said nothing for {} seconds", longest.as_secs());
    timeout(longest, line).await.map_err(silent)?
}

/// Waits for that very line.
pub(super) async fn expect(
    stream: &mut UnixStream,
    word: &str,
    longest: Duration,
) -> Result<(), String> {
    let line = read(stream, longest).await?;
    if line == word {
        return Ok(());
    }
    // Whoever that is: it is shown as text of ours.
    Err(format!("it says {line:?} in place of `{word}`"))
}

pub(super) async fn write(stream: &mut UnixStream, word: &str) -> Result<(), String> {
    let line = format!("{word}\n");
    stream.write_all(line.as_bytes()).await.map_err(|error| format!("it has gone: {error}"))
}
