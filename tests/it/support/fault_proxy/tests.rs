//! That the proxy does what its behaviours say.

use redis::io::tcp::socket2::{Domain, Socket, Type};

use super::*;

/// Only a hang runs into it.
const LONG: Duration = Duration::from_secs(10);
/// Time enough for an answer that must not come.
const SHORT: Duration = Duration::from_millis(100);

/// A server that answers every byte with the same byte, on each connection.
fn echo() -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    let address = listener.local_addr().expect("it is bound");
    spawn(move || {
        for stream in listener.incoming().flatten() {
            spawn(move || std::io::copy(&mut &stream, &mut &stream));
        }
    });
    address
}

/// Sends a byte and reads one: what came, `Ok(None)` for an end.
fn ask(mut stream: &TcpStream, patience: Duration) -> Result<Option<u8>, ErrorKind> {
    let mut byte = [b'?'];
    stream.set_read_timeout(Some(patience)).expect("a valid time");
    stream.write_all(&byte).map_err(|error| error.kind())?;
    let read = stream.read(&mut byte).map_err(|error| error.kind())?;
    Ok((read > 0).then_some(byte[0]))
}

fn proxy() -> (FaultProxy, impl Fn() -> TcpStream) {
    let proxy = FaultProxy::start(echo());
    let address = proxy.address();
    (proxy, move || TcpStream::connect(address).expect("the proxy listens"))
}

#[test]
fn a_black_hole_answers_nothing_and_what_it_swallowed_stays_lost() {
    let (proxy, connect) = proxy();
    let open = connect();
    assert_eq!(ask(&open, LONG), Ok(Some(b'?')));
    proxy.set(Behaviour::BlackHole);
    let fresh = connect();
    for stream in [&open, &fresh] {
        assert!(is_pause(ask(stream, SHORT).unwrap_err()), "neither answer nor end");
    }
    proxy.set(Behaviour::Pass);
    assert!(is_pause(ask(&open, SHORT).unwrap_err()), "a stream has no holes");
    assert_eq!(ask(&connect(), LONG), Ok(Some(b'?')));
}

#[test]
fn connections_end_as_told() {
    let (proxy, connect) = proxy();
    let open = connect();
    assert_eq!(ask(&open, LONG), Ok(Some(b'?')));
    proxy.set(Behaviour::HalfClose);
    assert_eq!(ask(&open, LONG), Ok(None), "an end, and the client may still write");
    assert_eq!(ask(&connect(), LONG), Ok(None));
    proxy.set(Behaviour::Reset { percent: 100 });
    assert_eq!(ask(&connect(), LONG), Err(ErrorKind::ConnectionReset));
    proxy.set(Behaviour::Pass);
    let open = connect();
    assert_eq!(ask(&open, LONG), Ok(Some(b'?')));
    proxy.cut();
    assert_eq!(ask(&open, LONG), Err(ErrorKind::ConnectionReset));
    proxy.set(Behaviour::Refuse);
    assert_ne!(ask(&connect(), LONG), Ok(Some(b'?')));
}

#[test]
fn replies_come_late_or_wrong_as_told() {
    let (proxy, connect) = proxy();
    let (open, asked) = (connect(), Instant::now());
    proxy.set(Behaviour::Delay(2 * SHORT));
    assert_eq!(ask(&open, LONG), Ok(Some(b'?')));
    assert!(asked.elapsed() >= 2 * SHORT);
    proxy.set(Behaviour::Corrupt { percent: 100 });
    let wrong = ask(&open, LONG).expect("an answer").expect("a byte");
    assert_ne!(wrong, b'?');
}

/// A connection to the proxy from this address of the machine.
fn connect_from(from: Ipv4Addr, to: SocketAddr) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    socket.bind(&SocketAddr::from((from, 0)).into()).expect("an address of this machine");
    socket.connect(&to.into()).expect("the proxy listens");
    socket.into()
}

#[test]
fn what_is_held_comes_later_and_only_to_those_who_are_apart() {
    let (proxy, connect) = proxy();
    let other = Ipv4Addr::new(127, 0, 0, 2);
    let (here, there) = (connect(), connect_from(other, proxy.address()));
    proxy.set_for(other.into(), Behaviour::Hold);
    assert_eq!(ask(&here, LONG), Ok(Some(b'?')));
    let fresh = connect_from(other, proxy.address());
    for stream in [&there, &fresh] {
        assert!(is_pause(ask(stream, SHORT).unwrap_err()), "nothing passes");
    }
    proxy.set(Behaviour::Pass);
    for mut stream in [&there, &fresh] {
        stream.set_read_timeout(Some(LONG)).expect("a valid time");
        assert_eq!(stream.read(&mut [0]).ok(), Some(1), "what was held");
        assert_eq!(ask(stream, LONG), Ok(Some(b'?')), "and the stream goes on");
    }
}
