//! The folder of the socket: who can enter it could take the gateway's connections.

use std::fs::{self, DirBuilder};
use std::io::ErrorKind;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::Path;

use rustix::process::geteuid;

/// The rights of everybody but the owner.
const OTHERS: u32 = 0o077;
const OWNER_ONLY: u32 = 0o700;

/// Sees to it that the folder of `socket` is this user's alone; makes it if it is not there.
pub(in crate::server) fn keep_private(socket: &Path) -> Result<(), String> {
    let folder = socket.parent().ok_or("`server.upgrade_socket` has no folder")?;
    let shown = folder.display();
    match DirBuilder::new().mode(OWNER_ONLY).create(folder) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => {
            return Err(format!("cannot make the folder {shown}: {error}"));
        }
        _ => {}
    }
    // Not through a link, which somebody else may turn.
    let found = fs::symlink_metadata(folder).map_err(|error| format!("{shown}: {error}"))?;
    if !found.is_dir() {
        return Err(format!("{shown} is no folder"));
    }
    let me = geteuid().as_raw();
    if found.uid() != me {
        return Err(format!("{shown} belongs to user {} and not to {me}", found.uid()));
    }
    if found.mode() & OTHERS != 0 {
        return Err(format!("others may enter {shown}: `chmod 700 {shown}`"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;

    #[test]
    fn a_folder_is_made_and_one_that_others_enter_is_refused() {
        let base = std::env::temp_dir().join(format!("sluicegate-folder-{}", std::process::id()));
        fs::create_dir_all(&base).unwrap();
        let (own, socket) = (base.join("own"), base.join("own/upgrade.sock"));
        assert_eq!(keep_private(&socket), Ok(()));
        assert_eq!(fs::metadata(&own).unwrap().mode() & 0o777, 0o700);
        assert_eq!(keep_private(&socket), Ok(()), "it is there by now");
        for mode in [0o701, 0o710, 0o755, 0o777] {
            fs::set_permissions(&own, Permissions::from_mode(mode)).unwrap();
            let refused = keep_private(&socket).unwrap_err();
            assert!(refused.contains("chmod 700"), "{mode:o}: {refused}");
        }
        fs::set_permissions(&own, Permissions::from_mode(0o700)).unwrap();
        symlink(&own, base.join("link")).unwrap();
        assert!(keep_private(&base.join("link/upgrade.sock")).is_err());
        assert!(keep_private(&base.join("missing/deeper/upgrade.sock")).is_err());
        fs::remove_dir_all(&base).unwrap();
    }
}
