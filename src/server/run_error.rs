//! Why the gateway does not run, or did not end well.

use std::fmt;
use std::io::ErrorKind;
use std::net::SocketAddr;

/// Why the gateway cannot run, or did not end well.
#[derive(Debug)]
pub enum RunError {
    /// An address cannot be listened on.
    Listen {
        /// The address.
        address: SocketAddr,
        /// What wanted it.
        wanted_by: &'static str,
        /// What the system says.
        error: std::io::Error,
    },
    /// A part cannot be built from this configuration.
    Build(String),
    /// The place of the gateway that runs cannot be taken.
    Upgrade(String),
    /// It was ended by a second signal.
    BrokenOff {
        /// How many were under way.
        requests: i64,
    },
}

// === impl RunError ===

impl fmt::Display for RunError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Listen { address, wanted_by, error } => {
                let help = match error.kind() {
                    ErrorKind::PermissionDenied => {
                        "ports below 1024 take root or CAP_NET_BIND_SERVICE"
                    }
                    ErrorKind::AddrNotAvailable => "this machine has no such address",
                    _ => {
                        "end the process that has it, take its place (`sluicegate run --upgrade`), \
                         or choose another address"
                    }
                };
                write!(
                    f,
                    "cannot listen on {address}: {error}\n  = help: {wanted_by} wants it; {help}"
                )
            }
            Self::Build(reason) => f.write_str(reason),
            Self::Upgrade(reason) => write!(f, "cannot take the place of the gateway: {reason}"),
            Self::BrokenOff { requests } => {
                write!(f, "ended by a second signal: {requests} requests were broken off")
            }
        }
    }
}

impl std::error::Error for RunError {}
