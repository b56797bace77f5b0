//! An application that notes what reaches it, as a strict server reads it.
//!
//! It takes nothing that two servers could read differently: what is not plain HTTP/1.1 is noted as
//! broken, with the reason. A request is noted as soon as its head is there, and again when its
//! body has come or the connection has ended. It sends a 100 for `/continue` alone, agrees to an
//! upgrade for `/switch` alone (asked or not), and has much to say for `/big`. `/early` is answered
//! before its body has come, and a HEAD for `/rude` with a body that nobody has asked for.

use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::support::raw;

/// Longest line that it reads: the gateway's own limits are far below.
const LINE_MAX: u64 = 256 * 1024;
const EARLY: &str = "/early";
/// Size of the body of `/big`: more than the buffers on the way take.
const BIG: usize = 64 * 1024 * 1024;
static PIECE: [u8; 64 * 1024] = [b'x'; 64 * 1024];
/// A pooled connection may be idle for long; only a forgotten one runs into it.
const IDLE: Duration = Duration::from_secs(300);

/// How far a request has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// Its body is still under way.
    Open,
    /// It is complete.
    Whole,
    /// The connection ended within it.
    Cut,
    /// It is not plain HTTP.
    Broken(String),
}

/// A request as it has come.
#[derive(Clone, Debug)]
pub(super) struct Noted {
    pub(super) method: String,
    pub(super) target: String,
    pub(super) fields: Vec<(String, String)>,
    pub(super) body: Vec<u8>,
    pub(super) end: End,
}

/// The running application.
pub(super) struct Recorder {
    address: SocketAddr,
    notes: Arc<Mutex<Vec<Noted>>>,
}

/// One connection of the gateway.
struct Connection<'a> {
    reader: BufReader<&'a TcpStream>,
    notes: &'a Mutex<Vec<Noted>>,
}

// === impl Noted ===

impl Noted {
    /// All values of a field.
    pub(super) fn values(&self, name: &str) -> Vec<&str> {
        let of = self.fields.iter().filter(|(known, _)| known.eq_ignore_ascii_case(name));
        of.map(|(_, value)| value.as_str()).collect()
    }

    /// What fits into a line.
    pub(super) fn brief(&self) -> String {
        let body = String::from_utf8_lossy(&self.body).into_owned();
        let shown = |text: &str| text.chars().take(80).collect::<String>();
        let (method, target, body) = (shown(&self.method), shown(&self.target), shown(&body));
        format!("{method} {target} {body:?} {:?}", self.end)
    }

    /// From whom the gateway has it.
    pub(super) fn client(&self) -> String {
        self.values("x-forwarded-for").join(" and ")
    }
}

// === impl Recorder ===

impl Recorder {
    pub(super) fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let notes = Arc::new(Mutex::new(Vec::new()));
        let own = Arc::clone(&notes);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let notes = Arc::clone(&own);
                std::thread::spawn(move || serve(&stream, &notes));
            }
        });
        Self { address, notes }
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// All requests so far.
    pub(super) fn notes(&self) -> Vec<Noted> {
        self.notes.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether no request is under way.
    pub(super) fn is_idle(&self) -> bool {
        let notes = self.notes.lock().unwrap_or_else(PoisonError::into_inner);
        notes.iter().all(|note| note.end != End::Open)
    }
}

fn serve(stream: &TcpStream, notes: &Mutex<Vec<Noted>>) {
    let _ = stream.set_nodelay(true);
    let _ = stream.set_read_timeout(Some(IDLE));
    let mut connection = Connection { reader: BufReader::new(stream), notes };
    while let Some(noted) = connection.take_one() {
        if noted.target == EARLY {
            continue;
        }
        let (answer, goes_on) = answer(&noted);
        let mut writer = stream;
        let written = writer.write_all(answer.as_bytes());
        if written.and_then(|()| send_big(stream, &noted)).is_err() {
            return;
        }
        if !goes_on {
            let mut rest = Vec::new();
            let _ = connection.reader.read_to_end(&mut rest);
            return connection.add_to_last(rest);
        }
    }
}

/// The body of `/big`, as fast as it is taken.
fn send_big(mut stream: &TcpStream, noted: &Noted) -> io::Result<()> {
    let pieces = if noted.target == "/big" { BIG / PIECE.len() } else { 0 };
    (0..pieces).try_for_each(|_| stream.write_all(&PIECE))
}

/// 200 and what was asked for; or 101, if that is the target, and then no HTTP any more.
fn answer(noted: &Noted) -> (String, bool) {
    if noted.target == "/switch" {
        let fields = "connection: upgrade\r\nupgrade: websocket\r\n";
        return (format!("HTTP/1.1 101 Switching Protocols\r\n{fields}\r\n"), false);
    }
    let shown = noted.target.bytes().all(|byte| byte.is_ascii_graphic());
    let target = if shown && noted.target.len() < 1024 { noted.target.as_str() } else { "-" };
    if noted.target == "/big" {
        return (format!("HTTP/1.1 200 OK\r\ncontent-length: {BIG}\r\n\r\n"), true);
    }
    let mute = noted.method == "HEAD" && noted.target != "/rude";
    let body = if mute { "" } else { "ok" };
    let fields = format!("x-method: {}\r\nx-target: {target}\r\n", noted.method);
    (format!("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n{fields}\r\n{body}"), true)
}

// === impl Connection ===

impl Connection<'_> {
    /// Reads and notes a request. Nothing at the end of the connection, or if it was no good.
    fn take_one(&mut self) -> Option<Noted> {
        let (mut noted, read) = match self.head() {
            Ok(Some(noted)) => (noted, Ok(())),
            Ok(None) => return None,
            Err(end) => (Noted::broken(), Err(end)),
        };
        let place = self.place_of(&noted);
        if noted.target == "/continue" && noted.values("expect") == ["100-continue"] {
            let mut writer = *self.reader.get_ref();
            let _ = writer.write_all(b"HTTP/1.1 100 Continue\r\n\r\n");
        }
        if noted.target == EARLY {
            let mut writer = *self.reader.get_ref();
            let _ = writer.write_all(answer(&noted).0.as_bytes());
        }
        let read = read.and_then(|()| self.body(&mut noted));
        noted.end = read.err().unwrap_or(End::Whole);
        self.notes.lock().unwrap_or_else(PoisonError::into_inner)[place] = noted.clone();
        (noted.end == End::Whole).then_some(noted)
    }

    fn place_of(&self, noted: &Noted) -> usize {
        let mut all = self.notes.lock().unwrap_or_else(PoisonError::into_inner);
        all.push(noted.clone());
        all.len() - 1
    }

    fn add_to_last(&self, rest: Vec<u8>) {
        let mut notes = self.notes.lock().unwrap_or_else(PoisonError::into_inner);
        let last = notes.iter_mut().rfind(|note| note.target == "/switch");
        last.expect("it was noted").body = rest;
    }

    fn head(&mut self) -> Result<Option<Noted>, End> {
        let Some(start) = self.line(true)? else { return Ok(None) };
        let words: Vec<&str> = start.split(' ').collect();
        let [method, target, "HTTP/1.1"] = words[..] else {
            return Err(End::Broken(format!("request line {start:?}")));
        };
        if !is_token(method) || !target.bytes().all(|byte| byte > b' ' && byte != 0x7f) {
            return Err(End::Broken(format!("request line {start:?}")));
        }
        let mut fields = Vec::new();
        loop {
            let line = self.line(false)?.unwrap_or_default();
            if line.is_empty() {
                break;
            }
            fields.push(field(&line)?);
        }
        let (method, target) = (method.to_owned(), target.to_owned());
        Ok(Some(Noted { method, target, fields, body: Vec::new(), end: End::Open }))
    }

    fn body(&mut self, noted: &mut Noted) -> Result<(), End> {
        let broken = |why: &str| Err(End::Broken(format!("{why}: {noted:?}")));
        if noted.values("host").len() != 1 {
            return broken("not one Host");
        }
        match (&noted.values("transfer-encoding")[..], &noted.values("content-length")[..]) {
            ([], []) => Ok(()),
            (["chunked"], []) => self.chunks(&mut noted.body),
            ([], [digits]) if is_number(digits, 10) => {
                let length = digits.parse().map_err(|_| End::Broken((*digits).to_owned()))?;
                self.bytes(length, &mut noted.body)
            }
            _ => broken("ambiguous framing"),
        }
    }

    fn chunks(&mut self, body: &mut Vec<u8>) -> Result<(), End> {
        loop {
            let line = self.line(false)?.unwrap_or_default();
            if !is_number(&line, 16) {
                return Err(End::Broken(format!("chunk size {line:?}")));
            }
            let size = usize::from_str_radix(&line, 16).map_err(|_| End::Broken(line))?;
            if size == 0 {
                break;
            }
            self.bytes(size, body)?;
            if !self.line(false)?.unwrap_or_default().is_empty() {
                return Err(End::Broken("no line end after a chunk".to_owned()));
            }
        }
        match self.line(false)?.unwrap_or_default() {
            end if end.is_empty() => Ok(()),
            trailer => Err(End::Broken(format!("a trailer: {trailer:?}"))),
        }
    }

    fn bytes(&mut self, length: usize, to: &mut Vec<u8>) -> Result<(), End> {
        let read = self.reader.by_ref().take(length as u64).read_to_end(to);
        if read.is_ok_and(|read| read == length) { Ok(()) } else { Err(End::Cut) }
    }

    /// A line without its CRLF. Nothing at the end of the connection, if that `may_end` here.
    fn line(&mut self, may_end: bool) -> Result<Option<String>, End> {
        let mut line = Vec::new();
        let read = self.reader.by_ref().take(LINE_MAX).read_until(b'\n', &mut line);
        let ended = match read {
            Ok(read) => read == 0,
            Err(error) => {
                matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::WouldBlock)
            }
        };
        if ended && line.is_empty() && may_end {
            return Ok(None);
        }
        let Some(text) = line.strip_suffix(b"\r\n") else {
            let cut = !line.ends_with(b"\n");
            let shown = String::from_utf8_lossy(&line).into_owned();
            return Err(if cut { End::Cut } else { End::Broken(format!("line {shown:?}")) });
        };
        if text.contains(&b'\r') {
            return Err(End::Broken("a bare CR".to_owned()));
        }
        // Every byte as the character of that number, so that none is lost.
        Ok(Some(text.iter().map(|byte| char::from(*byte)).collect()))
    }
}

impl Noted {
    /// What could not be read.
    fn broken() -> Self {
        let (method, target) = (String::new(), String::new());
        Self { method, target, fields: Vec::new(), body: Vec::new(), end: End::Open }
    }
}

fn field(line: &str) -> Result<(String, String), End> {
    let broken = || End::Broken(format!("field {line:?}"));
    let (name, value) = line.split_once(':').ok_or_else(broken)?;
    let control = |byte: char| u32::from(byte) < 0x20 && byte != '\t' || byte == '\x7f';
    if !is_token(name) || value.contains(control) {
        return Err(broken());
    }
    Ok((name.to_owned(), value.trim().to_owned()))
}

fn is_token(word: &str) -> bool {
    let of_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !word.is_empty() && word.bytes().all(of_token)
}

fn is_number(digits: &str, radix: u32) -> bool {
    !digits.is_empty() && digits.len() <= 16 && digits.chars().all(|digit| digit.is_digit(radix))
}

/// A connection through the gateway to an application like this one, which both have agreed to
/// upgrade.
pub(super) fn tunnel(gateway: SocketAddr) -> TcpStream {
    let mut stream = raw::connect(gateway);
    let upgrade = "GET /switch HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                   Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AQIDBAUGBwgJCgsMDQ4PEA==\r\n\r\n";
    stream.write_all(upgrade.as_bytes()).expect("it is read");
    let (head, _) = raw::read_answer(&mut stream);
    assert!(head.starts_with("HTTP/1.1 101"), "{head}");
    stream
}
