//! Whether an attachment that failed may succeed later.

use std::io;

use aya::pin::PinError;
use libc::{EAGAIN, EBUSY, EEXIST, EINTR, EMFILE, ENFILE, ENOMEM, ENOSPC};

use crate::kernel::programs::{AttachFailure, MissingRequiredProgram};

/// Memory, file descriptors, a resource that is in use, a signal, a pin that another agent is replacing.
const TRANSIENT: [i32; 8] = [ENOMEM, ENOSPC, EMFILE, ENFILE, EBUSY, EEXIST, EINTR, EAGAIN];

/// Without an error number that is known to pass, the failure is permanent.
#[must_use]
pub fn failure_of(error: &anyhow::Error) -> AttachFailure {
    if let Some(missing) = error.downcast_ref::<MissingRequiredProgram>() {
        return missing.failure;
    }
    let errno = |cause: &(dyn std::error::Error + 'static)| cause.downcast_ref::<io::Error>()?.raw_os_error();
    let passes =
        error.chain().any(|cause| cause.is::<PinError>() || errno(cause).is_some_and(|it| TRANSIENT.contains(&it)));
    if passes { AttachFailure::Transient } else { AttachFailure::Permanent }
}

#[cfg(test)]
mod tests {
    use anyhow::{Context as _, anyhow};
    use aya::maps::MapError;

    use super::*;
    use AttachFailure::{Permanent, Transient};

    #[test]
    fn the_error_number_decides() {
        for (errno, failure) in [
            (ENOMEM, Transient),
            (EBUSY, Transient),
            (EINTR, Transient),
            (libc::EPERM, Permanent),
            (libc::EINVAL, Permanent),
            (libc::ENOENT, Permanent),
            (libc::ENOSYS, Permanent),
        ] {
            let map = MapError::CreateError { name: "RECORDS".into(), io_error: io::Error::from_raw_os_error(errno) };
            let error = Err::<(), _>(map).context("the eBPF maps cannot be made").unwrap_err();
            assert_eq!(failure_of(&error), failure, "{error:?}");
        }
        assert_eq!(failure_of(&anyhow!("the kernel's types are not known")), Permanent);
    }

    #[test]
    fn a_pin_may_be_replaced_later() {
        let pin = PinError::NoFd { name: "POLICIES".to_owned() };
        assert_eq!(failure_of(&anyhow::Error::new(pin).context("program guard cannot be pinned")), Transient);
    }

    #[test]
    fn a_required_program_keeps_the_kind_of_its_own_failure() {
        for failure in [Permanent, Transient] {
            let missing =
                MissingRequiredProgram { program: "setup_enter", reason: "Cannot allocate memory".into(), failure };
            assert_eq!(failure_of(&anyhow::Error::new(missing).context("while attaching")), failure);
        }
    }
}
