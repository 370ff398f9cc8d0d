//! Why a creation or an enable failed, from what the kernel logged, the agent recorded and sysfs shows. Pure.

mod device_name;
mod errno;
pub mod event_failure;
pub mod host;
pub mod kernel_message;
pub mod log_failure;
pub mod ndctl_message;
mod pattern;
pub mod size;
pub mod state;

pub use self::device_name::DeviceName;
