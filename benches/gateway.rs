//! One request over one kept connection: to the application itself, through the gateway without a
//! rule, with the local store, and with Redis. The differences are what each step adds; absolute
//! times say something about the machine only.

#![expect(missing_docs, reason = "criterion's macros write functions without")]

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use criterion::{Criterion, criterion_group, criterion_main};

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nhost: bench\r\n\r\n";
const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello";
/// Attempts to reach a process that is starting.
const ATTEMPTS: u32 = 2_000;

/// A process that ends with the benchmark.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn free_port() -> std::io::Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}

/// An application that answers every request alike.
fn application() -> std::io::Result<SocketAddr> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let address = listener.local_addr()?;
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            std::thread::spawn(move || {
                let mut head = [0; 4096];
                while stream.read(&mut head).is_ok_and(|read| read > 0) {
                    if stream.write_all(ANSWER).is_err() {
                        return;
                    }
                }
            });
        }
    });
    Ok(address)
}

fn connect(port: u16) -> std::io::Result<TcpStream> {
    let mut result = TcpStream::connect((Ipv4Addr::LOCALHOST, port));
    for _ in 0..ATTEMPTS {
        if result.is_ok() {
            break;
        }
        std::thread::yield_now();
        std::thread::park_timeout(std::time::Duration::from_millis(5));
        result = TcpStream::connect((Ipv4Addr::LOCALHOST, port));
    }
    let stream = result?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

fn gateway(name: &str, app: SocketAddr, more: &str) -> std::io::Result<(Process, u16)> {
    let (port, admin) = (free_port()?, free_port()?);
    let path: PathBuf = std::env::temp_dir().join(format!("sluicegate-bench-{name}.toml"));
    let config = format!(
        "[server]\nlisten = [\"127.0.0.1:{port}\"]\nthreads = 1\n[admin]\nlisten = \"127.0.0.1:{admin}\"\n\
         [log]\nlevel = \"error\"\n[upstreams.app]\nservers = [\"{app}\"]\n\
         [[routes]]\npath = \"/**\"\nupstream = \"app\"\n{more}"
    );
    std::fs::write(&path, config)?;
    let child = Command::new(env!("CARGO_BIN_EXE_sluicegate"))
        .arg("--config")
        .arg(path)
        .stderr(Stdio::null())
        .spawn()?;
    Ok((Process(child), port))
}

fn redis() -> std::io::Result<(Process, u16)> {
    let port = free_port()?;
    let child = Command::new("redis-server")
        .args(["--port", &port.to_string(), "--save", "", "--appendonly", "no"])
        .stdout(Stdio::null())
        .spawn()?;
    connect(port)?;
    Ok((Process(child), port))
}

fn ask(stream: &mut TcpStream, buffer: &mut [u8]) {
    let sent = stream.write_all(REQUEST);
    let mut read = 0;
    // The body is the last thing of an answer.
    while sent.is_ok() && !buffer[..read].ends_with(b"hello") {
        match stream.read(&mut buffer[read..]) {
            Ok(more) if more > 0 => read += more,
            _ => return,
        }
    }
}

fn round_trips(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("gateway");
    let rules = "[policies.p]\nquota = 1000000000\nwindow = \"1m\"\nalgorithm = \"token-bucket\"\n\
                 burst = 1000000\n[[rules]]\npath = \"/**\"\npolicies = [\"p\"]\n";
    let run = || -> std::io::Result<Vec<(&'static str, u16, Vec<Process>)>> {
        let app = application()?;
        let (redis, redis_port) = redis()?;
        let local = "[store]\nkind = \"local\"\n";
        let shared =
            format!("[store]\nurl = \"redis://127.0.0.1:{redis_port}\"\ntimeout = \"1s\"\n{rules}");
        let bare = gateway("bare", app, local)?;
        let local = gateway("local", app, &format!("{local}{rules}"))?;
        let shared = gateway("shared", app, &shared)?;
        Ok(vec![
            ("application alone", app.port(), Vec::new()),
            ("no rule", bare.1, vec![bare.0]),
            ("local store", local.1, vec![local.0]),
            ("redis", shared.1, vec![shared.0, redis]),
        ])
    };
    for (name, port, _processes) in run().into_iter().flatten() {
        let Ok(mut stream) = connect(port) else { continue };
        let mut buffer = [0; 4096];
        group.bench_function(name, |bencher| bencher.iter(|| ask(&mut stream, &mut buffer)));
    }
    group.finish();
}

criterion_group!(benches, round_trips);
criterion_main!(benches);
