//! What the error of a bind means if nothing else is known.

use nix::errno::Errno;

use crate::model::why::FailureCause;

/// A positive error number, as a driver's probe returns it (drivers/nvdimm/pmem.c, drivers/dax/pmem.c, drivers/base/dd.c).
pub(super) fn cause(errno: i32) -> FailureCause {
    match Errno::from_raw(errno) {
        Errno::ENXIO => FailureCause::NoDeviceOrAddress,
        Errno::ENODEV => FailureCause::NoDevice,
        Errno::EINVAL => FailureCause::InvalidArgument,
        Errno::EOPNOTSUPP => FailureCause::NotSupported,
        Errno::EBUSY => FailureCause::AddressRangeBusy,
        // nvdimm_namespace_common_probe: nothing else returns it.
        Errno::EACCES => FailureCause::DimmLocked,
        Errno::EIO => FailureCause::MemoryErrors,
        Errno::ENOSPC => FailureCause::NamespaceTooSmall,
        _ => FailureCause::DriverFailed,
    }
}

/// `EBUSY: Device or resource busy`.
pub(super) fn text(errno: i32) -> String {
    let known = Errno::from_raw(errno);
    if known == Errno::UnknownErrno { format!("error {errno}") } else { format!("{known:?}: {}", known.desc()) }
}
